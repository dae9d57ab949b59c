"""What the record says of a delegation is what the authority decides about it, whatever happened before."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Any

import pytest

from chain import mint
from chain.anchor import TrustAnchor
from chain.certifying import Certifier
from chain.control import EVERYTHING, Named
from chain.errors import ChainError
from chain.given import Entry
from chain.graph.forest import Forest
from chain.graph.reach import needs, ways
from chain.history import History
from chain.key import KeySigner
from chain.order import Issue, Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.report.turn import Turns
from chain.request import Request
from chain.state import MAX_SKEW
from chain.token import Verifier
from tests.control.material import TRUSTED, agent, tell, worker
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    ISSUER,
    MALLORY,
    NOW,
    PEP,
    ROOT_KEY,
    World,
    child,
    digest,
    digest_of,
    payload_of,
    root,
    seal,
    signer,
)

HOLDERS = (ALICE, BOB, CAROL, MALLORY, *map(signer, ("one", "two", "three")))
LIMITS = {"classes": ["read", "act"]}
ENDED = {Reason.EXPIRED: "expired", Reason.REVOKED: "revoked", Reason.SUSPENDED: "suspended"}
TOOLS = (("mail.read", {"folder": "in"}), ("bank.pay", {"amount": 5}), ("bank.pay", {"amount": 50}))


class Story:
    """Things that happen at random to a few holders, and what was given to them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.world = World(transmitters=[TRUSTED])
        self.chains: list[tuple[list[str], KeySigner]] = []
        self.told: Counter[str] = Counter()
        for holder in HOLDERS[:3]:
            self.give([seal(root(holder, limits=LIMITS, txn=f"task-{holder.key.thumbprint[0]}"))], holder)

    def give(self, tokens: list[str], holder: KeySigner) -> None:
        self.world.ask(tokens, holder)
        self.chains.append((tokens, holder))

    def step(self) -> None:
        act = self.random.choice([
            self.issue, self.delegate, self.delegate, self.delegate, self.revoke, self.strike, self.suspend,
            self.suspend, self.lift, self.wait, self.enrol, self.signal,
        ])  # fmt: skip
        try:
            act()
        except ChainError:
            return
        self.told[act.__name__] += 1

    def issue(self) -> None:
        now, holder = int(self.world.clock.now), self.random.choice(HOLDERS)
        token = root(
            holder,
            limits=LIMITS,
            iat=now + self.random.choice([-10, -10, -10, 200]),
            exp=now + self.random.randrange(250, 900),
            jti=f"root-{len(self.chains)}",
            txn=f"task-{self.random.randrange(3)}",
        )
        self.give([seal(token)], holder)

    def delegate(self) -> None:
        tokens, above = self.random.choice(self.chains)
        holder, tools = self.random.choice(HOLDERS), payload_of(tokens[-1])["authorization_details"][0]["tools"]
        kept = {name: rules for name, rules in tools.items() if self.random.random() < 0.8} or tools
        if "bank.pay" in kept and self.random.random() < 0.3:
            kept = kept | {"bank.pay": {"amount": {"constraint_type": "range", "max": 20}}}
        made = child(tokens[-1], holder, tools=kept, jti=f"hop-{len(self.chains)}")
        made["exp"] -= self.random.choice([0, 0, 5, 40])
        self.give([*tokens, seal(made, above)], holder)

    def revoke(self) -> None:
        tokens, _ = self.random.choice(self.chains)
        self.world.authority.revoke(self.world.caller, Revoke(target=digest(tokens[-1]), cause="x"))

    def name(self) -> str:
        holder = self.random.choice(HOLDERS)
        principal = self.world.authority.principal(holder.key.thumbprint)
        return holder.key.thumbprint if principal is None or self.random.random() < 0.5 else principal.id

    def strike(self) -> None:
        if self.random.random() < 0.6:
            return
        named = self.random.choice([
            Named("holder", self.name()), Named("task", f"task-{self.random.randrange(3)}"),
            Named("key", self.random.choice(HOLDERS).key.thumbprint),
        ])  # fmt: skip
        if self.random.random() < 0.03:
            named = self.random.choice([Named("issuer", ISSUER), Named("key", ROOT_KEY.key.thumbprint)])
        self.world.authority.revoke(self.world.caller, Revoke(cause="x", named=named))

    def scope(self) -> tuple[str, str]:
        return self.random.choice([
            ("agent", self.name()), ("agent", self.name()), ("task", f"task-{self.random.randrange(3)}"),
            ("tool", self.random.choice(["bank.pay", "mail.read"])), ("trust_domain", "example.org"),
            ("everything", EVERYTHING), ("trust_domain", "other.org"),
        ])  # fmt: skip

    def suspend(self) -> None:
        mode, lifetime = self.random.choice(["suspended", "quarantined"]), self.random.choice([0, 5, 30])
        self.world.authority.steering.suspend(self.world.caller, *self.scope(), "x", mode, lifetime)

    def lift(self) -> None:
        standing = self.world.authority.steering.suspensions(self.world.caller)
        if standing:
            one = self.random.choice(standing)
            self.world.authority.steering.resume(self.world.caller, one.scope, one.name, "x")

    def wait(self) -> None:
        self.world.clock.now += self.random.choice([0.5, 3, 40, 120])

    def enrol(self) -> None:
        key, above = self.random.choice(HOLDERS).key, self.random.choice(HOLDERS).key.thumbprint
        name = self.random.choice(["spiffe://example.org/agent/1/w", "spiffe://other.org/x", "spiffe://other.org/x/y"])
        under = above if above != key.thumbprint and self.random.random() < 0.5 else None
        self.world.authority.enrol(self.world.caller, key, Principal(id=name, owner="team", under=under))

    def signal(self) -> None:
        subject: Any = self.name()
        if self.random.random() < 0.2:
            subject = {"format": "opaque", "id": "team"}
            tell(self.world, "risk-level-change", subject, level="low")
        elif self.random.random() < 0.4:
            tell(self.world, "session-revoked", subject)

    def history(self) -> History:
        made = (Entry(**json.loads(data)) for data, _ in self.world.store.records(limit=100_000))
        return History(made)

    def agree(self, seen: Counter[str]) -> None:
        """Ask about every chain, of the record and then of the authority."""
        for tokens, holder in self.chains:
            now, history = self.world.clock.now, self.history()
            tool, arguments = self.random.choice(TOOLS)
            forest = Forest(history, now)
            one = history.given.get(digest_of(tokens[-1]))
            decision = self.world.ask(tokens, holder, tool, arguments)
            if one is None:
                continue
            end, found = history.end(one, now), decision.findings
            ended = {ENDED[one.reason] for one in found if one.reason in ENDED and "tool `" not in one.detail}
            assert (end is None) == (not ended), (end, str(decision))
            assert end is None or end.reason in ended, (end, str(decision))
            assert (one.id in forest.live) == (end is None)
            shown = Turns(history, now).of(one)[-1].status
            assert shown == ("live" if end is None else end.reason), "the page says the same"
            can = any(way.id == one.id for way in ways(forest, tool, arguments))
            early = any(finding.reason is Reason.NOT_YET_VALID for finding in found)
            allowed = not {finding.reason for finding in found} - {Reason.HOLDER_UNKNOWN, Reason.NOT_YET_VALID}
            assert early == any("its time" in word for word in needs(forest, one, tool)), str(decision)
            if tool in history.tools:
                assert can == allowed, (end, tool, str(decision))
            seen[f"{'stands' if end is None else end.reason} {tool} {'can' if can else 'cannot'}"] += 1


