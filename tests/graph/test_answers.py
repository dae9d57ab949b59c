"""Answers over a record that grows: each is that of so many records and one instant, page by page."""

from __future__ import annotations

import gc
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.errors import InvalidRequestError, NotFoundError
from chain.given import Given
from chain.graph import difference, lineage, project, reach, review
from chain.graph.answers import Answers
from chain.graph.forest import Forest
from chain.history import History
from chain.inquiry import (
    MAX_AT,
    MAX_KEPT,
    Asked,
    BlastRadius,
    Chokepoints,
    DiffDelegations,
    DiffTimes,
    ExportGraph,
    LeastCut,
    Lineage,
    Page,
    ReviewAccess,
    WhatCan,
    WhoCan,
    Work,
)
from tests.book import Book

NOW = 2_000.0
EVERY: tuple[Asked, ...] = (
    Lineage("k-carol"),
    WhoCan("bank.pay"),
    WhoCan("bank.pay", arguments={"amount": 50}),
    WhatCan("spiffe://a.test/carol"),
    BlastRadius("k-ann"),
    LeastCut(Work("k-carol", "bank.pay"), (Work("k-dave", "mail.read"),)),
    Chokepoints(),
    ReviewAccess(idle=0),
    DiffDelegations("r1-0000", "c1-0000"),
    DiffTimes(0),
    ExportGraph(),
)


def whole(answers: Answers, asked: Asked, now: float = NOW, **page: Any) -> list[dict[str, Any]]:
    return answers.ask(asked, Page(limit=10_000, **page), now=now).rows


@pytest.mark.parametrize("asked", EVERY, ids=lambda asked: asked.method)
def test_pages_of_any_size_are_the_whole_whatever_comes_meanwhile(book: Book, asked: Asked) -> None:
    everything = whole(Answers(book.entries), asked)
    assert everything
    for limit, grows in itertools.product((1, 2, 3, 10_000), (False, True)):
        answers, found, token = Answers(book.entries), [], ""
        for turn in itertools.count():
            answer = answers.ask(asked, Page(limit=limit, token=token), now=NOW + turn)
            found += answer.rows
            assert (answer.total, answer.revision) == (len(everything), len(book.entries))
            if grows:
                more = Book()
                more.entries = list(book.entries)
                more.write("revoked", turn, kind="holder", name="k-ann", cause="")
                answers.take(more.entries[-1])
                answers.ask(WhoCan("bank.pay"), now=NOW + turn)  # somebody else's question in between
            token = answer.next
            if not token:
                break
        assert found == everything


def test_what_came_meanwhile_is_in_the_next_answer(book: Book) -> None:
    answers = Answers(book.entries)
    first = answers.ask(WhoCan("bank.pay"), Page(limit=1), now=NOW)
    assert first.total == 5
    book.write("revoked", kind="holder", name="k-bob", cause="")
    answers.take(book.entries[-1])
    assert answers.ask(WhoCan("bank.pay"), now=NOW).total == 3
    assert answers.ask(WhoCan("bank.pay"), Page(limit=9, token=first.next), now=NOW).total == 5


@given(st.integers(0, 12), st.integers(0, 3), st.lists(st.integers(0, 12), min_size=1, max_size=12))
def test_as_of_an_instant_it_is_what_was_known_then(at: int, back: int, times: list[int]) -> None:
    """Also where a clock was set back: what was written after it is known when the records before it are."""
    book = Book()
    for number, time in enumerate(times):
        book.give(f"d-{number:04}", None, "k-ann", facts={"txn": f"t{number}"})
        book.entries[-1] = book.entries[-1]._replace(time=(1000 + time - (back if number % 2 else 0)) * 1000)
    answers = Answers(book.entries)
    history = History(book.entries, until=1000 + at)
    rows = lineage.lineage(Forest(history, 1000 + at), "k-ann") if history.given else []
    if not history.given:
        with pytest.raises(NotFoundError):
            whole(answers, Lineage("k-ann"), at=1000 + at)
    else:
        assert whole(answers, Lineage("k-ann"), at=1000 + at) == list(rows)


