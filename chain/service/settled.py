"""From the authority's futures, and from jobs in threads, to coroutines."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TypeVar

R = TypeVar("R")


async def settled(future: Future[R]) -> R:
    """Return a commit's result.

    A client that goes away cancels its handler, never the commit: what was begun is carried through.
    """
    if future.done():  # a read is decided where it was asked; a detour through the loop would cost more than it did
        return future.result()
    return await asyncio.shield(asyncio.wrap_future(future))


async def to_its_end(job: asyncio.Future[R]) -> R:
    """Wait for a job in a thread; a client that goes away keeps its place until the job has ended.

    Otherwise a caller could begin and cancel without end, and fill the threads far beyond its places.
    """
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait({job})
        if not job.cancelled():
            job.exception()  # looked at, so that nobody logs that it was not
        raise
