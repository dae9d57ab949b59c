"""What may be asked of the graph of delegations, and what an answer is.

The law of this file: values, the same for a program, the service and a command. A page of an answer holds fast what it
was answered from: so many records and one instant, so that the pages of one answer fit together whatever happens
meanwhile. What is not well formed is refused here, so that it is by all three.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from math import isfinite
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import msgspec

from chain import jcs
from chain.auditor import Row
from chain.errors import InvalidRequestError

Format: TypeAlias = Literal["dot", "graphml", "mermaid", "json", "prov"]
"""What the graph is exported as."""

FORMATS: tuple[Format, ...] = get_args(Format)

MAX_AT = 2**53
"""Milliseconds since the epoch that an instant is below: more is no number of JSON (RFC 7493 s2.2)."""

MAX_KEPT = 1_000
"""Kinds of work that one cut keeps: each is looked for among all that stands."""

_TOKEN = 4
"""Numbers and words of a page's token."""


class Inquiry(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """A question. What is called an agent is a principal's id, at its end `/*` or `/**`, or a key's thumbprint."""

    @property
    def method(self) -> str:
        """The RPC that asks it, by which the roles that may are known (`chain.caller.ALLOWED`)."""
        return type(self).__name__

    @property
    def text(self) -> bytes:
        """It in so many bytes: no other question has the same. Of values, `True == 1` would hold."""
        return msgspec.json.encode(self, order="deterministic")


class Lineage(Inquiry, frozen=True):
    """Where something comes from, and what was made of it.

    Attributes:
        name: a delegation or its beginning, a decision, an agent, or a key: what it holds and signed.
    """

    name: str


class WhoCan(Inquiry, frozen=True):
    """Who can do something.

    Attributes:
        tool: what is called.
        target: instead, a system: every tool of it, as decisions tell.
        arguments: only just this call of the tool.
    """

    tool: str | None = None
    target: str | None = None
    arguments: dict[str, Any] | None = None


class WhatCan(Inquiry, frozen=True):
    """What an agent can do.

    Attributes:
        agent: who.
        tool: only this one.
    """

    agent: str
    tool: str | None = None


class BlastRadius(Inquiry, frozen=True):
    """What falls with something, and what a thief of it could call.

    Attributes:
        name: as in `Lineage`.
    """

    name: str


class Work(NamedTuple):
    """What somebody does.

    Attributes:
        agent: who.
        tool: what it calls.
    """

    agent: str
    tool: str


class LeastCut(Inquiry, frozen=True):
    """The least set of revocations that stops somebody.

    Attributes:
        stop: what is to be stopped.
        keep: what goes on.
        arguments: only calls with just these are to be stopped.
    """

    stop: Work
    keep: tuple[Work, ...] = ()
    arguments: dict[str, Any] | None = None


class Chokepoints(Inquiry, frozen=True):
    """On what the most agents depend wholly.

    Attributes:
        tool: only for what it takes to call this one.
    """

    tool: str | None = None


class ReviewAccess(Inquiry, frozen=True):
    """What is granted and not needed, by nobody, for too long, or shared.

    Attributes:
        idle: seconds that a grant may go unused.
        life: seconds that a delegation may live.
        times: how much longer than it is used it may live, and how much more than is used it may give.
    """

    idle: float = 900
    life: float = 86_400
    times: float = 10


class DiffDelegations(Inquiry, frozen=True):
    """In what two delegations differ.

    Attributes:
        first, second: each a delegation or its beginning, or a decision made under it.
    """

    first: str
    second: str


class DiffTimes(Inquiry, frozen=True):
    """What appeared and what fell between two instants.

    Attributes:
        since: seconds; the earlier one. The later is the instant of the answer.
    """

    since: float


class ExportGraph(Inquiry, frozen=True):
    """The graph in another program's format; the answer is one row: `format`, `text`, `delegations`, `more`.

    Attributes:
        name: only what has to do with this (as in `Lineage`); None takes everything.
        format: as what.
        live: only what stands.
        limit: delegations that are drawn at most.
    """

    name: str | None = None
    format: Format = "dot"
    live: bool = False
    limit: int = 2_000


Asked: TypeAlias = (
    Lineage
    | WhoCan
    | WhatCan
    | BlastRadius
    | LeastCut
    | Chokepoints
    | ReviewAccess
    | DiffDelegations
    | DiffTimes
    | ExportGraph
)
"""Every question."""


class Page(msgspec.Struct, frozen=True):
    """Which part of an answer, and as of when.

    Attributes:
        at: seconds; the instant. None is the present.
        limit: rows at most.
        token: `Answer.next` of the page before, to the same question; empty for the first.
    """

    at: float | None = None
    limit: int = 200
    token: str = ""


FIRST = Page()
"""The beginning of an answer, as of now."""


class Place(msgspec.Struct, frozen=True):
    """From what a page was answered, and where in the answer it begins.

    Attributes:
        records: how many, from the first on; 0 where a service answered, which keeps that for its tokens.
        at_ms: the instant, milliseconds since the epoch.
        offset: rows before this page.
    """

    records: int
    at_ms: int
    offset: int = 0

    @property
    def at(self) -> float:
        """The instant, in seconds."""
        return self.at_ms / 1000

    @classmethod
    def parse(cls, token: str, asked: Inquiry) -> Place:
        """Return the place that a token names.

        Raises:
            InvalidRequestError: it was made for another question, or is none of ours.
        """
        words = token.split(".")
        numbers = words[:-1]
        fits = len(words) == _TOKEN and all(word.isascii() and word.isdecimal() and len(word) < 17 for word in numbers)
        if not fits or words[-1] != _digest(asked):
            raise InvalidRequestError("a page token that was made for another question, or not by this service")
        return cls(*map(int, numbers))

    def token(self, asked: Inquiry) -> str:
        """Return what `parse` understands."""
        return f"{self.records}.{self.at_ms}.{self.offset}.{_digest(asked)}"


class Answer(msgspec.Struct, frozen=True):
    """One page of an answer.

    Attributes:
        revision: the record up to it was asked.
        place: what it was answered from.
        rows: in order.
        total: rows of the whole answer.
        next: asks for the rows that follow; empty when there are none.
    """

    revision: int
    place: Place
    rows: list[Row]
    total: int
    next: str = ""

    def first(self, count: int, asked: Inquiry) -> Answer:
        """Return a shorter page: its first rows, and where to go on."""
        offset = self.place.offset + count
        further = Place(self.place.records, self.place.at_ms, offset).token(asked) if offset < self.total else ""
        return Answer(self.revision, self.place, self.rows[:count], self.total, further)


def milliseconds(at: float) -> int:
    """Return an instant in whole milliseconds.

    Args:
        at: seconds since the epoch.

    Raises:
        InvalidRequestError: it is none.
    """
    if not 0 <= at * 1000 < MAX_AT:
        raise InvalidRequestError("no such instant")
    return round(at * 1000)


def require(asked: Asked, page: Page) -> None:
    """Return where a question and a page are well formed.

    Raises:
        InvalidRequestError: they are not, and nobody could answer.
    """
    if page.limit < 1:
        raise InvalidRequestError("a page has a row at least")
    if page.at is not None and milliseconds(page.at) == 0:  # on the wire that is the present
        raise InvalidRequestError("no such instant")
    for name in _names(asked):
        _require_name(name)
    if page.token:
        _require_name(page.token)
    if isinstance(asked, (WhoCan, LeastCut)) and asked.arguments is not None:
        _require_arguments(asked.arguments)
    _require_bounds(asked)


def _require_bounds(asked: Asked) -> None:
    if isinstance(asked, LeastCut) and len(asked.keep) > MAX_KEPT:
        raise InvalidRequestError(f"a cut keeps up to {MAX_KEPT} kinds of work")
    if isinstance(asked, ReviewAccess):
        idle, life, times = asked.idle, asked.life, asked.times
        if not (idle >= 0 and life >= 0 and times >= 1 and isfinite(idle + life + times)):
            raise InvalidRequestError("norms are seconds, and `times` is no less than 1")
    if isinstance(asked, ExportGraph) and (asked.limit < 1 or asked.format not in FORMATS):
        raise InvalidRequestError(f"a drawing has a delegation at least, and is one of {', '.join(FORMATS)}")


def _names(asked: Asked) -> Iterator[str]:
    for field in asked.__struct_fields__:
        value = getattr(asked, field)
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            for one in value:  # the words of a work, or works
                yield from (one,) if isinstance(one, str) else one


def _require_name(name: str) -> None:
    if not name:
        raise InvalidRequestError("a name is missing")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError("a name that is no Unicode text") from None


def _require_arguments(arguments: dict[str, Any]) -> None:
    try:
        jcs.check(arguments)
    except ValueError as error:
        raise InvalidRequestError(f"arguments are not JSON: {error}") from None


def _digest(asked: Inquiry) -> str:
    return sha256(asked.text).hexdigest()[:16]
