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
from chain.principal import Principal
from chain.proof import DELEGATE
from chain.reason import Reason
from chain.writing import CIRCUIT_BREAKER
from tests.control.material import agent, enrols, plain, worker
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


def test_a_quarantined_agent_trips_the_breaker_too() -> None:
    """It still reads, and is stopped where it reads wildly; what stands never gets shorter by that."""
    for lifetime, until in ((30, NOW + 300), (900, NOW + 900), (0, 0)):
        world, tokens = world_of(denials=3, cooldown=300), honest(2)
        world.authority.steering.suspend(OPERATOR, "agent", agent(2), "a look", "quarantined", lifetime)
        for _ in range(2):
            wrong(world, tokens, BOB)
        world.allowed(tokens, BOB)
        wrong(world, tokens, BOB)
        world.denied(Reason.SUSPENDED, 1, tokens, BOB)
        (suspension,) = world.authority.steering.suspensions(OPERATOR)
        assert (suspension.mode, suspension.author, suspension.until) == ("suspended", CIRCUIT_BREAKER, until)
        world.authority = world.open()
        world.denied(Reason.SUSPENDED, 1, tokens, BOB)


def test_what_is_suspended_for_longer_is_left_alone() -> None:
    """A hop that was made offline by one who is suspended: it counts, and says nothing new of its maker."""
    world, tokens = world_of(delegations=1), honest(2)
    before = world.authority.steering.suspend(OPERATOR, "agent", agent(1), "for good")
    world.denied(Reason.SUSPENDED, 0, tokens, BOB)
    assert world.authority.steering.suspensions(OPERATOR) == [plain(before)]


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
        pace.called("a", number)
        pace.refused("a", number)
        pace.delegated("b", 0)
        pace.keep("b", number)
    assert pace.rested("a", 1000) > 0
    assert pace.crowded("b", 0) == 995
    assert pace.rested("c", 0) == pace.crowded("c", 0) == 0
    assert len(pace._ends.get("b") or ()) == 5


def workers(world: World, above: KeySigner, name: str, count: int) -> list[KeySigner]:
    made = [signer(f"{name}/w{number}") for number in range(count)]
    for number, key in enumerate(made):
        enrols(world, above, key, f"{name}/w{number}")
    return made


def test_workers_have_no_rate_of_their_own() -> None:
    """An agent that enrols nine workers asks as often as one, however they are handed what they do."""
    world, tokens = world_of(calls=5), honest(2)
    nine = workers(world, BOB, agent(2), 9)
    (inner,) = workers(world, nine[0], f"{agent(2)}/w0", 1)
    asked = [([*tokens, seal(child(tokens[-1], key), BOB)], key) for key in (*nine, inner)]
    alone = [([seal(root(key))], key) for key in (*nine, inner)]
    assert sum(world.ask(chain, key).allowed for chain, key in (*asked, *alone)) == 5
    world.denied(Reason.RATE_LIMITED, 1, tokens, BOB)
    world.allowed(tokens[:1], ALICE)


def test_workers_count_by_their_id_and_by_who_enrolled_them() -> None:
    world = world_of(calls=2)
    beneath, elsewhere, alike = map(signer, ("beneath", "elsewhere", "alike"))
    worker(world, beneath, f"{agent(1)}/helper")
    worker(world, elsewhere, "spiffe://elsewhere.org/helper", under=ALICE.key.thumbprint)
    worker(world, alike, f"{agent(1)}0")  # begins alike, and works under nobody
    world.allowed([seal(root(beneath))], beneath)
    world.allowed([seal(root(elsewhere))], elsewhere)
    world.denied(Reason.RATE_LIMITED, 0, honest(1), ALICE)
    world.denied(Reason.RATE_LIMITED, 0, [seal(root(beneath))], beneath)
    world.allowed([seal(root(alike))], alike)


def test_a_person_is_not_who_an_agents_calls_count_to() -> None:
    world = world_of(denials=2)
    ann, helper = signer("ann"), signer("helper")
    person = Principal(id="spiffe://example.org/ann", kind="human", owner="ann")
    world.authority.enrol(world.caller, ann.key, person)
    world.authority.enrol(
        world.caller, helper.key, Principal(id=f"{person.id}/helper", owner="ann", under=ann.key.thumbprint)
    )
    tokens = [seal(root(helper))]
    for _ in range(2):
        wrong(world, tokens, helper)
    world.denied(Reason.SUSPENDED, 0, tokens, helper)
    assert [one.name for one in world.authority.steering.suspensions(OPERATOR)] == [f"{person.id}/helper"]
    world.allowed([seal(root(ann))], ann)


def test_denials_of_workers_stop_the_agent_and_all_of_them() -> None:
    world, tokens = world_of(denials=3), honest(1)
    three = workers(world, ALICE, agent(1), 3)
    for key in three:
        wrong(world, [seal(root(key))], key)
    assert [one.name for one in world.authority.steering.suspensions(OPERATOR)] == [agent(1)]
    world.denied(Reason.SUSPENDED, 0, tokens, ALICE)
    for key in three:
        world.denied(Reason.SUSPENDED, 0, [seal(root(key))], key)
    world.allowed([seal(root(BOB))], BOB)


