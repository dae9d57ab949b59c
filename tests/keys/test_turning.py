"""Keys of a running authority: they come, sign, retire and are distrusted, and no crash lets a distrusted one back."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Any, get_args

import pytest

from chain import jws
from chain.anchor import TrustAnchor
from chain.control import Named
from chain.errors import (
    ConfigurationError,
    ConflictError,
    DeniedError,
    ForbiddenError,
    InvalidRequestError,
    InvalidTokenError,
    KeyRingError,
    NotFoundError,
    StoreError,
)
from chain.key import KeySigner
from chain.keyring import FOLLOWS, MAX_PUBLISHED, Held, Ring, State
from chain.order import Revoke
from chain.reason import Reason
from chain.state import MAX_LIFETIME, Settings
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from chain.token import Verifier
from chain.view import Query
from tests.keys.shelf import AUDITOR, ISSUING, OPERATOR, Shelf, active, recorded, reopened, ringed, root_of, states
from tests.support import ALICE, BOB, ISSUER, ROOT_KEY, World, child, digest, root, seal, signer


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def world(shelf: Shelf) -> World:
    return ringed(shelf)


def kid(token: str) -> str:
    name = jws.split(token).header.kid
    assert isinstance(name, str)
    return name


def published(world: World) -> list[str]:
    return [str(key["kid"]) for key in world.authority.keys.jwks()["keys"]]


def refused(world: World, token: str) -> Reason:
    decision = world.ask([token], ALICE)
    assert not decision.allowed
    return decision.reason


def test_a_ring_without_keys_signs_nothing_and_says_what_is_missing(world: World) -> None:
    with pytest.raises(KeyRingError) as error:
        root_of(world)
    assert error.value.reason is Reason.SIGNING_KEY_MISSING
    assert (states(world), published(world)) == ({}, [])
    assert world.authority.keys.found == ("no key is active: nothing is issued until one is activated",)
    first = active(world)
    world.allowed([root_of(world)], ALICE)
    assert states(world) == {first: "active"}


def test_a_rotation_leaves_nothing_refused(world: World) -> None:
    first = active(world)
    old = root_of(world)
    added = world.authority.keys.add(OPERATOR, cause="spring")
    second = added.key.key.thumbprint
    assert (added.key.state, added.signing) == ("pending", first)
    assert published(world) == [first, second]
    assert kid(root_of(world)) == first  # published, and not signing yet
    turned = world.authority.keys.activate(OPERATOR, second, "spring")
    assert (turned.key.state, turned.signing) == ("active", second)
    new = root_of(world)
    assert (kid(old), kid(new)) == (first, second)
    for token in (old, new):
        world.allowed([token], ALICE)
        world.allowed([token, seal(child(token), ALICE)], BOB)
    assert states(world) == {first: "retiring", second: "active"}
    assert published(world) == [first, second]
    with pytest.raises(KeyRingError, match="may live for another"):
        world.authority.keys.retire(OPERATOR, first)
    world.clock.now += MAX_LIFETIME
    assert world.authority.keys.retire(OPERATOR, first).key.state == "retired"
    assert (published(world), [anchor.key.thumbprint for anchor in world.verifier.anchors]) == ([second], [second])


def test_what_happened_stands_in_the_ledger(world: World) -> None:
    first = active(world)
    second = world.authority.keys.add(OPERATOR, "ES256", "spring").key.key
    world.authority.keys.activate(OPERATOR, second.thumbprint, "spring")
    world.authority.keys.compromise(OPERATOR, first, "a laptop is gone")
    said = [(body["key"], body.get("before", ""), body["state"]) for _, body in recorded(world)]
    assert said == [
        (first, "", "pending"),
        (first, "pending", "active"),
        (second.thumbprint, "", "pending"),
        (first, "active", "retiring"),
        (second.thumbprint, "pending", "active"),
        (first, "retiring", "compromised"),
    ]
    told = [body for _, body in recorded(world)]
    assert told[2]["jwk"] == {"kty": "EC", "crv": "P-256", "x": second.jwk.x, "y": second.jwk.y}
    assert {body["caller"] for body in told} == {"operator"}
    assert (told[2]["cause"], told[5]["cause"]) == ("spring", "a laptop is gone")
    struck = [body for _, body in recorded(world, ["revoked"])]
    assert [(body["kind"], body["name"], body["cause"]) for body in struck] == [("key", first, "a laptop is gone")]


def test_a_compromised_key_is_dead_on_the_next_call_and_another_goes_on(world: World) -> None:
    first = active(world)
    old = root_of(world)
    below = [old, seal(child(old), ALICE)]
    world.allowed(below, BOB)
    second = active(world)
    new = root_of(world)
    watched = world.authority.watch.chain(ISSUING, below)
    assert world.authority.watch.stand(watched).stands
    dry = world.authority.keys.compromise(OPERATOR, first, "why", dry_run=True)
    assert (dry.count, dry.revision, dry.key.state, dry.signing) == (2, 0, "compromised", second)
    world.allowed(below, BOB)
    told = world.authority.keys.compromise(OPERATOR, first, "why")
    assert (told.fallen, told.count, told.warnings) == (dry.fallen, 2, ())
    assert told.signing == second
    assert refused(world, old) is Reason.ANCHOR_UNKNOWN
    by_digest = world.authority.check(world.caller, digest(below[-1]), world.request(below, BOB))
    assert (by_digest.allowed, by_digest.reason) == (False, Reason.ANCHOR_UNKNOWN)
    stand = world.authority.watch.stand(watched)  # of a stream that was opened before
    assert (stand.stands, stand.reason) == (False, Reason.REVOKED)
    with pytest.raises(InvalidTokenError):
        world.authority.delegate(world.caller, [old], seal(child(old), ALICE), key="a")
    seen = {one.id: one.status for one in world.authority.find(ISSUING, Query(limit=100)).delegations}
    assert sorted(seen.values()) == ["active", "revoked", "revoked"]
    world.allowed([new], ALICE)
    assert published(world) == [second]


def test_of_two_who_distrust_a_key_at_once_the_second_is_told(
    world: World, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, keys, opened = active(world), world.authority.keys, shelf.signer
    second = keys.add(OPERATOR).key.key.thumbprint

    def meanwhile(name: str) -> KeySigner | None:
        monkeypatch.setattr(shelf, "signer", opened)
        assert keys.compromise(OPERATOR, first, "one").key.state == "compromised"
        return opened(name)

    monkeypatch.setattr(shelf, "signer", meanwhile)
    with pytest.raises(KeyRingError, match="compromised"):
        keys.compromise(OPERATOR, first, "two", second)
    assert states(world)[second] == "pending"
    assert keys.activate(OPERATOR, second).signing == second


def test_without_a_successor_nothing_is_issued_until_one_is_activated(world: World) -> None:
    first = active(world)
    spare = world.authority.keys.add(OPERATOR).key.key.thumbprint
    told = world.authority.keys.compromise(OPERATOR, first, "why")
    assert (told.signing, told.warnings) == ("", ())
    with pytest.raises(KeyRingError) as error:
        root_of(world)
    assert error.value.reason is Reason.SIGNING_KEY_MISSING
    world.authority.keys.activate(OPERATOR, spare)
    assert kid(root_of(world)) == spare


def test_a_successor_takes_over_in_the_same_breath(world: World, shelf: Shelf) -> None:
    first = active(world)
    spare = world.authority.keys.add(OPERATOR).key.key.thumbprint
    shelf.log.clear()
    told = world.authority.keys.compromise(OPERATOR, first, "why", spare)
    assert (told.signing, states(world)) == (spare, {first: "compromised", spare: "active"})
    assert shelf.log == ["signer", "save"]
    token = root_of(world)
    assert kid(token) == spare
    world.allowed([token], ALICE)


def test_a_successor_that_does_not_open_keeps_nobody_from_distrusting(world: World, shelf: Shelf) -> None:
    first = active(world)
    old, spare = root_of(world), world.authority.keys.add(OPERATOR).key.key.thumbprint
    for fault in ("signer", "nothing"):
        shelf.broken = {fault}
        kept = shelf.signers.pop(spare)
        if fault == "signer":
            told = world.authority.keys.compromise(OPERATOR, first, "why", spare)
            assert (told.signing, len(told.warnings)) == ("", 1)
            assert "does not take over: the disk refuses to signer" in told.warnings[0]
        else:
            with pytest.raises(KeyRingError, match="only the public half"):
                world.authority.keys.activate(OPERATOR, spare)
        shelf.signers[spare] = kept
    assert refused(world, old) is Reason.ANCHOR_UNKNOWN
    assert states(world) == {first: "compromised", spare: "pending"}
    world.authority.keys.activate(OPERATOR, spare)
    assert kid(root_of(world)) == spare


@pytest.mark.parametrize("what", ["fails", "was distrusted", "was revoked by its name", "was activated"])
def test_what_happens_to_the_successor_meanwhile_keeps_nobody_from_distrusting(
    world: World, shelf: Shelf, what: str
) -> None:
    first = active(world)
    old, spare = root_of(world), world.authority.keys.add(OPERATOR).key.key.thumbprint
    keys, signer_of = world.authority.keys, shelf.signer
    by_name = Revoke(cause="why", named=Named("key", spare))

    def late(name: str) -> KeySigner | None:
        shelf.signer = signer_of  # type: ignore[method-assign]
        if what == "fails":
            raise MemoryError
        if what == "was distrusted":
            keys.compromise(OPERATOR, spare, "this one too")
        elif what == "was activated":
            keys.activate(OPERATOR, spare)
        else:
            world.authority.revoke(OPERATOR, by_name)
        return signer_of(name)

    shelf.signer = late  # type: ignore[method-assign]
    told = keys.compromise(OPERATOR, first, "why", spare)
    assert refused(world, old) is Reason.ANCHOR_UNKNOWN
    assert states(world)[first] == "compromised"
    if what == "was activated":
        assert (told.signing, told.warnings) == (spare, ())
        assert kid(root_of(world)) == spare
    else:
        assert (told.signing, len(told.warnings)) == ("", 1)
        assert told.warnings[0].startswith(f"key `{spare}` does not take over: ")
        assert ("MemoryError" in told.warnings[0]) is (what == "fails")


def test_a_clock_that_is_behind_keeps_no_key_trusted(world: World) -> None:
    first = active(world)
    token, spare = root_of(world), world.authority.keys.add(OPERATOR).key.key.thumbprint
    world.clock.now -= 3600
    with pytest.raises(StoreError) as error:
        world.authority.keys.activate(OPERATOR, spare)
    assert error.value.reason is Reason.CLOCK_BEHIND
    assert world.authority.keys.compromise(OPERATOR, first, "why").key.state == "compromised"
    world.clock.now += 3600
    assert refused(world, token) is Reason.ANCHOR_UNKNOWN
    world.authority.keys.activate(OPERATOR, spare)
    world.allowed([root_of(world)], ALICE)


def test_a_successor_that_cannot_be_one_is_refused_before_anything_is(world: World) -> None:
    first = active(world)
    second = active(world)
    token = root_of(world)
    with pytest.raises(KeyRingError, match="retiring cannot become active"):
        world.authority.keys.compromise(OPERATOR, second, "why", first)
    with pytest.raises(NotFoundError):
        world.authority.keys.compromise(OPERATOR, second, "why", "nobody")
    world.allowed([token], ALICE)
    assert states(world) == {first: "retiring", second: "active"}


VERBS: dict[str, State] = {"activate": "active", "retire": "retired", "compromise": "compromised"}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", get_args(State))
def test_only_what_the_table_allows_follows(shelf: Shelf, state: State, verb: str) -> None:
    made = shelf.make("EdDSA")
    shelf.saved = Ring([Held(made.jwk, state, 1, 2 if state == "retiring" else 0)])
    world = ringed(shelf)
    turn = getattr(world.authority.keys, verb)
    if VERBS[verb] in FOLLOWS[state]:
        assert turn(OPERATOR, made.thumbprint, "why").key.state == VERBS[verb]
    else:
        head = world.store.head
        with pytest.raises(KeyRingError) as error:
            turn(OPERATOR, made.thumbprint, "why")
        assert error.value.reason is Reason.KEY_STATE_INVALID
        assert (world.store.head, states(world)) == (head, {made.thumbprint: state})


def test_every_verb_was_tried_where_it_may_and_where_it_may_not() -> None:
    allowed = [(state, verb) for state in FOLLOWS for verb, to in VERBS.items() if to in FOLLOWS[state]]
    assert (len(allowed), len(FOLLOWS) * len(VERBS)) == (7, 15)


def test_a_key_of_another_name_is_not_found(world: World) -> None:
    active(world)
    for verb in VERBS:
        with pytest.raises(NotFoundError):
            getattr(world.authority.keys, verb)(OPERATOR, signer("stranger").key.thumbprint, "why")


def test_the_same_key_of_the_caller_changes_nothing_twice(world: World, shelf: Shelf) -> None:
    keys = world.authority.keys
    first = keys.add(OPERATOR, key="one")
    assert keys.add(OPERATOR, key="one") == first
    assert (len(shelf.signers), shelf.log.count("make")) == (1, 1)
    name = first.key.key.thumbprint
    turned = keys.activate(OPERATOR, name, key="two")
    assert keys.activate(OPERATOR, name, key="two") == turned
    spare = keys.add(OPERATOR, key="three").key.key.thumbprint
    told = keys.compromise(OPERATOR, name, "why", spare, key="four")
    assert keys.compromise(OPERATOR, name, "why", spare, key="four") == told
    assert len(recorded(world)) == 5
    for other in (
        lambda: keys.add(OPERATOR, "ES256", key="one"),
        lambda: keys.activate(OPERATOR, spare, key="two"),
        lambda: keys.compromise(OPERATOR, spare, "why", key="four"),
    ):
        with pytest.raises(ConflictError):
            other()
    reopened(world)
    assert world.authority.keys.add(OPERATOR, key="one") == first


def test_who_may_and_who_may_not(world: World) -> None:
    name = active(world)
    keys = world.authority.keys
    for caller in (AUDITOR, ISSUING):
        for change in (
            lambda: keys.add(caller),  # noqa: B023 - called at once
            lambda: keys.activate(caller, name),  # noqa: B023
            lambda: keys.retire(caller, name),  # noqa: B023
            lambda: keys.compromise(caller, name, "why"),  # noqa: B023
        ):
            with pytest.raises(ForbiddenError):
                change()
    with pytest.raises(ForbiddenError):
        keys.listed(ISSUING)
    assert keys.listed(AUDITOR).signing == name


@pytest.mark.parametrize("cause", ["two\nlines", "x" * 1025])
def test_a_cause_is_one_line(world: World, cause: str) -> None:
    name = active(world)
    keys = world.authority.keys
    for change in (
        lambda: keys.add(OPERATOR, cause=cause),
        lambda: keys.activate(OPERATOR, name, cause),
        lambda: keys.retire(OPERATOR, name, cause),
        lambda: keys.compromise(OPERATOR, name, cause),
        lambda: keys.compromise(OPERATOR, name, ""),
    ):
        with pytest.raises(InvalidRequestError, match="a cause is one line"):
            change()
    assert keys.compromise(OPERATOR, name, "x" * 1024).key.state == "compromised"


def test_no_more_are_published_than_everybody_can_read(world: World) -> None:
    keys = world.authority.keys
    names = [keys.add(OPERATOR).key.key.thumbprint for _ in range(MAX_PUBLISHED)]
    with pytest.raises(KeyRingError, match=f"{MAX_PUBLISHED} keys are published"):
        keys.add(OPERATOR)
    keys.retire(OPERATOR, names[0])
    keys.add(OPERATOR)
    with pytest.raises(InvalidRequestError, match="EdDSA, ES256"):
        keys.add(OPERATOR, "RS256")


def test_without_a_ring_only_looking_is_possible() -> None:
    with_key, without = World(), World(signer=None)
    keys = with_key.authority.keys
    assert [(held.key.thumbprint, held.state) for held in keys.listed(AUDITOR).keys] == [
        (ROOT_KEY.key.thumbprint, "active")
    ]
    assert published(with_key) == [ROOT_KEY.key.thumbprint]
    assert without.authority.keys.listed(AUDITOR).keys == ()
    assert published(without) == [ROOT_KEY.key.thumbprint]  # configured for the issuer, and held by somebody else
    for world in (with_key, without):
        keys = world.authority.keys
        for change in (
            lambda: keys.add(OPERATOR),  # noqa: B023 - called at once
            lambda: keys.activate(OPERATOR, "name"),  # noqa: B023
            lambda: keys.retire(OPERATOR, "name"),  # noqa: B023
            lambda: keys.compromise(OPERATOR, "name", "why"),  # noqa: B023
            lambda: keys.compromise(OPERATOR, "name", "why", dry_run=True),  # noqa: B023
        ):
            with pytest.raises(KeyRingError) as error:
                change()
            assert error.value.reason is Reason.KEY_RING_MISSING
    with pytest.raises(ConfigurationError, match="no trust anchor"):
        World(verifier=Verifier(()), signer=None)
    with pytest.raises(ConfigurationError, match="in two ways"):
        World(ring=Shelf())


def test_a_directory_that_does_not_take_it_changes_nothing(world: World, shelf: Shelf) -> None:
    first = active(world)
    spare = world.authority.keys.add(OPERATOR).key.key.thumbprint
    head, before = world.store.head, states(world)
    for fault, change in (
        ("make", lambda: world.authority.keys.add(OPERATOR)),
        ("save", lambda: world.authority.keys.add(OPERATOR)),
        ("signer", lambda: world.authority.keys.activate(OPERATOR, spare)),
        ("save", lambda: world.authority.keys.activate(OPERATOR, spare)),
        ("save", lambda: world.authority.keys.retire(OPERATOR, spare)),
    ):
        shelf.broken = {fault}
        with pytest.raises(KeyRingError) as error:
            change()
        assert error.value.reason is Reason.KEY_RING_UNAVAILABLE
        assert (world.store.head, states(world)) == (head, before)
        assert kid(root_of(world)) == first
        head = world.store.head
    shelf.broken = set()
    world.authority.keys.activate(OPERATOR, spare)
    assert kid(root_of(world)) == spare


def test_a_directory_that_does_not_take_it_keeps_no_key_trusted(world: World, shelf: Shelf) -> None:
    first = active(world)
    token, spare = root_of(world), world.authority.keys.add(OPERATOR).key.key.thumbprint
    shelf.broken = {"save"}
    told = world.authority.keys.compromise(OPERATOR, first, "why", spare)
    assert told.signing == spare
    assert [warning.partition(":")[0] for warning in told.warnings] == [
        "the ledger knows it, and the directory of the ring does not yet"
    ]
    assert refused(world, token) is Reason.ANCHOR_UNKNOWN
    assert shelf.saved.held[first].state == "active"  # as after a crash in between
    shelf.broken = set()
    reopened(world)
    assert shelf.saved.held[first].state == "compromised"
    assert world.authority.keys.found == (
        f"key `{first}`: the directory said active; it is compromised",
        f"key `{spare}`: the directory said pending; it is active",
    )
    assert refused(world, token) is Reason.ANCHOR_UNKNOWN
    assert kid(root_of(world)) == spare


class CrashError(BaseException):
    """The process ends here."""


class Plan:
    """Lets so many steps be taken, and then the process ends; each call has a step before and one behind it."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def wrap(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            self.step()
            done = work(*arguments)
            self.step()
            return done

        return run

    def step(self) -> None:
        if self.left == 0:
            raise CrashError
        self.left -= 1


