"""Rate limits and the circuit breaker: what stops one who has gone wild, and nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from chain.caller import Caller, Role
from chain.decision import Decision
from chain.errors import DeniedError
from chain.key import KeySigner
from chain.order import Revoke
from chain.pace import Breaker, Pace
from chain.proof import DELEGATE
from chain.reason import Reason
from chain.writing import CIRCUIT_BREAKER
from tests.control.material import agent, worker
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    HOME,
    MALLORY,
    NOW,
    World,
    child,
    digest,
    digest_of,
    honest,
    root,
    seal,
    signer,
)

OPERATOR = Caller("op", frozenset({Role.OPERATOR}))


def world_of(**limits: int) -> World:
    return World(breaker=Breaker(**limits))


def wrong(world: World, tokens: list[str], by: KeySigner) -> Decision:
    """A call that is proven and refused."""
    decision = world.ask(tokens, by, "mail.read", {"folder": "elsewhere"})
    assert not decision.allowed
    return decision


def test_a_rate_limit_recovers_and_says_when() -> None:
    world, tokens = world_of(calls=3, window=10), honest(1)
    for second in range(3):
        world.clock.now = NOW + second
        world.allowed(tokens, ALICE)
    world.clock.now = NOW + 4.5
    decision = world.denied(Reason.RATE_LIMITED, 0, tokens, ALICE)
    assert decision.findings[0].detail == "too many calls; again in 6 s"
    world.clock.now = NOW + 9.99
    assert world.denied(Reason.RATE_LIMITED, 0, tokens, ALICE).findings[0].detail == "too many calls; again in 1 s"
    world.clock.now = NOW + 10
    world.allowed(tokens, ALICE)
    world.denied(Reason.RATE_LIMITED, 0, tokens, ALICE)  # those of second 1 and 2 still count
    world.clock.now = NOW + 11
    world.allowed(tokens, ALICE)


def test_a_rate_is_a_principals_and_not_a_keys() -> None:
    world, second = world_of(calls=2), signer("second")
    worker(world, second, agent(1))
    first, other = honest(1), [seal(root(second))]
    world.allowed(first, ALICE)
    world.allowed(other, second)
    world.denied(Reason.RATE_LIMITED, 0, first, ALICE)
    world.denied(Reason.RATE_LIMITED, 0, other, second)
    world.allowed(honest(2), BOB)


def test_calls_that_nobody_proved_count_for_nobody() -> None:
    """Somebody who presents another's chain runs up nothing."""
    world, tokens = world_of(calls=2, denials=2), honest(1)
    for _ in range(5):
        world.denied(Reason.HOLDER_MISMATCH, 0, tokens, MALLORY, holder=MALLORY.key.thumbprint)
        world.denied(Reason.PROOF_MISSING, 0, tokens, MALLORY, holder=None)
        world.denied(Reason.PROOF_INVALID, 0, tokens, MALLORY, proof="a.b.c")
    assert world.authority.steering.suspensions(OPERATOR) == []
    world.allowed(tokens, ALICE)


def test_denials_trip_the_breaker_and_the_cooldown_ends_it() -> None:
    world, tokens = world_of(denials=3, window=60, cooldown=100), honest(2)
    world.allowed(tokens, BOB)
    for _ in range(3):
        wrong(world, tokens, BOB)
    (suspension,) = world.authority.steering.suspensions(OPERATOR)
    assert (suspension.scope, suspension.name, suspension.author) == ("agent", agent(2), CIRCUIT_BREAKER)
    assert (suspension.since, suspension.until, suspension.mode) == (NOW, NOW + 100, "suspended")
    assert suspension.cause == "too many of its calls were refused"
    world.denied(Reason.SUSPENDED, 1, tokens, BOB)
    world.allowed(tokens[:1], ALICE)
    world.authority = world.open()
    world.denied(Reason.SUSPENDED, 1, tokens, BOB)
    world.clock.now = NOW + 100
    world.allowed(tokens, BOB)


