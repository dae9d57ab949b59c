"""What one caller, one wrong clock or one busy disk must not take from all others: above all the power to revoke."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain import enrolment, expiry, proof, timeline, view
from chain.caller import Caller, Role
from chain.decision import Effect
from chain.errors import DeniedError, ForbiddenError, NotFoundError, StoreError
from chain.expiry import Expiry
from chain.key import KeySigner
from chain.ledger import Durability, Record, Write, decode, encode
from chain.order import Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from chain.timeline import Timeline
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    HOME,
    MALLORY,
    NOW,
    Clock,
    World,
    child,
    digest,
    digest_of,
    honest,
    root,
    seal,
)

YEARS = 3 * 365 * 86_400
DAY = 86_400


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=["memory", "sqlite"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    world = World(store=MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "ledger"))
    yield world
    world.authority.close()


def agent(key: KeySigner, **changed: Any) -> Caller:
    return replace(Caller("agent", frozenset({Role.AGENT}), holder=key.key.thumbprint, channel=True), **changed)


def fan(world: World, count: int) -> tuple[str, list[str]]:
    """A root for Alice, with this many children."""
    first = seal(root())
    world.allowed([first], ALICE)
    children = [seal(child(first, BOB, jti=f"n{number}"), ALICE) for number in range(count)]
    for one in children:
        world.authority.delegate(agent(ALICE), [first], one)
    return first, children


# -- revocation ---------------------------------------------------------------------------------------------


def test_a_revocation_stands_before_anybody_counts(stored: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = fan(stored, 3)
    world = stored

    def slow(*_: object, **__: object) -> list[bytes]:
        world.denied(Reason.REVOKED, 0, [first], ALICE)
        raise StoreError("the disk is slow to read")

    monkeypatch.setattr(world.store, "descendants", slow)
    told = world.authority.revoke(world.caller, Revoke(digest(first)))
    assert (told.fallen, told.count, told.at_least) == ((digest_of(first),), 1, True)
    assert decode(world.store.records(told.revision, 1)[0][0]).body.keys() == {"id", "cause", "caller"}


def test_the_count_has_a_cap(stored: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.fall.MAX_COUNTED", 4)
    monkeypatch.setattr("chain.fall.MAX_LISTED", 3)
    world = stored
    first, children = fan(world, 5)
    would = world.authority.revoke(world.caller, Revoke(digest(first)), dry_run=True)
    assert (would.fallen, would.count, would.at_least) == ((digest_of(first), *map(digest_of, children[:2])), 5, True)
    world.authority.revoke(world.caller, Revoke(digest(children[0])))
    assert world.authority.revoke(world.caller, Revoke(digest(first))).at_least
    world.denied(Reason.REVOKED, 0, [first, children[4]], BOB)  # what is not counted falls all the same
    other = seal(root(jti="other-root-of-alice"))
    world.allowed([other], ALICE)
    exact = world.authority.revoke(world.caller, Revoke(digest(other)))
    assert (exact.count, exact.at_least) == (1, False)


def test_a_repeated_revocation_is_told_the_same(stored: World) -> None:
    world = stored
    tokens = honest()
    world.allowed(tokens, CAROL)
    told = world.authority.revoke(world.caller, Revoke(digest(tokens[0])), key="k")
    assert (told.fallen, told.count) == (tuple(map(digest_of, tokens)), 3)
    late = seal(child(tokens[0], MALLORY), ALICE)
    world.denied(Reason.REVOKED, 0, [tokens[0], late], MALLORY)  # enters the ledger beneath what is revoked
    world.clock.now += 600  # and all of it has expired by now
    assert world.authority.revoke(world.caller, Revoke(digest(tokens[0])), key="k") == told


def test_what_would_fall_is_told_to_whom_might_revoke(world: World) -> None:
    tokens = honest()
    world.allowed(tokens, CAROL)
    order, standing = Revoke(digest(tokens[1])), tokens[:2]
    bob = agent(BOB, channel=False)

    def ask(caller: Caller, text: str | None = None, *, dry_run: bool = True) -> int:
        return world.authority.revoke(caller, order, standing, text, dry_run=dry_run).count

    def made(by: KeySigner, target: str = tokens[1]) -> str:
        return world.proof(tokens[1], by, proof.REVOKE, {"target": digest_of(target)}, audience=HOME)

    head = world.store.head
    for caller, text, reason in (
        (bob, None, Reason.PROOF_MISSING),
        (bob, made(MALLORY), Reason.HOLDER_MISMATCH),
        (bob, made(BOB, tokens[2]), Reason.PROOF_ARGUMENTS_MISMATCH),
        (agent(MALLORY), None, Reason.HOLDER_MISMATCH),
    ):
        with pytest.raises(DeniedError) as raised:
            ask(caller, text)
        assert raised.value.reason is reason
    text = made(BOB)
    assert ask(bob, text) == ask(agent(BOB)) == 2
    assert world.store.head == head
    with pytest.raises(NotFoundError):
        world.authority.revoke(bob, Revoke(b"x" * 32), standing, text, dry_run=True)
    assert ask(bob, text, dry_run=False) == 2  # the proof was not used up
    with pytest.raises(DeniedError):
        ask(bob, made(BOB))


# -- the clock ----------------------------------------------------------------------------------------------


def test_one_wrong_reading_of_the_clock_stops_nothing(stored: World) -> None:
    world = stored
    tokens = honest()
    world.allowed(tokens, CAROL)
    spent = world.request(tokens, CAROL)
    assert world.authority.check(world.caller, tokens, spent).allowed
    world.clock.now = NOW + YEARS
    world.denied(Reason.EXPIRED, 0, tokens, CAROL)  # decided with the reading, which only narrows
    world.clock.now = NOW + 1
    world.allowed(tokens, CAROL)
    assert world.authority.check(world.caller, tokens, spent).reason is Reason.REPLAY  # nothing was forgotten
    world.clock.now = NOW + YEARS
    world.denied(Reason.EXPIRED, 0, tokens, CAROL)
    restarted = world.open()  # with the wrong reading as the last record
    world.clock.now = NOW + 2
    assert restarted.check(world.caller, tokens, world.request(tokens, CAROL)).allowed
    assert restarted.check(world.caller, tokens, spent).reason is Reason.REPLAY


def test_a_clock_that_stays_ahead_is_believed_after_a_minute(world: World) -> None:
    tokens = honest()
    world.allowed(tokens, CAROL)
    for later in (30 * DAY, 30 * DAY + 59, 30 * DAY + 60):
        world.clock.now = NOW + later
        world.denied(Reason.EXPIRED, 0, tokens, CAROL)
    world.clock.now = NOW + 30 * DAY
    world.denied(Reason.CLOCK_BEHIND, None, tokens, CAROL)
    world.clock.now = NOW + 30 * DAY + 60
    fresh = [seal(root(iat=int(world.clock.now), exp=int(world.clock.now) + 60))]
    world.allowed(fresh, ALICE)


def test_a_clock_behind_the_ledger_still_revokes(stored: World) -> None:
    world = stored
    tokens = honest()
    world.allowed(tokens, CAROL)
    believe(world, NOW + YEARS)
    world.clock.now = NOW + 5
    world.denied(Reason.CLOCK_BEHIND, None, tokens, CAROL)
    with pytest.raises(StoreError):
        world.authority.delegate(agent(ALICE), tokens[:1], seal(child(tokens[0], MALLORY), ALICE))
    told = world.authority.revoke(world.caller, Revoke(digest(tokens[1])), key="k")
    assert told.fallen == tuple(map(digest_of, tokens[1:]))
    assert decode(world.store.records(told.revision, 1)[0][0]).time == (NOW + YEARS + 60) * 1000
    made = world.proof(tokens[0], ALICE, proof.REVOKE, {"target": digest_of(tokens[0])}, audience=HOME)
    alice = agent(ALICE, channel=False)
    assert world.authority.revoke(alice, Revoke(digest(tokens[0])), tokens[:1], made).count == 3
    with pytest.raises(DeniedError):  # it only narrows, and only for whom it did before
        world.authority.revoke(agent(MALLORY), Revoke(digest(tokens[0])), tokens[:1])


def test_an_operator_accepts_the_clock(stored: World) -> None:
    world = stored
    tokens = honest()
    world.allowed(tokens, CAROL)
    believe(world, NOW + YEARS)
    world.clock.now = NOW + 5
    world.authority = world.open()
    world.denied(Reason.CLOCK_BEHIND, None, tokens, CAROL)
    world.authority = world.open(resume=True)
    record = decode(world.store.records(world.store.head, 1)[0][0])
    assert (record.kind, record.time, record.body) == ("resumed", (NOW + 5) * 1000, {"was": (NOW + YEARS + 60) * 1000})
    world.allowed(tokens, CAROL)
    world.authority = world.open()  # it is said once
    world.allowed(tokens, CAROL)
    head = world.store.head
    world.authority = world.open(resume=True)  # nothing to accept
    assert world.store.head == head
    world.clock.now = NOW
    world.denied(Reason.CLOCK_BEHIND, None, tokens, CAROL)


def believe(world: World, now: float) -> None:
    """Let a wrong clock go on for a minute."""
    for later in (0, 60):
        world.clock.now = now + later
        world.denied(Reason.EXPIRED, 0, honest(), CAROL)


def test_the_time_of_a_ledger() -> None:
    line = Timeline()
    assert (line.floor, line.behind(0), line.take(5)) == (0, False, 5)
    leap = 5 + timeline.MAX_LEAP_MS
    assert (line.take(leap), line.floor) == (leap, leap)
    far = leap + timeline.MAX_LEAP_MS + 100
    assert (line.take(far), line.floor) == (far, leap)
    assert line.take(far - 7) == far - 7  # the earliest of those that agree
    assert (line.take(far - 8 + timeline.CONFIRM_MS), line.floor) == (far - 8 + timeline.CONFIRM_MS, leap)
    assert (line.take(leap + 1), line.floor) == (leap + 1, leap + 1)  # a glitch, forgotten
    assert (line.take(far + 9), line.take(far + 9 + timeline.CONFIRM_MS), line.floor) == (
        far + 9,
        far + 9 + timeline.CONFIRM_MS,
        far + 9 + timeline.CONFIRM_MS,
    )
    edge = line.floor - timeline.MAX_BACKSTEP_MS
    assert (line.behind(edge), line.behind(edge - 1), line.take(edge)) == (False, True, line.floor)


# -- forgetting ---------------------------------------------------------------------------------------------


def test_the_store_forgets_what_expired(stored: World) -> None:
    world = stored
    tokens = honest(1)
    for _ in range(5):
        world.allowed(tokens, ALICE)
    rows = len(list(world.store.nonces(0)))
    assert rows == 5
    world.clock.now = NOW + 120
    world.allowed(tokens, ALICE)
    deadline = time.monotonic() + 10
    while len(list(world.store.nonces(0))) > 1:  # on disk it is done in the background
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert len(world.authority._desk.live._nonces) == 1


def test_a_wrong_reading_sweeps_nothing(world: World) -> None:
    tokens = honest(1)
    world.allowed(tokens, ALICE)
    world.clock.now = NOW + YEARS
    world.denied(Reason.EXPIRED, 0, tokens, ALICE)
    assert len(list(world.store.nonces(0))) == len(world.authority._desk.live._nonces) == 2


def test_what_expires_comes_due_in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "STEP", 10)
    held: Expiry[int] = Expiry(NOW)
    for number in range(95):
        held.add(number, NOW + number // 10)
    held.add(-1, NOW - 1_000)  # expired before it came
    held.add(-2, NOW + 10_000)
    assert held.due(NOW + expiry.SPAN - 1) == []
    steps = [held.due(NOW + 2 * expiry.SPAN) for _ in range(20)]
    assert max(map(len, steps)) <= 10
    assert sorted(key for step in steps for key in step) == [-1, *range(95)]
    assert not held._buckets.keys() - {(NOW + 10_000) // expiry.SPAN}
    later = [held.due(NOW + 20_000) for _ in range(200)]
    assert [step for step in later if step] == [[-2]]


# -- the store ----------------------------------------------------------------------------------------------


class _Wrong:
    durability = Durability.SYNCED

    def prepare(self, first: int) -> Write:
        return Write([encode(Record(first + 1, "decided", 0, {}))])


def test_a_store_that_stopped_is_told(stored: World) -> None:
    world = stored
    assert not world.authority.failed
    assert isinstance(world.store.commit(_Wrong()).exception(10), StoreError)
    assert world.authority.failed
    assert "opened again" in str(world.store.failure)
    world.denied(Reason.STORE_UNAVAILABLE, None, honest(), CAROL)


# -- enrolment ----------------------------------------------------------------------------------------------

MINE = Principal(id="spiffe://example.org/alice", owner="team")
WORKER = Principal(id=MINE.id + "/w", owner="team", under=ALICE.key.thumbprint)


def agreed(by: KeySigner = MALLORY, **changed: Any) -> str:
    facts = {"principal": WORKER.id, "under": ALICE.key.thumbprint, "audience": HOME, "jti": "j", "iat": NOW} | changed
    return enrolment.make(by, **facts)


def test_a_key_agrees_to_be_enrolled(world: World) -> None:
    world.authority.enrol(world.caller, ALICE.key, MINE)
    other = proof.make(
        MALLORY, world.accepted(honest(1)).leaf, enrolment.ENROL, {}, audience=HOME, jti="j" * 16, iat=NOW
    )
    for text, reason in (
        (None, Reason.PROOF_MISSING),
        ("a.b", Reason.PROOF_INVALID),
        ("x" * 9_000, Reason.PROOF_INVALID),
        (other, Reason.PROOF_INVALID),
        (agreed(ALICE), Reason.HOLDER_MISMATCH),
        (agreed(principal=MINE.id + "/x"), Reason.PROOF_ARGUMENTS_MISMATCH),
        (agreed(under=BOB.key.thumbprint), Reason.PROOF_ARGUMENTS_MISMATCH),
        (agreed(audience="https://other.example"), Reason.PROOF_AUDIENCE_MISMATCH),
        (agreed(iat=NOW - 31), Reason.PROOF_STALE),
        (agreed(iat=NOW + 31), Reason.PROOF_STALE),
    ):
        with pytest.raises(DeniedError) as raised:
            world.authority.enrol(agent(ALICE), MALLORY.key, WORKER, proof_text=text)
        assert (raised.value.reason, raised.value.decision.effect) == (reason, Effect.DENY)
    assert world.authority.principal(MALLORY.key.thumbprint) is None
    one = world.authority.enrol(agent(ALICE), MALLORY.key, WORKER, "k", agreed())
    world.clock.now = NOW + 3_600  # the answer to a repeated call needs no fresh proof
    assert world.authority.enrol(agent(ALICE), MALLORY.key, WORKER, "k", agreed()) == one
    with pytest.raises(ForbiddenError, match="enrolled already"):
        world.authority.enrol(agent(ALICE), MALLORY.key, WORKER, proof_text=agreed(iat=NOW + 3_600))


def test_an_operator_enrols_without_a_proof(world: World) -> None:
    operator = Caller("operator", frozenset({Role.OPERATOR}))
    assert world.authority.enrol(operator, MALLORY.key, WORKER).principal == WORKER.id


def test_a_payload_out_of_form_agrees_to_nothing(world: World) -> None:
    world.authority.enrol(world.caller, ALICE.key, MINE)
    claims = {
        "aat_aud": HOME, "aat_tool": enrolment.ENROL, "iat": NOW, "jti": "j", "principal": WORKER.id,
        "under": ALICE.key.thumbprint,
    }  # fmt: skip
    typ = {"typ": enrolment.ENROL_TYPE}
    for payload, reason in (
        (claims | {"more": 1}, Reason.PROOF_INVALID),
        ({"under": ALICE.key.thumbprint} | claims, Reason.PROOF_INVALID),
        (claims | {"aat_tool": proof.DELEGATE}, Reason.PROOF_TOOL_MISMATCH),
    ):
        with pytest.raises(DeniedError) as raised:
            world.authority.enrol(agent(ALICE), MALLORY.key, WORKER, proof_text=seal(payload, MALLORY, typ))
        assert raised.value.reason is reason
    good = seal(claims, MALLORY, typ)
    assert world.authority.enrol(agent(ALICE), MALLORY.key, WORKER, proof_text=good).holder == MALLORY.key.thumbprint


def test_limits_fit_together() -> None:
    assert view.MAX_LISTED <= view.MAX_COUNTED


def test_a_restart_does_not_believe_a_glitch_that_its_ledger_did_not() -> None:
    day = timeline.MAX_LEAP_MS
    glitch = [("decided", 40 * day), ("decided", day), ("decided", day + 5)]
    assert Timeline(glitch).floor == day + 5
    assert Timeline([("decided", day), ("decided", day + 5)]).floor == day + 5


def test_a_clock_set_ahead_sets_no_nonce_free(world: World) -> None:
    passed = Clock(now=0)
    tokens = [seal(root(exp=NOW + 3600))]
    world.authority = world.open(steady=passed)
    used = world.request(tokens, ALICE, "bank.pay", {"amount": 5}, holder=ALICE.key.thumbprint, request_id="r" * 16)
    assert world.authority.check(world.caller, tokens, used).allowed
    world.clock.now = NOW + 23 * 3600  # one reading, believed
    world.ask(tokens, ALICE)
    world.clock.now = NOW + 1
    resumed = world.open(resume=True, steady=passed)
    assert resumed.check(world.caller, tokens, used).reason is Reason.REPLAY
    fresh = used.model_copy(update={"request_id": "s" * 16})
    assert resumed.check(world.caller, tokens, fresh).allowed
