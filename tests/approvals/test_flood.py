"""Whoever asks people too much: what costs nothing to make makes no room, and others are still asked and found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chain.caller import Caller, Role
from chain.errors import ChainError, ConfigurationError, InvalidRequestError
from chain.key import KeySigner
from chain.principal import Principal
from chain.reason import Reason
from chain.search import Found, Search
from chain.service.compose import compose
from chain.state import MAX_WAITING, Settings
from chain.store.memory import MemoryStore
from tests.approvals.office import ALICE, ANN, ANY_HOP, BEN, BOB, CAROL, GATED_READ, Office, honest, policy
from tests.approvals.served import settings
from tests.support import NOW, ROOT_KEY, child, root, seal, signer

ALICE_2 = Principal(id="spiffe://example.org/agent/fresh", owner="team")


def first(**changed: Any) -> str:
    """A root of Alice's, for any arguments."""
    return seal(root(tools={"mail.read": {}, "bank.pay": {}}, **changed))


def handed(to: KeySigner, above: str | None = None) -> list[str]:
    """A chain that Alice handed to another key."""
    above = first() if above is None else above
    return [above, seal(child(above, to), ALICE)]


def asks(office: Office, tokens: list[str], by: KeySigner, number: int) -> bool:
    """Ask to read something, and tell whether people are asked about it."""
    decision = office.ask(tokens, by, "mail.read", {"folder": "in", "n": number})
    assert decision.reason in (Reason.APPROVAL_REQUIRED, Reason.APPROVAL_THROTTLED), str(decision)
    return decision.reason is Reason.APPROVAL_REQUIRED


@pytest.fixture
def reading() -> Office:
    """Reads wait for people, and whoever reads need not be enrolled."""
    return Office(bundle=policy(more=GATED_READ, hops=ANY_HOP))


def test_fresh_keys_count_to_whoever_handed_something_to_them(reading: Office) -> None:
    asked = 0
    for number in range(20):
        fresh = signer(f"fresh{number}")
        near = handed(fresh)
        further = [*near, seal(child(near[1], signer(f"more{number}")), fresh)]
        asked += asks(reading, near, fresh, number)
        asked += asks(reading, further, signer(f"more{number}"), number)
    assert asked == MAX_WAITING
    assert not asks(reading, [first()], ALICE, 99)  # it is one with them
    assert asks(reading, handed(BOB), BOB, 99)  # somebody who was enrolled is not
    reading.says(reading.authority.approvals.find(reading.caller)[-1], ANN, "deny")
    assert asks(reading, handed(signer("x")), signer("x"), 100)


def test_where_nobody_was_enrolled_they_count_to_the_root() -> None:
    office = Office(bundle=policy(more=GATED_READ, hops=ANY_HOP), enrolled=())
    for number, above in enumerate((first(), first(sub="someone else"))):
        keys = [signer(f"fresh{number}{place}") for place in range(12)]
        asked = [asks(office, handed(key, above), key, 1) for key in keys]
        assert sum(asked) == MAX_WAITING


def test_enrolling_a_key_makes_no_room(reading: Office) -> None:
    """What was asked before counts to whom it would count now: to the key that asked, and no more to Alice."""
    fresh = signer("fresh")
    for number in range(8):
        assert asks(reading, handed(fresh), fresh, number)
    assert not asks(reading, [first()], ALICE, 8)
    reading.authority.enrol(reading.caller, fresh.key, ALICE_2)
    assert not asks(reading, handed(fresh), fresh, 8)
    assert asks(reading, [first()], ALICE, 8)
    reading.restart()
    assert not asks(reading, handed(fresh), fresh, 9)


def test_a_root_has_a_bound_of_its_own() -> None:
    office = Office(settings=Settings(max_waiting=2, max_waiting_root=3), bundle=policy(more=GATED_READ, hops=ANY_HOP))
    one, other = first(), first(sub="someone else")
    assert [asks(office, [one], ALICE, number) for number in range(3)] == [True, True, False]
    assert [asks(office, handed(BOB, one), BOB, number) for number in range(3)] == [True, False, False]
    assert [asks(office, handed(BOB, other), BOB, number) for number in range(3)] == [True, False, False]


