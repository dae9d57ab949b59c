"""What a way in beside gRPC borrows from the server: who is calling, whether there is room, whether it serves, its log.

The law of this file: a caller is one caller by whichever way it comes. The same credentials speak for it, the same
room is counted, and the same log has a line for each of its calls.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from chain.caller import Caller
from chain.peer import NotYetError
from chain.service.calllog import CallLine, CallLog
from chain.service.credentials import Identity
from chain.service.gate import PLACES, Bounds
from chain.service.health import Health
from chain.service.room import Kind
from chain.service.settling import settle
from chain.service.waiting import Waiting


class Beside(Protocol):
    """Another way in, which begins and ends with the server.

    Attributes:
        address: where it answers, once started.
    """

    address: str

    async def start(self) -> None:
        """Listen and answer.

        Raises:
            ConfigurationError: it cannot.
        """
        ...

    async def stop(self, grace: float) -> None:
        """End, in so many seconds; also where it never started."""
        ...


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who came by another way.

    Attributes:
        identity: who it is, and for how long.
        waiting: what ends the waits of the server.
    """

    identity: Identity
    waiting: Waiting

    @property
    def caller(self) -> Caller:
        """What it may do."""
        return self.identity.caller

    async def wait(self, event: Callable[[], Awaitable[object]]) -> None:
        """Wait for something, as long as the credential and the server last.

        Raises:
            UnauthenticatedError: the credential ended.
            UnreachableError: the server stops.
        """
        await self.waiting.next(event, self.identity)


class Porter:
    """Lets callers in who come by another way."""

    def __init__(
        self,
        identify: Callable[[Mapping[str, str | bytes]], Identity],
        bounds: Bounds,
        health: Health,
        log: CallLog,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """Share what the server has.

        Args:
            identify: metadata -> who is calling; raises `UnauthenticatedError`.
            bounds: how much may go on at once.
            health: says whether calls are answered.
            log: takes a line for each call.
            clock: seconds since the epoch.
            new_id: makes request ids.
        """
        self._identify = identify
        self._bounds = bounds
        self._health = health
        self._log = log
        self.clock = clock
        self.new_id = new_id

    @property
    def serving(self) -> bool:
        """Whether calls are answered."""
        return self._health.serving

    async def identify(self, authorization: str | None) -> Visitor:
        """Return whom an `Authorization` header speaks for.

        Raises:
            UnauthenticatedError: nobody who is known.
        """
        metadata = {} if authorization is None else {"authorization": authorization}
        try:
            identity = self._identify(metadata)
        except NotYetError as error:
            await settle(error, self._bounds.unsettled)
            identity = self._identify(metadata)
        return Visitor(identity, self._bounds.waiting)

    @contextmanager
    def place(self, caller: str, method: str, *, stays: bool = False) -> Iterator[None]:
        """Hold a place while a call of that RPC's kind is under way; one that stays is a stream.

        Raises:
            ResourceExhaustedError: there is none.
        """
        kind = Kind.STREAM if stays else PLACES.get(method, Kind.CALL)
        self._bounds.room.enter(caller, kind)
        try:
            yield
        finally:
            self._bounds.room.leave(caller, kind)

    def note(self, method: str, request: str, caller: str, code: str, micros: int, refused: str) -> None:
        """Write the line of a call that ended; `refused` says why the caller is not known."""
        if self._log.calls:
            self._log.call(CallLine(self.clock(), request, caller, method, code, micros, refused=refused))

    def failed(self, method: str, request: str, error: BaseException) -> None:
        """Write where an unexpected error arose."""
        self._log.failure(method, request, error)

    def warn(self, event: str, said: str) -> None:
        """Write what an operator should know."""
        self._log.event(event, "warning", said=said)
