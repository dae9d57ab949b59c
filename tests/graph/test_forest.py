"""What stands, told for all at once as it is told of each."""

from __future__ import annotations

import random

import pytest

from chain.errors import NotFoundError
from chain.graph.forest import Forest
from chain.history import History
from tests.book import Book


def world(seed: int) -> Book:
    """A ledger of chance: forty delegations, and everything that may end one."""
    dice = random.Random(seed)
    book, names = Book(), list[str]()
    for number in range(8):
        under = f"k{dice.randrange(8)}" if dice.random() < 0.3 else ""
        book.enrol(f"k{number}", f"spiffe://{dice.choice('ab')}.test/{'x/' * dice.randrange(3)}n{number}", under=under)
    for number in range(40):
        parent = dice.choice(names) if names and dice.random() < 0.8 else None
        bound = {"bound": f"spiffe://b.test/x/n{dice.randrange(10)}"} if dice.random() < 0.3 else {}
        facts = {"txn": f"t{dice.randrange(3)}", "sub": "alice"}
        names.append(f"name-{number:02d}")
        book.give(names[-1], parent, f"k{dice.randrange(10)}", exp=dice.randrange(1_500, 4_000), facts=facts, **bound)
    scopes = [("agent", f"k{dice.randrange(10)}"), ("agent", "spiffe://a.test/x"), ("trust_domain", "b.test")]
    scopes += [("task", "t1"), ("everything", "*"), ("agent", f"spiffe://b.test/x/n{dice.randrange(10)}")]
    for scope, name in dice.sample(scopes, 2):
        mode = dice.choice(["suspended", "suspended", "quarantined"])
        book.write("suspended", 1, scope=scope, name=name, mode=mode, until=dice.choice([0, 2_200]), cause="")
    book.write("revoked", 2, id=dice.choice(names), cause="")
    kind = dice.choice(["holder", "key", "task", "issuer"])
    named = {"holder": f"k{dice.randrange(10)}", "key": f"k{dice.randrange(10)}", "task": "t2", "issuer": "no"}[kind]
    book.write("revoked", 3, kind=kind, name=named, cause="")
    return book


def test_all_at_once_is_each_by_itself() -> None:
    seen = set()
    for seed in range(60):
        history = History(world(seed).entries)
        for now in (1_600, 2_100, 2_500):
            alone = [one.id for one in history.given.values() if history.end(one, now) is None]
            assert list(Forest(history, now).live) == alone, (seed, now)
            seen.add(len(alone))
    assert len(seen) > 20, "few worlds differ"


def test_names_mean_whoever_bears_them(book: Book) -> None:
    book.give("s1-0000", "r1-0000", "k-sam", bound="spiffe://b.test/pod")
    forest = Forest(History(book.entries), 2_000)
    assert [one.id for one in forest.of("spiffe://a.test/carol")] == ["c1-0000", "c2-0000"]
    assert [one.id for one in forest.of("k-carol")] == ["c1-0000", "c2-0000"]
    assert len(forest.of("spiffe://a.test/*")) == 6
    for name in ("spiffe://b.test/pod", "spiffe://b.test/**", "k-sam"):
        assert [one.id for one in forest.of(name)] == ["s1-0000"]
    assert {one.id for one in forest.starts("k-ann")} == {
        "r1-0000",
        "b1-0000",
        "d1-0000",
        "r2-0000",
        "c2-0000",
        "s1-0000",
    }
    assert [one.id for one in forest.starts("c1-0000")] == [one.id for one in forest.starts("c1-000")] == ["c1-0000"]
    with pytest.raises(NotFoundError):
        forest.starts("nobody")
    with pytest.raises(NotFoundError):
        forest.require("nobody")
    forest.require("k-ann")


def test_a_principal_that_is_none_is_nobody(book: Book) -> None:
    book.write("enrolled", holder="k-odd", principal={"id": "not an id", "owner": ""}, caller="ops")
    history = History(book.entries)
    assert history.roster.principal("k-odd") is None
    assert history.roster.principal("k-ann") is not None
