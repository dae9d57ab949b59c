"""State that calls share: budgets, suspensions, and the policy's memory of hops."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chain.anchor import TrustAnchor
from chain.approval import word
from chain.authority import Authority
from chain.bundles import default
from chain.caller import Caller, Role
from chain.case import MAX_FINDINGS
from chain.catalog import Catalogue
from chain.decision import Effect
from chain.errors import DeniedError, PolicyError
from chain.pace import Breaker
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.state import SHADOWABLE, Settings
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from chain.token import Verifier
from tests.budget.counter import calls, euros, metered, money, standing, under
from tests.policy.folder import activate
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    CATALOGUE,
    HOME,
    ISSUER,
    MALLORY,
    NOW,
    PEP,
    ROOT_KEY,
    World,
    child,
    digest,
    digest_of,
    honest,
    root,
    seal,
    signer,
)

PAID = CATALOGUE | {"bank.pay": {"class": "act", "amount": {"argument": "amount", "currency": "EUR"}}}


def agent(place: int) -> str:
    return f"spiffe://example.org/agent/{place}"


# -- budgets -----------------------------------------------------------------------------------------------


def test_sibling_budgets_summing_past_the_parent(world: World) -> None:
    """Each of three siblings is granted all that their parent has; together they get it once."""
    first = metered(euros("100", calls=9))
    holders = (BOB, CAROL, MALLORY)
    world.authority.enrol(world.caller, MALLORY.key, Principal(id=agent(9), owner="team"))
    siblings = [[first, under(first, ALICE, to, euros("100", calls=9))] for to in holders]
    world.allowed(siblings[0], BOB, "bank.pay", {"amount": 40})
    world.allowed(siblings[1], CAROL, "bank.pay", {"amount": 40})
    world.denied(Reason.BUDGET_EXCEEDED, 0, siblings[2], MALLORY, "bank.pay", {"amount": 40})
    world.allowed(siblings[2], MALLORY, "bank.pay", {"amount": 20})
    for tokens, by in zip(siblings, holders, strict=True):
        world.denied(Reason.BUDGET_EXCEEDED, 0, tokens, by, "bank.pay", {"amount": "0.01"})


def test_second_authority_spending_the_same_budget(world: World) -> None:
    """Another authority with the same anchors keeps no count of it, so it lets nothing of it be spent."""
    tokens = [metered(calls(1))]
    store = MemoryStore()
    other = Authority(
        store,
        Verifier([TrustAnchor(ROOT_KEY.key, ISSUER)]),
        clock=world.clock,
        entropy=world.entropy,
        audience="https://other.example",
        catalogue=Catalogue.model_validate(CATALOGUE),
    )
    other.enrol(world.caller, ALICE.key, Principal(id=agent(1), owner="team"))
    for _ in range(2):
        refused = other.check(world.caller, tokens, world.request(tokens, ALICE))
        assert (refused.effect, refused.reason, refused.hop) == (Effect.DENY, Reason.STATE_UNAVAILABLE, 0)
    assert standing(store) == {}
    plain = [seal(root())]
    assert other.check(world.caller, plain, world.request(plain, ALICE)).allowed
    world.allowed(tokens, ALICE)
    world.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE)


def test_budget_raced_by_many(tmp_path: Path) -> None:
    world = World(store=SqliteStore(tmp_path / "ledger"))
    first = metered(euros("10"))
    sides = [([first], ALICE), ([first, under(first, ALICE, BOB)], BOB)]
    asked = [(*sides[n % 2], world.request(*sides[n % 2], "bank.pay", {"amount": "0.7"})) for n in range(32)]
    start = threading.Barrier(16)

    def ask(item: Any) -> bool:
        tokens, _, request = item
        start.wait(20)
        return world.authority.check(world.caller, tokens, request).allowed

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(ask, asked)) == 14  # 14 times 0.7 is 9.8
    world.allowed([first], ALICE, "bank.pay", {"amount": "0.2"})
    world.denied(Reason.BUDGET_EXCEEDED, 0, [first], ALICE, "bank.pay", {"amount": "0.000000001"})
    world.authority.close()


def test_budget_refilled_by_a_negative_amount(world: World) -> None:
    tokens = [metered(euros("10"))]
    world.allowed(tokens, ALICE, "bank.pay", {"amount": 10})
    negative: list[Any] = [-10, -0.5, "-10", "-0.1", "\u221210"]
    for amount in negative:
        world.denied(Reason.AMOUNT_UNREADABLE, 0, tokens, ALICE, "bank.pay", {"amount": amount})
    world.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE, "bank.pay", {"amount": 1})
    world.allowed(tokens, ALICE, "bank.pay", {"amount": 0})


def test_budget_reset_by_a_fresh_leaf(world: World) -> None:
    """A new delegation has a count of its own, and its parent's goes on."""
    first = metered(calls(2))
    world.allowed([first, under(first, ALICE, BOB)], BOB)
    world.allowed([first, under(first, ALICE, BOB, jti="fresh-1")], BOB)
    world.denied(Reason.BUDGET_EXCEEDED, 0, [first, under(first, ALICE, BOB, jti="fresh-2")], BOB)


