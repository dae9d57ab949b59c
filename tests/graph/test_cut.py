"""The least cut: against every subset, against a minimum cut of networkx, and by being applied."""

from __future__ import annotations

import random
from itertools import combinations

import networkx as nx
import pytest

from chain.errors import NotFoundError
from chain.given import Given
from chain.graph import cut, reach
from chain.graph.cut import Cut
from chain.graph.forest import Forest
from chain.history import History
from chain.inquiry import Work
from tests.book import Book

NOW = 2_000
STOP = Work("k-z", "bank.pay")


def town(seed: int) -> tuple[Book, list[Work]]:
    """At most nine delegations of two tools among four agents, and some work to keep."""
    dice = random.Random(seed)
    book, names = Book(), list[str]()
    for number in range(dice.randrange(3, 10)):
        parent = dice.choice(names) if names and dice.random() < 0.8 else None
        tools = dice.choice([{"bank.pay": {}}, {"bank.pay": {}, "mail.read": {}}, {"mail.read": {}}])
        names.append(f"name-{number}")
        book.give(names[-1], parent, f"k-{dice.choice('zzab')}", grant={"tools": tools})
    return book, [
        Work(f"k-{dice.choice('ab')}", dice.choice(["bank.pay", "mail.read"])) for _ in range(dice.randrange(3))
    ]


def able(forest: Forest, work: Work) -> set[str]:
    return {one.id for one in reach.ways(forest, work.tool) if one.holder == work.agent}


def after(book: Book, names: list[str]) -> Forest:
    """The same town with these revoked, folded anew."""
    told = Book()
    told.entries = list(book.entries)
    for name in names:
        told.write("revoked", 500, id=name, cause="")
    return Forest(History(told.entries), NOW)


def holds(book: Book, names: list[str], keep: list[Work], before: Forest) -> bool:
    then = after(book, names)
    return not able(then, STOP) and all(able(then, work) == able(before, work) for work in keep)


def test_no_smaller_set_does_it_and_of_those_as_small_none_fells_less() -> None:
    cuts, impossible, several = 0, 0, 0
    for seed in range(400):
        book, keep = town(seed)
        forest = Forest(History(book.entries), NOW)
        keep = [work for work in keep if able(forest, work)]
        if not forest.of(STOP.agent):
            continue
        found = cut.least(forest, STOP, keep)
        names = [one.id for one in found.revoke]
        sets = [list(some) for size in range(len(forest.live) + 1) for some in combinations(forest.live, size)]
        good = [some for some in sets if holds(book, some, keep, forest)]
        if found.blocked:
            assert not good, (seed, "there is a cut")
            impossible += 1
            continue
        assert holds(book, names, keep, forest), seed
        least = min(map(len, good))
        assert len(names) == least, seed
        fallen = {len(after(book, some).live) for some in good if len(some) == least}
        assert len(after(book, names).live) == max(fallen), seed
        for word in found.words:
            then = Book()
            then.entries = list(book.entries)
            then.write("revoked", 500, kind=word.kind, name=word.name, cause="")
            stood = Forest(History(then.entries), NOW)
            assert not able(stood, STOP), (seed, word.kind)
            assert all(able(stood, work) == able(forest, work) for work in keep), (seed, word.kind)
            assert len(word.falls) == len(forest.live) - len(stood.live), (seed, word.kind)
        cuts, several = cuts + 1, several + (least > 1)
    assert (cuts > 150, impossible > 20, several > 20) == (True, True, True), (cuts, impossible, several)


def test_what_an_agent_can_is_what_all_that_stands_says_of_it() -> None:
    """Asked about what an agent holds alone (`among`), and about everything: the same, in the same order."""
    some = 0
    for seed in range(100):
        book, _ = town(seed)
        dice = random.Random(seed)
        budget = {"tools": {"bank.pay": {}, "mail.read": {}}, "limits": {"budget": {"calls": dice.randrange(1, 3)}}}
        book.give("poor", "name-0", "k-b", grant=budget)
        book.give("poorer", "poor", "k-z", grant=budget)
        body = {"effect": "ALLOW", "reason": "allowed", "tool": "bank.pay", "class": "act", "target": "bank"}
        book.write("decided", 1, **body, leaf="poorer", spent=[["poor", "0", ""], ["poorer", "0", ""]])
        mode = dice.choice(["suspended", "quarantined"])
        book.write("suspended", 2, scope="agent", name="k-a", mode=mode, until=0, cause="")
        forest = Forest(History(book.entries), NOW)
        for work in (STOP, Work("k-b", "mail.read")):
            if forest.of(work.agent):
                plain = [one.id for one in reach.ways(forest, work.tool) if one.holder == work.agent]
                assert [one.id for one in cut.least(forest, work).ways] == plain, seed
                some += bool(plain)
    assert some > 100


