"""Verdicts on hops are remembered exactly as long as nothing that they depend on changed: no stale ALLOW, ever."""

from __future__ import annotations

from itertools import product

import pytest

from chain.decision import Decision, Effect
from chain.errors import DeniedError
from chain.principal import Principal
from chain.reason import Reason
from chain.recent import Recent
from tests.policy.folder import ANY_CALL, ANY_HOP, ANYTHING, activate, agent, stand, three
from tests.support import ALICE, BOB, CAROL, HOME, MALLORY, NOW, World, child, digest_of, root, seal

LOW = """
@id("low") permit (principal, action == Chain::Action::"delegate", resource) when { principal.risk == "low" };
"""
NOT_BELOW_ONE = """
@id("domain") forbid (principal, action == Chain::Action::"delegate", resource)
when { resource.depth > 1 && resource.holder.trust_domain != "acme.test" };
"""


def test_a_change_of_risk_turns_the_next_call_and_back(world: World) -> None:
    activate(world, LOW + ANY_CALL)
    tokens, stale = three(), 0
    for risk, who in product(("high", "low", "medium", "low"), (1, 2)):
        stand(world, agent(who), risk=risk)
        for _ in range(3):
            decision = world.ask(tokens, CAROL)
            expected = Effect.ALLOW if risk == "low" else Effect.DENY
            stale += decision.effect is Effect.ALLOW and expected is not Effect.ALLOW
            assert decision.effect is expected, str(decision)
            if risk != "low":
                assert (decision.reason, decision.hop) == (Reason.POLICY_DENIED, who)
        stand(world, agent(who))
    assert stale == 0


def test_the_leafs_own_risk_is_asked_of_the_call_and_not_of_its_hop(world: World) -> None:
    activate(world, LOW + ANY_CALL)
    stand(world, agent(3), risk="high")
    world.allowed(three(), CAROL)


def test_a_change_of_policy_turns_the_next_call_and_back(world: World) -> None:
    tokens, stale = three(), 0
    for number in range(8):
        activate(world, ANYTHING + NOT_BELOW_ONE if number % 2 else ANYTHING)
        for _ in range(3):
            decision = world.ask(tokens, CAROL)
            stale += decision.effect is Effect.ALLOW and number % 2
            assert decision.allowed is not bool(number % 2)
            if number % 2:
                assert (decision.reason, decision.hop) == (Reason.POLICY_DENIED, 2)
    world.authority.policies.activate(world.caller, None)
    world.allowed(tokens, CAROL)
    assert stale == 0


def test_an_enrolment_turns_the_next_call(world: World) -> None:
    activate(world, ANYTHING + NOT_BELOW_ONE)
    tokens = three()
    world.denied(Reason.POLICY_DENIED, 2, tokens, CAROL)
    world.authority.enrol(world.caller, CAROL.key, Principal(id="spiffe://acme.test/carol", owner="team"))
    world.allowed(tokens, CAROL)
    world.authority.enrol(world.caller, CAROL.key, Principal(id="spiffe://example.org/agent/3", owner="team"))
    world.denied(Reason.POLICY_DENIED, 2, tokens, CAROL)


def test_a_new_leaf_under_a_remembered_parent_is_asked_itself(world: World) -> None:
    activate(world, ANYTHING + NOT_BELOW_ONE)
    first = seal(root())
    second = seal(child(first, BOB), ALICE)
    world.allowed([first, second], BOB)
    world.denied(Reason.POLICY_DENIED, 2, [first, second, seal(child(second, CAROL), BOB)], CAROL)
    world.denied(Reason.POLICY_DENIED, 2, [first, second, seal(child(second, BOB, exp=NOW + 60), BOB)], BOB)
    world.allowed([first, second], BOB)


def test_no_hop_outside_acme_below_depth_one(world: World) -> None:
    """The example of the documentation: at the hop, when it is made, and at every call under it."""
    activate(world, ANYTHING + NOT_BELOW_ONE)
    first = seal(root())
    second = seal(child(first, BOB), ALICE)
    third = seal(child(second, CAROL), BOB)
    authority = world.authority
    authority.delegate(
        world.caller, [first], second, world.proof(first, ALICE, "chain:delegate", handing(second), HOME)
    )
    decision = refused(world, [first, second], third)
    assert (decision.reason, decision.hop) == (Reason.POLICY_DENIED, 2)
    world.denied(Reason.POLICY_DENIED, 2, [first, second, third], CAROL)
    authority.enrol(world.caller, CAROL.key, Principal(id="spiffe://acme.test/carol", owner="team"))
    made = authority.delegate(
        world.caller, [first, second], third, world.proof(second, BOB, "chain:delegate", handing(third), HOME)
    )
    assert made.hop == 2
    world.allowed([first, second, third], CAROL)


def handing(token: str) -> dict[str, str]:
    return {"child": digest_of(token)}


def refused(world: World, above: list[str], token: str) -> Decision:
    with pytest.raises(DeniedError) as raised:
        world.authority.delegate(
            world.caller, above, token, world.proof(above[-1], BOB, "chain:delegate", handing(token), HOME)
        )
    return raised.value.decision


def test_what_falls_out_of_memory_is_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    activate(world, ANY_HOP + ANY_CALL)
    ruled = world.authority._desk.live.policy
    monkeypatch.setattr(ruled, "_chains", Recent(1))
    monkeypatch.setattr(ruled, "_hops", Recent(1))
    stand(world, agent(1))
    tokens = [seal(root(exp=NOW + 100 + number)) for number in range(6)]
    for _ in range(3):
        for token in tokens:
            world.allowed([token], ALICE)
            world.denied(Reason.HOLDER_MISMATCH, 0, [token], ALICE, holder=MALLORY.key.thumbprint)