def test_budget_reset_by_a_restart(world: World) -> None:
    tokens = [metered(calls(2))]
    world.allowed(tokens, ALICE)
    world.authority = world.open()
    world.allowed(tokens, ALICE)
    world.authority = world.open()
    world.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE)


def test_budget_drained_by_a_stranger(world: World) -> None:
    """Who holds a copy of the token and no key cannot use its budget up; nor can replays, nor refused calls."""
    tokens = [metered(calls(1))]
    for _ in range(3):
        world.denied(Reason.HOLDER_MISMATCH, 0, tokens, MALLORY)
        world.denied(Reason.PROOF_MISSING, 0, tokens, MALLORY, holder=None)
        world.denied(Reason.TOOL_NOT_GRANTED, 0, tokens, ALICE, "bank.rob", {})
    request = world.request(tokens, ALICE)
    assert world.authority.check(world.caller, tokens, request).allowed
    assert world.authority.check(world.caller, tokens, request).reason is Reason.REPLAY
    world.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE)


def test_amount_in_an_argument_that_nobody_counts() -> None:
    """The tool moves `amount` and the grant counts `fee`, or the reverse: one decoy argument would make it free."""
    world = World(catalogue=PAID)
    decoy = [metered({"amount": money("10", "fee")})]
    world.denied(Reason.AMOUNT_UNREADABLE, 0, decoy, ALICE, "bank.pay", {"amount": 1000, "fee": 0})
    world.allowed([metered(euros("10"))], ALICE, "bank.pay", {"amount": 10, "fee": 1000})


def test_amount_in_a_currency_that_the_agent_names() -> None:
    """A cheap currency in a word of the agent's own does not make a call cheap."""
    world = World(catalogue=PAID)
    yen = [metered({"amount": money("10", currency="JPY")})]
    world.denied(Reason.AMOUNT_UNREADABLE, 0, yen, ALICE, "bank.pay", {"amount": 10, "currency": "JPY"})
    euro = [metered(euros("10"))]
    world.denied(Reason.BUDGET_EXCEEDED, 0, euro, ALICE, "bank.pay", {"amount": 11, "currency": "JPY"})
    world.allowed(euro, ALICE, "bank.pay", {"amount": 10, "currency": "JPY"})


def test_amount_that_two_readers_read_differently(world: World) -> None:
    """No spelling of a number that some reader takes for another one."""
    tokens = [metered(euros("100"))]
    spellings = ["1e1", "1E1", "1_0", "0x0A", "010", "10.", "1,000", "1 0", "\uff11\uff10", "10\u0000", "0" * 40 + "1"]
    for text in spellings:
        world.denied(Reason.AMOUNT_UNREADABLE, 0, tokens, ALICE, "bank.pay", {"amount": text})
    for good in ("10", "10.0", 10, 10.0, 1e1):
        world.allowed(tokens, ALICE, "bank.pay", {"amount": good})


def test_budget_dodged_in_shadow() -> None:
    """Shadow mode lets through what a policy refuses; it counts all the same, and no budget is in shadow."""
    world = World(settings=Settings(shadow=SHADOWABLE))
    world.authority.policies.activate(world.caller, default() | {"no.cedar": FORBID_READING})
    tokens = [metered(calls(1))]
    shadowed = world.ask(tokens, ALICE)
    assert (shadowed.effect, shadowed.reason, shadowed.enforced) == (Effect.DENY, Reason.POLICY_DENIED, False)
    stopped = world.ask(tokens, ALICE)
    assert (stopped.effect, stopped.enforced) == (Effect.DENY, True)
    assert stopped.findings[-1].reason is Reason.BUDGET_EXCEEDED
    world.authority.policies.activate(world.caller, default())
    world.allowed([metered(calls(1), jti="another")], ALICE)


