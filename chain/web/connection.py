"""One connection of a client that may be slow, or mean to be.

The law of this file: nobody holds a connection by doing nothing. A request's head, its body and the taking of its
answer have `PATIENCE` seconds together; and where all places are taken, the newest client has the place of the one
that has been silent longest, unless everybody is being answered. An answer that stays is let by whoever gives it, and
cut by it too.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

PATIENCE = 30.0
"""Seconds from a connection, or from the answer before, until a request has been answered."""

STATE = "connection"
"""Where a request's scope (ASGI's `state`) names its connection."""

MAX_CONNECTIONS = 256
"""At once: far below the files that a process may open, of which gRPC needs the most."""


class Connection(H11Protocol):
    """HTTP/1.1 within bounds."""

    _deadline: asyncio.TimerHandle | None = None
    _since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the base does
        """Take a place, or the place of who has been silent longest."""
        super().connection_made(transport)
        self.app_state = {STATE: self}
        self._wait()
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request, and for the client to have taken this answer."""
        self._wait()
        super().on_response_complete()

    def stay(self) -> None:
        """Give an answer that has no end; who gives it sees to it that the client takes it."""
        if self._deadline is not None:
            self._deadline.cancel()

    def cut(self) -> None:
        """End the connection at once, whatever the client has not taken yet."""
        self.transport.abort()

    def _wait(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._since = self.loop.time()
        self._deadline = self.loop.call_later(PATIENCE, self.transport.abort)

    @property
    def _silent(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _make_room(self) -> None:
        others = [one for one in self.connections if isinstance(one, Connection) and one is not self]
        waiting = [one for one in others if one._silent and not one.transport.is_closing()]  # noqa: SLF001 - its own
        leaving = min(waiting, key=lambda one: one._since, default=self)  # noqa: SLF001 - its own
        if len(others) - sum(one.transport.is_closing() for one in others) >= MAX_CONNECTIONS:
            leaving.transport.abort()