def test_it_is_what_the_questions_themselves_say(book: Book) -> None:
    forest, answers = Forest(History(book.entries), NOW), Answers(book.entries)
    assert whole(answers, WhoCan("bank.pay")) == list(reach.who_can(forest, "bank.pay"))
    assert whole(answers, WhatCan("k-carol", "bank.pay")) == list(reach.what_can(forest, "k-carol", "bank.pay"))
    assert whole(answers, ReviewAccess(idle=0)) == list(review.review(forest, ReviewAccess(idle=0)))
    before = Forest(History(book.entries[:6]), 1_000)
    book.entries = [one._replace(time=one.time + 1_000) if one.revision > 6 else one for one in book.entries]
    after = Forest(History(book.entries), NOW)
    assert whole(Answers(book.entries), DiffTimes(1_000.0)) == list(difference.since(before, after))


def test_a_past_is_folded_once_and_forgotten_for_another(book: Book) -> None:
    book.entries = [one._replace(time=one.time + one.revision * 1_000) for one in book.entries]
    answers = Answers(book.entries)
    names = [{row["id"] for row in whole(answers, WhoCan("bank.pay"), at=at)} for at in (1_005, 1_006, 1_005, 1_006)]
    assert names == [{"r1-0000"}, {"r1-0000", "b1-0000"}] * 2
    with pytest.raises(NotFoundError):
        whole(answers, Lineage("c2-0000"), at=1_005)
    assert {row["id"] for row in whole(answers, WhoCan("bank.pay"), at=1_006)} == {"r1-0000", "b1-0000"}