# -- suspension --------------------------------------------------------------------------------------------


def suspend(world: World, scope: str, name: str, mode: str = "suspended") -> None:
    world.authority.steering.suspend(world.caller, scope, name, "an attack", mode)


def test_suspension_dodged_with_another_key(world: World) -> None:
    """An agent is suspended by who it is: a second key of its own is the same agent."""
    second = signer("alice's second key")
    world.authority.enrol(world.caller, second.key, Principal(id=agent(1), owner="team"))
    one, two = [seal(root(ALICE))], [seal(root(second))]
    world.allowed(two, second)
    suspend(world, "agent", agent(1))
    world.denied(Reason.SUSPENDED, 0, one, ALICE)
    world.denied(Reason.SUSPENDED, 0, two, second)
    world.allowed([seal(root(BOB))], BOB)


def test_suspension_dodged_through_a_worker(world: World) -> None:
    """A suspended agent's workers stop with it, and so does whoever acts beneath it in a chain."""
    worker = signer("alice's worker")
    principal = Principal(id=agent(1) + "/worker", owner="team", under=ALICE.key.thumbprint)
    world.authority.enrol(world.caller, worker.key, principal)
    tokens = [seal(root(worker))]
    world.allowed(tokens, worker)
    suspend(world, "agent", agent(1))
    world.denied(Reason.SUSPENDED, 0, tokens, worker)
    world.denied(Reason.SUSPENDED, 0, honest(2), BOB)
    world.authority.steering.resume(world.caller, "agent", agent(1), "over")
    world.allowed(tokens, worker)


def test_suspension_that_spills_over_to_a_look_alike(world: World) -> None:
    """`agent/1` is not `agent/10`, and not `agent/1x`: a name stops what bears it and what lies beneath it."""
    others = [signer("ten"), signer("x")]
    for key, name in zip(others, (agent(10), agent(1) + "x"), strict=True):
        world.authority.enrol(world.caller, key.key, Principal(id=name, owner="team"))
    suspend(world, "agent", agent(1))
    world.denied(Reason.SUSPENDED, 0, [seal(root(ALICE))], ALICE)
    for key in others:
        world.allowed([seal(root(key))], key)


def test_suspension_outlived_by_a_restart(world: World) -> None:
    tokens = honest(1)
    suspend(world, "everything", "")
    world.denied(Reason.SUSPENDED, None, tokens, ALICE)
    world.authority = world.open()
    world.denied(Reason.SUSPENDED, None, tokens, ALICE)
    world.authority.steering.resume(world.caller, "everything", "", "over")
    world.authority = world.open()
    world.allowed(tokens, ALICE)


def test_quarantine_left_by_handing_on(world: World) -> None:
    """A quarantined agent reads; what it may not do it does not hand to another either."""
    first, second = honest(2)
    world.allowed([first, second], BOB, "bank.pay")
    suspend(world, "agent", agent(1), "quarantined")
    world.allowed([first], ALICE)
    world.denied(Reason.QUARANTINED, 0, [first], ALICE, "bank.pay")
    world.denied(Reason.QUARANTINED, 0, [first, second], BOB, "bank.pay")
    third = seal(child(first, CAROL), ALICE)
    proof = world.proof(first, ALICE, "chain:delegate", {"child": digest_of(third)}, audience=HOME)
    with pytest.raises(DeniedError) as raised:
        world.authority.delegate(world.caller, [first], third, proof)
    assert raised.value.reason is Reason.QUARANTINED
    world.denied(Reason.QUARANTINED, 0, [first, third], CAROL, "bank.pay")  # offline it can sign; it gains nothing


# -- what the policy remembers -----------------------------------------------------------------------------

FORBID_READING = '@id("no.reading")\nforbid (principal, action == Chain::Action::"read", resource);'
FORBID_DEPTH = (
    '@id("no.hops")\nforbid (principal, action == Chain::Action::"delegate", resource) when { resource.depth > 0 };'
)
ASK_FOR_HOPS = (
    '@id("ask.hops")\n@approval("1")\n'
    'forbid (principal, action == Chain::Action::"delegate", resource) when { resource.depth > 0 };'
)


