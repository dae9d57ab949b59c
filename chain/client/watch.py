"""Streams of news, as iterators: what happens at a server, or how one chain stands there.

The law of this file: a connection that is lost is opened again, from where `chain.client.following` says, and so is one
whose identity was replaced: it would end with the old one. What waits for the reader is bounded, and closing leaves no
thread and no call behind. Whoever reads may be interrupted anywhere (^C) and must still be able to close: it waits on
nothing that takes locks in Python, as a `Queue` does and a wait for an `Event`: an interrupt there leaves one held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, Generic, Self

import grpc
from grpc import aio

from chain.client.following import ClosedError, Following, T
from chain.client.lines import AsyncLines, Lines
from chain.errors import ChainError, UnreachableError
from chain.v1 import watch_pb2
from chain.wire.status import error_from

BUFFER = 256
"""Messages that wait for the reader; then the connection itself does, and the server in the end cuts it."""

JOIN = 5.0
"""Seconds that a cancelled call may take to let its thread go."""

_CLOSED = "the client is closed"


class _Connection:
    """One call, read by a thread: gRPC's own iterator cannot be waited for with a limit."""

    def __init__(self, lines: Lines, message: watch_pb2.WatchRequest) -> None:
        self._arrived: SimpleQueue[watch_pb2.WatchResponse | ChainError | None] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(BUFFER):
            self._room.put(None)
        self._closed = False
        self.version = lines.version
        self._call = lines.open("Watch", message)
        self._reader = Thread(target=self._read, name="chain-watch", daemon=True)
        self._reader.start()

    def next(self, seconds: float) -> watch_pb2.WatchResponse | None:
        """Return the next message, or None at the end in good order.

        Raises:
            ChainError: what ended the call; `UnreachableError` where nothing came in time.
        """
        try:
            arrived = self._arrived.get(timeout=seconds)
        except Empty:
            raise UnreachableError(f"nothing was heard for {seconds:g} s") from None
        self._room.put(None)
        if isinstance(arrived, ChainError):
            raise arrived
        return arrived

    def close(self) -> None:
        """End the call and its thread; whoever waits for it hears the end."""
        self._closed = True
        self._call.cancel()
        with suppress(Empty):
            while True:
                self._arrived.get_nowait()
        self._reader.join(JOIN)
        self._arrived.put(ClosedError(_CLOSED))

    def _read(self) -> None:
        try:
            for reply in self._call:
                self._put(reply)
        except grpc.RpcError as failed:
            self._put(error_from(failed))
        else:
            self._put(None)

    def _put(self, arrived: watch_pb2.WatchResponse | ChainError | None) -> None:
        while not self._closed:
            with suppress(Empty):
                self._room.get(timeout=0.1)
                self._arrived.put(arrived)
                return


def ask(lines: Lines, following: Following[T], timeout: float) -> T:
    """Return the one thing that a short stream tells.

    Raises:
        ChainError: it tells nothing, or not within `timeout` seconds.
    """
    try:
        told = [following.take(reply) for reply in lines.open("Watch", following.message(), timeout)]
    except grpc.RpcError as failed:
        raise error_from(failed) from None
    return _only(told)


async def ask_async(lines: AsyncLines, following: Following[T], timeout: float) -> T:  # noqa: ASYNC109 - the call's own deadline
    """As `ask`, for asyncio."""
    try:
        call = lines.open("Watch", following.message(), seconds=timeout)
        told = [following.take(reply) async for reply in call]
    except grpc.RpcError as failed:
        raise error_from(failed) from None
    return _only(told)


def _only(told: list[T | None]) -> T:
    if len(told) != 1 or told[0] is None:
        raise UnreachableError("the answer is not one")
    return told[0]