def test_it_trips_again_and_again() -> None:
    world, tokens = world_of(denials=2, window=60, cooldown=100), honest(1)
    for turn in range(3):
        world.clock.now = NOW + 110 * turn
        world.allowed(tokens, ALICE)
        wrong(world, tokens, ALICE)
        assert world.authority.steering.suspensions(OPERATOR) == []
        wrong(world, tokens, ALICE)
        world.denied(Reason.SUSPENDED, 0, tokens, ALICE)
    assert len(world.store.records(kind="suspended")) == 3


def test_an_operator_resumes_earlier_and_counting_begins_anew() -> None:
    world, tokens = world_of(denials=2, cooldown=1000), honest(1)
    wrong(world, tokens, ALICE)
    wrong(world, tokens, ALICE)
    for _ in range(5):
        world.denied(Reason.SUSPENDED, 0, tokens, ALICE)  # what that refuses is not held against it
    world.authority.steering.resume(OPERATOR, "agent", agent(1), "looked at it")
    world.allowed(tokens, ALICE)
    wrong(world, tokens, ALICE)
    world.allowed(tokens, ALICE)
    wrong(world, tokens, ALICE)
    world.denied(Reason.SUSPENDED, 0, tokens, ALICE)


def test_old_denials_do_not_count() -> None:
    world, tokens = world_of(denials=2, window=60), honest(1)
    wrong(world, tokens, ALICE)
    world.clock.now = NOW + 60
    wrong(world, tokens, ALICE)
    world.allowed(tokens, ALICE)
    world.clock.now = NOW + 119
    wrong(world, tokens, ALICE)
    world.denied(Reason.SUSPENDED, 0, tokens, ALICE)


def test_a_tool_that_is_stopped_shields_nobody() -> None:
    """Refusals because of a suspended tool are the caller's own: it may ask for something else."""
    world, tokens = world_of(denials=2), honest(1)
    world.authority.steering.suspend(OPERATOR, "tool", "bank.pay", "because")
    for _ in range(2):
        world.denied(Reason.SUSPENDED, None, tokens, ALICE, "bank.pay")
    world.denied(Reason.SUSPENDED, 0, tokens, ALICE)


def test_a_key_that_nobody_enrolled_is_stopped_by_its_thumbprint() -> None:
    world, tokens = world_of(denials=2), [seal(root(MALLORY))]
    wrong(world, tokens, MALLORY)
    wrong(world, tokens, MALLORY)
    (suspension,) = world.authority.steering.suspensions(OPERATOR)
    assert suspension.name == MALLORY.key.thumbprint
    world.denied(Reason.SUSPENDED, 0, tokens, MALLORY)
    world.allowed(honest(1), ALICE)


def test_a_longer_suspension_is_left_alone() -> None:
    world, tokens = world_of(denials=1), honest(1)
    before = world.authority.steering.suspend(OPERATOR, "agent", agent(1), "for good", "quarantined")
    wrong(world, tokens, ALICE)
    assert world.authority.steering.suspensions(OPERATOR) == [before]


def delegate(world: World, tokens: list[str], by: KeySigner, to: KeySigner, **claims: Any) -> str:
    made = seal(child(tokens[-1], to, **claims), by)
    agreed = world.proof(tokens[-1], by, DELEGATE, {"child": digest_of(made)}, HOME)
    return world.authority.delegate(world.caller, tokens, made, agreed).id


def test_fan_out_trips_the_breaker() -> None:
    world, tokens = world_of(delegations=3, cooldown=100), honest(1)
    for number in range(3):
        delegate(world, tokens, ALICE, BOB, jti=f"c{number}")
    (suspension,) = world.authority.steering.suspensions(OPERATOR)
    assert (suspension.name, suspension.cause) == (agent(1), "it made too many delegations")
    with pytest.raises(DeniedError) as raised:
        delegate(world, tokens, ALICE, BOB, jti="c3")
    assert raised.value.decision.reason is Reason.SUSPENDED
    world.clock.now = NOW + 100
    assert delegate(world, tokens, ALICE, BOB, jti="c4")


