"""Questions one after the other on one stream: the cheapest way to ask.

The law of this file: a reply belongs to the question whose correlation id it bears. A stream that ends answers
nobody: whoever waits, and whoever asks later, gets the error that ended it. Where the identity or the credential that
it was opened with was replaced, the next question opens another, and the old one answers what it was asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Generic, Self, TypeVar

import grpc

from chain.client.call import asked
from chain.client.lines import AsyncLines, Lines
from chain.decision import Decision
from chain.desk import Presented
from chain.errors import ChainError, UnreachableError
from chain.request import Request
from chain.v1 import authorization_pb2
from chain.wire import convert
from chain.wire.status import error_from, item_error_from

F = TypeVar("F", Future[Decision], asyncio.Future[Decision])

_ENDED = "the stream has ended"


class _Waiting(Generic[F]):
    """Who waits for which reply."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._numbers = count(1)
        self._waiting: dict[int, F] = {}
        self._end: ChainError | None = None

    def question(
        self, future: F, presented: Presented, request: Request, at_least: int
    ) -> authorization_pb2.CheckStreamRequest:
        """Return the message of a question, and remember who asked it.

        Raises:
            ChainError: the one that ended the stream.
        """
        check = asked(presented, request, at_least)
        with self._lock:
            if self._end is not None:
                raise self._end
            number = next(self._numbers)
            self._waiting[number] = future
        return authorization_pb2.CheckStreamRequest(correlation_id=number, check=check)

    def settle(self, reply: authorization_pb2.CheckStreamResponse) -> None:
        """Hand a reply to whoever waits for it; nobody does where the time was up."""
        with self._lock:
            future = self._waiting.pop(reply.correlation_id, None)
        if future is None or future.done():
            return
        if reply.WhichOneof("outcome") == "error":
            future.set_exception(item_error_from(reply.error))
        else:
            future.set_result(convert.decision_from(reply.decision))  # where neither is set: a denial

    def forget(self, number: int) -> None:
        """Wait no longer."""
        with self._lock:
            self._waiting.pop(number, None)

    def end(self, error: ChainError) -> None:
        """Tell everybody that nothing more will come."""
        with self._lock:
            self._end = self._end or error
            waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(error)


class _Lane:
    """One stream, for threads."""

    def __init__(self, lines: Lines) -> None:
        self.shown = lines.shown()
        self.waiting: _Waiting[Future[Decision]] = _Waiting()
        self._questions: SimpleQueue[authorization_pb2.CheckStreamRequest | None] = SimpleQueue()
        self._call = lines.open("CheckStream", iter(self._questions.get, None))
        self._reader = Thread(target=self._read, name="chain-check-stream", daemon=True)
        self._reader.start()

    @property
    def ended(self) -> bool:
        """Whether nobody reads it any more."""
        return not self._reader.is_alive()

    def put(self, message: authorization_pb2.CheckStreamRequest | None) -> None:
        """Send a question; None ends them, and the stream once they are answered."""
        self._questions.put(message)

    def close(self, seconds: float) -> None:
        """End it now."""
        self.waiting.end(UnreachableError(_ENDED))
        self.put(None)
        self._call.cancel()
        self._reader.join(seconds)

    def _read(self) -> None:
        error: ChainError = UnreachableError(_ENDED)
        replies: Iterator[authorization_pb2.CheckStreamResponse] = self._call
        try:
            for reply in replies:
                self.waiting.settle(reply)
        except grpc.RpcError as failed:
            error = error_from(failed)
        finally:
            self.waiting.end(error)
            self.put(None)


class CheckStream:
    """A stream of questions; usable from many threads."""

    def __init__(self, lines: Lines, timeout: float) -> None:
        self._lines = lines
        self._timeout = timeout
        self._lock = Lock()
        self._lane = _Lane(lines)
        self._old: list[_Lane] = []

    def check(self, presented: Presented, request: Request, at_least: int = 0) -> Decision:
        """Decide one call; as `Client.check`."""
        future: Future[Decision] = Future()
        with self._lock:
            lane = self._present()
            message = lane.waiting.question(future, presented, request, at_least)
            lane.put(message)
        try:
            return future.result(self._timeout)
        except TimeoutError:
            lane.waiting.forget(message.correlation_id)
            raise UnreachableError(f"no answer within {self._timeout} s") from None

    def close(self) -> None:
        """End the stream."""
        with self._lock:
            lanes = [self._lane, *self._old]
        for lane in lanes:
            lane.close(self._timeout)

    def _present(self) -> _Lane:
        if self._lines.shown() != self._lane.shown:
            made = _Lane(self._lines)
            self._lane.put(None)
            self._old = [lane for lane in (*self._old, self._lane) if not lane.ended]
            self._lane = made
        return self._lane

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class _AsyncLane:
    """One stream, for asyncio."""

    def __init__(self, lines: AsyncLines) -> None:
        self.shown = lines.shown()
        self.waiting: _Waiting[asyncio.Future[Decision]] = _Waiting()
        self._writing = asyncio.Lock()  # gRPC takes one write at a time
        self._call = lines.open("CheckStream")
        self._tasks = [asyncio.create_task(self._read())]

    @property
    def ended(self) -> bool:
        """Whether nobody reads it any more."""
        return all(task.done() for task in self._tasks)

    async def put(self, message: authorization_pb2.CheckStreamRequest) -> None:
        """Send a question, in its turn."""
        async with self._writing:
            await self._call.write(message)

    def finish(self) -> None:
        """End the questions behind those that were asked, and the stream once they are answered."""
        self._tasks.append(asyncio.create_task(self._finish()))

    async def close(self) -> None:
        """End it now."""
        self.waiting.end(UnreachableError(_ENDED))
        self._call.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _finish(self) -> None:
        async with self._writing:
            with suppress(grpc.RpcError, asyncio.InvalidStateError):  # it has ended by itself
                await self._call.done_writing()

    async def _read(self) -> None:
        error: ChainError = UnreachableError(_ENDED)
        try:
            async for reply in self._call:
                self.waiting.settle(reply)
        except grpc.RpcError as failed:
            error = error_from(failed)
        finally:
            self.waiting.end(error)


class AsyncCheckStream:
    """The same for asyncio."""

    def __init__(self, lines: AsyncLines, timeout: float) -> None:
        self._lines = lines
        self._timeout = timeout
        self._lane = _AsyncLane(lines)
        self._old: list[_AsyncLane] = []

    async def check(self, presented: Presented, request: Request, at_least: int = 0) -> Decision:
        """Decide one call; as `AsyncClient.check`."""
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        lane = self._present()  # nothing is awaited between this and the question's turn to be written
        message = lane.waiting.question(future, presented, request, at_least)
        try:
            async with asyncio.timeout(self._timeout):
                await lane.put(message)
                return await future
        except TimeoutError:
            raise UnreachableError(f"no answer within {self._timeout} s") from None
        except grpc.RpcError as failed:
            raise error_from(failed) from None
        except asyncio.InvalidStateError:
            raise UnreachableError(_ENDED) from None
        finally:
            lane.waiting.forget(message.correlation_id)

    async def close(self) -> None:
        """End the stream."""
        for lane in (self._lane, *self._old):
            await lane.close()

    def _present(self) -> _AsyncLane:
        if self._lines.shown() != self._lane.shown:
            made = _AsyncLane(self._lines)
            self._lane.finish()
            self._old = [lane for lane in (*self._old, self._lane) if not lane.ended]
            self._lane = made
        return self._lane

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()
