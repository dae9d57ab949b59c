"""The channels of a client: one at a time, and a new one for every change of its identity.

The law of this file: gRPC cannot change a channel's certificates, so a call that begins after a change goes over a new
channel, and what is under way on the old one ends there; then it is closed. No call is moved, and none is sent twice.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import partial
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

import grpc
from grpc import aio

from chain.client import call as calls
from chain.client.endpoint import Endpoint
from chain.client.following import ClosedError

C = TypeVar("C", grpc.Channel, aio.Channel)

_CLOSED = "the client is closed"


@dataclass(slots=True, eq=False)
class _Line(Generic[C]):
    """One channel.

    Attributes:
        version: of the material that it was opened with.
        channel: gRPC's.
        methods: method name -> what sends it.
        held: calls under way.
    """

    version: int
    channel: C
    methods: dict[str, Any] = field(init=False)
    held: int = 0

    def __post_init__(self) -> None:
        self.methods = calls.methods(self.channel)


class _Lines(ABC, Generic[C]):
    """What both kinds share: which line is the present one, and who is still on which."""

    def __init__(self, place: Endpoint) -> None:
        self.place = place
        self._present: _Line[C] | None = None
        self._old: set[_Line[C]] = set()
        self._closed = False

    @property
    def version(self) -> int:
        """Of the identity's material now; what was opened under another one is to be opened anew."""
        return 0 if self.place.identity is None else self.place.identity.current().version

    def shown(self) -> tuple[object, ...]:
        """Return what a call that begins now shows of its caller."""
        return (self.version, *self.place.metadata())

    @abstractmethod
    def _open(self, credentials: grpc.ChannelCredentials | None) -> C:
        """Return a channel."""

    def _current(self) -> tuple[_Line[C], _Line[C] | None]:
        """Return the line for a new call, and an old one that is to be closed because nobody is on it.

        Raises:
            UnreachableError: the client is closed, or there is nothing to open a line with.
        """
        if self._closed:
            raise ClosedError(_CLOSED)
        present, identity = self._present, self.place.identity
        material = None if identity is None else identity.current()
        version = 0 if material is None else material.version
        if present is not None and present.version == version:
            return present, None
        made = self._present = _Line(version, self._open(self.place.tls(material)))
        if present is None:
            return made, None
        self._old.add(present)
        return made, self._idle(present)

    def _idle(self, line: _Line[C]) -> _Line[C] | None:
        """Take a line away that nobody needs any more."""
        if line.held or line not in self._old:
            return None
        self._old.discard(line)
        return line

    def _all(self) -> list[_Line[C]]:
        """Close for new calls, and return what is open."""
        self._closed = True
        found = [*self._old, *(() if self._present is None else (self._present,))]
        self._old, self._present = set(), None
        return found


class Lines(_Lines[grpc.Channel]):
    """For threads."""

    def __init__(self, place: Endpoint) -> None:
        """Open nothing yet."""
        super().__init__(place)
        self._lock = Lock()

    def ask(self, method: str, message: object, seconds: float) -> Any:
        """Return the reply of a call.

        Raises:
            grpc.RpcError: it failed.
            UnreachableError: it could not be sent.
        """
        metadata = self.place.metadata()
        line = self._take()
        try:
            return line.methods[method](message, timeout=seconds, metadata=metadata)
        except ValueError:
            raise ClosedError(_CLOSED) from None
        finally:
            if (idle := self._give(line)) is not None:
                idle.channel.close()

    def open(self, method: str, message: object, seconds: float | None = None) -> Any:
        """Return a stream; its line is held until it ends.

        Raises:
            UnreachableError: it could not be opened.
        """
        metadata = self.place.metadata()
        line = self._take()
        try:
            call = line.methods[method](message, timeout=seconds, metadata=metadata)
            call.add_done_callback(partial(self._ended, line))
        except ValueError:
            self._ended(line)
            raise ClosedError(_CLOSED) from None
        return call

    def close(self) -> None:
        """Close every channel, and end what is under way."""
        with self._lock:
            lines = self._all()
        for line in lines:
            line.channel.close()

    def _open(self, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
        if credentials is None:
            return grpc.insecure_channel(self.place.address, self.place.options)
        return grpc.secure_channel(self.place.address, credentials, self.place.options)

    def _take(self) -> _Line[grpc.Channel]:
        with self._lock:
            line, idle = self._current()
            line.held += 1
        if idle is not None:
            idle.channel.close()
        return line

    def _give(self, line: _Line[grpc.Channel]) -> _Line[grpc.Channel] | None:
        with self._lock:
            line.held -= 1
            return self._idle(line)

    def _ended(self, line: _Line[grpc.Channel], _call: object = None) -> None:
        if (idle := self._give(line)) is not None:
            # Not here: this may be the channel's own thread, and closing waits for it.
            Thread(target=idle.channel.close, name="chain-line", daemon=True).start()


class AsyncLines(_Lines[aio.Channel]):
    """For asyncio: opened inside the loop that uses them."""

    def __init__(self, place: Endpoint) -> None:
        """Open nothing yet."""
        super().__init__(place)
        self._closing: set[asyncio.Task[None]] = set()

    async def ask(self, method: str, message: object, seconds: float) -> Any:
        """As `Lines.ask`."""
        metadata = self.place.metadata()
        line = self._take()
        try:
            return await line.methods[method](message, timeout=seconds, metadata=metadata)
        except aio.UsageError:
            raise ClosedError(_CLOSED) from None
        finally:
            self._ended(line)

    def open(self, method: str, *message: object, seconds: float | None = None) -> Any:
        """As `Lines.open`; a stream of questions takes no message yet."""
        metadata = self.place.metadata()
        line = self._take()
        try:
            call = line.methods[method](*message, timeout=seconds, metadata=metadata)
        except aio.UsageError:
            self._ended(line)
            raise ClosedError(_CLOSED) from None
        call.add_done_callback(partial(self._ended, line))
        return call

    async def close(self) -> None:
        """As `Lines.close`."""
        await asyncio.gather(*(line.channel.close() for line in self._all()), *self._closing)

    def _open(self, credentials: grpc.ChannelCredentials | None) -> aio.Channel:
        if credentials is None:
            return aio.insecure_channel(self.place.address, self.place.options)
        return aio.secure_channel(self.place.address, credentials, self.place.options)

    def _take(self) -> _Line[aio.Channel]:
        line, idle = self._current()
        line.held += 1
        self._let_go(idle)
        return line

    def _ended(self, line: _Line[aio.Channel], _call: object = None) -> None:
        line.held -= 1
        self._let_go(self._idle(line))

    def _let_go(self, idle: _Line[aio.Channel] | None) -> None:
        if idle is not None:
            task = asyncio.get_running_loop().create_task(idle.channel.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
