"""What if: each supposition turns the answer, the real thing afterwards comes out the same, and nothing was written."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from chain import mint
from chain.approval import word
from chain.caller import Caller, Role
from chain.client import AsyncClient, Client
from chain.decision import Decision, Effect
from chain.errors import ForbiddenError, InvalidRequestError
from chain.grant import Grant
from chain.order import Revoke
from chain.pace import Breaker
from chain.principal import Principal
from chain.reason import Reason
from chain.service.server import ChainServer
from chain.simulate import Simulation
from chain.supposed import Hypothesis
from tests.client.running import secret, serving, settings
from tests.explain.denied import PEOPLE, PERMITS, Denied, approve, people, ruled, written
from tests.support import ALICE, BOB, CAROL, HOME, NOW, World, child, digest, honest, root, seal, signer

WORKER = signer("worker")
NARROW = mint.grant({"tools": {"mail.read": {"folder": {"constraint_type": "exact", "value": "in"}}}})
WIDE = mint.grant({"tools": {"mail.send": {}}})
GATED = '@approval("1") forbid (principal, action == Chain::Action::"act", resource);'
NEVER = 'forbid (principal, action == Chain::Action::"act", resource);'
TRUSTED = 'forbid (principal, action == Chain::Action::"delegate", resource) when { resource.depth > 2 };'


@dataclass(frozen=True)
class What:
    """A supposition, and the real thing.

    Attributes:
        make: the call.
        suppose: the hypothesis.
        do: makes it so, and returns the call to ask again.
        reason: of the answer then.
        files: of the policy that is supposed.
    """

    make: Callable[[], Denied]
    suppose: Callable[[Denied], Hypothesis]
    do: Callable[[Denied], Denied]
    reason: Reason
    files: Callable[[Denied], dict[str, str]] | None = None


def paying() -> Denied:
    return Denied(people(World()), honest(), CAROL)


def governed(**rules: str) -> Denied:
    return Denied(ruled(World(), **rules), honest(), CAROL)


def working() -> Denied:
    """A worker that Carol enrolled, at the end of the chain."""
    world = people(World())
    worker = Principal(id="spiffe://example.org/agent/elsewhere", owner="team", under=CAROL.key.thumbprint)
    world.authority.enrol(world.caller, WORKER.key, worker)
    tokens = honest()
    return Denied(world, [*tokens, seal(child(tokens[-1], WORKER), CAROL)], WORKER)


def revoke(made: Denied) -> Denied:
    assert made.ask().allowed
    made.world.authority.revoke(made.world.caller, Revoke(digest(made.tokens[1]), "a test"))
    return made


def suspend(scope: str, name: str) -> Callable[[Denied], Denied]:
    def do(made: Denied) -> Denied:
        made.world.authority.steering.suspend(made.world.caller, scope, name, "a test")
        return made

    return do


def wait(made: Denied) -> Denied:
    made.world.clock.now = NOW + 3600
    return made


def files(made: Denied, **rules: str) -> dict[str, str]:
    """The bundle that is in force, with other rules."""
    world = ruled(World(), **rules)
    return world.authority.policies.files(world.caller)


def activate(**rules: str) -> Callable[[Denied], Denied]:
    def do(made: Denied) -> Denied:
        made.world.authority.policies.activate(made.world.caller, files(made, **rules) if rules else None)
        return made

    return do


def allow(made: Denied) -> Denied:
    approve(made.world, made.ask())
    return made


def hand_on(grant: Grant) -> Callable[[Denied], Denied]:
    def do(made: Denied) -> Denied:
        leaf = mint.unverified(made.tokens[-1])
        claims = mint.child_claims(leaf, grant, made.by.key, jti="j" * 16, now=NOW, lifetime=600)
        made.tokens = [*made.tokens, mint.token.sign(claims, made.by)]
        return made

    return do


SITS = "spiffe://example.org/agent/3"
WHATS = {
    "delegate": What(paying, lambda _: Hypothesis(delegate=(NARROW,)), hand_on(NARROW), Reason.TOOL_NOT_GRANTED),
    "a hop that no rule permits": What(
        lambda: governed(deep=TRUSTED),
        lambda _: Hypothesis(delegate=(mint.unverified(honest()[-1]).grant,)),
        hand_on(mint.unverified(honest()[-1]).grant),
        Reason.POLICY_DENIED,
    ),
    "revoke": What(paying, lambda made: Hypothesis(revoke=frozenset({digest(made.tokens[1])})), revoke, Reason.REVOKED),
    "suspend an agent": What(
        paying, lambda _: Hypothesis(suspend=(("agent", SITS),)), suspend("agent", SITS), Reason.SUSPENDED
    ),
    "suspend who enrolled": What(
        working, lambda _: Hypothesis(suspend=(("agent", SITS),)), suspend("agent", SITS), Reason.SUSPENDED
    ),
    "suspend a domain": What(
        paying,
        lambda _: Hypothesis(suspend=(("trust_domain", "example.org"),)),
        suspend("trust_domain", "example.org"),
        Reason.SUSPENDED,
    ),
    "suspend everything": What(
        paying, lambda _: Hypothesis(suspend=(("everything", "*"),)), suspend("everything", "*"), Reason.SUSPENDED
    ),
    "time": What(paying, lambda _: Hypothesis(at=NOW + 3600), wait, Reason.EXPIRED),
    "policy": What(
        governed,
        lambda _: Hypothesis(),
        activate(never=NEVER),
        Reason.POLICY_DENIED,
        lambda made: files(made, never=NEVER),
    ),
    "no policy": What(
        lambda: governed(never=NEVER), lambda _: Hypothesis(without_policy=True), activate(), Reason.ALLOWED
    ),
    "approved": What(lambda: governed(two=GATED), lambda _: Hypothesis(approved=True), allow, Reason.ALLOWED),
}


def supposed(made: Denied, what: What) -> Simulation:
    hypothesis = what.suppose(made)
    if what.files is not None:
        policy = made.world.authority.policies.prepare(made.world.caller, what.files(made))
        hypothesis = Hypothesis(policy=policy)
    return made.world.authority.simulate(made.world.caller, made.tokens, made.request(), hypothesis)


@pytest.mark.parametrize("what", WHATS.values(), ids=list(WHATS))
def test_a_supposition_turns_the_answer_and_the_real_thing_comes_out_the_same(what: What) -> None:
    made = what.make()
    before = written(made.world)
    told = supposed(made, what)
    assert written(made.world) == before
    assert told.now.effect is not told.then.effect
    assert told.then.reason is what.reason, str(told.then)
    assert _plain(supposed(made, what).then) == _plain(told.then)
    now = made.ask()
    assert (now.effect, now.reason) == (told.now.effect, told.now.reason)
    then = what.do(made).ask()
    assert _plain(then) == _plain(told.then)


def _plain(decision: Decision) -> tuple[object, ...]:
    """What has to be the same of a decision that was recorded and of one that was supposed."""
    findings = [(one.reason, one.hop, one.detail) for one in decision.findings]
    return decision.effect, decision.reason, decision.hop, findings, decision.policy, decision.rules


@pytest.mark.parametrize("what", WHATS.values(), ids=list(WHATS))
def test_a_service_supposes_the_same(what: What, tmp_path: Path) -> None:
    made = what.make()
    own = supposed(made, what)
    hypothesis, kept = what.suppose(made), None if what.files is None else what.files(made)
    with serving(lambda: ChainServer(made.world.authority, settings(tmp_path), log=io.StringIO())) as server:
        before = written(made.world)
        with Client(server.address, secret("operator"), timeout=20) as client:
            told = client.simulate(made.tokens, made.request(), hypothesis, kept)

        async def ask() -> Simulation:
            async with AsyncClient(server.address, secret("operator"), timeout=20) as other:
                return await other.simulate(made.tokens, made.request(), hypothesis, policy_files=kept)

        assert asyncio.run(ask()) == told
        assert written(made.world) == before
    assert (_plain(told.now), _plain(told.then)) == (_plain(own.now), _plain(own.then))
    assert told.hops == own.hops


def test_who_may_suppose() -> None:
    made = paying()
    for role in Role:
        caller = Caller("somebody", frozenset({role}))
        if role in (Role.AUDITOR, Role.OPERATOR):
            assert made.world.authority.simulate(caller, made.tokens, made.request(), Hypothesis()).then.allowed
        else:
            with pytest.raises(ForbiddenError):
                made.world.authority.simulate(caller, made.tokens, made.request(), Hypothesis())


def test_a_hop_that_asks_for_more_is_told_as_a_denial() -> None:
    made = paying()
    told = made.world.authority.simulate(made.world.caller, made.tokens, made.request(), Hypothesis(delegate=(WIDE,)))
    assert (told.now.allowed, told.then.reason, told.then.hop) == (True, Reason.TOOL_ADDED, 3)
    late = Hypothesis(delegate=(NARROW,), at=NOW + 3600)
    told = made.world.authority.simulate(made.world.caller, made.tokens, made.request(), late)
    assert (told.then.reason, told.then.hop) == (Reason.EXPIRED, 2)
    deep = Hypothesis(delegate=(NARROW,) * 7)
    told = made.world.authority.simulate(made.world.caller, made.tokens, made.request(), deep)
    assert told.then.reason is Reason.DEPTH_EXCEEDED


def test_what_people_refused_stays_refused() -> None:
    made = governed(two=GATED)
    decision = made.ask()
    assert decision.awaits is not None
    yes = made.world.authority.simulate(made.world.caller, made.tokens, made.request(), Hypothesis(approved=True))
    assert (yes.now.effect, yes.then.allowed) == (Effect.APPROVAL_REQUIRED, True)
    approvals = made.world.authority.approvals
    asked = approvals.get(made.world.caller, decision.awaits.request_id)
    text = word(asked, PEOPLE[0], HOME, "deny", now=made.world.clock.now)
    approvals.resolve(made.world.caller, text, PEOPLE[0].key)
    no = made.world.authority.simulate(made.world.caller, made.tokens, made.request(), Hypothesis(approved=True))
    assert (no.then.effect, no.then.reason) == (Effect.DENY, Reason.APPROVAL_DENIED)


COUNTED = 'forbid (principal, action == Chain::Action::"act", resource) unless { context.approvals.count >= 2 };'


def test_rules_that_count_people_are_told_of_those_who_are_supposed_to_approve() -> None:
    made = governed(one=GATED, counted=COUNTED)
    authority, caller = made.world.authority, made.world.caller
    told = authority.simulate(caller, made.tokens, made.request(), Hypothesis(approved=True))
    assert (told.now.effect, told.then.allowed) == (Effect.DENY, True)
    few = Hypothesis(approved=True, people=1)
    assert authority.simulate(caller, made.tokens, made.request(), few).then.rules == ("counted",)
    assert authority.simulate(caller, made.tokens, made.request(), Hypothesis(approved=True, people=2)).then.allowed


def test_the_people_of_a_step_are_as_many_as_it_says() -> None:
    """Explain proposes as many as the gate asks for, and a rule that counts more is not got around by that."""
    enough = "unless { context.approvals.count >= 1 }"
    for rule, helped in ((COUNTED, False), (COUNTED.replace("unless { context.approvals.count >= 2 }", enough), True)):
        changes = governed(one=GATED, counted=rule).changes()
        assert ([change.field for change in changes] == ["approvals"]) is helped


def test_an_audience_and_a_label_can_be_supposed(tmp_path: Path) -> None:
    """Who may suppose is no enforcement point, and has no audience of its own."""
    tokens = honest(2, root(aud="https://other.example", limits={"classification": "internal"}))
    made = Denied(World(), tokens, BOB, facts={"classification": "restricted"})
    started = serving(lambda: ChainServer(made.world.authority, settings(tmp_path), log=io.StringIO()))
    with started as server, Client(server.address, secret("operator"), timeout=20) as client:
        here = client.simulate(tokens, made.request(), Hypothesis())
        there = client.simulate(tokens, made.request(), Hypothesis(audience="https://other.example"))
        with pytest.raises(InvalidRequestError):
            client.simulate(tokens, made.request(), Hypothesis(trust=frozenset({"x"})))
    assert here.then.reason is Reason.AUDIENCE_MISSING
    assert [finding.reason for finding in there.then.findings] == [Reason.CLASSIFICATION_EXCEEDED] * 2


def test_supposing_counts_nothing() -> None:
    """Neither rate limit, breaker nor a memory of the policy changes by it."""
    made = Denied(ruled(World(breaker=Breaker(calls=2, denials=2)), deep=TRUSTED), honest(), CAROL)
    for _ in range(5):
        hypothesis = Hypothesis(delegate=(NARROW,), at=NOW + 500, suspend=(("agent", SITS),))
        made.world.authority.simulate(made.world.caller, made.tokens, made.request(), hypothesis)
        made.world.authority.explain(made.world.caller, made.tokens, made.request())
    assert made.ask().allowed
    assert made.ask().allowed
    assert made.ask().reason is Reason.RATE_LIMITED


def test_permits_alone_permit() -> None:
    made = Denied(ruled(World(), PERMITS), honest(), ALICE)
    told = made.world.authority.simulate(made.world.caller, made.tokens, made.request(), Hypothesis())
    assert (told.now.rules, told.then.rules) == (("done",), ("done",))
    assert [hop.rules for hop in told.hops] == [("done", "made")] * 3
