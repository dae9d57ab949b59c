"""What changes while one asks: revocation, names, restarts, clocks, enrolment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

import pytest

from chain import enrolment
from chain.caller import Caller, Role
from chain.decision import Effect
from chain.errors import ConflictError, DeniedError, ForbiddenError, NotFoundError
from chain.ledger import Batch, decode
from chain.mint import grant
from chain.order import Issue, Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.store.memory import MemoryStore
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    HOLDERS,
    HOME,
    MALLORY,
    NOW,
    PEP,
    ROOT_KEY,
    World,
    child,
    digest,
    honest,
    payload_of,
    root,
    seal,
)


class LateStore(MemoryStore):
    """Commits when told: what a busy writer looks like."""

    def __init__(self) -> None:
        super().__init__()
        self.late = False
        self._waiting: list[Callable[[], None]] = []

    def commit(self, batch: Batch) -> Future[int]:
        if not self.late:
            return super().commit(batch)
        future: Future[int] = Future()

        def later() -> None:
            made = MemoryStore.commit(self, batch)
            error = made.exception()
            if error is None:
                future.set_result(made.result())
            else:
                future.set_exception(error)

        self._waiting.append(later)
        return future

    def catch_up(self) -> None:
        self.late = False
        for later in self._waiting:
            later()
        self._waiting = []


def test_revoke_racing_check() -> None:
    """A check that was begun before a revocation and is decided after it is denied."""
    store = LateStore()
    world = World(store=store)
    tokens = honest()
    world.allowed(tokens, CAROL, "bank.pay")
    store.late = True
    before = world.authority.begin_check(world.caller, [(tokens, world.request(tokens, CAROL, "bank.pay"))])
    revoked = world.authority.begin_revoke(world.caller, Revoke(digest(tokens[1])))
    after = world.authority.begin_check(world.caller, [(tokens, world.request(tokens, CAROL, "bank.pay"))])
    assert not before.done()
    assert not after.done()
    store.catch_up()
    assert before.result()[0].allowed  # decided before it in the ledger's order
    decision = after.result()[0]
    assert (decision.effect, decision.reason, decision.hop) == (Effect.DENY, Reason.REVOKED, 1)
    assert revoked.result().count == 2
    assert before.result()[0].revision < revoked.result().revision < decision.revision


def test_revoked_ancestor(world: World) -> None:
    first, second, third = honest()
    sibling = seal(child(first, CAROL), ALICE)
    for tokens, by in (([first, second, third], CAROL), ([first, sibling], CAROL)):
        world.allowed(tokens, by)
    assert world.authority.revoke(world.caller, Revoke(digest(second))).count == 2
    world.denied(Reason.REVOKED, 1, [first, second, third], CAROL)
    world.denied(Reason.REVOKED, 1, [first, second], BOB)
    world.allowed([first, sibling], CAROL)
    world.allowed([first], ALICE)
    fresh = seal(child(second, CAROL, exp=NOW + 60), BOB)
    world.denied(Reason.REVOKED, 1, [first, second, fresh], CAROL)
    restarted = world.open()
    decision = restarted.check(world.caller, [first, second], world.request([first, second], BOB))
    assert (decision.allowed, decision.reason, decision.hop) == (False, Reason.REVOKED, 1)


def test_delegation_under_a_revoked_parent(world: World) -> None:
    first, second = honest(2)
    world.allowed([first], ALICE)
    alice = Caller("alice", frozenset({Role.AGENT}), holder=ALICE.key.thumbprint, channel=True)
    world.authority.delegate(alice, [first], second)
    world.authority.revoke(world.caller, Revoke(digest(first)))
    third = seal(child(first, CAROL), ALICE)
    with pytest.raises(DeniedError) as raised:
        world.authority.delegate(alice, [first], third)
    assert (raised.value.reason, raised.value.decision.hop) == (Reason.REVOKED, 0)
    assert world.store.delegation(digest(third)) is None


def test_two_leaves_with_one_jti(world: World) -> None:
    first = seal(root())
    one = seal(child(first), ALICE)
    two = seal(child(first, exp=NOW + 60, jti=payload_of(one)["jti"]), ALICE)
    world.allowed([first, one], BOB)
    world.denied(Reason.JTI_DUPLICATE, 1, [first, two], BOB)
    world.allowed([first, one], BOB)
    alice = Caller("alice", frozenset({Role.AGENT}), holder=ALICE.key.thumbprint, channel=True)
    with pytest.raises(DeniedError) as raised:
        world.authority.delegate(alice, [first], two)
    assert (raised.value.reason, raised.value.decision.hop) == (Reason.JTI_DUPLICATE, 1)
    restarted = world.open()
    decision = restarted.check(world.caller, [first, two], world.request([first, two], BOB))
    assert (decision.allowed, decision.reason, decision.hop) == (False, Reason.JTI_DUPLICATE, 1)


def test_same_jti_squatting(world: World) -> None:
    """Who merely presents a chain registers nothing, and another key's jti is another name."""
    first = seal(root())
    honest_leaf = seal(child(first), ALICE)
    jti = payload_of(honest_leaf)["jti"]
    theirs = seal(root(MALLORY, jti="theirs"))
    squat = seal(child(theirs, jti=jti), MALLORY)
    world.allowed([theirs, squat], BOB)
    world.denied(Reason.HOLDER_MISMATCH, 1, [first, seal(child(first, exp=NOW + 60, jti=jti), ALICE)], MALLORY)
    assert world.store.named(payload_of(honest_leaf)["iss"], jti) is None
    world.allowed([first, honest_leaf], BOB)


