"""What the live page is told: the record as it stands, as one document for everybody who looks.

The law of this file: nothing is read before somebody looks, and looking has a bounded price: one thread, one window of
the record in memory, and a document made anew so seldom that it takes no more than a small share of one core, however
many look and however often.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any, NamedTuple, TypeAlias

import msgspec

from chain.authority import Authority
from chain.errors import InvalidRequestError, UnreachableError
from chain.given import Entry
from chain.window import Window

Telling: TypeAlias = Callable[[Window, float], Mapping[str, Any]]
"""A window and an instant, in seconds -> what the page is told; `at` and `made` change with every telling."""

FRESH = 0.25
"""Seconds between two documents at the least."""

SHARE = 20
"""A document that took a second to make is told for so many."""

PATIENCE = 5.0
"""Seconds that somebody waits for a document; a long ledger is read for longer, the first time."""

READINGS = 8
"""Of the whole record, at the most, before a document: the window holds on to what the one before it missed."""

PART = 250
"""Records that are read at once; between two parts this thread sleeps for as long as it worked."""

_NOW = ("at", "made")


class Document(NamedTuple):
    """What was told.

    Attributes:
        tag: the same for the same facts, whenever they were told.
        body: JSON.
    """

    tag: str
    body: bytes


class Mirror:
    """The record, for the page."""

    def __init__(self, authority: Authority, telling: Telling, clock: Callable[[], float]) -> None:
        """Follow an authority; `clock` gives seconds since the epoch."""
        self._watching = authority.watch
        self._telling = telling
        self._clock = clock
        self._window, self._revision = Window(), 0
        self._thread = ThreadPoolExecutor(1, "ui")
        self._making: asyncio.Future[Document | InvalidRequestError] | None = None
        self._made: Document | InvalidRequestError | None = None
        self._until = 0.0
        self._closed = False

    def close(self) -> None:
        """Let the thread end."""
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def document(self) -> Document:
        """Return the record as one document, a little old where making it takes long.

        Raises:
            InvalidRequestError: it is more than a page can show.
            StoreError: the ledger cannot be read.
            UnreachableError: it is being read, and that takes longer.
        """
        made = self._made
        if made is None or time.monotonic() >= self._until:
            if self._making is None or self._making.done():
                self._making = asyncio.get_running_loop().run_in_executor(self._thread, self._make)
                self._making.add_done_callback(_heard)
            try:
                made = await asyncio.wait_for(asyncio.shield(self._making), PATIENCE)
            except TimeoutError:
                raise UnreachableError("the record is being read") from None
        if isinstance(made, InvalidRequestError):
            raise InvalidRequestError(made.detail)
        return made

    def _make(self) -> Document | InvalidRequestError:
        began = time.perf_counter()
        try:
            self._catch_up()
            began = time.perf_counter()  # what was read now is not read again
            made: Document | InvalidRequestError = self._told()
        except InvalidRequestError as error:
            made = error
        self._made = made
        self._until = time.monotonic() + max(FRESH, SHARE * (time.perf_counter() - began))
        return made

    def _told(self) -> Document:
        told = dict(self._telling(self._window, self._clock()))
        instants = {name: told.pop(name) for name in _NOW}
        rest = msgspec.json.encode(told)
        return Document(sha256(rest).hexdigest()[:32], msgspec.json.encode(instants)[:-1] + b"," + rest[1:])

    def _catch_up(self) -> None:
        """Take in all that survives power loss; what comes meanwhile is for the next time.

        A window that would have to tell of what it let go of is read anew, by one that holds on to that.

        Raises:
            InvalidRequestError: more stands, or more is told of anew, than a window holds.
        """
        goal = self._watching.synced
        for _ in range(READINGS):
            self._read(goal)
            if not self._window.lapsed:
                return
            try:
                self._window, self._revision = self._window.again(), 0
            except InvalidRequestError:
                self._window, self._revision = Window(), 0
                raise
        raise InvalidRequestError("what was over is told of anew again and again, more than one page can follow")

    def _read(self, goal: int) -> None:
        while self._revision < goal and not self._closed:
            began = time.perf_counter()
            lines, revision = self._watching.lines(self._revision, PART)
            try:
                for line in lines:
                    self._window.take(Entry(line.revision, line.kind, line.time, msgspec.json.decode(line.body)))
            except Exception:  # a window that took half of a part in tells the truth no more
                self._window, self._revision = Window(), 0
                raise
            self._revision = revision
            time.sleep(time.perf_counter() - began)


def _heard(making: asyncio.Future[Any]) -> None:
    """Look at how it ended, so that nobody logs that nobody did: whoever waited may be gone."""
    if not making.cancelled():
        making.exception()
