"""The graph's questions: `client.graph`, as `chain.graph.asking.Graph`.

The law of this file: an answer comes in pages of what was asked first, and whoever asks sees one. A page without rows
is the last that is asked for, whatever it says: no server keeps a client asking without end.
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


def further(asked: Asked, page: Page, found: Answer, came: int) -> Call[Answer] | None:
    """Ask for what follows the rows that came, of which the last page had so many; None where that is all."""
    left = page.limit - len(found.rows)
    return ask(asked, Page(limit=left, token=found.next)) if found.next and came and left > 0 else None


def joined(found: Answer, more: Answer) -> Answer:
    """Return two pages as one; the first one's rows go on with the second's."""
    found.rows.extend(more.rows)
    return msgspec.structs.replace(found, next=more.next)


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
        found = more = self._run(ask(asked, page))
        while (call := further(asked, page, found, len(more.rows))) is not None:
            more = self._run(call)
            found = joined(found, more)
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
        found = more = await self._run(ask(asked, page))
        while (call := further(asked, page, found, len(more.rows))) is not None:
            more = await self._run(call)
            found = joined(found, more)
        return found