def test_all_together_have_one() -> None:
    bounds = Settings(max_waiting=2, max_waiting_root=2, max_waiting_all=3)
    office = Office(settings=bounds, bundle=policy(more=GATED_READ, hops=ANY_HOP))
    roots = [first(sub=name, exp=NOW + 3600) for name in ("a", "b", "c")]
    assert [asks(office, roots[:1], ALICE, number) for number in range(2)] == [True, True]
    assert asks(office, handed(BOB, roots[1]), BOB, 1)
    third = handed(CAROL, roots[2])
    assert not asks(office, third, CAROL, 1)
    waiting = office.authority.approvals.find(office.caller)
    office.says(waiting[0], ANN)  # what is approved waits for nobody
    assert asks(office, third, CAROL, 1)
    assert not asks(office, roots[:1], ALICE, 3)
    office.clock.now = waiting[-1].expires
    assert asks(office, roots[:1], ALICE, 3)  # nor does what is over


def test_bounds_that_contradict_each_other_are_refused() -> None:
    for wrong in ({"max_waiting": 33}, {"max_waiting_root": 600}, {"max_waiting": 9, "max_waiting_root": 8}):
        with pytest.raises(ConfigurationError):
            Settings(**wrong)
    assert Settings(max_waiting=33, max_waiting_root=33)


def test_bounds_come_from_the_configuration(tmp_path: Path) -> None:
    told = settings(tmp_path, max_waiting=2, max_waiting_root=3, max_waiting_all=4)
    made = compose(told, MemoryStore(), signer=ROOT_KEY)
    kept = made._desk.live.settings
    assert (kept.max_waiting, kept.max_waiting_root, kept.max_waiting_all) == (2, 3, 4)
    with pytest.raises(ConfigurationError):
        compose(told.model_copy(update={"max_waiting": 5}), MemoryStore(), signer=ROOT_KEY)


def test_what_nobody_answered_is_forgotten_soon(reading: Office) -> None:
    tokens = [first()]
    asks(reading, tokens, ALICE, 1)
    asks(reading, tokens, ALICE, 2)
    answered, unanswered = reading.authority.approvals.find(reading.caller)
    reading.says(answered, ANN)
    for wait in (1, 61):
        reading.clock.now = unanswered.expires + 900 + wait
        reading.ask([first(exp=NOW + 86400)], ALICE)
    left = {one.id for one in reading.authority.approvals.find(reading.caller)}
    assert answered.id in left
    assert unanswered.id not in left


def pages(office: Office, search: Search) -> list[Found]:
    found = [office.authority.approvals.page(office.caller, search)]
    while found[-1].next:
        found.append(office.authority.approvals.page(office.caller, search._replace(page=found[-1].next)))
    return found


def test_the_oldest_is_reached_page_by_page(office: Office) -> None:
    names = [office.waits(honest(), CAROL, "bank.pay", {"amount": amount}).id for amount in range(1, 8)][::-1]
    for limit in (1, 3, 7, 1000):
        found = pages(office, Search("pending", limit=limit))
        assert [one.id for page in found for one in page.approvals] == names
        assert [len(page.approvals) for page in found[:-1]] == [limit] * (len(found) - 1)
        assert all(page.next for page in found[:-1])
    assert pages(office, Search("denied")) == [Found(())]


def test_what_comes_meanwhile_moves_no_page(office: Office) -> None:
    names = [office.waits(honest(), CAROL, "bank.pay", {"amount": amount}).id for amount in range(1, 5)][::-1]
    first = office.authority.approvals.page(office.caller, Search(limit=2))
    office.waits(honest(), CAROL, "bank.pay", {"amount": 9})
    second = office.authority.approvals.page(office.caller, Search(limit=2, page=first.next))
    assert [one.id for page in (first, second) for one in page.approvals] == names


@pytest.mark.parametrize(
    "search",
    [
        Search(limit=0), Search(limit=1001), Search(page="x"), Search(page="1"), Search(page="1.pending.all"),
        Search("pending", page="1.any.all"), Search(in_review=True, page="1.any.all"), Search(page="-1.any.all"),
        Search(page="٣.any.all"), Search(page=f"{'1' * 19}.any.all"),
    ],
    ids=str,
)  # fmt: skip
def test_a_cursor_of_another_search_is_refused(office: Office, search: Search) -> None:
    with pytest.raises(InvalidRequestError):
        office.authority.approvals.page(office.caller, search)
    assert office.authority.approvals.page(office.caller, Search(page="1.any.all")) == Found(())


def test_who_may_look(office: Office) -> None:
    with pytest.raises(ChainError):
        office.authority.approvals.page(Caller("agent", frozenset({Role.AGENT})))
    assert office.authority.approvals.page(Caller("ben", frozenset({Role.APPROVER}), holder=BEN.key.thumbprint))