@pytest.mark.parametrize("what", ["activate", "compromise", "compromise and activate"])
def test_a_crash_anywhere_lets_no_distrusted_key_back_and_loses_none_that_signed(what: str) -> None:
    """Stop at each step that leaves the process, start again from what is left, and look."""
    crashed = set()
    for stop in range(9):
        shelf, store = Shelf(), MemoryStore()
        world = ringed(shelf, store=store)
        first, plan = active(world), Plan(stop)
        token, spare = root_of(world), world.authority.keys.add(OPERATOR).key.key.thumbprint
        keys = world.authority.keys
        shelf.save = plan.wrap(shelf.save)  # type: ignore[method-assign]
        store.commit = plan.wrap(store.commit)  # type: ignore[method-assign]
        try:
            if what == "activate":
                keys.activate(OPERATOR, spare)
            else:
                keys.compromise(OPERATOR, first, "why", spare if "and" in what else "")
        except CrashError:
            crashed.add(stop)
        del shelf.save, store.commit
        reopened(world)
        now, durable = states(world), [body["state"] for _, body in recorded(world)]
        if stop not in crashed:
            assert now == {
                first: "retiring" if what == "activate" else "compromised",
                spare: "pending" if what == "compromise" else "active",
            }
        if now[first] == "compromised":
            assert refused(world, token) is Reason.ANCHOR_UNKNOWN
        else:
            assert "compromised" not in durable
            world.allowed([token], ALICE)
        if "active" in now.values():
            assert now[kid(root_of(world))] == "active"
        assert shelf.saved.held == {held.key.thumbprint: held for held in world.authority.keys.listed(AUDITOR).keys}
        assert durable[-1] in now.values()
    assert crashed == set(range(4 if what == "activate" else 6))


