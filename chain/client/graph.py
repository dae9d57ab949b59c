"""The graph's questions: `client.graph`, as `chain.graph.asking.Graph`.

The law of this file: an answer comes in pages of what was asked first, and whoever asks sees one.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from chain.client.call import PAUSES, Call
from chain.client.steering import AsyncRun, Run
from chain.inquiry import FIRST, Answer, Asked, Page
from chain.wire import graph as wire

PATIENCE = 60.0
"""Seconds that an answer may take: the first one reads the whole record."""


def ask(asked: Asked, page: Page) -> Call[Answer]:
    """Ask for one page."""
    read: Callable[[object], Answer] = lambda message: wire.answer_from(asked, message)  # noqa: E731 - one of ten kinds
    return Call(asked.method, wire.asked_to(asked, page), read, PAUSES, PATIENCE)


def further(asked: Asked, page: Page, found: Answer) -> Call[Answer] | None:
    """Ask for what follows the rows that came; None where those are all that were asked for."""
    left = page.limit - len(found.rows)
    return ask(asked, Page(limit=left, token=found.next)) if found.next and left > 0 else None


def joined(found: Answer, more: Answer) -> Answer:
    """Return two pages as one."""
    return msgspec.structs.replace(found, rows=found.rows + more.rows, next=more.next)


class Graph:
    """Questions of the graph of delegations. Errors are those of `chain.graph.asking.Graph`."""

    def __init__(self, run: Run) -> None:
        """Send by `run`, the client's."""
        self._run = run

    def ask(self, asked: Asked, page: Page = FIRST) -> Answer:
        """Return the first rows of an answer; more than a message holds are fetched one page after the other.

        Args:
            asked: the question (`chain.inquiry`).
            page: as of when, how many rows at most, and where to go on.
        """
        found = self._run(ask(asked, page))
        while (call := further(asked, page, found)) is not None:
            found = joined(found, self._run(call))
        return found


class AsyncGraph:
    """`Graph` with `await`."""

    def __init__(self, run: AsyncRun) -> None:
        """Send by `run`, the client's."""
        self._run = run

    async def ask(self, asked: Asked, page: Page = FIRST) -> Answer:
        """Return the first rows of an answer; more than a message holds are fetched one page after the other.

        Args:
            asked: the question (`chain.inquiry`).
            page: as of when, how many rows at most, and where to go on.
        """
        found = await self._run(ask(asked, page))
        while (call := further(asked, page, found)) is not None:
            found = joined(found, await self._run(call))
        return found
