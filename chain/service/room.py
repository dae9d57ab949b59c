"""How many calls may be under way, and whose.

The law of this file: no caller takes what another needs. Calls, streams, revocations and what takes long to work out
are counted apart, each for each caller and in all, and the sum of all that may be let in stays below what gRPC
accepts: a revocation finds room whatever its own caller's streams, or everybody else, are doing.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import NamedTuple

from chain.errors import ResourceExhaustedError


class Limit(NamedTuple):
    """How many at once.

    Attributes:
        each: of one caller.
        total: of all callers.
    """

    each: int
    total: int


URGENT_PER_CALLER = 8
"""Revocations of one caller at once; its place is its own, and nobody else can fill it: not even who borrows its
connection, and has as many beside."""

STUDIES = Limit(each=1, total=8)
"""Explanations and simulations, which each take the work of many decisions: a caller has one under way, and no more
wait for the thread that works them out than are done within a second or so."""

QUESTIONS = Limit(each=1, total=8)
"""Questions of the graph, which are answered one after the other and may take seconds: they keep nobody from an
explanation, who waits for another thread."""

STREAM_SHARE = 4
"""Streams may be one call in so many: they stay, and calls pass."""

GUESTS = 64
"""Health checks that wait for their message; one more sends the oldest away, so that the newest has room."""


class Kind(Enum):
    """What a call takes up."""

    CALL = "calls"
    STREAM = "streams"
    URGENT = "revocations"
    STUDY = "explanations or simulations"
    QUESTION = "questions of the graph"


class Room:
    """Counts what is under way on all listeners of a server. gRPC itself counts nothing: see `server._server`."""

    def __init__(self, calls: Limit, streams_each: int, callers: int) -> None:
        """Begin empty.

        Args:
            calls: limits of calls that are none of the other kinds.
            streams_each: streams of one caller.
            callers: how many callers there are.
        """
        self._limits = {
            Kind.CALL: calls,
            Kind.STREAM: Limit(streams_each, max(streams_each, calls.total // STREAM_SHARE)),
            Kind.URGENT: Limit(URGENT_PER_CALLER, 2 * URGENT_PER_CALLER * callers),
            Kind.STUDY: STUDIES,
            Kind.QUESTION: QUESTIONS,
        }
        self._taken = dict.fromkeys(Kind, 0)
        self._by_caller: dict[Kind, Counter[str]] = {kind: Counter() for kind in Kind}

    def enter(self, caller: str, kind: Kind) -> None:
        """Take a place; `leave` gives it back.

        Raises:
            ResourceExhaustedError: there is none.
        """
        limit, own = self._limits[kind], self._by_caller[kind]
        if own[caller] >= limit.each:
            raise ResourceExhaustedError(f"`{caller}` has {limit.each} {kind.value} under way, and may have no more")
        if self._taken[kind] >= limit.total:
            raise ResourceExhaustedError(f"{limit.total} {kind.value} are under way, and there is no room for more")
        own[caller] += 1
        self._taken[kind] += 1

    def leave(self, caller: str, kind: Kind) -> None:
        """Give a place back."""
        self._by_caller[kind][caller] -= 1
        self._taken[kind] -= 1
