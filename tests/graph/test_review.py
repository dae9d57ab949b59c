"""The access review: each finding with its evidence, and beside it what is no finding."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from chain.given import Entry
from chain.graph.forest import Forest
from chain.graph.review import NORMS, _last, _uses, review
from chain.history import History
from chain.inquiry import ReviewAccess
from tests.book import Book

NOW = 2_000


def findings(book: Book, kind: str, now: float = NOW, norms: ReviewAccess = NORMS) -> list[tuple[str, str, list[int]]]:
    rows = review(Forest(History(book.entries), now), norms)
    assert all(row["record"] in row["evidence"] for row in rows)
    return [(row["id"], row["detail"], row["evidence"]) for row in rows if row["finding"] == kind]


def use(book: Book, leaf: str, tool: str, at: float = 0, **more: Any) -> int:
    body = {"id": f"x{len(book.entries)}", "effect": "ALLOW", "reason": "allowed", "tool": tool, "class": "act"}
    book.write("decided", at, **(body | {"arguments": "", "leaf": leaf, "caller": "pep", "holder": "k"} | more))
    return len(book.entries)


@pytest.fixture
def small() -> Book:
    book = Book()
    for name in ("ann", "bob"):
        book.enrol(f"k-{name}", f"spiffe://a.test/{name}")
    grant = {
        "tools": {
            "bank.pay": {"amount": {"constraint_type": "range", "max": 9}},
            "mail.read": {"to": {"constraint_type": "wildcard"}},
        }
    }
    facts = {"txn": "t1", "sub": "alice", "owner": "team"}
    book.give("r1-0000", None, "k-ann", grant=grant, facts=facts)
    book.give("b1-0000", "r1-0000", "k-bob", grant=grant, facts=facts)
    return book


def test_a_tool_that_is_never_called(small: Book) -> None:
    never = "no call was ever allowed under it: `bank.pay`, `mail.read`"
    assert findings(small, "NHI5 unused") == [("r1-0000", never, [3]), ("b1-0000", never, [4])]
    assert findings(small, "NHI5 unused", now=1_899) == []
    used = use(small, "b1-0000", "bank.pay")
    use(small, "b1-0000", "mail.read", effect="DENY", reason="revoked")
    only = "never called: `mail.read`"
    assert findings(small, "NHI5 unused") == [("r1-0000", only, [3, used]), ("b1-0000", only, [4, used])]
    use(small, "b1-0000", "mail.read")
    assert findings(small, "NHI5 unused") == []


def test_what_was_used_is_what_walking_up_from_every_call_finds() -> None:
    for seed in range(50):
        dice, book, names = Random(seed), Book(), list[str]()
        for number in range(dice.randrange(2, 12)):
            names.append(f"name-{number}")
            book.give(names[-1], dice.choice(names[:-1]) if names[1:] and dice.random() < 0.8 else None, "k")
        for _ in range(dice.randrange(30)):
            effect = dice.choice(["ALLOW", "ALLOW", "DENY"])
            use(book, dice.choice([*names, "gone"]), dice.choice("abc"), dice.randrange(5), effect=effect)
        history = History(book.entries)
        plain: dict[str, dict[str, Entry]] = {}
        last: dict[str, Entry] = {}
        for entry in history.decided:
            at = history.given.get(entry.body["leaf"]) if entry.body["effect"] == "ALLOW" else None
            for hop in at.chain if at is not None else ():
                last[hop.id] = plain.setdefault(hop.id, {})[entry.body["tool"]] = entry
        found = _uses(Forest(history, NOW))
        assert found == plain
        assert {name: _last(use) for name, use in found.items()} == last


def test_open_arguments_are_told_where_they_begin(small: Book) -> None:
    small.give("o1-0000", "r1-0000", "k-bob", grant={"tools": {"bank.pay": {}}})
    small.give("o2-0000", "o1-0000", "k-bob", grant={"tools": {"bank.pay": {}}})
    (row,) = findings(small, "NHI5 over-broad")
    assert row[:2] == ("o1-0000", "any arguments of `bank.pay`, not known to only read")
    use(small, "o2-0000", "bank.pay", **{"class": "read"})
    assert findings(small, "NHI5 over-broad") == []


def test_far_more_tools_or_money_than_is_used(small: Book) -> None:
    many = {"tools": {f"t{number}": {"x": {"constraint_type": "wildcard"}} for number in range(11)}}
    budget = {"amount": {"value": "500", "currency": "EUR", "argument": "amount"}}
    small.give("m1-0000", None, "k-bob", grant=many | {"limits": {"budget": budget}})
    assert findings(small, "NHI5 over-broad") == []
    use(small, "m1-0000", "t1", spent=[["m1-0000", "49", "EUR"]])
    assert [row[1] for row in findings(small, "NHI5 over-broad")] == [
        "11 tools are granted and 1 used",
        "500 EUR are granted and 49 spent",
    ]
    use(small, "m1-0000", "t2", spent=[["m1-0000", "1", "EUR"]])
    assert findings(small, "NHI5 over-broad") == []


def test_what_nobody_answers_for(small: Book) -> None:
    assert findings(small, "NHI1 orphaned") == []
    facts = {"txn": "t1", "sub": "alice", "owner": "spiffe://a.test/ann"}
    small.give("n1-0000", None, "k-nobody", facts={"txn": "t1", "sub": "alice"})
    small.give("n2-0000", None, "k-bob", facts=facts)
    assert [row[1] for row in findings(small, "NHI1 orphaned")] == [
        "nobody enrolled its holder",
        "nobody answers for it",
    ]
    small.write("revoked", 1, kind="holder", name="k-ann", cause="left")
    assert ("n2-0000", "who answers for it is gone: `spiffe://a.test/ann`", [6]) in findings(small, "NHI1 orphaned")


def test_who_works_under_nobody_and_what_hangs_on_the_suspended(small: Book) -> None:
    small.enrol("k-worker", "spiffe://b.test/worker", under="k-gone")
    small.give("w1-0000", "r1-0000", "k-worker", facts={"owner": "team"})
    (row,) = findings(small, "NHI1 orphaned")
    assert row == (
        "w1-0000",
        "it works under `k-gone`, which nobody enrolled, or all that it holds was revoked",
        [5, 6],
    )
    small.write("suspended", 1, scope="agent", name="k-ann", mode="suspended", until=0, cause="look")
    assert {row[0] for row in findings(small, "NHI1 orphaned")} == {"b1-0000", "w1-0000"}
    assert all(row[2][-1] == 7 for row in findings(small, "NHI1 orphaned"))


def test_what_lives_too_long(small: Book) -> None:
    small.give("l1-0000", None, "k-bob", exp=1_000 + 86_401)
    assert findings(small, "NHI7 overlong") == [("l1-0000", "lives 86401 s, above 86400 s", [5])]
    assert findings(small, "NHI7 overlong", norms=ReviewAccess(life=86_401)) == []
    used = use(small, "b1-0000", "bank.pay", 60)
    assert [row for row in findings(small, "NHI7 overlong") if row[0] == "b1-0000"] == [
        ("b1-0000", "lives 8000 s, and was last used after 60 s", [4, used])
    ]
    assert not [row for row in findings(small, "NHI7 overlong", now=1_900) if row[0] == "b1-0000"], "used just now"
    use(small, "b1-0000", "bank.pay", 900)
    assert not [row for row in findings(small, "NHI7 overlong") if row[0] == "b1-0000"]


def test_two_agents_with_one_key(small: Book) -> None:
    assert findings(small, "NHI9 reuse") == []
    small.enrol("k-bob", "spiffe://a.test/robert")
    (row,) = findings(small, "NHI9 reuse")
    assert row == ("b1-0000", "one key is that of `spiffe://a.test/bob`, `spiffe://a.test/robert`", [2, 4, 5])
    small.give("s1-0000", "r1-0000", "k-ann", bound="spiffe://a.test/pod")
    assert {row[1] for row in findings(small, "NHI9 reuse")} == {
        row[1],
        "one key is that of `spiffe://a.test/ann`, `spiffe://a.test/pod`",
    }


def test_one_identity_with_two_keys_at_once(small: Book) -> None:
    small.enrol("k-ann2", "spiffe://a.test/ann")
    assert findings(small, "NHI9 reuse") == [], "a second key that holds nothing"
    small.give("s1-0000", None, "k-ann2")
    assert [row[1:] for row in findings(small, "NHI9 reuse")] == [
        ("`spiffe://a.test/ann` holds delegations by 2 keys at once", [1, 3, 5])
    ]


def test_one_key_that_two_callers_delegate_with(small: Book) -> None:
    small.give("s1-0000", "r1-0000", "k-bob", caller="another")
    assert [row[:2] for row in findings(small, "NHI9 reuse")] == [
        ("r1-0000", "one key delegates for the callers `agents`, `another`")
    ]


def test_many_names_are_counted(small: Book) -> None:
    many = {"tools": {f"t{number:02d}": {"x": {"constraint_type": "wildcard"}} for number in range(25)}}
    small.give("m1-0000", None, "k-bob", grant=many)
    detail = next(row[1] for row in findings(small, "NHI5 unused") if row[0] == "m1-0000")
    assert detail.endswith("`t09` and 15 more")
