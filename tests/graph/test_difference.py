"""What differs, both ways."""

from __future__ import annotations

import pytest

from chain.errors import NotFoundError
from chain.graph import difference
from chain.graph.forest import Forest
from chain.history import History
from tests.book import Book

NOW = 2_000


def test_two_delegations(book: Book) -> None:
    grant = {"tools": {"bank.pay": {"amount": {"constraint_type": "range", "max": 50}}, "web.search": {}}}
    book.give("x1-0000", None, "k-dave", grant=grant | {"limits": {"classes": ["act"]}}, exp=5_000)
    forest = Forest(History(book.entries), NOW)
    given = forest.history.given
    rows = {row["what"]: (row["a"], row["b"]) for row in difference.between(forest, given["r1-0000"], given["x1-0000"])}
    assert rows == {
        "agent": ("spiffe://a.test/ann", "spiffe://a.test/dave"),
        "key": ("k-ann", "k-dave"),
        "until": (9_000, 5_000),
        "`bank.pay` argument `amount`": ("up to 100", "up to 50"),
        "tools": ("`mail.read`", "`bank.pay`, `web.search`"),
        "limit `classes`": ("no limit", "`act`"),
    } | {key: value for key, value in rows.items() if "web.search" in str(value)}
    assert any("`web.search`" in str(value) for value in rows.values())
    assert difference.between(forest, given["r1-0000"], given["r1-0000"]) == []


def test_what_cannot_be_read_is_not_compared(book: Book) -> None:
    book.give("u1-0000", None, "k-dave", grant=None)
    forest = Forest(History(book.entries), NOW)
    given = forest.history.given
    with pytest.raises(NotFoundError):
        difference.between(forest, given["r1-0000"], given["u1-0000"])


def test_two_instants(book: Book) -> None:
    book.give("n1-0000", "r1-0000", "k-dave", exp=1_600)
    before = Forest(History(book.entries), 1_100)
    book.write("revoked", 200, id="b1-0000", cause="stolen")
    book.give("n2-0000", "r1-0000", "k-dave")
    after = Forest(History(book.entries), NOW)
    rows = [(row["change"], row["id"], row["why"], row["ended"]) for row in difference.since(before, after)]
    assert rows == [
        ("appeared", "n2-0000", "delegated", 0),
        ("fell", "b1-0000", "revoked: stolen", 12),
        ("fell", "c1-0000", "revoked: stolen", 12),
        ("fell", "n1-0000", "expired: its time was over", 0),
    ]
    assert not difference.since(after, after)