# -- what ledger and directory tell differently -----------------------------------------------------------


def test_a_directory_restored_from_a_backup_brings_no_key_back(world: World, shelf: Shelf) -> None:
    first = active(world)
    token, backup = root_of(world), shelf.saved
    world.authority.keys.compromise(OPERATOR, first, "why")
    shelf.saved = backup
    reopened(world)
    assert f"key `{first}`: the directory said active; it is compromised" in world.authority.keys.found
    assert refused(world, token) is Reason.ANCHOR_UNKNOWN
    assert shelf.saved.held[first].state == "compromised"
    with pytest.raises(KeyRingError):
        root_of(world)
    reopened(world)
    assert world.authority.keys.found == ("no key is active: nothing is issued until one is activated",)


def test_a_key_that_only_the_backup_lacks_verifies_and_signs_no_more(world: World, shelf: Shelf) -> None:
    first = active(world)
    backup, held = shelf.saved, dict(shelf.signers)
    second = active(world)
    token = root_of(world)
    shelf.saved, shelf.signers = backup, held
    reopened(world)
    assert states(world) == {first: "retiring", second: "retiring"}
    assert f"key `{second}`: the directory of the ring did not know it; it is retiring" in world.authority.keys.found
    world.allowed([token], ALICE)
    third = active(world)
    assert kid(root_of(world)) == third


