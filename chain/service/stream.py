"""CheckStream: requests as they come, answers in the same order, several under way at once.

The law of this file: a stream never outlives the credential that opened it, nor the server's stop; what it asked
before is answered all the same. An answer that must wait for the disk does not hold up the reading of what follows,
so that the requests of one stream share a commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future

import grpc

from chain.authority import Authority
from chain.decision import Decision
from chain.errors import ChainError, UnreachableError
from chain.service.gate import Call, Context
from chain.service.settled import settled
from chain.v1 import authorization_pb2 as pb
from chain.wire.asking import check_from
from chain.wire.decision import decision_to
from chain.wire.status import item_error_to

IN_FLIGHT = 128
"""Requests of one stream that may wait for their commit; then reading waits."""

Outcome = Future[list[Decision]] | ChainError


class Streams:
    """The open streams of a server."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with none; `clock` gives seconds since the epoch."""
        self._clock = clock
        self._closing = False
        self._reading: set[asyncio.Task[object]] = set()

    def close(self) -> None:
        """Let every stream answer what it has and end; a new one ends at once."""
        self._closing = True
        for task in self._reading:
            task.cancel()

    async def serve(self, authority: Authority, call: Call) -> None:
        """Answer one stream until its client is done.

        Raises:
            UnauthenticatedError: the credential ended.
            UnreachableError: the server stops.
        """
        waiting: asyncio.Queue[tuple[int, Outcome] | None] = asyncio.Queue(IN_FLIGHT)
        writer = asyncio.create_task(self._write(waiting, call))
        try:
            try:
                await self._read(authority, call, waiting, writer)
            finally:
                await _put(waiting, None, writer)
            await writer
        finally:
            writer.cancel()

    async def _read(
        self,
        authority: Authority,
        call: Call,
        waiting: asyncio.Queue[tuple[int, Outcome] | None],
        writer: asyncio.Task[None],
    ) -> None:
        while (message := await self._next(call.context)) is not None:
            call.identity.require_valid(self._clock())
            await _put(waiting, (message.correlation_id, _begin(authority, message.check, call)), writer)
        if self._closing:
            raise UnreachableError("the server is stopping")

    async def _next(self, context: Context) -> pb.CheckStreamRequest | None:
        """Return the next message, or None at the end of the stream or of the server."""
        task = asyncio.current_task()
        if self._closing or task is None:
            return None
        self._reading.add(task)
        try:
            message = await context.read()
        except asyncio.CancelledError:
            if not self._closing:
                raise
            task.uncancel()
            return None
        finally:
            self._reading.discard(task)
        return message if isinstance(message, pb.CheckStreamRequest) else None

    async def _write(self, waiting: asyncio.Queue[tuple[int, Outcome] | None], call: Call) -> None:
        while (item := await waiting.get()) is not None:
            number, outcome = item
            reply = pb.CheckStreamResponse(correlation_id=number)
            try:
                if isinstance(outcome, ChainError):
                    raise outcome
                (decision,) = await settled(outcome)
                call.note(decision)
                reply.decision.CopyFrom(decision_to(decision))
            except ChainError as error:
                reply.error.CopyFrom(item_error_to(error))
            await call.context.write(reply)