@pytest.mark.parametrize("seed", range(12))
def test_the_record_says_what_the_authority_decides(seed: int) -> None:
    story, seen = Story(seed), Counter[str]()
    for _ in range(6):
        for _ in range(8):
            story.step()
        story.agree(seen)
    assert sum(seen.values()) > 20


def ends(world: World, token: str) -> str | None:
    """How a chain of one stands by the record; the authority must say the same."""
    made = History(Entry(**json.loads(data)) for data, _ in world.store.records(limit=100_000))
    end = made.end(made.given[digest_of(token)], world.clock.now)
    found = {finding.reason for finding in world.ask([token], ALICE).findings}
    assert (Reason.REVOKED in found) == (end is not None and end.reason == "revoked")
    live = made.live(world.clock.now)
    assert (digest_of(token) in live) == (end is None), "what is asked about all is what is asked about one"
    return None if end is None else end.reason


def test_a_key_that_certified_another_ends_what_this_one_signed() -> None:
    kms = signer("kms")
    trust = Verifier([TrustAnchor(kms.key, ISSUER, certifies=True)])
    world = World(verifier=trust, signer=Certifier(kms, 1000))  # type: ignore[arg-type]
    order = Issue(holder=ALICE.key, grant=mint.grant({"tools": {"mail.read": {}}}), lifetime=900)
    token = world.authority.issue(world.caller, order).token
    for key, said in ((BOB, None), (kms, "revoked")):
        named = Named("key", key.key.thumbprint)
        world.authority.revoke(world.caller, Revoke(cause="x", named=named))
        assert ends(world, token) == said