def test_what_was_changed_offline_is_recorded_at_the_start(world: World, shelf: Shelf) -> None:
    first = active(world)
    token = root_of(world)
    made = shelf.make("EdDSA")
    now = int(world.clock.now)
    shelf.saved = (
        shelf.saved.add(made, now).become(made.thumbprint, "active", now + 1).become(first, "compromised", now + 2)
    )
    reopened(world)
    told = [(body["key"], body["state"], body["caller"]) for _, body in recorded(world)][2:]
    assert told == [(first, "compromised", "configuration"), (made.thumbprint, "active", "configuration")]
    assert [body["name"] for _, body in recorded(world, ["revoked"])] == [first]
    assert refused(world, token) is Reason.ANCHOR_UNKNOWN
    assert kid(root_of(world)) == made.thumbprint
    head = world.store.head
    reopened(world)
    assert world.store.head == head + 0
    assert len(recorded(world)) == 4


def test_a_key_that_was_revoked_by_its_name_is_compromised_from_the_next_start(world: World, shelf: Shelf) -> None:
    first = active(world)
    spare = world.authority.keys.add(OPERATOR).key.key.thumbprint
    for name in (first, spare):
        world.authority.revoke(OPERATOR, Revoke(cause="why", named=Named("key", name)))
    with pytest.raises(DeniedError):
        root_of(world)
    with pytest.raises(KeyRingError, match="revoked, by its name"):
        world.authority.keys.activate(OPERATOR, spare)
    reopened(world)
    assert states(world) == {first: "compromised", spare: "compromised"}
    assert shelf.saved.held[first].state == "compromised"
    active(world)
    world.allowed([root_of(world)], ALICE)


