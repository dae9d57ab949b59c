"""Who can do what: by every hop, as things stand, and with what besides."""

from __future__ import annotations

from typing import Any

import pytest

from chain.errors import InvalidRequestError, NotFoundError
from chain.graph import reach
from chain.graph.forest import Forest
from chain.history import History
from tests.book import Book

NOW = 2_000


def can(book: Book, tool: str, arguments: dict[str, Any] | None = None, now: float = NOW) -> set[str]:
    return {row["id"] for row in reach.who_can(Forest(History(book.entries), now), tool, arguments=arguments)}


def decide(book: Book, leaf: str, tool: str = "bank.pay", classed: str = "act", at: float = 0, **more: Any) -> None:
    body = {"id": f"x{len(book.entries)}", "effect": "ALLOW", "reason": "allowed", "tool": tool, "class": classed}
    body |= {"target": "bank", "arguments": "", "leaf": leaf, "holder": "k-carol", "caller": "pep"}
    book.write("decided", at, **(body | more))


def test_whoever_holds_the_tool_at_every_hop(book: Book) -> None:
    assert can(book, "bank.pay") == {"r1-0000", "b1-0000", "c1-0000", "r2-0000", "c2-0000"}
    assert can(book, "mail.read") == {"r1-0000", "b1-0000", "d1-0000", "r2-0000"}
    assert can(book, "web.search") == set()


def test_the_arguments_are_asked_of_every_hop(book: Book) -> None:
    assert can(book, "bank.pay", {"amount": 50}) == {"r1-0000", "b1-0000", "r2-0000"}
    assert can(book, "bank.pay", {"amount": 10}) == {"r1-0000", "b1-0000", "c1-0000", "r2-0000", "c2-0000"}
    assert can(book, "bank.pay", {"amount": 10, "to": "x"}) == set(), "an argument that is not granted"
    assert can(book, "bank.pay", {}) == set(), "a constraint closes the map: a missing one is refused"
    assert can(book, "mail.read", {"folder": "x"}) == {"r1-0000", "b1-0000", "d1-0000", "r2-0000"}


def test_a_child_that_gives_more_than_its_parent_gives_nothing_more(book: Book) -> None:
    book.give("e1-0000", "c1-0000", "k-eve", grant={"tools": {"bank.pay": {}, "mail.read": {}}})
    assert "e1-0000" not in can(book, "bank.pay", {"amount": 50})
    assert "e1-0000" in can(book, "bank.pay", {"amount": 5})
    assert "e1-0000" not in can(book, "mail.read")


def test_what_was_revoked_expired_or_suspended_cannot(book: Book) -> None:
    book.write("revoked", 500, id="b1-0000", cause="")
    assert can(book, "bank.pay") == {"r1-0000", "r2-0000", "c2-0000"}
    assert can(book, "bank.pay", now=9_000) == set()
    book.write("suspended", 600, scope="agent", name="spiffe://a.test/carol", mode="suspended", until=0, cause="")
    assert can(book, "bank.pay") == {"r1-0000", "r2-0000"}


def test_a_suspended_tool_is_nobodys(book: Book) -> None:
    book.write("suspended", 1, scope="tool", name="bank.pay", mode="suspended", until=0, cause="")
    assert can(book, "bank.pay") == set()
    assert can(book, "mail.read")


def test_who_is_quarantined_still_reads(book: Book) -> None:
    decide(book, "r1-0000", "mail.read", "read")
    decide(book, "c1-0000")
    before = can(book, "mail.read")
    book.write("suspended", 1, scope="agent", name="spiffe://a.test/bob", mode="quarantined", until=0, cause="")
    assert can(book, "mail.read") == before
    assert can(book, "bank.pay") == {"r1-0000", "r2-0000", "c2-0000"}
    book.write("suspended", 2, scope="tool", name="bank.pay", mode="quarantined", until=0, cause="")
    assert can(book, "bank.pay") == set()


def test_who_works_under_or_beneath_a_suspended_agent_cannot(book: Book) -> None:
    book.enrol("k-worker", "spiffe://a.test/carol/worker")
    book.enrol("k-other", "spiffe://b.test/other", under="k-carol")
    for name in ("worker", "other"):
        book.give(f"{name}-0", "r1-0000", f"k-{name}")
    assert {"worker-0", "other-0"} <= can(book, "bank.pay")
    book.write("suspended", 1, scope="agent", name="spiffe://a.test/carol", mode="suspended", until=0, cause="")
    assert {"worker-0", "other-0", "c2-0000"}.isdisjoint(can(book, "bank.pay"))


def test_a_class_that_is_not_granted_is_known_from_a_decision(book: Book) -> None:
    limits = {"classes": ["read"]}
    book.give(
        "e1-0000",
        "r1-0000",
        "k-eve",
        grant={"tools": {"bank.pay": {"amount": {"constraint_type": "wildcard"}}}, "limits": limits},
    )
    forest = Forest(History(book.entries), NOW)
    assert [row["needs"] for row in reach.who_can(forest, "bank.pay") if row["id"] == "e1-0000"] == [["class read"]]
    decide(book, "r1-0000")
    assert "e1-0000" not in can(book, "bank.pay")
    assert "r1-0000" in can(book, "bank.pay")