BAD: dict[str, tuple[Asked, Page]] = {
    "no rows": (WhoCan("bank.pay"), Page(limit=0)),
    "fewer than none": (WhoCan("bank.pay"), Page(limit=-1)),
    "nothing is drawn": (ExportGraph(limit=0), Page()),
    "neither tool nor target": (WhoCan(), Page()),
    "both": (WhoCan("bank.pay", "bank"), Page()),
    "no number": (WhoCan("bank.pay"), Page(at=float("nan"))),
    "never": (WhoCan("bank.pay"), Page(at=float("inf"))),
    "before time began": (WhoCan("bank.pay"), Page(at=-1.0)),
    "beyond all numbers": (WhoCan("bank.pay"), Page(at=MAX_AT / 1000)),
    "the later one first": (DiffTimes(NOW + 1), Page(at=NOW)),
    "no token": (WhoCan("bank.pay"), Page(token="x")),
    "no numbers": (WhoCan("bank.pay"), Page(token="a.b.c.d")),
    "a sign too many": (WhoCan("bank.pay"), Page(token="-1.2.3.d")),
    "digits that are none": (WhoCan("bank.pay"), Page(token="²." * 3 + "d")),
    "a number without end": (WhoCan("bank.pay"), Page(token="1." * 2 + "9" * 400 + ".d")),
    "a token that is no text": (WhoCan("bank.pay"), Page(token="\ud800")),
    "what is the present on the wire": (WhoCan("bank.pay"), Page(at=0.0004)),
    "an instant beyond all floats": (WhoCan("bank.pay"), Page(at=10**400)),
    "a tool without a name": (WhatCan("k-carol", ""), Page()),
    "any tool without a name": (Chokepoints(""), Page()),
    "a system without a name": (WhoCan("bank.pay", ""), Page()),
    "nobody": (Lineage(""), Page()),
    "nobody to stop": (LeastCut(Work("", "bank.pay")), Page()),
    "nothing to keep": (LeastCut(Work("k-carol", "bank.pay"), (Work("k-ann", ""),)), Page()),
    "too much to keep": (LeastCut(Work("k-carol", "bank.pay"), (Work("k-ann", "mail.read"),) * (MAX_KEPT + 1)), Page()),
    "a name that is no text": (WhatCan("\ud800"), Page()),
    "arguments that are no JSON": (WhoCan("bank.pay", arguments={"amount": object()}), Page()),
    "arguments of no number": (LeastCut(Work("k-carol", "bank.pay"), (), {"amount": float("nan")}), Page()),
    "negative norms": (ReviewAccess(idle=-1), Page()),
    "norms that are none": (ReviewAccess(times=float("nan")), Page()),
    "norms without end": (ReviewAccess(life=float("inf")), Page()),
    "less than once": (ReviewAccess(times=0.5), Page()),
    "no format": (ExportGraph(format="x"), Page()),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_well_formed_is_refused_and_the_next_question_answered(book: Book, name: str) -> None:
    answers, (asked, page) = Answers(book.entries), BAD[name]
    with pytest.raises(InvalidRequestError):
        answers.ask(asked, page, now=NOW)
    assert answers.ask(WhoCan("bank.pay"), now=NOW).total == 5
    assert len(BAD) == 33


def test_a_token_is_good_for_its_question_alone(book: Book) -> None:
    answers = Answers(book.entries)
    token = answers.ask(WhoCan("bank.pay"), Page(limit=1), now=NOW).next
    for asked, page in (
        (WhoCan("mail.read"), Page(token=token)),
        (Lineage("bank.pay"), Page(token=token)),
        (WhoCan("bank.pay", arguments={"amount": 1}), Page(token=token)),
        (WhoCan("bank.pay"), Page(token=token, at=NOW)),
    ):
        with pytest.raises(InvalidRequestError):
            answers.ask(asked, page, now=NOW)
    with pytest.raises(InvalidRequestError, match="longer record"):
        Answers(book.entries[:-1]).ask(WhoCan("bank.pay"), Page(token=token), now=NOW)
    assert len(answers.ask(WhoCan("bank.pay"), Page(token=token), now=NOW).rows) == 4
    beyond = token.replace(".1.", ".999.")
    assert answers.ask(WhoCan("bank.pay"), Page(token=beyond), now=NOW).rows == []


def test_a_truth_is_no_number_also_of_what_was_asked_last(book: Book) -> None:
    """`True == 1` in Python, and the rows of one would be taken for the other's."""
    book.give(
        "f-0000", None, "k-ann", grant={"tools": {"door.open": {"all": {"constraint_type": "exact", "value": True}}}}
    )
    answers = Answers(book.entries)
    for value, count in ((True, 1), (1, 0), (True, 1), (1.0, 0)):
        asked = WhoCan("door.open", arguments={"all": value})
        assert answers.ask(asked, Page(at=NOW), now=NOW).total == count, value


def test_a_record_that_is_not_understood_is_no_half_answer(book: Book) -> None:
    """No answer rather than a wrong one: neither about it, nor about what was asked before it came."""
    answers = Answers(book.entries)
    first = answers.ask(WhoCan("bank.pay"), Page(limit=1), now=NOW)
    book.write("revoked", kind="holder", name="k-bob", cause="")
    book.write("issued", odd=True)
    for entry in book.entries[-2:]:
        answers.take(entry)
    for _ in range(2):
        with pytest.raises(KeyError):
            answers.ask(WhoCan("bank.pay"), now=NOW)
        assert len(answers.ask(WhoCan("bank.pay"), Page(limit=9, token=first.next), now=NOW).rows) == 4


def test_what_is_let_go_is_no_garbage(book: Book) -> None:
    """Neither a past that another takes the place of, nor a history that a record ends which is not understood."""
    book.entries = [one._replace(time=one.time + one.revision * 1_000) for one in book.entries]
    answers = Answers(book.entries)
    gc.collect()
    gc.disable()
    others = _standing()
    try:
        for at in (1_006, 1_007, 1_008):
            assert whole(answers, Lineage("k-ann"), at=at)
        assert _standing() - others == 4, "those of the last past alone: r1, b1, c1, d1"
        answers.take(book.entries[-1]._replace(kind="issued", body={"odd": True}))
        for _ in range(3):
            with pytest.raises(KeyError):
                answers.ask(WhoCan("bank.pay"), now=NOW)
        assert _standing() - others == 4
    finally:
        gc.enable()


def _standing() -> int:
    return sum(isinstance(one, Given) for one in gc.get_objects())


def test_a_drawing_leaves_nothing_behind(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where answers are given, no garbage is looked for (`chain.graph.worker`)."""
    made: list[Any] = []

    def projected(*args: Any) -> Any:
        made.append(real(*args))
        return made[-1]

    real = project.project
    monkeypatch.setattr(project, "project", projected)
    for kind in ("dot", "graphml", "mermaid", "json"):
        (row,) = whole(Answers(book.entries), ExportGraph(format=kind))
        assert row["delegations"] == 6
        assert "spiffe://a.test/carol" in row["text"]
    assert [len(graph) for graph in made] == [0, 0, 0, 0]


def test_of_no_records_nobody_can(book: Book) -> None:
    empty = Answers()
    assert (empty.ask(WhoCan("bank.pay"), now=NOW).total, empty.ask(WhoCan("bank.pay"), now=NOW).revision) == (0, 0)
    with pytest.raises(NotFoundError):
        empty.ask(Lineage("k-ann"), now=NOW)
    assert Answers(book.entries).ask(Lineage("k-ann"), now=NOW).rows