@pytest.mark.parametrize("by", ["name", "signal"])
def test_however_many_fall_with_a_name_the_record_names_them_all(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.records.MAX_LISTED", 3)
    world = World(transmitters=[TRUSTED])
    workers = [signer(f"worker-{number}") for number in range(12)]
    for number, key in enumerate(workers):
        worker(world, key, f"{agent(2)}/w{number}")
    tokens = [seal(root(key)) for key in (*workers, CAROL)]
    for token, key in zip(tokens, (*workers, CAROL), strict=True):
        world.allowed([token], key)
    if by == "name":
        world.authority.revoke(world.caller, Revoke(cause="x", named=Named("holder", agent(2))))
    else:
        tell(world, "session-revoked", agent(2))
    assert [ends(world, token) for token in tokens] == [*["revoked"] * len(workers), None]
    bodies = [json.loads(data)["body"] for data, _ in world.store.records(limit=1000, kind="revoked")]
    assert max(len(body["names"]) for body in bodies) == 3, "no record grows with them"


def test_what_a_signal_ends_is_also_what_is_bound_to_the_id() -> None:
    world = World(transmitters=[TRUSTED])
    bound = [seal(root(ALICE, cnf={"spiffe": agent(place)}, limits=LIMITS)) for place in (1, 2)]
    reasons: list[set[Reason]] = []
    for _ in range(2):
        for number, token in enumerate(bound, 1):
            request = Request(
                tool="mail.read", arguments={"folder": "in"}, audience=PEP, holder=agent(number), spiffe=agent(number)
            )
            decision = world.authority.check(world.caller, [token], request)
            reasons.append({finding.reason for finding in decision.findings})
        if len(reasons) == 2:
            tell(world, "session-revoked", agent(2))
    assert reasons == [set(), set(), set(), {Reason.REVOKED}]


def test_what_has_not_begun_is_said_to_begin() -> None:
    world = World()
    for number, early in enumerate((0, MAX_SKEW, MAX_SKEW + 1)):
        token = seal(root(ALICE, iat=NOW + early, jti=f"root-{number}"))
        found = {finding.reason for finding in world.ask([token], ALICE).findings}
        forest = Forest(History(Entry(**json.loads(data)) for data, _ in world.store.records(limit=1000)), NOW)
        words = needs(forest, forest.live[digest_of(token)], "mail.read")
        assert any("begins" in word for word in words) == (Reason.NOT_YET_VALID in found) == (early > MAX_SKEW)
