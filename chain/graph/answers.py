"""Answers to what is asked of the graph, over a record that grows.

The law of this file: an answer is that of so many records and one instant, and stays so: what came later is not seen
by the second page of it. What was worked out last is kept, because whoever asks goes on asking.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from chain.auditor import Row, named
from chain.errors import InvalidRequestError
from chain.given import Entry
from chain.graph import choke, cut, difference, lineage, reach, review
from chain.graph.forest import Forest
from chain.history import History
from chain.inquiry import (
    FIRST,
    Answer,
    Asked,
    BlastRadius,
    Chokepoints,
    DiffDelegations,
    DiffTimes,
    ExportGraph,
    LeastCut,
    Lineage,
    Page,
    Place,
    ReviewAccess,
    WhatCan,
    WhoCan,
    milliseconds,
    require,
)


class _Kept(NamedTuple):
    """What was worked out last."""

    place: tuple[int, int]
    forest: Forest
    asked: bytes = b""
    rows: Sequence[Row] = ()


class Answers:
    """Answers from records that are handed in, in order."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        """Begin with these records."""
        self._entries: list[Entry] = []
        self._latest = array("q")  # of each record, the latest time up to it: clocks were set back now and then
        self._present, self._folded = History(), 0
        self._past: tuple[int, History] | None = None
        self._kept: _Kept | None = None
        for entry in entries:
            self.take(entry)

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, entry: Entry) -> None:
        """Take in the next record."""
        self._entries.append(entry)
        self._latest.append(max(entry.time, self._latest[-1] if self._latest else entry.time))

    def ask(self, asked: Asked, page: Page = FIRST, *, now: float) -> Answer:
        """Return one page of an answer.

        Args:
            asked: the question.
            page: which part.
            now: seconds; the instant, where the page names none.

        Raises:
            InvalidRequestError: the question or the page is not well formed.
            NotFoundError: nobody is called so.
        """
        require(asked, page)
        place = self._place(asked, page, now)
        rows = self._rows(asked, place)
        revision = self._entries[place.records - 1].revision if place.records else 0
        shown = list(rows[place.offset : place.offset + page.limit])
        return Answer(revision, place, shown, len(rows)).first(page.limit, asked)

    def _place(self, asked: Asked, page: Page, now: float) -> Place:
        if page.token:
            if page.at is not None:
                raise InvalidRequestError("a page token names its instant; give none beside it")
            place = Place.parse(page.token, asked)
            if place.records > len(self._entries):
                raise InvalidRequestError("a page token of a longer record than this one")
            return place
        if page.at is None:
            return Place(len(self._entries), milliseconds(now))
        at = milliseconds(page.at)
        return Place(bisect_right(self._latest, at), at)

    def _rows(self, asked: Asked, place: Place) -> Sequence[Row]:
        kept, where, text = self._kept, (place.records, place.at_ms), asked.text
        if kept is None or kept.place != where:
            kept = _Kept(where, Forest(self._history(place.records), place.at))
        if kept.asked != text:
            kept = kept._replace(asked=text, rows=self._answered(kept.forest, asked))
        self._kept = kept
        return kept.rows

    def _history(self, records: int) -> History:
        if records == len(self._entries) and records > self._folded:
            self._kept = None  # its history may be the one that goes on
            history, folded = self._present, self._folded
            self._present, self._folded = History(), 0  # unless every record is understood, none was taken in
            self._present, self._folded = _folded(history, self._entries[folded:]), records
        if records == self._folded:
            return self._present
        if self._past is None or self._past[0] != records:
            if self._past is not None:
                self._kept, past, self._past = None, self._past[1], None
                _let_go(past)
            self._past = records, _folded(History(), self._entries[:records])
        return self._past[1]

    def _answered(self, forest: Forest, asked: Asked) -> Sequence[Row]:
        if not isinstance(asked, DiffTimes):
            return _ANSWERS[type(asked)](forest, asked)
        since = milliseconds(asked.since)
        if since / 1000 > forest.now:
            raise InvalidRequestError("the first instant lies after the second")
        before = _folded(History(), self._entries[: bisect_right(self._latest, since)])
        rows = difference.since(Forest(before, since / 1000), forest)
        _let_go(before)
        return rows


def _folded(history: History, entries: Iterable[Entry]) -> History:
    """Take in more records, or let go of all: a history that goes no further is of no use to anybody."""
    try:
        for entry in entries:
            history.take(entry)
    except Exception:
        _let_go(history)
        raise
    return history


def _let_go(history: History) -> None:
    """Part delegations that know each other, which only a collection of garbage would find otherwise."""
    for one in history.given.values():
        one.below.clear()


def _drawn(forest: Forest, asked: ExportGraph) -> Row:
    from chain.graph import export, project, prov  # noqa: PLC0415 - these load networkx, which no other question needs

    ones, more = project.chosen(forest, asked.name, asked.limit, live=asked.live)
    if asked.format == "prov":
        text = prov.document(forest, ones)
    else:
        graph = project.project(forest, ones)
        text = export.WRITERS[asked.format](graph)
        graph.clear()  # its views know it and it knows them, which only a collection of garbage would find otherwise
    return {"format": asked.format, "text": text, "delegations": len(ones), "more": more}


def _cut(forest: Forest, asked: LeastCut) -> Sequence[Row]:
    return cut.rows(forest, cut.least(forest, asked.stop, asked.keep, asked.arguments))


def _differing(forest: Forest, asked: DiffDelegations) -> Sequence[Row]:
    first, second = (named(forest.history, name) for name in (asked.first, asked.second))
    return difference.between(forest, first, second)


_ANSWERS: Mapping[type[Asked], Callable[[Forest, Any], Sequence[Row]]] = {
    Lineage: lambda forest, asked: lineage.lineage(forest, asked.name),
    WhoCan: lambda forest, asked: reach.who_can(forest, asked.tool, asked.target, asked.arguments),
    WhatCan: lambda forest, asked: reach.what_can(forest, asked.agent, asked.tool),
    BlastRadius: lambda forest, asked: lineage.blast(forest, asked.name),
    LeastCut: _cut,
    Chokepoints: lambda forest, asked: choke.chokepoints(forest, asked.tool),
    ReviewAccess: review.review,
    DiffDelegations: _differing,
    ExportGraph: lambda forest, asked: [_drawn(forest, asked)],
}
"""Question of one instant -> its rows, made when they are looked at."""
