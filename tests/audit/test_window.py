"""A history that stays small: what goes, what stays, and that all of it is counted."""

from __future__ import annotations

import pytest

from chain.errors import InvalidRequestError
from chain.given import Entry
from chain.history import History
from chain.lapsed import NOTHING
from chain.report.notable import notable
from chain.window import Window


class Book:
    """Records by hand, one each second."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.entries: list[Entry] = []

    def write(self, kind: str, /, **body: object) -> None:
        entry = Entry(len(self.entries) + 1, kind, (len(self.entries) + 1) * 1000, body)
        self.entries.append(entry)
        self.window.take(entry)

    def give(self, name: str, parent: str | None = None, exp: int = 10**9, holder: str = "h") -> None:
        self.write(
            "issued" if parent is None else "delegated",
            id=name, parent=parent, holder=holder, issuer="i", signer="s", hop=int(parent is not None), iat=0, exp=exp,
        )  # fmt: skip

    def call(self, leaf: str, effect: str = "ALLOW") -> None:
        self.write("decided", leaf=leaf, effect=effect)


def test_what_fits_is_the_whole_history() -> None:
    book = Book(Window(8, 8))
    for number in range(4):
        book.give(f"d{number}")
        book.call(f"d{number}")
        book.call(f"d{number}", "DENY")
        book.write("refused", method="Delegate")
    whole = History(book.entries)
    assert book.window.decided == whole.decided
    assert book.window.refused == whole.refused
    assert list(book.window.given) == list(whole.given)
    assert book.window.gone == NOTHING


def test_of_calls_the_oldest_go_and_no_flood_hides_another_kind() -> None:
    book = Book(Window(8, 8))
    book.give("a")
    book.call("a", "DENY")
    for _ in range(100):
        book.call("a")
    kept = book.window.decided
    allowed = [one for one in kept if one.body["effect"] == "ALLOW"]
    assert [one.revision for one in kept if one.body["effect"] == "DENY"] == [2]
    assert kept == sorted(kept, key=lambda one: one.revision)
    assert kept[-1] == book.entries[-1]
    assert 4 <= len(allowed) <= 8
    assert book.window.gone.allowed["a"] + len(allowed) == 100
    for _ in range(100):
        book.call("a", "DENY")
        book.write("refused", method="Delegate")
    denied = [one for one in book.window.decided if one.body["effect"] == "DENY"]
    assert [one for one in book.window.decided if one.body["effect"] == "ALLOW"] != []
    assert len(denied) <= 8
    assert len(book.window.refused) <= 8
    assert book.window.gone.others + len(denied) + len(book.window.refused) == 201


def test_of_trees_those_go_that_were_over_first() -> None:
    book = Book(Window(16, 8))
    for number in range(8):
        book.give(f"over{number}", exp=5 - number % 4)
        book.give(f"child{number}", f"over{number}", exp=5 - number % 4)
        book.call(f"child{number}")
    book.give("stands")
    given = book.window.given
    assert len(given) <= 13
    assert "stands" in given
    assert {"over3", "over7"}.isdisjoint(given), "they were over first"
    assert {"over0", "child0"} <= given.keys()
    assert all((f"over{number}" in given) == (f"child{number}" in given) for number in range(8))
    assert book.window.gone.delegations + len(given) == 17


def test_a_tree_of_which_one_stands_stays_and_too_many_are_refused() -> None:
    book = Book(Window(16, 8))
    for number in range(8):
        book.give(f"root{number}", exp=1)
        book.give(f"child{number}", f"root{number}")
    assert len(book.window.given) == 16
    with pytest.raises(InvalidRequestError, match="`chain report --task`"):
        book.give("more")


def test_what_was_used_before_is_not_found_unused() -> None:
    book = Book(Window(8, 4))
    for name in ("used", "idle"):
        book.give(name)
    for _ in range(3):
        book.call("used")
    for _ in range(30):
        book.call("another")
    assert not [one for one in book.window.decided if one.body["leaf"] == "used"]
    rows = notable(book.window, 100, book.window.gone.allowed)
    assert [row["id"] for row in rows if row["kind"] == "unused"] == ["idle"]
    assert book.window.gone.allowed["used"] == 3


def test_who_holds_nothing_for_now_is_still_known_when_it_holds_something_again() -> None:
    book = Book(Window(8, 8))
    book.write("enrolled", holder="k", principal={"id": "spiffe://a.test/k", "kind": "agent", "owner": "team"})
    for number in range(16):
        book.give(f"over{number}", exp=number, holder="k" if number < 2 else "h")
    assert "k" not in {one.holder for one in book.window.given.values()}
    book.give("again", holder="k")
    assert "k" not in [row["text"].split()[0] for row in notable(book.window, 100) if row["kind"] == "nobody's"]


def test_calls_of_what_went_are_counted_still() -> None:
    book = Book(Window(8, 8))
    book.give("over", exp=1)
    for _ in range(20):
        book.call("over")
    before = sum(book.window.gone.allowed.values())
    assert book.window.gone.allowed["over"] == before > 0
    for number in range(8):
        book.give(f"more{number}", exp=10**9 if number < 2 else 20)
    assert "over" not in book.window.given
    assert book.window.gone.allowed[""] == before == sum(book.window.gone.allowed.values())
