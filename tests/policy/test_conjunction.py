"""The decision is chain ∧ policy: the policy rescues nothing, and the chain permits nothing that the policy refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.decision import Effect
from chain.ledger import decode
from chain.reason import Reason
from tests.policy.folder import ANY_HOP, ANYTHING, activate
from tests.support import ALICE, BOB, CAROL, MALLORY, NOW, World, child, root, seal

FACTS: list[dict[str, Any]] = [
    {},
    {"audience": "https://other.example"},
    {"classification": "restricted"},
    {"purpose": "pay"},
    {"purpose": "other"},
    {"labels": ("x",)},
    {"tool": "bank.pay", "arguments": {"amount": 5}},
    {"tool": "bank.pay", "arguments": {"amount": 101}},
    {"tool": "mail.send", "arguments": {}},
    {"arguments": {"folder": "trash"}},
    {"by": MALLORY},
    {"later": 700},
    {"revoked": True},
]
LIMITS: list[dict[str, Any] | None] = [
    None,
    {"classes": ["read"]},
    {"classification": "internal"},
    {"purposes": ["pay"]},
]
RULES = [
    ANYTHING,
    ANYTHING + '@id("no") forbid (principal, action == Chain::Action::"read", resource);',
    ANYTHING + '@id("no") forbid (principal, action == Chain::Action::"act", resource);',
    ANYTHING
    + '@id("no") forbid (principal, action == Chain::Action::"delegate", resource) when { resource.depth > 1 };',
    ANYTHING + '@id("no") @approval("1") forbid (principal, action in Chain::Action::"call", resource);',
    ANYTHING
    + '@id("no") forbid (principal, action in Chain::Action::"call", resource) when { context.purpose == "" };',
    ANY_HOP,
]


def decide(world: World, limits: dict[str, Any] | None, facts: dict[str, Any]) -> Any:
    facts = dict(facts)
    first = seal(root(limits=limits))
    second = seal(child(first, BOB), ALICE)
    tokens = [first, second, seal(child(second, CAROL), BOB)]
    by, later = facts.pop("by", CAROL), facts.pop("later", 0)
    if facts.pop("revoked", False):
        from chain.change import Revoke  # noqa: PLC0415
        from tests.support import digest  # noqa: PLC0415

        world.allowed([first], ALICE, **({"purpose": "pay"} if limits and "purposes" in limits else {}))
        world.authority.revoke(world.caller, Revoke(digest(first), "test"))
    world.clock.now = NOW + later
    return world.ask(tokens, by, facts.pop("tool", "mail.read"), facts.pop("arguments", None), **facts)


@settings(max_examples=120, deadline=None)
@given(limits=st.sampled_from(LIMITS), facts=st.sampled_from(FACTS), rules=st.sampled_from(RULES))
def test_a_policy_only_narrows(limits: dict[str, Any] | None, facts: dict[str, Any], rules: str) -> None:
    bare = decide(World(), limits, facts)
    world, other = World(), World()
    ruled = decide_under(world, rules, limits, facts)
    anything = decide_under(other, ANYTHING, limits, facts)
    if not bare.allowed:
        assert ruled.effect is Effect.DENY, "a policy rescued what the chain refused"
        assert ruled.reason is bare.reason
        assert anything.effect is Effect.DENY
    else:
        assert anything.allowed
        assert ruled.allowed is _permits(rules, limits, facts)
    assert ruled.awaits is None or bare.allowed, "people were asked about what the chain refuses"


def decide_under(world: World, rules: str, limits: dict[str, Any] | None, facts: dict[str, Any]) -> Any:
    if facts.get("revoked"):
        bare = decide(world, limits, facts)
        activate(world, rules)
        first = seal(root(limits=limits))
        second = seal(child(first, BOB), ALICE)
        assert bare.reason is Reason.REVOKED
        more = {"purpose": "pay"} if limits and "purposes" in limits else {}
        return world.ask([first, second, seal(child(second, CAROL), BOB)], CAROL, **more)
    activate(world, rules)
    return decide(world, limits, facts)


def _permits(rules: str, limits: dict[str, Any] | None, facts: dict[str, Any]) -> bool:
    """What each of `RULES` says of a call that the chain allows."""
    act = facts.get("tool") == "bank.pay"
    verdicts = (True, act, not act, False, False, facts.get("purpose", "") != "", False)
    return verdicts[RULES.index(rules)]


@pytest.mark.parametrize("rules", RULES[1:3])
def test_digest_and_rules_stand_in_decision_record_and_explanation(world: World, rules: str) -> None:
    digest = activate(world, rules)
    tokens = [seal(root())]
    decision = world.ask(tokens, ALICE)
    explained = world.authority.explain(world.caller, tokens, world.request(tokens, ALICE))
    body = decode(world.store.records(decision.revision, 1)[0][0]).body
    ids = ("no",) if rules is RULES[1] else ("call",)
    assert (decision.policy, decision.rules) == (digest, ids)
    assert (body["policy"], tuple(body["rules"])) == (digest, ids)
    assert (explained.decision.policy, explained.decision.rules) == (digest, ids)
    changed = decode(world.store.records(1, 100, "policy_activated")[-1][0]).body
    assert (changed["digest"], changed["rules"]) == (digest, ["approver", "call", "hop", "no"])


def test_without_a_policy_none_is_named(world: World) -> None:
    decision = world.allowed([seal(root())], ALICE)
    assert (decision.policy, decision.rules) == ("", ())