def test_revoking_by_a_copy(world: World) -> None:
    first = seal(root())
    honest_leaf = seal(child(first), ALICE)
    world.allowed([first, honest_leaf], BOB)
    copy = seal(child(first, CAROL, jti=payload_of(honest_leaf)["jti"]), ALICE)
    with pytest.raises(NotFoundError):
        world.authority.revoke(world.caller, Revoke(digest(copy)))
    theirs = seal(root(MALLORY, jti="theirs"))
    squat = seal(child(theirs, jti=payload_of(honest_leaf)["jti"]), MALLORY)
    world.allowed([theirs, squat], BOB)
    world.authority.revoke(world.caller, Revoke(digest(squat)))
    world.denied(Reason.REVOKED, 1, [theirs, squat], BOB)
    world.allowed([first, honest_leaf], BOB)


def test_revoking_a_stranger(world: World) -> None:
    mine, other = honest(2), [seal(root(MALLORY))]
    world.allowed(mine, BOB)
    world.allowed(other, MALLORY)
    agent = Caller("mallory", frozenset({Role.AGENT}), holder=MALLORY.key.thumbprint, channel=True)
    for target in (mine[0], mine[1]):
        with pytest.raises(NotFoundError):
            world.authority.revoke(agent, Revoke(digest(target)), other)
        with pytest.raises(NotFoundError):
            world.authority.revoke(agent, Revoke(digest(target)), other, dry_run=True)
    world.allowed(mine, BOB)
    assert world.authority.revoke(agent, Revoke(digest(other[0])), other).count == 1


def test_child_minted_to_a_victims_key(world: World) -> None:
    """Mallory hands Bob's key a delegation that he never asked for: it serves neither of them."""
    theirs = seal(root(MALLORY))
    planted = seal(child(theirs, BOB), MALLORY)
    world.denied(Reason.HOLDER_MISMATCH, 1, [theirs, planted], MALLORY)
    world.denied(Reason.HOLDER_UNKNOWN, 0, [theirs, planted], BOB, "bank.pay")
    world.authority.revoke(world.caller, Revoke(digest(theirs)))
    world.denied(Reason.REVOKED, 0, [theirs, planted], BOB)
    world.allowed(honest(2), BOB, "bank.pay")


