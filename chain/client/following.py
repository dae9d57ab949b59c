"""Where a stream of news is, and how it goes on. Both clients follow with it.

The law of this file: each record once, in order, none left out: a stream goes on after the last revision that it
handed over, and what comes twice is dropped. What no new connection mends is raised; silence is a lost connection. A
credential that ended while the stream was heard is mended by the one that is shown next, if that is another.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Generic, TypeVar, cast

from chain.client.lookout import elapsed
from chain.desk import Presented
from chain.errors import ChainError, ResourceExhaustedError, StoreError, UnauthenticatedError, UnreachableError
from chain.reason import Reason
from chain.v1 import watch_pb2
from chain.watch import Stand, Told
from chain.wire.watch import HEARTBEAT, Watched, news_from, watch_to

T = TypeVar("T", bound=Told | Stand)

PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds before a stream is opened again: the first for a connection that broke, the last over and over."""

PATIENCE = 60.0
"""Seconds without a word from any server after which a stream gives up."""

SILENCE = 3
"""Heartbeats that may be missing before a connection is taken for dead."""


class ClosedError(UnreachableError):
    """The client was closed, and no new connection mends that."""


class Following(Generic[T]):
    """A stream over all its connections.

    Attributes:
        revision: all up to it was handed over; 0 until something was heard.
        heard: seconds by `elapsed`, when the server last said anything.
        done: whether all was told that there is to tell.
        silence: seconds without a word after which a connection is lost.
    """

    def __init__(self, watched: Watched, *, patience: float = PATIENCE, silence: float | None = None) -> None:
        """Follow what is watched.

        Args:
            watched: what.
            patience: seconds without a word until giving up; 0 gives up with the first connection.
            silence: seconds without a word that a connection may last; None for some heartbeats.
        """
        self._watched = watched
        self._patience = patience
        self._attempt = 0
        self._stand: Stand | None = None
        self._spoken = False
        self.silence = SILENCE * watched.heartbeat if silence is None else silence
        self.revision = watched.after or 0
        self.heard = elapsed()
        self.done = False

    @property
    def begins_now(self) -> bool:
        """Whether it has to be asked first what "now" is, so that a lost connection loses nothing."""
        return self._watched.chain is None and self._watched.after is None

    def begin(self, revision: int) -> None:
        """Tell what comes after a revision."""
        self._watched = self._watched._replace(after=revision)
        self.revision = revision

    def message(self) -> watch_pb2.WatchRequest:
        """Return what the next connection is opened with."""
        self._spoken = False
        return watch_to(self._watched)

    def take(self, reply: watch_pb2.WatchResponse) -> T | None:
        """Return what a message tells that was not told before, or None.

        Raises:
            ChainError: it is not understood.
        """
        try:
            news = news_from(reply)
        except ValueError as error:
            raise ChainError(str(error), Reason.INTERNAL) from None
        self.heard, self._attempt, self._spoken = elapsed(), 0, True
        if isinstance(news, Stand):
            return self._turned(news)
        before = self.revision
        self.begin(max(before, reply.revision))
        return cast("T", news) if isinstance(news, Told) and news.revision > before else None

    def _turned(self, stand: Stand) -> T | None:
        if stand == self._stand:
            return None
        self._stand = stand
        self.done = not stand.stands
        return cast("T", stand)

    def end(self) -> None:
        """Take note that the server ended the stream in good order.

        Raises:
            UnreachableError: there would have been more.
        """
        if not self._watched.until_now and not self.done:
            raise UnreachableError("the stream ended too early")
        self.done = True

    def pause(self, error: ChainError) -> float:
        """Return how many seconds to wait before the next connection.

        Args:
            error: what ended the last one.

        Raises:
            ChainError: that error, where no connection mends it or nothing was heard for too long.
        """
        slow = isinstance(error, ResourceExhaustedError) and error.reason is Reason.CONSUMER_SLOW
        ended = isinstance(error, UnauthenticatedError) and self._spoken
        lost = isinstance(error, UnreachableError | StoreError) and not isinstance(error, ClosedError)
        mends = slow or ended or lost
        pause = PAUSES[min(self._attempt, len(PAUSES) - 1)]
        if not mends or elapsed() + pause > self.heard + self._patience:
            raise error
        self._attempt += 1
        return pause


def of_ledger(
    after: int | None, kinds: Iterable[str], heartbeat: float, *, until_now: bool, timeout: float
) -> Following[Told]:
    """Follow the ledger; what ends with now is a question, and waits for a lost server no longer than one (seconds)."""
    watched = Watched(after, tuple(sorted(set(kinds))), None, until_now, heartbeat)
    return Following(watched, patience=timeout if until_now else PATIENCE)


def of_chain(presented: Presented, heartbeat: float = HEARTBEAT, patience: float = math.inf) -> Following[Stand]:
    """Follow how a chain stands."""
    return Following(Watched(chain=presented, heartbeat=heartbeat), patience=patience)


def once(presented: Presented) -> Following[Stand]:
    """Ask how a chain stands now; one connection, and one answer."""
    return Following(Watched(chain=presented, until_now=True), patience=0)
