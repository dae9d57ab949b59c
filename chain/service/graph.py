"""The graph's questions of AuditService: thin. It converts, asks a process of its own, and converts back.

The law of this file: one question is worked out at a time, and whoever asks has one under way (`chain.service.room`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from google.protobuf.message import Message

from chain.authority import Authority
from chain.service.gate import Call
from chain.service.projector import Projector
from chain.service.settings import ServeSettings
from chain.service.settled import to_its_end
from chain.wire import graph as wire

OVERHEAD = 4096
"""Bytes of a message that are left to what is not rows."""

READABLE = 4 * 1024 * 1024
"""Bytes of a message that every client takes in: gRPC's own limit where a client names none."""


class GraphMethods:
    """Those methods of AuditService that are asked of the graph."""

    def __init__(self, authority: Authority, settings: ServeSettings, clock: Callable[[], float]) -> None:
        """Answer from an authority's record; `clock` gives seconds since the epoch."""
        self._room = min(settings.max_message_bytes, READABLE) - OVERHEAD
        self._projector = Projector(authority.watch, settings.graph_memory * 1024 * 1024, self._room)
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "graph")

    def close(self) -> None:
        """End what is under way, the process and the thread."""
        self._projector.close()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._projector.end()

    def methods(self) -> Mapping[str, Any]:
        """Return the handler of each method."""
        return dict.fromkeys(wire.METHODS, self._ask)

    def rest(self) -> None:
        """Let the process end if nobody asked for a while."""
        self._thread.submit(self._projector.rest)

    async def _ask(self, message: Any, call: Call) -> Message:  # noqa: ANN401 - one of ten messages
        asked, page = wire.asked_from(message)
        call.caller.require(asked.method)

        def work() -> Message:
            return wire.answer_to(asked, self._projector.ask(asked, page, self._clock()), self._room)

        return await to_its_end(asyncio.get_running_loop().run_in_executor(self._thread, work))
