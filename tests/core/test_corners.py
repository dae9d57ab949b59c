"""What seldom happens, each beside what happens otherwise."""

from __future__ import annotations

from concurrent.futures import Future
from decimal import Decimal

import msgspec
import pytest

from chain import intent, mint
from chain.anchor import TrustAnchor
from chain.applied import Situation
from chain.case import Case, currency
from chain.control import Controls, Named, Suspension
from chain.errors import StoreError
from chain.key import KeySigner
from chain.ledger import Batch
from chain.order import Issue, Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.roster import FEW, Roster
from chain.row import StandingRow
from chain.state import Settings
from chain.statuslist import read
from chain.store.memory import MemoryStore
from chain.supposed import AS_IT_IS, Hypothesis, Supposed
from chain.token import Verifier
from chain.trust import Trust
from tests.approvals.office import ANY_HOP, Office, policy
from tests.support import ALICE, HOME, ISSUER, MALLORY, NOW, PEP, ROOT_KEY, World, honest, root, seal, signer

ASKED = Request(tool="mail.read", arguments={"folder": "in"}, audience=PEP, holder=ALICE.key.thumbprint)


def test_an_instruction_is_declared_only_under_a_digest_of_this_kind() -> None:
    bound = intent.bind("pay", b"a" * 16)
    assert intent.declared(bound, "pay") == bound.digest
    other = msgspec.structs.replace(bound, alg="sha-512")
    with pytest.raises(ValueError, match=r"`sha-512`, and not `sha-256`"):
        intent.declared(other, "pay")
    assert not intent.matches(other, "pay")


def test_a_batch_says_of_each_chain_that_is_none_why() -> None:
    world, good = World(), honest(1)
    forged = [seal(root(), MALLORY)]
    chains = world.authority.chains()
    calls = [(good, ASKED), (forged, ASKED), (forged, ASKED)]
    told = world.authority.begin_check(world.caller, calls, chains=chains).result()
    assert [one.reason for one in told] == [Reason.ALLOWED, *[told[1].reason] * 2]
    assert told[1].reason is Reason.ANCHOR_UNKNOWN
    assert chains.resolve(forged) is chains.resolve(forged)  # refused once, and remembered


def test_a_chain_that_is_none_is_simulated_as_refused_whatever_is_supposed() -> None:
    world = World()
    supposed = Hypothesis(without_policy=True)
    told = world.authority.simulate(world.caller, [seal(root(), MALLORY)], ASKED, supposed)
    assert told.now == told.then
    assert (told.then.allowed, told.then.reason, told.hops) == (False, Reason.ANCHOR_UNKNOWN, ())
    assert world.authority.simulate(world.caller, honest(1), ASKED, supposed).then.allowed


class Unreadable(MemoryStore):
    """A store from which nothing that stands of a name can be read, once `error` is set."""

    error: Exception | None = None

    def stands(self, kind: str, name: str) -> StandingRow | None:
        if self.error is not None:
            raise self.error
        return super().stands(kind, name)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(StoreError("the disk is gone"), Reason.STORE_UNAVAILABLE), (OSError("what is this?"), Reason.INTERNAL)],
)
def test_what_cannot_be_read_denies_the_call_that_needs_it_and_no_other(error: Exception, reason: Reason) -> None:
    store = Unreadable()
    world = World(store=store)
    metered = [seal(root(limits={"budget": {"calls": 5}}, home=HOME))]
    world.allowed(metered, ALICE)
    world.authority, store.error = world.open(), error  # nothing was spent yet in this memory
    calls = [(tokens, world.request(tokens, ALICE)) for tokens in (metered, honest(1))]
    told = world.authority.begin_check(world.caller, calls).result()
    assert [one.reason for one in told] == [reason, Reason.ALLOWED]
    assert "could not be read" in told[0].findings[0].detail
    assert str(error) not in str(told[0])
    store.error = None
    world.allowed(metered, ALICE)


def case(tool: str, arguments: dict[str, object]) -> Case:
    catalogue = {tool: {"class": "act"} | ({"amount": {"argument": "amount", "currency": "EUR"}} if arguments else {})}
    world = World(catalogue=catalogue)
    state = Supposed(world.authority._desk.live, AS_IT_IS)
    return Case(world.accepted(honest(1)), Request(tool=tool, arguments=arguments), state, NOW)


def test_a_call_that_moves_no_money_has_no_currency() -> None:
    none, some = case("door.open", {}), case("bank.pay", {"amount": 5})
    assert (currency(none), none.amount, none.money) == ("", None, "")
    assert (currency(some), some.amount, some.money) == ("EUR", Decimal(5), "5 EUR")


