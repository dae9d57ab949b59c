"""Calls that wait for their client, and the reasons to wait no longer.

The law of this file: no call waits for ever. One that hears nothing, one whose credential ends and one that is still
waiting when the server stops are told so and end; what they had asked before is answered first, by their own code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from chain.errors import ChainError, UnauthenticatedError, UnreachableError
from chain.service.credentials import Identity

R = TypeVar("R")

STOPPING = "the server is stopping"


@dataclass(slots=True, eq=False)
class _Wait:
    task: asyncio.Task[Any]
    identity: Identity | None
    until: float | None  # seconds, monotonic
    ended: ChainError | None = None


class Waiting:
    """The calls that wait."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with none; `clock` gives seconds since the epoch."""
        self._clock = clock
        self._stopping = False
        self._waits: dict[_Wait, None] = {}  # in order of arrival

    def __len__(self) -> int:
        return len(self._waits)

    async def next(
        self, read: Callable[[], Awaitable[R]], identity: Identity | None = None, patience: float | None = None
    ) -> R:
        """Return what comes.

        Args:
            read: what is waited for.
            identity: of the caller; the wait ends with its credential, and so does what comes later.
            patience: seconds; None for as long as the server runs.

        Raises:
            UnreachableError: nothing came in time, or the server stops.
            UnauthenticatedError: the credential ended.
        """
        task = asyncio.current_task()
        if self._stopping or task is None:
            raise UnreachableError(STOPPING)
        wait = _Wait(task, identity, None if patience is None else monotonic() + patience)
        self._waits[wait] = None
        try:
            result = await read()
        except asyncio.CancelledError:
            if wait.ended is None:
                raise
            task.uncancel()  # the wait was ended here, and not by the client
            raise wait.ended from None
        finally:
            self._waits.pop(wait, None)
        if identity is not None and identity.until is not None:
            identity.require_valid(self._clock())
        return result

    def sweep(self) -> None:
        """End the waits that have lasted too long, and those whose credential has ended."""
        now, wall = monotonic(), self._clock()
        for wait in list(self._waits):
            if wait.until is not None and now >= wait.until:
                self._end(wait, UnreachableError("nothing came for too long"))
            elif wait.identity is not None and wait.identity.until is not None:
                try:
                    wait.identity.require_valid(wall)
                except UnauthenticatedError as error:
                    self._end(wait, error)

    def end_oldest(self, error: ChainError) -> None:
        """End the wait that began first."""
        if self._waits:
            self._end(next(iter(self._waits)), error)

    def close(self) -> None:
        """End all of them; a new one ends at once."""
        self._stopping = True
        for wait in list(self._waits):
            self._end(wait, UnreachableError(STOPPING))

    def _end(self, wait: _Wait, error: ChainError) -> None:
        del self._waits[wait]
        wait.ended = error
        wait.task.cancel()