def test_of_two_active_keys_the_later_one_signs(world: World, shelf: Shelf) -> None:
    first = active(world)
    made = shelf.make("EdDSA")
    shelf.saved = Ring([Held(made.jwk, "active", int(world.clock.now) + 5)])  # another history of the directory
    reopened(world)
    assert states(world) == {first: "retiring", made.thumbprint: "active"}
    assert kid(root_of(world)) == made.thumbprint


def test_a_ledger_on_disk_remembers_too(shelf: Shelf, tmp_path: Any) -> None:
    world = ringed(shelf, store=SqliteStore(tmp_path / "ledger"))
    first = active(world)
    token, backup = root_of(world), shelf.saved
    spare = world.authority.keys.add(OPERATOR).key.key.thumbprint
    world.authority.keys.compromise(OPERATOR, first, "why", spare)
    world.authority.close()
    assert shelf.log[-1] == "close"
    shelf.saved = backup
    world.store = SqliteStore(tmp_path / "ledger")
    reopened(world)
    assert states(world) == {first: "compromised", spare: "active"}
    assert refused(world, token) is Reason.ANCHOR_UNKNOWN
    world.allowed([root_of(world)], ALICE)
    world.authority.close()


# -- at once ----------------------------------------------------------------------------------------------


def test_nothing_is_refused_while_keys_are_rotated(world: World) -> None:
    active(world)
    stop, wrong, done = Event(), [], []

    def work() -> None:
        while not stop.is_set():
            try:
                token = root_of(world)
                decision = world.ask([token], ALICE)
                done.append(decision.allowed)
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing may fail
                wrong.append(error)

    threads = [Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    names = [active(world) for _ in range(20)]
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert set(done) == {True}
    assert list(states(world).values()).count("active") == 1
    assert kid(root_of(world)) == names[-1]


def test_a_root_that_a_distrusted_key_signed_meanwhile_is_not_issued(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is distrusted between a root's signature and its commit."""
    for successor, told in ((True, None), (False, KeyRingError)):
        first = active(world)
        spare = world.authority.keys.add(OPERATOR).key.key.thumbprint
        verify, swapped = world.verifier.verify, []

        def late(tokens: Any, first: str = first, spare: str = spare, after: bool = successor) -> Any:
            if not swapped:  # noqa: B023
                swapped.append(first)  # noqa: B023
                world.authority.keys.compromise(OPERATOR, first, "why", spare if after else "")
            return verify(tokens)  # noqa: B023

        monkeypatch.setattr(world.verifier, "verify", late)
        if told is None:
            assert kid(root_of(world)) == spare
        else:
            with pytest.raises(told):
                root_of(world)
        monkeypatch.undo()


def test_a_root_that_was_verified_before_its_key_was_distrusted_is_refused_in_the_commit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = active(world)
    spare = world.authority.keys.add(OPERATOR).key.key.thumbprint
    verify, head = world.verifier.verify, world.store.head

    def early(tokens: Any) -> Any:
        chain = verify(tokens)
        world.authority.keys.compromise(OPERATOR, first, "why", spare)
        return chain

    monkeypatch.setattr(world.verifier, "verify", early)
    with pytest.raises(DeniedError) as error:
        root_of(world)
    assert error.value.reason is Reason.REVOKED
    monkeypatch.undo()
    assert "issued" not in [kind for kind, _ in recorded(world, ["issued", "refused"])]
    assert world.store.head > head
    assert kid(root_of(world)) == spare


def test_the_status_list_is_signed_by_the_key_that_signs_now(shelf: Shelf) -> None:
    lists = "https://chain.example/statuslist"
    world = ringed(shelf, settings=Settings(status_list=lists))
    active(world)
    root_of(world, listed=True)
    second = active(world)
    text = world.authority.status_list(ISSUING)
    assert jws.split(text).signed_by(shelf.signers[second].key)
    world.authority.keys.compromise(OPERATOR, second, "why")
    with pytest.raises(KeyRingError):
        world.authority.status_list(ISSUING)


def test_an_anchor_of_the_configuration_is_not_trusted_beside_the_ring(shelf: Shelf) -> None:
    made = shelf.make("EdDSA")
    shelf.saved = Ring([Held(made.jwk, "active", 1)])
    both = Verifier([TrustAnchor(made, ISSUER), TrustAnchor(ROOT_KEY.key, ISSUER)])
    world = World(verifier=both, signer=None, ring=shelf)
    token, other = root_of(world), seal(root(ALICE))
    world.allowed([token], ALICE)
    world.authority.keys.compromise(OPERATOR, made.thumbprint, "why")
    assert refused(world, token) is Reason.ANCHOR_UNKNOWN
    world.allowed([other], ALICE)