def test_child_minted_to_a_fresh_unenrolled_key(world: World) -> None:
    first = seal(root())
    fresh = seal(child(first, MALLORY), ALICE)
    for tool in ("bank.pay",):
        world.denied(Reason.HOLDER_UNKNOWN, 1, [first, fresh], MALLORY, tool)
    laundered = seal(child(fresh, CAROL), MALLORY)
    world.denied(Reason.HOLDER_UNKNOWN, 1, [first, fresh, laundered], CAROL, "bank.pay")
    world.allowed([first, fresh], MALLORY)  # reading needs no name
    world.allowed([first, seal(child(first, CAROL), ALICE)], CAROL, "bank.pay")


def test_enrolment_taken_over() -> None:
    """A key that somebody has is nobody else's to take, also not in the moment before the record is down."""
    store = LateStore()
    world = World(store=store)
    alice = Caller("alice", frozenset({Role.AGENT}), holder=ALICE.key.thumbprint, channel=True)
    mine = world.authority.enrol(world.caller, ALICE.key, Principal(id="spiffe://example.org/alice", owner="team"))
    worker = Principal(id=mine.principal + "/worker", owner="team", under=ALICE.key.thumbprint)
    with pytest.raises(ForbiddenError):
        world.authority.enrol(alice, BOB.key, worker)
    store.late = True
    first = world.authority.begin_enrol(world.caller, MALLORY.key, Principal(id="spiffe://example.org/m", owner="red"))
    agreed = enrolment.make(MALLORY, worker.id, ALICE.key.thumbprint, audience=HOME, jti="j", iat=NOW)
    second = world.authority.begin_enrol(alice, MALLORY.key, worker, proof_text=agreed)
    store.catch_up()
    assert first.result().principal == "spiffe://example.org/m"
    with pytest.raises(ForbiddenError):
        second.result()
    fresh = seal(root(MALLORY))
    world.allowed([fresh], MALLORY, "bank.pay")
    record = decode(store.records()[-1][0])
    assert record.body["owner"] == "red"


def test_worker_enrolled_under_another_owner(world: World) -> None:
    world.authority.enrol(world.caller, ALICE.key, Principal(id="spiffe://example.org/alice", owner="team"))
    alice = Caller("alice", frozenset({Role.AGENT}), holder=ALICE.key.thumbprint, channel=True)
    good = {"id": "spiffe://example.org/alice/worker", "owner": "team", "under": ALICE.key.thumbprint}
    for wrong in (
        {"owner": "others"},
        {"under": BOB.key.thumbprint},
        {"under": None},
        {"id": "spiffe://example.org/alicey"},
        {"id": "spiffe://other.org/alice/worker"},
        {"kind": "human"},
    ):
        with pytest.raises(ForbiddenError):
            world.authority.enrol(alice, MALLORY.key, Principal.model_validate(good | wrong))
    for wrong_id in (
        "spiffe://example.org/alice/../bob",
        "spiffe://example.org/alice//x",
        "http://x/y",
        "spiffe://X/y",
    ):
        with pytest.raises(ValueError, match="SPIFFE"):
            Principal.model_validate(good | {"id": wrong_id})
    nobody = Caller("nobody", frozenset({Role.AGENT}), holder=MALLORY.key.thumbprint, channel=True)
    with pytest.raises(ForbiddenError):
        world.authority.enrol(nobody, MALLORY.key, Principal.model_validate(good))
    agreed = enrolment.make(MALLORY, good["id"], ALICE.key.thumbprint, audience=HOME, jti="j", iat=NOW)
    worker = Principal.model_validate(good)
    assert world.authority.enrol(alice, MALLORY.key, worker, proof_text=agreed).holder == MALLORY.key.thumbprint


def test_revision_from_the_future(world: World) -> None:
    tokens = honest()
    head = world.store.head
    decision = world.authority.check(world.caller, tokens, world.request(tokens, CAROL), at_least=head + 1)
    assert (decision.effect, decision.reason, decision.hop) == (Effect.DENY, Reason.REVISION_UNKNOWN, None)
    assert world.store.head == head
    assert world.authority.check(world.caller, tokens, world.request(tokens, CAROL), at_least=head).allowed


