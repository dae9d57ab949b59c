"""The graph's questions, asked of an authority in this process.

The law of this file: whoever may not ask the service may not ask here, and only what survives power loss is told.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import msgspec

from chain.authority import Authority
from chain.caller import Caller
from chain.given import Entry
from chain.graph.answers import Answers
from chain.inquiry import FIRST, Answer, Asked, Page


class Graph:
    """Answers from an authority's record, which it reads on with each question and keeps in memory.

    Some four kilobytes a record; `chain serve` keeps it in a process of its own instead.
    """

    def __init__(self, authority: Authority, clock: Callable[[], float]) -> None:
        """Ask an authority; `clock` gives seconds since the epoch."""
        self._watching = authority.watch
        self._clock = clock
        self._answers = Answers()
        self._read = 0
        self._lock = Lock()

    def ask(self, caller: Caller, asked: Asked, page: Page = FIRST) -> Answer:
        """Return one page of an answer.

        Args:
            caller: an auditor or operator.
            asked: the question.
            page: which part, and as of when.

        Raises:
            ForbiddenError: the caller may not ask.
            InvalidRequestError: the question or the page is not well formed.
            NotFoundError: nobody is called so.
            StoreError: the ledger could not be read.
        """
        caller.require(asked.method)
        with self._lock:
            self._read_on()
            return self._answers.ask(asked, page, now=self._clock())

    def _read_on(self) -> None:
        lines, revision = self._watching.lines(self._read)
        while lines:
            for line in lines:
                self._answers.take(Entry(line.revision, line.kind, line.time, msgspec.json.decode(line.body)))
            self._read = revision
            lines, revision = self._watching.lines(self._read)
