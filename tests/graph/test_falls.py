"""Lineage, what falls with what, and what others depend on wholly."""

from __future__ import annotations

import networkx as nx
import pytest

from chain.errors import InvalidRequestError, NotFoundError
from chain.graph import choke, lineage
from chain.graph.forest import Forest
from chain.history import History
from tests.book import Book
from tests.graph.test_forest import world

NOW = 2_000


@pytest.fixture
def forest(book: Book) -> Forest:
    return Forest(History(book.entries), NOW)


def places(forest: Forest, name: str) -> list[tuple[str, str, str]]:
    return [(row["place"], row["id"], row["status"]) for row in lineage.lineage(forest, name)]


def test_lineage_is_up_then_itself_then_down(forest: Forest) -> None:
    assert places(forest, "b1-0000") == [
        ("above", "r1-0000", "stands"),
        ("itself", "b1-0000", "stands"),
        ("beneath", "c1-0000", "stands"),
    ]
    assert [(place, name) for place, name, _ in places(forest, "k-carol")] == [
        ("above", "r1-0000"),
        ("above", "b1-0000"),
        ("above", "r2-0000"),
        ("itself", "c1-0000"),
        ("itself", "c2-0000"),
    ]
    rows = lineage.lineage(forest, "c1-0000")
    assert rows[2]["narrowed"] == ["`bank.pay` argument `amount`: up to 100 → up to 10", "without `mail.read`"]


def test_lineage_tells_what_does_not_stand_and_why(book: Book) -> None:
    book.write("revoked", 500, id="b1-0000", cause="stolen")
    rows = list(lineage.lineage(Forest(History(book.entries), NOW), "r1-0000"))
    told = {row["id"]: (row["status"], row["ended"], row["why"]) for row in rows}
    assert told["b1-0000"] == told["c1-0000"] == ("revoked", len(book.entries), "stolen")
    assert told["d1-0000"] == ("stands", 0, "")
    assert {row["id"] for row in lineage.lineage(Forest(History(book.entries), NOW), "k-bob")} == {
        "r1-0000", "b1-0000", "c1-0000",
    }  # fmt: skip


def test_each_delegation_is_told_once_however_an_agent_is_nested(book: Book) -> None:
    book.give("a3-0000", "c1-0000", "k-ann")
    rows = places(Forest(History(book.entries), NOW), "k-ann")
    assert len({name for _, name, _ in rows}) == len(rows) == 7


def test_what_falls_with_an_agent(forest: Forest) -> None:
    rows = lineage.blast(forest, "spiffe://a.test/bob")
    told = [(row["what"], row["name"], row["detail"]) for row in rows]
    assert told == [
        ("tool", "bank.pay", "amount: up to 100"),
        ("tool", "mail.read", "any arguments"),
        ("agent", "spiffe://a.test/bob", "loses all of 1"),
        ("agent", "spiffe://a.test/carol", "loses 1 of 2"),
        ("delegation", "b1-0000", "bank.pay, mail.read"),
        ("delegation", "c1-0000", "bank.pay"),
    ]


def test_a_key_that_only_signs_loses_what_it_signed_and_calls_nothing(forest: Forest) -> None:
    rows = lineage.blast(forest, "anchor")
    assert {row["what"] for row in rows} == {"agent", "delegation"}
    assert {row["name"] for row in rows if row["what"] == "delegation"} == set(forest.live)
    assert any(row["what"] == "tool" for row in lineage.blast(forest, "r1-0000"))


def test_budgets_and_open_requests_fall_too(book: Book) -> None:
    limits = {"budget": {"calls": 3}}
    book.give("p1-0000", "r1-0000", "k-pete", grant={"tools": {"bank.pay": {}}, "limits": limits})
    asked = {"tool": "bank.pay", "amount": "5 EUR", "root": "r1-0000", "binding": "b", "expires": 5_000}
    for name in ("a1", "a2", "a3", "a4"):
        expires = 1_900 if name == "a4" else 5_000
        book.write("approval_requested", 1, id=name, holder="k-pete", **(asked | {"expires": expires}))
    book.write("approval_resolved", 2, id="a2", state="denied", verdict="deny")
    book.write("approval_consumed", 3, id="a3")
    rows = lineage.blast(Forest(History(book.entries), NOW), "r1-0000")
    told = [(row["what"], row["name"], row["detail"]) for row in rows if row["what"] in ("budget", "approval")]
    assert told == [("budget", "p1-0000", "3 of 3 calls left at hop 1"), ("approval", "a1", "bank.pay 5 EUR")]


def test_what_does_not_stand_falls_no_more(book: Book) -> None:
    book.write("revoked", 500, id="b1-0000", cause="stolen")
    forest = Forest(History(book.entries), NOW)
    assert not lineage.blast(forest, "b1-0000")
    assert lineage.blast(forest, "r1-0000")


def test_a_name_that_is_nobodys_or_several(forest: Forest) -> None:
    for ask in (lineage.lineage, lineage.blast):
        with pytest.raises(NotFoundError):
            ask(forest, "nobody-at-all")
        assert len(ask(forest, "c1-000")) > 0
    forest.history.given["c1-0001"] = forest.history.given["c1-0000"]
    forest.history.given["c1-0001"].id = "c1-0001"
    with pytest.raises((InvalidRequestError, NotFoundError)):
        lineage.lineage(forest, "c")


def test_who_depends_on_whom(forest: Forest) -> None:
    rows = [(row["kind"], row["name"], row["who"], row["falls"]) for row in choke.chokepoints(forest)]
    ann, bob, carol, dave = (f"spiffe://a.test/{name}" for name in ("ann", "bob", "carol", "dave"))
    assert rows == [
        ("agent", ann, [bob, carol, dave], 6),
        ("delegation", "r1-0000", [bob, dave], 4),
    ]
    mail = choke.chokepoints(forest, "mail.read")
    assert [(row["name"], row["who"]) for row in mail] == [(ann, [bob, dave]), ("r1-0000", [bob, dave])]
    assert choke.chokepoints(forest, "web.search") == []


def test_they_are_the_dominators_of_another_library() -> None:
    """A delegation dominates an agent where every way from the issuers to what it holds leads through it."""
    found = 0
    for seed in range(150):
        forest = Forest(History(world(seed).entries), 1_400)
        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_node("source")
        for one in forest.live.values():
            graph.add_edge("source" if one.above is None else one.above.id, one.id)
            graph.add_edge(one.id, f"agent {forest.called(one)}")
        above = nx.immediate_dominators(graph, "source")
        expected: dict[str, set[str]] = {}
        for agent in forest.agents:
            at = above[f"agent {agent}"]
            while at not in (None, "source"):
                if forest.called(forest.live[at]) != agent:
                    expected.setdefault(at, set()).add(agent)
                at = above.get(at)
        rows = [row for row in choke.chokepoints(forest) if row["kind"] == "delegation"]
        assert {row["name"]: row["agents"] for row in rows} == {name: len(who) for name, who in expected.items()}, seed
        found += len(rows)
    assert found > 100
