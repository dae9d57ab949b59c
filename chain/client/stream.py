"""Questions one after the other on one stream: the cheapest way to ask.

The law of this file: a reply belongs to the question whose correlation id it bears. A stream that ends answers
nobody: whoever waits, and whoever asks later, gets the error that ended it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import count
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Generic, Self, TypeVar

import grpc

from chain.client.call import asked
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


class CheckStream:
    """A stream of questions; usable from many threads."""

    def __init__(self, method: Any, metadata: tuple[tuple[str, str], ...], timeout: float) -> None:
        self._timeout = timeout
        self._waiting: _Waiting[Future[Decision]] = _Waiting()
        self._questions: SimpleQueue[authorization_pb2.CheckStreamRequest | None] = SimpleQueue()
        self._call = method(iter(self._questions.get, None), metadata=metadata)
        self._reader = Thread(target=self._read, name="chain-check-stream", daemon=True)
        self._reader.start()

    def check(self, presented: Presented, request: Request, at_least: int = 0) -> Decision:
        """Decide one call; as `Client.check`."""
        future: Future[Decision] = Future()
        message = self._waiting.question(future, presented, request, at_least)
        self._questions.put(message)
        try:
            return future.result(self._timeout)
        except TimeoutError:
            self._waiting.forget(message.correlation_id)
            raise UnreachableError(f"no answer within {self._timeout} s") from None

    def close(self) -> None:
        """End the stream."""
        self._waiting.end(UnreachableError(_ENDED))
        self._questions.put(None)
        self._call.cancel()
        self._reader.join(self._timeout)

    def _read(self) -> None:
        error: ChainError = UnreachableError(_ENDED)
        replies: Iterator[authorization_pb2.CheckStreamResponse] = self._call
        try:
            for reply in replies:
                self._waiting.settle(reply)
        except grpc.RpcError as failed:
            error = error_from(failed)
        finally:
            self._waiting.end(error)
            self._questions.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class AsyncCheckStream:
    """The same for asyncio."""

    def __init__(self, method: Any, metadata: tuple[tuple[str, str], ...], timeout: float) -> None:
        self._timeout = timeout
        self._waiting: _Waiting[asyncio.Future[Decision]] = _Waiting()
        self._writing = asyncio.Lock()
        self._call = method(metadata=metadata)
        self._reader = asyncio.create_task(self._read())

    async def check(self, presented: Presented, request: Request, at_least: int = 0) -> Decision:
        """Decide one call; as `AsyncClient.check`."""
        future: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        message = self._waiting.question(future, presented, request, at_least)
        try:
            async with asyncio.timeout(self._timeout):
                async with self._writing:  # gRPC takes one write at a time
                    await self._call.write(message)
                return await future
        except TimeoutError:
            raise UnreachableError(f"no answer within {self._timeout} s") from None
        except grpc.RpcError as failed:
            raise error_from(failed) from None
        except asyncio.InvalidStateError:
            raise UnreachableError(_ENDED) from None
        finally:
            self._waiting.forget(message.correlation_id)

    async def close(self) -> None:
        """End the stream."""
        self._waiting.end(UnreachableError(_ENDED))
        self._call.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)

    async def _read(self) -> None:
        error: ChainError = UnreachableError(_ENDED)
        try:
            async for reply in self._call:
                self._waiting.settle(reply)
        except grpc.RpcError as failed:
            error = error_from(failed)
        finally:
            self._waiting.end(error)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()
