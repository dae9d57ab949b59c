"""From the authority's futures to coroutines."""

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