def test_hop_remembered_under_another_policy(world: World) -> None:
    """A verdict belongs to the bundle that gave it: a running chain is asked again by the next one."""
    tokens = honest()
    world.authority.policies.activate(world.caller, default())
    world.allowed(tokens, CAROL)
    world.authority.policies.activate(world.caller, default() | {"no.cedar": FORBID_DEPTH})
    world.denied(Reason.POLICY_DENIED, 1, tokens, CAROL)
    world.allowed(tokens[:1], ALICE)
    world.authority.policies.activate(world.caller, default())
    world.allowed(tokens, CAROL)


def test_hop_remembered_of_another_principal(world: World) -> None:
    """The key in the middle of a known chain becomes a stranger's: the hop is judged anew, on the next call."""
    world.authority.policies.activate(world.caller, default())
    tokens = honest()
    world.allowed(tokens, CAROL)
    world.authority.enrol(world.caller, CAROL.key, Principal(id="spiffe://elsewhere.example/carol", owner="team"))
    world.denied(Reason.POLICY_DENIED, 2, tokens, CAROL)
    world.allowed(tokens[:2], BOB)
    world.authority.enrol(world.caller, CAROL.key, Principal(id=agent(3), owner="team"))
    world.allowed(tokens, CAROL)


def test_hop_remembered_from_a_shorter_chain(world: World) -> None:
    """The same parent under two leaves, in either order: what one leaf may not be says nothing for the other."""
    world.authority.policies.activate(world.caller, default())
    stranger = signer("stranger")
    world.authority.enrol(world.caller, stranger.key, Principal(id="spiffe://elsewhere.example/s", owner="team"))
    first, second = honest(2)
    good, bad = seal(child(second, CAROL), BOB), seal(child(second, stranger), BOB)
    for _ in range(2):
        world.denied(Reason.POLICY_DENIED, 2, [first, second, bad], stranger)
        world.allowed([first, second, good], CAROL)


def test_hop_that_waits_for_people_used_before_they_spoke(world: World) -> None:
    """A gate over hops holds a child signed offline as well, and everything beneath it."""
    world.authority.policies.activate(world.caller, default() | {"ask.cedar": ASK_FOR_HOPS})
    tokens = honest()
    decision = world.denied(Reason.HOP_UNAPPROVED, 1, tokens, CAROL)
    assert [finding.hop for finding in decision.findings] == [1, 2]
    world.denied(Reason.HOP_UNAPPROVED, 1, tokens[:2], BOB)
    world.allowed(tokens[:1], ALICE)


def test_bundle_that_does_not_validate_put_in_force(world: World) -> None:
    """A rule that would err, and so be skipped, never gets there; the bundle before goes on."""
    world.authority.policies.activate(world.caller, default() | {"no.cedar": FORBID_READING})
    tokens, before = honest(1), world.authority.policies.digest
    broken = '@id("broken")\nforbid (principal, action == Chain::Action::"read", resource) when { context.nothing };'
    for files in (default() | {"no.cedar": broken}, {"no.cedar": FORBID_READING}, default() | {"no.cedar": "forbid"}):
        with pytest.raises(PolicyError):
            world.authority.policies.activate(world.caller, files)
    assert world.authority.policies.digest == before
    world.denied(Reason.POLICY_DENIED, None, tokens, ALICE)
    world.authority.policies.activate(world.caller, default())
    world.allowed(tokens, ALICE)


def test_lifetime_of_a_sensitive_tool_stretched(world: World) -> None:
    """The bundle's ceiling holds for roots that other issuers' keys sign offline, too."""
    world.authority.policies.activate(world.caller, default())
    long = [seal(root(tools={"bank.pay": {}}, iat=NOW - 10, exp=NOW + 3601))]
    world.denied(Reason.POLICY_DENIED, 0, long, ALICE, "bank.pay")
    short = [seal(root(tools={"mail.read": {}}, iat=NOW - 10, exp=NOW + 3000))]
    world.allowed(short, ALICE)


# -- what fills the list of findings ------------------------------------------------------------------------


STRAY = {f"x{number:03}": 1 for number in range(100)}
"""Arguments that nobody granted: each is a finding of every hop."""