class Watch(Generic[T]):
    """News, one after the other: an iterator, to be closed; as a context manager it closes itself.

    It ends where all was told; it raises what no new connection mends, and `UnreachableError` where nothing was heard
    for too long. `close` may come from another thread, and ends the iteration.
    """

    def __init__(self, lines: Lines, following: Following[T], revision: Callable[[], int]) -> None:
        """Open nothing yet.

        Args:
            lines: the way to the service.
            following: where it goes on from.
            revision: asks for the last revision of the ledger.
        """
        self._lines = lines
        self._following: Following[T] = following
        self._ask = revision
        self._stop = Event()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._lock = Lock()
        self._connection: _Connection | None = None

    @property
    def revision(self) -> int:
        """All up to this revision was handed over: `after` for whoever goes on later."""
        return self._following.revision

    @property
    def heard(self) -> float:
        """Seconds by `chain.client.lookout.elapsed`, when the server last said anything."""
        return self._following.heard

    def close(self) -> None:
        """End it, and leave nothing behind."""
        self._stop.set()
        self._wake.put(None)
        self._lose()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        following = self._following
        while not following.done and not self._stop.is_set():
            try:
                news = self._next()
            except ChainError as error:
                self._lose()
                if self._stop.is_set():
                    break
                with suppress(Empty):
                    self._wake.get(timeout=following.pause(error))
            else:
                if news is not None:
                    return news
        self._lose()
        raise StopIteration

    def _next(self) -> T | None:
        following = self._following
        if self._connection is None and following.begins_now:
            following.begin(self._ask())
        connection = self._open()
        reply = connection.next(following.silence)
        if reply is None or connection.version != self._lines.version:
            self._lose()
        if reply is not None:
            return following.take(reply)
        following.end()
        return None

    def _open(self) -> _Connection:
        with self._lock:
            if self._stop.is_set():
                raise ClosedError(_CLOSED)
            if self._connection is None:
                self._connection = _Connection(self._lines, self._following.message())
            return self._connection

    def _lose(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class AsyncWatch(Generic[T]):
    """The same for asyncio; reading that is cancelled loses nothing, the next reading goes on."""

    def __init__(self, lines: AsyncLines, following: Following[T], revision: Callable[[], Awaitable[int]]) -> None:
        """Open nothing yet. See `Watch`."""
        self._lines = lines
        self._version = 0
        self._following: Following[T] = following
        self._ask = revision
        self._stop = asyncio.Event()
        self._call: Any = None

    @property
    def revision(self) -> int:
        """All up to this revision was handed over: `after` for whoever goes on later."""
        return self._following.revision

    @property
    def heard(self) -> float:
        """Seconds by `chain.client.following.elapsed`, when the server last said anything."""
        return self._following.heard

    async def close(self) -> None:
        """End it, and leave nothing behind."""
        self._stop.set()
        self._lose()
        await asyncio.sleep(0)  # the call's own tasks see that it was cancelled

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        following = self._following
        while not following.done and not self._stop.is_set():
            try:
                news = await self._next()
            except ChainError as error:
                self._lose()
                if self._stop.is_set():
                    break
                await asyncio.sleep(following.pause(error))
            except asyncio.CancelledError:
                self._lose()  # gRPC has cancelled the call; what it had read was not handed over
                raise
            else:
                if news is not None:
                    return news
        self._lose()
        raise StopAsyncIteration

    async def _next(self) -> T | None:
        following = self._following
        if self._call is None and following.begins_now:
            following.begin(await self._ask())
        reply = await self._read()
        if reply is None or self._version != self._lines.version:
            self._lose()
        if reply is not None:
            return following.take(reply)
        following.end()
        return None

    async def _read(self) -> watch_pb2.WatchResponse | None:
        following = self._following
        try:
            if self._call is None:
                self._version = self._lines.version
                self._call = self._lines.open("Watch", following.message())
            async with asyncio.timeout(following.silence):
                reply = await self._call.read()
        except TimeoutError:
            raise UnreachableError(f"nothing was heard for {following.silence:g} s") from None
        except grpc.RpcError as failed:
            raise error_from(failed) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise UnreachableError(_CLOSED) from None  # it was the call that was cancelled, and not who reads it
        return None if reply is aio.EOF else reply

    def _lose(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()