def test_what_a_case_works_out_once_is_documented_and_kept() -> None:
    assert Case.action.__doc__ == "What people would be asked to approve."
    asked = case("door.open", {})
    assert asked.action is asked.action


def test_a_suspension_that_is_not_written_leaves_what_stood() -> None:
    controls = Controls()
    first = Suspension("agent", "a", "quarantined", "before", "op", NOW)
    harder = Suspension("agent", "a", "suspended", "now", "op", NOW)
    other = Suspension("agent", "b", "suspended", "now", "op", NOW)
    controls.suspend(first)
    controls.suspend(harder)
    controls.suspend(other)
    assert controls.suspensions == {("agent", "a"): harder, ("agent", "b"): other}
    controls.restore(other, None)
    controls.restore(harder, first)
    assert controls.suspensions == {("agent", "a"): first}


def test_many_names_find_the_same_keys_as_one_after_the_other() -> None:
    roster, names = Roster(), {f"spiffe://example.org/agent/{place}" for place in range(FEW + 1)}
    for name in (*names, "spiffe://example.org/agent/0/helper", "spiffe://example.org/agent/00"):
        roster.enrol(f"key of {name}", Principal(id=name, owner="team"))
    roster.enrol("a worker", Principal(id="spiffe://elsewhere.org/w", owner="team", under=f"key of {min(names)}"))
    found = roster.beneath(names)
    assert found == {key for name in names for key in roster.beneath({name})}
    assert found == {f"key of {name}" for name in (*names, "spiffe://example.org/agent/0/helper")} | {"a worker"}
    assert roster.beneath({"spiffe://example.org"}) == set(roster.principals)


def test_a_listed_root_that_cannot_be_read_any_more_counts_as_revoked() -> None:
    world = World(settings=Settings(status_list="https://issuer.example/status/1"))
    order = Issue(holder=ALICE.key, grant=mint.grant({"tools": {"mail.read": {}}}), lifetime=600, listed=True)
    world.authority.issue(world.caller, order)
    world.authority.revoke(world.caller, Revoke(named=Named("key", MALLORY.key.thumbprint)))

    def revoked(key: KeySigner, *trusted: KeySigner) -> bool | None:
        world.signer, world.verifier = key, Verifier([TrustAnchor(one.key, ISSUER) for one in trusted])
        return read(world.open().status_list(world.caller), Trust([TrustAnchor(key.key)], (), 0)).invalid(0, NOW)

    new = signer("the issuer's next key")
    assert revoked(ROOT_KEY, ROOT_KEY) is False
    assert revoked(new, new, ROOT_KEY) is False
    assert revoked(new, new) is True  # nothing that the old key signed is believed any more


def test_without_a_policy_nothing_is_said_against_a_root() -> None:
    def rooted(world: World) -> list[Reason]:
        state = Supposed(world.authority._desk.live, AS_IT_IS)
        chain = world.accepted(honest(1))
        return [one.reason for one in Situation(chain, ASKED, state, NOW, world.verifier.rules).rooted.findings]

    assert rooted(World()) == []
    assert rooted(Office(bundle=policy(hops=ANY_HOP))) == []
    nobody = ANY_HOP.replace("permit", "forbid")
    assert rooted(Office(bundle=policy(hops=nobody))) == [Reason.POLICY_DENIED]


@pytest.mark.parametrize(("become", "reason"), [("act", Reason.STORE_UNAVAILABLE), ("read", Reason.ALLOWED)])
def test_a_read_that_became_an_act_on_its_way_is_to_be_asked_again(
    monkeypatch: pytest.MonkeyPatch, become: str, reason: Reason
) -> None:
    """It was begun with too little durability for what it is now."""
    office, tokens = Office(), honest(1)
    commit = office.store.commit

    def late(batch: Batch) -> Future[int]:
        monkeypatch.undo()
        catalogue = f'["mail.read"]\nclass = "{become}"\nclassification = "internal"\n'
        office.activate(policy() | {"catalogue.toml": catalogue})
        return commit(batch)

    monkeypatch.setattr(office.store, "commit", late)
    call = (tokens, office.request(tokens, ALICE))
    (decision,) = office.authority.begin_check(office.caller, [call]).result()
    assert decision.reason is reason
    assert [one.detail for one in decision.findings] == (
        ["`mail.read` has become act; ask again"] if become == "act" else []
    )