def test_findings_that_hide_a_missing_proof(world: World) -> None:
    """Whoever knows a chain by its tokens cannot have its holder suspended, and learns nothing of it by its digest."""
    world.breaker = Breaker(denials=3, calls=6)
    world.authority = world.open()
    tokens = honest(2)
    request = Request(tool="mail.read", arguments={"folder": "in", **STRAY}, audience=PEP)
    for _ in range(10):
        decision = world.authority.check(world.caller, tokens, request)
        assert decision.effect is Effect.DENY
        assert Reason.PROOF_MISSING in {finding.reason for finding in decision.findings}
        assert len(decision.findings) <= MAX_FINDINGS
    assert world.store.delegation(digest(tokens[0])) is None  # nobody proved anything, so nothing was registered
    assert world.authority.steering.suspensions(world.caller) == []
    world.allowed(tokens, BOB)
    agent_only = Caller("mallory", frozenset({Role.AGENT}), audience=PEP)
    told = world.authority.check(agent_only, digest(tokens[1]), request)
    assert {finding.detail == finding.reason.meaning for finding in told.findings} == {True}


def test_findings_that_hide_a_budget_in_shadow() -> None:
    """A long chain fills the list with what is in shadow; what is not stops the call all the same."""
    keys = [ALICE, *(signer(f"worker-{number}") for number in range(63))]
    limits = {"classes": ["read"], "classification": "public", "purposes": ["travel"], "budget": {"calls": 1}}
    tokens = [seal(root(tools={"bank.pay": {}}, limits=limits, del_max_depth=64, home=HOME))]
    for by, to in pairwise(keys):
        tokens.append(seal(child(tokens[-1], to), by))
    shadow = Settings(shadow=frozenset({Reason.CLASS_NOT_GRANTED}))
    world = World(settings=shadow, enrolled=(ROOT_KEY, *keys))
    for _ in range(3):
        decision = world.ask(tokens, keys[-1], "bank.pay", {"amount": 1})
        assert (decision.effect, decision.enforced) == (Effect.DENY, True), str(decision)
        assert len(decision.findings) <= MAX_FINDINGS
    assert world.authority._desk.live.spent(digest(tokens[0])).calls == 0
    lax = seal(root(tools={"bank.pay": {}}, limits={"classes": ["read"], "budget": {"calls": 1}}, home=HOME))
    let = [world.ask([lax], ALICE, "bank.pay", {"amount": 1}).enforced for _ in range(2)]
    assert let == [False, True]  # the allowed twin: in shadow alone it goes through, and its budget is spent
    world.allowed([seal(root())], ALICE)


def test_approval_that_a_rule_reads_used_for_many_calls(world: World) -> None:
    """A rule that counts the people itself lets the call through; their word is used up all the same."""
    rules = """
    @id("hop") permit (principal, action == Chain::Action::"delegate", resource);
    @id("call") permit (principal, action in Chain::Action::"call", resource);
    @id("people") permit (principal, action == Chain::Action::"approve", resource);
    @id("one") @approval("1") forbid (principal, action == Chain::Action::"act", resource)
    unless { context.approvals.count >= 1 };
    """
    activate(world, rules)
    tokens = [seal(root())]
    waiting = world.ask(tokens, ALICE, "bank.pay")
    assert waiting.awaits is not None
    ann = signer("ann")
    world.authority.enrol(world.caller, ann.key, Principal(id="spiffe://example.org/h/ann", kind="human", owner="ann"))
    asked = world.authority.approvals.get(world.caller, waiting.awaits.request_id)
    said = word(asked, ann, HOME, "approve", now=world.clock.now)
    world.authority.approvals.resolve(world.caller, said, ann.key)
    world.allowed(tokens, ALICE, "bank.pay")
    again = world.ask(tokens, ALICE, "bank.pay")
    assert (again.effect, again.awaits == waiting.awaits) == (Effect.APPROVAL_REQUIRED, False)


def test_amount_too_large_for_the_policy_in_shadow() -> None:
    """What a policy cannot evaluate is never let through in shadow: nobody knows whom it would have asked."""
    shadow = Settings(shadow=frozenset({Reason.POLICY_DENIED}))
    world = World(settings=shadow, catalogue=PAID)
    world.authority.policies.activate(world.caller, default())
    tokens = [seal(root(tools={"bank.pay": {}}))]
    huge = world.ask(tokens, ALICE, "bank.pay", {"amount": "100000000000000"})
    assert (huge.effect, huge.reason, huge.enforced) == (Effect.DENY, Reason.POLICY_ERROR, True)
    assert world.ask(tokens, ALICE, "bank.pay", {"amount": "99"}).effect is Effect.APPROVAL_REQUIRED
    world.allowed([seal(root())], ALICE)
