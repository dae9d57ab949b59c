"""The projection by itself: what ends a delegation, and since when."""

from __future__ import annotations

from typing import Any

import pytest

from chain import auditor
from chain.errors import InvalidRequestError, NotFoundError
from chain.given import End
from chain.history import History
from tests.book import Book

ROOT, CHILD, GRAND, OTHER = "root-0000", "child-1111", "grand-2222", "other-3333"


@pytest.fixture
def book() -> Book:
    book = Book()
    book.enrol("k1", "spiffe://a.test/one")
    book.enrol("k2", "spiffe://b.test/two", under="k1")
    book.give(ROOT, None, "k1")
    book.give(CHILD, ROOT, "k2", exp=8_000, bound="spiffe://b.test/bound")
    book.give(GRAND, CHILD, "k3", exp=7_000)
    book.give(OTHER, ROOT, "k4")
    return book


def ends(book: Book, name: str, now: float = 2_000) -> str:
    end = History(book.entries).end(History(book.entries).given[name], now)
    return "stands" if end is None else end.reason


def test_it_stands_until_its_chain_is_over(book: Book) -> None:
    assert [ends(book, GRAND, now) for now in (6_999, 7_000)] == ["stands", "expired"]
    assert [ends(book, CHILD, now) for now in (7_999, 8_000)] == ["stands", "expired"]
    history = History(book.entries)
    assert history.end(history.given[GRAND], 9_500) == End("expired", 0, 7_000, "its time was over", GRAND)


@pytest.mark.parametrize(
    ("kind", "body", "falls"),
    [
        ("revoked", {"id": CHILD, "cause": "stolen"}, {CHILD, GRAND}),
        ("revoked", {"id": OTHER, "cause": "stolen"}, {OTHER}),
        ("revoked", {"kind": "holder", "name": "k3", "cause": ""}, {GRAND}),
        ("revoked", {"kind": "holder", "name": "k1", "names": ["k1", "k2"], "cause": ""}, {ROOT, CHILD, GRAND, OTHER}),
        ("revoked", {"kind": "holder", "name": "spiffe://b.test/bound", "cause": ""}, {CHILD, GRAND}),
        ("revoked", {"kind": "key", "name": "k2", "cause": ""}, {GRAND}),
        ("revoked", {"kind": "key", "name": "anchor", "cause": ""}, {ROOT, CHILD, GRAND, OTHER}),
        ("revoked", {"kind": "task", "name": "t1", "cause": ""}, {ROOT, CHILD, GRAND, OTHER}),
        ("revoked", {"kind": "task", "name": "t2", "cause": ""}, set()),
        ("revoked", {"kind": "issuer", "name": "https://issuer.example", "cause": ""}, {ROOT, CHILD, GRAND, OTHER}),
        ("signalled", {"kind": "session-revoked", "keys": ["k4"], "cause": ""}, {OTHER}),
        ("signalled", {"kind": "risk-level-change", "level": "high"}, set()),
    ],
)
def test_what_a_revocation_fells(book: Book, kind: str, body: dict[str, Any], falls: set[str]) -> None:
    book.write(kind, 500, **body)
    history = History(book.entries)
    assert {one.id for one in history.given.values() if history.end(one, 2_000)} == falls
    before = History(book.entries, until=1_400)
    assert all(before.end(one, 1_400) is None for one in before.given.values())


@pytest.mark.parametrize(
    ("scope", "name", "stops"),
    [
        ("agent", "spiffe://a.test/one", {ROOT, CHILD, GRAND, OTHER}),
        ("agent", "spiffe://b.test/two", {CHILD, GRAND}),
        ("agent", "k3", {GRAND}),
        ("agent", "k9", set()),
        ("trust_domain", "b.test", {CHILD, GRAND}),
        ("task", "t1", {ROOT, CHILD, GRAND, OTHER}),
        ("everything", "*", {ROOT, CHILD, GRAND, OTHER}),
        ("tool", "bank.pay", set()),
    ],
)
def test_what_a_suspension_stops_until_it_is_lifted_or_over(book: Book, scope: str, name: str, stops: set[str]) -> None:
    book.write("suspended", 500, scope=scope, name=name, mode="suspended", until=3_000, cause="look", author="ops")
    history = History(book.entries)
    assert {one.id for one in history.given.values() if history.end(one, 2_000)} == stops
    assert not any(history.end(one, 3_000) for one in history.given.values())
    book.write("lifted", 600, scope=scope, name=name, cause="seen", author="ops")
    lifted = History(book.entries)
    assert not any(lifted.end(one, 2_000) for one in lifted.given.values())


@pytest.mark.parametrize(("key", "stands"), [("certifier", {"b"}), ("signer", {"b"}), ("stranger", {"a", "b"})])
def test_the_key_that_certified_the_signer_ends_what_it_signed(key: str, stands: set[str]) -> None:
    book = Book()
    book.give("a", None, "k-a", signer="signer", certifier="certifier")
    book.give("b", None, "k-b", signer="other", certifier="another")
    book.write("revoked", 1, kind="key", name=key, cause="")
    history = History(book.entries)
    assert {name for name, one in history.given.items() if history.end(one, 2_000) is None} == stands
    assert set(history.live(2_000)) == stands


