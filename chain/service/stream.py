"""CheckStream: requests as they come, answers in the same order, several under way at once.

The law of this file: a stream never outlives the credential that opened it, its client's silence, nor the server's
stop; what it asked before is answered all the same. An answer that must wait for the disk does not hold up the
reading of what follows, so that the requests of one stream share a commit.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TypeAlias

from chain.authority import Authority
from chain.decision import Decision
from chain.errors import ChainError
from chain.service.gate import Call
from chain.service.settled import settled
from chain.v1 import authorization_pb2 as pb
from chain.wire.asking import check_from
from chain.wire.decision import decision_to
from chain.wire.status import item_error_to

IN_FLIGHT = 128
"""Requests of one stream that may wait for their commit; then reading waits."""

Outcome: TypeAlias = Future[list[Decision]] | ChainError


class CheckStream:
    """One stream, while it is open."""

    def __init__(self, authority: Authority, call: Call) -> None:
        """Answer `call` from `authority`."""
        self._authority = authority
        self._call = call
        self._waiting: asyncio.Queue[tuple[int, Outcome] | None] = asyncio.Queue(IN_FLIGHT)
        self._unanswered = 0
        self._writer: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Answer until the client is done.

        Raises:
            UnauthenticatedError: the credential ended.
            UnreachableError: nothing was asked for too long, or the server stops.
        """
        try:
            try:
                await self._read()
            except ChainError:
                await self._finish()
                raise
            await self._finish()
        finally:
            if self._writer is not None:
                self._writer.cancel()

    async def _read(self) -> None:
        while (message := await self._call.read()) is not None:
            outcome = self._begin(message.check)
            ready = isinstance(outcome, ChainError) or outcome.done()
            if ready and not self._unanswered:
                await self._answer(message.correlation_id, outcome)
            else:
                await self._queue((message.correlation_id, outcome))

    def _begin(self, message: pb.CheckRequest) -> Outcome:
        try:
            asking = check_from(message, self._call.caller)
            calls = [(asking.presented, asking.request)]
            return self._authority.begin_check(self._call.caller, calls, asking.at_least)
        except ChainError as error:
            return error

    async def _queue(self, item: tuple[int, Outcome]) -> None:
        """Hand an answer that is not there yet to the writer; wait while too many are under way."""
        writer = self._writer
        if writer is None:
            writer = self._writer = asyncio.create_task(self._write())
        self._unanswered += 1
        if not self._waiting.full() and not writer.done():
            self._waiting.put_nowait(item)
            return
        put = asyncio.create_task(self._waiting.put(item))
        await asyncio.wait({put, writer}, return_when=asyncio.FIRST_COMPLETED)
        if writer.done():
            put.cancel()
            writer.result()

    async def _write(self) -> None:
        while (item := await self._waiting.get()) is not None:
            await self._answer(*item)
            self._unanswered -= 1

    async def _answer(self, number: int, outcome: Outcome) -> None:
        try:
            if isinstance(outcome, ChainError):
                raise outcome
            (decision,) = await settled(outcome)
            self._call.note(decision)
            reply = pb.CheckStreamResponse(correlation_id=number, decision=decision_to(decision))
        except ChainError as error:
            reply = pb.CheckStreamResponse(correlation_id=number, error=item_error_to(error))
        await self._call.context.write(reply)

    async def _finish(self) -> None:
        if self._writer is not None:
            await self._waiting.put(None)
            await self._writer