def test_children_that_were_made_offline_count_too() -> None:
    world, tokens = world_of(delegations=3), honest(1)
    children = [[*tokens, seal(child(tokens[0], BOB, jti=f"c{number}"), ALICE)] for number in range(3)]
    for chain in children:
        world.allowed(chain, BOB)
        world.ask(chain, BOB)  # seen again is not made again
    assert [one.name for one in world.authority.steering.suspensions(OPERATOR)] == [agent(1)]
    world.denied(Reason.SUSPENDED, 0, children[0], BOB)


def test_somebody_elses_chain_counts_for_whoever_signed_it() -> None:
    world, tokens = world_of(delegations=2), honest(3)
    world.allowed(tokens, CAROL)  # a hop by Alice and one by Bob
    assert world.authority.steering.suspensions(OPERATOR) == []


def test_outstanding_delegations_have_an_end() -> None:
    world, tokens = world_of(outstanding=2), honest(1)
    delegate(world, tokens, ALICE, BOB, jti="c0", exp=NOW + 100)
    delegate(world, tokens, ALICE, BOB, jti="c1", exp=NOW + 200)
    with pytest.raises(DeniedError) as raised:
        delegate(world, tokens, ALICE, BOB, jti="c2")
    (finding,) = raised.value.decision.findings
    assert (finding.reason, finding.hop) == (Reason.RATE_LIMITED, 0)
    assert finding.detail == "too many of its delegations have not ended; again in 100 s"
    world.clock.now = NOW + 100
    assert delegate(world, tokens, ALICE, BOB, jti="c3")
    with pytest.raises(DeniedError):
        delegate(world, tokens, ALICE, BOB, jti="c4")
    child_of_bob = [*tokens, seal(child(tokens[0], BOB, jti="c1", exp=NOW + 200), ALICE)]
    assert delegate(world, child_of_bob, BOB, CAROL, jti="c5")  # Bob has made none


def test_a_stranger_learns_nothing_of_a_holders_count() -> None:
    world, tokens = world_of(outstanding=1), honest(1)
    delegate(world, tokens, ALICE, BOB, jti="c0")
    made = seal(child(tokens[0], BOB, jti="c1"), ALICE)
    with pytest.raises(DeniedError) as raised:
        world.authority.delegate(world.caller, tokens, made)
    assert [finding.reason for finding in raised.value.decision.findings] == [Reason.PROOF_MISSING]


def test_without_limits_nothing_is_counted() -> None:
    world, tokens = World(), honest(1)
    for number in range(200):
        wrong(world, tokens, ALICE)
        delegate(world, tokens, ALICE, BOB, jti=f"c{number}")
    world.allowed(tokens, ALICE)
    assert world.store.records(kind="suspended") == []


def test_what_was_revoked_is_denied_and_counted() -> None:
    world, tokens = world_of(denials=2), honest(1)
    world.allowed(tokens, ALICE)
    world.authority.revoke(world.caller, Revoke(digest(tokens[0])))
    for _ in range(2):
        world.denied(Reason.REVOKED, 0, tokens, ALICE)
    assert [one.name for one in world.authority.steering.suspensions(OPERATOR)] == [agent(1)]


def test_counts_are_bounded() -> None:
    pace = Pace(Breaker(calls=2, denials=3, delegations=4, outstanding=5))
    for number in range(1000):
        pace.called("a", number, denied=False)
        pace.delegated("b", 0, number)
    assert pace.rested("a", 1000) > 0
    assert pace.crowded("b", 0) == 995
    assert pace.rested("c", 0) == pace.crowded("c", 0) == 0
    assert len(pace._ends.get("b") or ()) == 5