def test_fan_out_of_workers_is_their_agents() -> None:
    world = world_of(delegations=4)
    two = workers(world, ALICE, agent(1), 2)
    for number in range(2):
        for key in two:
            assert world.authority.steering.suspensions(OPERATOR) == []
            delegate(world, [seal(root(key))], key, BOB, jti=f"{key.key.thumbprint}{number}")
    assert [one.name for one in world.authority.steering.suspensions(OPERATOR)] == [agent(1)]


def test_keys_that_nobody_enrolled_have_no_rate_of_their_own() -> None:
    """Whoever hands something to a fresh key answers for how often that asks; but not for what it is refused."""
    world, tokens = world_of(calls=4, denials=5), honest(1)
    fresh = [signer(f"fresh {number}") for number in range(6)]
    chains = [([*tokens, seal(child(tokens[0], key), ALICE)], key) for key in fresh]
    assert sum(world.ask(chain, key).allowed for chain, key in chains) == 4
    world.denied(Reason.RATE_LIMITED, 0, tokens, ALICE)
    world.allowed([seal(root(BOB))], BOB)
    mine = [seal(root(MALLORY))]  # where nobody is enrolled, the root's holder answers
    theirs = [([*mine, seal(child(mine[0], key), MALLORY)], key) for key in fresh]
    assert sum(world.ask(chain, key).allowed for chain, key in theirs) == 4
    other = world_of(denials=2)
    for chain, key in chains:
        wrong(other, chain, key)
        wrong(other, chain, key)
        other.denied(Reason.SUSPENDED, 1, chain, key)
    other.allowed(tokens, ALICE)


def test_children_that_were_made_offline_are_refused_beyond_the_limit() -> None:
    world, tokens = world_of(outstanding=2), honest(1)
    chains = [[*tokens, seal(child(tokens[0], BOB, jti=f"c{number}", exp=NOW + 100), ALICE)] for number in range(4)]
    world.allowed(chains[0], BOB)
    delegate(world, tokens, ALICE, CAROL, jti="d", exp=NOW + 50)
    head = len(world.store.records(kind="admitted"))
    decision = world.denied(Reason.RATE_LIMITED, 0, chains[1], BOB)
    assert decision.findings[0].detail == "too many of its delegations have not ended; again in 50 s"
    assert len(world.store.records(kind="admitted")) == head  # nothing is registered
    world.allowed(chains[0], BOB)  # one that is there already is not made again
    world.clock.now = NOW + 50
    world.allowed(chains[1], BOB)
    world.denied(Reason.RATE_LIMITED, 0, chains[2], BOB)


def test_all_new_hops_of_one_chain_count() -> None:
    """Workers that hand on to each other make a chain of hops that are all their agent's."""
    world, tokens = world_of(outstanding=2), honest(1)
    first, second, third = workers(world, ALICE, agent(1), 3)
    for by, to in ((ALICE, first), (first, second), (second, third)):
        tokens.append(seal(child(tokens[-1], to), by))
    world.denied(Reason.RATE_LIMITED, 2, tokens, third)
    world.allowed(tokens[:3], second)
    world.denied(Reason.RATE_LIMITED, 2, tokens, third)


def test_fresh_keys_make_no_room_for_more_hops() -> None:
    world, tokens = world_of(outstanding=2), honest(1)
    fresh = signer("fresh")
    tokens.append(seal(child(tokens[0], fresh), ALICE))
    world.allowed(tokens, fresh)
    first, second = ([*tokens, seal(child(tokens[1], BOB, jti=f"c{number}"), fresh)] for number in range(2))
    world.allowed(first, BOB)
    world.denied(Reason.RATE_LIMITED, 1, second, BOB)


def test_delegating_is_paced_like_a_call() -> None:
    world, tokens = world_of(calls=3, window=10), honest(1)
    world.allowed(tokens, ALICE)
    for number in range(2):
        delegate(world, tokens, ALICE, BOB, jti=f"c{number}")
    with pytest.raises(DeniedError) as raised:
        delegate(world, tokens, ALICE, BOB, jti="c2")
    (finding,) = raised.value.decision.findings
    assert (finding.reason, finding.hop, finding.detail) == (Reason.RATE_LIMITED, 0, "too many calls; again in 10 s")
    world.denied(Reason.RATE_LIMITED, 0, tokens, ALICE)
    world.clock.now = NOW + 10
    assert delegate(world, tokens, ALICE, BOB, jti="c2")


def test_refused_delegations_count_and_those_of_a_stranger_do_not() -> None:
    world, tokens = world_of(denials=2, calls=50), honest(1)
    other = honest(1, root(exp=NOW + 5, jti="short"))
    world.clock.now = NOW + 6
    made = seal(child(other[0], BOB, exp=NOW + 5), ALICE)
    for _ in range(4):
        with pytest.raises(DeniedError):
            world.authority.delegate(world.caller, other, made)  # nobody proves anything
    world.allowed(tokens, ALICE)
    for number in range(2):
        with pytest.raises(DeniedError) as raised:
            delegate(world, other, ALICE, BOB, jti=f"c{number}", exp=NOW + 5)
        assert raised.value.decision.reason is Reason.EXPIRED
    world.denied(Reason.SUSPENDED, 0, tokens, ALICE)