def judged(forest: Forest, found: Cut, barred: set[str]) -> float:
    """The size of the cut by networkx: a node's capacity is one, what may not be revoked has none to lose."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for one in forest.live.values():
        graph.add_edge(f"{one.id}/in", f"{one.id}/out", **({} if one.id in barred else {"capacity": 1}))
        graph.add_edge("source" if one.above is None else f"{one.above.id}/out", f"{one.id}/in")
    for way in found.ways:
        graph.add_edge(f"{way.id}/out", "sink")
    return float(nx.maximum_flow_value(graph, "source", "sink"))


def test_it_is_as_small_as_the_minimum_cut_of_another_library() -> None:
    compared = 0
    for seed in range(30):
        dice = random.Random(seed)
        book, names = Book(), list[str]()
        for number in range(150):
            parent = dice.choice(names) if names and dice.random() < 0.9 else None
            names.append(f"name-{number:03d}")
            book.give(names[-1], parent, f"k-{dice.choice('zabcdefghij')}", grant={"tools": {"bank.pay": {}}})
        forest = Forest(History(book.entries), NOW)
        kept = [one for one in forest.of("k-a") if not any(one in way.chain for way in forest.of("k-z"))]
        keep = [Work("k-a", "bank.pay")] if kept else []
        found = cut.least(forest, STOP, keep)
        if not found.blocked:
            barred = {hop.id for one in forest.of("k-a") for hop in one.chain} if keep else set()
            assert len(found.revoke) == judged(forest, found, barred), seed
            compared += 1
        alone = cut.least(forest, STOP)
        assert len(alone.revoke) == judged(forest, alone, set()), seed
        compared += 1
    assert compared >= 30


def test_one_revocation_stops_several_ways_where_it_may(book: Book) -> None:
    book.give("c3-0000", "b1-0000", "k-carol")
    forest = Forest(History(book.entries), NOW)
    found = cut.least(forest, Work("spiffe://a.test/carol", "bank.pay"))
    assert [one.id for one in found.revoke] == ["b1-0000", "c2-0000"]
    rows = cut.rows(forest, found)
    assert [(row["do"], row["stops"], row["falls"]) for row in rows[:3]] == [
        ("revoke", 2, 3),
        ("revoke", 1, 1),
        ("or", 3, 3),
    ]
    assert rows[2]["command"] == "chain revoke --holder=spiffe://a.test/carol"
    kept = cut.least(forest, Work("spiffe://a.test/carol", "bank.pay"), [Work("k-bob", "mail.read")])
    assert {one.id for one in kept.revoke} == {"c1-0000", "c3-0000", "c2-0000"}


def test_what_is_in_the_way_is_named(book: Book) -> None:
    forest = Forest(History(book.entries), NOW)
    found = cut.least(forest, Work("spiffe://a.test/bob", "bank.pay"), [Work("spiffe://a.test/carol", "bank.pay")])
    assert [(way.id, kept.id) for way, kept in found.blocked] == [("b1-0000", "c1-0000")]
    (row,) = cut.rows(forest, found)
    assert (row["do"], row["id"], row["kept"], row["kept_record"]) == ("cannot", "b1-0000", "c1-0000", 7)
    assert not cut.least(forest, Work("spiffe://a.test/bob", "bank.pay")).blocked


def test_only_calls_with_these_arguments(book: Book) -> None:
    forest = Forest(History(book.entries), NOW)
    assert not cut.least(forest, Work("k-carol", "bank.pay"), arguments={"amount": 50}).ways
    assert len(cut.least(forest, Work("k-carol", "bank.pay"), arguments={"amount": 5}).ways) == 2


def test_work_that_nobody_can_do_is_not_silently_kept(book: Book) -> None:
    forest = Forest(History(book.entries), NOW)
    with pytest.raises(NotFoundError, match="cannot call"):
        cut.least(forest, Work("k-carol", "bank.pay"), [Work("k-dave", "bank.pay")])
    with pytest.raises(NotFoundError, match="no agent"):
        cut.least(forest, Work("k-carol-typo", "bank.pay"))
    assert cut.least(forest, Work("k-carol", "bank.pay"), [Work("k-dave", "mail.read")]).revoke


def test_a_name_in_a_command_is_quoted(book: Book) -> None:
    facts = {"txn": "x; rm -rf ~", "sub": "alice"}
    book.give("t1-0000", None, "k-tim", facts=facts)
    book.give("t2-0000", None, "k-joe", facts=facts)
    forest = Forest(History(book.entries), NOW)
    rows = cut.rows(forest, cut.least(forest, Work("k-tim", "bank.pay")))
    book.give("$(evil)", None, "k-eve")
    evil = Forest(History(book.entries), NOW)
    assert cut.rows(evil, cut.least(evil, Work("k-eve", "bank.pay")))[0]["command"] == "chain revoke '$(evil)'"
    assert "chain revoke --task='x; rm -rf ~'" in [row["command"] for row in rows]


def test_the_lowest_of_two_trees_is_none(book: Book) -> None:
    given: dict[str, Given] = History(book.entries).given
    with pytest.raises(ValueError, match="different trees"):
        cut.lowest([given["c1-0000"], given["c2-0000"]])
    assert cut.lowest([given["c1-0000"], given["d1-0000"]]).id == "r1-0000"