def test_clock_behind_the_ledger(world: World) -> None:
    tokens = honest()
    world.allowed(tokens, CAROL)
    world.clock.now = NOW - 1.001
    world.denied(Reason.CLOCK_BEHIND, None, tokens, CAROL)
    restarted = world.open()
    decision = restarted.check(world.caller, tokens, world.request(tokens, CAROL))
    assert (decision.allowed, decision.reason) == (False, Reason.CLOCK_BEHIND)
    world.clock.now = NOW - 1
    world.allowed(tokens, CAROL)


def test_garbage_in_the_ledger(world: World) -> None:
    """What no trusted key signed is counted and leaves no record, wherever in the chain the fault lies."""
    first = honest(1)[0]
    head = world.store.head
    rubbish = [
        ["x"],
        ["x", "y" * 70_000],
        ["x.y.z", "x.y.z"],
        [seal(root(), MALLORY), "not a token"],
        [seal(root(), MALLORY)] * 2,
        [seal(root(), MALLORY)] * 70,
        [seal(root(), MALLORY), seal(child(first), ALICE, {"typ": "other"})],
    ]
    for tokens in rubbish:
        assert not world.authority.check(world.caller, tokens, world.request([first], ALICE)).allowed
    assert world.store.head == head
    assert world.authority.garbage == len(rubbish)
    world.denied(Reason.SIGNATURE_INVALID, 1, [first, seal(child(first), MALLORY)], BOB, holder=BOB.key.thumbprint)
    assert world.store.head == head + 1  # an authentic root under a forged child is evidence, and is kept


def test_denial_taken_for_success(world: World) -> None:
    tokens = honest()
    denied = world.denied(Reason.CONSTRAINT_VIOLATED, 0, tokens, CAROL, "bank.pay", {"amount": 101})
    assert not denied
    assert not denied.allowed
    with pytest.raises(DeniedError) as raised:
        denied.require()
    assert "101" not in str(raised.value)
    allowed = world.allowed(tokens, CAROL, "bank.pay", {"amount": 100})
    assert allowed
    allowed.require()


def test_retried_change(world: World) -> None:
    """A key answers the same request again, refuses another, and belongs to one caller and method."""
    order = Issue(holder=BOB.key, grant=grant({"tools": {"mail.read": {}}}), lifetime=60)
    one = world.authority.issue(world.caller, order, key="k")
    head = world.store.head
    assert world.authority.issue(world.caller, order, key="k") == one
    assert world.store.head == head
    with pytest.raises(ConflictError):
        world.authority.issue(world.caller, replace(order, lifetime=61), key="k")
    other = replace(world.caller, name="other")
    assert world.authority.issue(other, order, key="k").id != one.id
    assert world.open().issue(world.caller, order, key="k") == one


def test_confused_roles(world: World) -> None:
    tokens = honest()
    for role in Role:
        caller = Caller("x", frozenset({role}), audience=PEP)
        allowed = role in (Role.AGENT, Role.ENFORCEMENT_POINT)
        if allowed:
            assert world.authority.check(caller, tokens, world.request(tokens, CAROL)).allowed
        else:
            with pytest.raises(ForbiddenError):
                world.authority.check(caller, tokens, world.request(tokens, CAROL))
    nobody = Caller("x", frozenset())
    with pytest.raises(ForbiddenError):
        world.authority.check(nobody, tokens, world.request(tokens, CAROL))


def test_lineage_of_others(world: World) -> None:
    tokens = honest()
    world.allowed(tokens, CAROL)
    mallory = Caller("mallory", frozenset({Role.AGENT}), holder=MALLORY.key.thumbprint)
    bob = Caller("bob", frozenset({Role.AGENT}), holder=BOB.key.thumbprint)
    with pytest.raises(NotFoundError):
        world.authority.get(mallory, digest(tokens[2]))
    with pytest.raises(ForbiddenError):
        world.authority.explain(mallory, tokens, world.request(tokens, CAROL))
    assert [world.authority.get(bob, digest(token)).hop for token in tokens] == [0, 1, 2]
    assert len(world.authority.explain(bob, tokens, world.request(tokens, CAROL)).hops) == 3
    assert {key.key.thumbprint for key in (*HOLDERS, ROOT_KEY)}.isdisjoint({MALLORY.key.thumbprint})