def test_the_first_word_that_ended_it_counts(book: Book) -> None:
    book.write("revoked", 500, id=ROOT, cause="first")
    book.write("revoked", 600, id=ROOT, cause="second")
    history = History(book.entries)
    end = history.end(history.given[GRAND], 2_000)
    assert end is not None
    assert (end.cause, end.of, end.at) == ("first", ROOT, 1_500)


def test_a_holder_stands_for_whom_it_works_under(book: Book) -> None:
    history = History(book.entries)
    assert history.parties("k2") == ["spiffe://b.test/two", "spiffe://a.test/one"]
    assert history.parties("k9") == ["k9"]
    book.enrol("k1", "spiffe://a.test/one", under="k2")
    assert len(History(book.entries).parties("k2")) == 2, "a circle ends"


def test_what_is_beneath_comes_parents_first(book: Book) -> None:
    history = History(book.entries)
    assert [one.id for one in history.given[ROOT].beneath] == [CHILD, OTHER, GRAND]
    assert [one.id for one in history.given[GRAND].chain] == [ROOT, CHILD, GRAND]


def test_records_of_kinds_that_are_not_known_are_counted(book: Book) -> None:
    book.write("invented")
    book.write("resumed", floor=1)
    assert History(book.entries).unknown == {"invented": 1}


def test_what_a_hop_narrowed_is_told_in_words(book: Book) -> None:
    limits = {"classes": ["read"], "purposes": ["mail"]}
    tools = {"mail.read": {"folder": {"constraint_type": "exact", "value": "x"}}}
    book.give("limited-4", ROOT, "k5", exp=5_000, grant={"tools": tools, "limits": limits})
    words = auditor.narrowed(History(book.entries).given["limited-4"])
    assert words == [
        "without `bank.pay`",
        '`mail.read` argument `folder`: any → "x"',
        "limit `classes`: no limit → `read`",
        "limit `purposes`: no limit → `mail`",
        "ends 4000 s earlier",
    ]
    book.give("untold-5", ROOT, "k5", grant=None)
    assert auditor.narrowed(History(book.entries).given["untold-5"]) == []


def test_a_name_is_found_by_its_beginning_if_it_is_the_only_one(book: Book) -> None:
    book.give("child-1112", ROOT, "k6")
    history = History(book.entries)
    assert auditor.named(history, "grand-").id == GRAND
    with pytest.raises(InvalidRequestError, match="2 delegations"):
        auditor.named(history, "child-111")
    for name in ("gran", "nobody"):
        with pytest.raises(NotFoundError):
            auditor.named(history, name)
    book.write("decided", 1, id="d1", effect="DENY", reason="signature_invalid", tool="t", arguments="", caller="c")
    with pytest.raises(NotFoundError, match="no authentic chain"):
        auditor.named(History(book.entries), "d1")


def test_a_request_that_was_made_anew_is_one_and_a_word_on_none_is_nothing(book: Book) -> None:
    for tool in ("bank.pay", "bank.wire"):
        book.write("approval_requested", id="r1", binding="b", tool=tool, root=ROOT)
    book.write("approval_resolved", id="r1", approver="ann", verdict="approve", key="k")
    book.write("approval_consumed", id="r1", binding="b")
    for kind in ("approval_resolved", "approval_consumed"):
        book.write(kind, id="r0", approver="ann", verdict="approve", key="k")
    asked = History(book.entries).asked
    assert list(asked) == ["r1"]
    assert (asked["r1"].entry.body["tool"], len(asked["r1"].words), len(asked["r1"].uses)) == ("bank.wire", 1, 1)


def test_what_was_before_is_left_out(book: Book) -> None:
    for at in (1, 2):
        book.write("decided", at, id=f"d{at}", effect="ALLOW", reason="allowed", tool="t", arguments="", caller="c")
    history = History(book.entries)
    assert [row["decision"] for row in auditor.who(history, auditor.Which(since=1_002))] == ["d2"]
    assert [row["decision"] for row in auditor.who(history, auditor.Which())] == ["d1", "d2"]


def test_an_agent_is_found_by_every_name_that_its_calls_and_delegations_bear(book: Book) -> None:
    """A pattern of ids takes in whoever is bound to one, enrolled or not; a call is also whose it was then."""
    one, two, bound, plain = (f"spiffe://b.test/{name}" for name in ("one", "two", "bound", "plain"))
    book.give("plain-4444", ROOT, plain)
    calls = (("d1", CHILD, "k2", two), ("d2", "plain-4444", plain, ""), ("d3", OTHER, "k4", ""))
    for name, leaf, holder, principal in calls:
        body = {"id": name, "leaf": leaf, "holder": holder, "effect": "DENY", "reason": "x", "tool": "t", "caller": "c"}
        book.write("decided", 1, arguments="", **body | ({"principal": principal} if principal else {}))
    book.enrol("k2", one)
    history = History(book.entries)
    for agent, held, called in (
        ("spiffe://b.test/**", {CHILD, "plain-4444"}, ["d1", "d2"]),
        (bound, {CHILD}, ["d1"]),
        (plain, {"plain-4444"}, ["d2"]),
        (one, {CHILD}, ["d1"]),
        (two, set(), ["d1"]),
        ("k4", {OTHER}, ["d3"]),
    ):
        if held:
            assert {row["id"] for row in auditor.could(history, agent, 2_000)} == held
        assert [row["decision"] for row in auditor.who(history, auditor.Which(agent=agent))] == called
        assert [row["record"] for row in auditor.attempts(history, auditor.Which(agent=agent))]