def test_a_class_of_an_older_policy_is_not_relied_on(book: Book) -> None:
    limits = {"classes": ["read"]}
    rules = {"bank.pay": {"amount": {"constraint_type": "wildcard"}}}
    book.give("e1-0000", "r1-0000", "k-eve", grant={"tools": rules, "limits": limits})
    decide(book, "r1-0000")
    book.write("suspended", 1, scope="agent", name="spiffe://a.test/bob", mode="quarantined", until=0, cause="")
    assert {"e1-0000", "b1-0000"}.isdisjoint(can(book, "bank.pay"))
    book.write("policy_activated", 2, digest="d", previous="", rules=[], caller="ops")
    assert {"e1-0000", "b1-0000"} <= can(book, "bank.pay"), "it may be a read now"


def test_a_budget_that_is_used_up(book: Book) -> None:
    budget = {"calls": 2, "amount": {"value": "20", "currency": "EUR", "argument": "amount"}}
    book.give("p1-0000", "r1-0000", "k-pete", grant=PAY_WITH({"budget": budget}))
    book.give("q1-0000", "p1-0000", "k-quin", grant=PAY_WITH({"budget": budget}))
    decide(book, "q1-0000", spent=[["p1-0000", "12", "EUR"], ["q1-0000", "12", "EUR"]])
    assert {"p1-0000", "q1-0000"} <= can(book, "bank.pay", {"amount": 8})
    assert {"p1-0000", "q1-0000"}.isdisjoint(can(book, "bank.pay", {"amount": 9}))
    forest = Forest(History(book.entries), NOW)
    needs = next(row["needs"] for row in reach.who_can(forest, "bank.pay") if row["id"] == "p1-0000")
    assert needs == ["1 of 2 calls left at hop 1", "8 of 20 EUR left at hop 1"]
    decide(book, "p1-0000", spent=[["p1-0000", "1", "EUR"]])
    assert {"p1-0000", "q1-0000"}.isdisjoint(can(book, "bank.pay")), "its sibling's purse is the same one"


def PAY_WITH(limits: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - a grant, made
    return {"tools": {"bank.pay": {"amount": {"constraint_type": "range", "max": 100}}}, "limits": limits}


def test_what_a_call_must_bring(book: Book) -> None:
    gate = {"when": {"tool": "bank.pay"}, "threshold": 2, "approvers": ["ann", "ben", "cat"]}
    limits = {"purposes": ["travel"], "classification": "internal", "approval": [gate]}
    book.give("p1-0000", "r1-0000", "k-pete", grant=PAY_WITH(limits))
    forest = Forest(History(book.entries), NOW)
    row = next(row for row in reach.who_can(forest, "bank.pay") if row["id"] == "p1-0000")
    assert row["needs"] == ["purpose travel", "data up to internal", "approval by 2 of 3"]


def test_a_grant_that_cannot_be_read_permits_nothing(book: Book) -> None:
    book.give("u1-0000", "r1-0000", "k-uma", grant={"tools": {"bank.pay": {"amount": {"constraint_type": "magic"}}}})
    book.give("u2-0000", "r1-0000", "k-uma", grant=None)
    assert {"u1-0000", "u2-0000"}.isdisjoint(can(book, "bank.pay"))
    assert "r1-0000" in can(book, "bank.pay")


def test_a_target_is_every_tool_that_was_decided_as_one_of_it(book: Book) -> None:
    decide(book, "c1-0000")
    forest = Forest(History(book.entries), NOW)
    assert {row["tool"] for row in reach.who_can(forest, target="bank")} == {"bank.pay"}
    assert not reach.who_can(forest, target="mail")
    for words in ({}, {"tool": "a", "target": "b"}, {"target": "b", "arguments": {}}):
        with pytest.raises(InvalidRequestError):
            reach.who_can(forest, **words)


def test_what_an_agent_can_and_what_each_hop_narrowed(book: Book) -> None:
    forest = Forest(History(book.entries), NOW)
    rows = reach.what_can(forest, "spiffe://a.test/carol")
    assert [(row["id"], row["path"][-2:]) for row in rows] == [
        ("c1-0000", ["spiffe://a.test/bob", "spiffe://a.test/carol"]),
        ("c2-0000", ["spiffe://a.test/ann", "spiffe://a.test/carol"]),
    ]
    assert rows[0]["narrowed"] == ["hop 2: `bank.pay` argument `amount`: up to 100 → up to 10"]
    assert [row["tool"] for row in reach.what_can(forest, "spiffe://a.test/*", "mail.read")] == ["mail.read"] * 4
    with pytest.raises(NotFoundError):
        reach.what_can(forest, "spiffe://a.test/nobody")


def test_what_hinders_is_said_where_all_is_listed(book: Book) -> None:
    book.write("suspended", 1, scope="tool", name="mail.read", mode="suspended", until=0, cause="")
    book.write("suspended", 1, scope="agent", name="k-bob", mode="quarantined", until=0, cause="")
    rows = reach.what_can(Forest(History(book.entries), NOW), "k-bob")
    assert {row["tool"]: row["needs"] for row in rows} == {
        "bank.pay": ["a quarantine lifted, unless it reads"],
        "mail.read": ["the tool's suspension lifted", "a quarantine lifted, unless it reads"],
    }
