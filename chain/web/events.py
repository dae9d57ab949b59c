"""The ledger's records as server-sent events (HTML s9.2), one for each, as they come.

The law of this file: as a stream of `Watch`. A stream ends with its credential and with the server, goes on from the
revision that its reader names, and is cut where the reader does not read. Only what survives power loss is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic

import msgspec
from starlette.requests import Request
from starlette.types import Message, Send

from chain.authority import Authority
from chain.errors import ChainError, InvalidRequestError, ResourceExhaustedError
from chain.reason import Reason
from chain.watch import Line, require_cursor
from chain.web.connection import STATE, Connection
from chain.web.guard import Visitor
from chain.web.reply import NEVER, STRICT, answer_of, reply

TICK = 0.05
"""Seconds between two looks at the ledger: nobody sees less."""

BEAT = 15.0
"""Seconds of silence before a heartbeat."""

TAKEN = 256
"""Records that one stream takes at a time."""

WRITE_PATIENCE = 10.0
"""Seconds that a reader may take to let one piece through."""

PIECE = 64 * 1024
"""Bytes that are written at once."""

LAST = 1.0
"""Seconds for the reader to be told why a stream ends."""

MEDIA = "text/event-stream"

MAX_DIGITS = 18
"""Of a revision: more are no 64-bit number."""


class Events:
    """The streams."""

    def __init__(self, authority: Authority, clock: Callable[[], float]) -> None:
        """Tell of an authority; `clock` gives seconds since the epoch."""
        self._watching = authority.watch
        self._clock = clock
        self._threads = ThreadPoolExecutor(1, "ui-events")

    def close(self) -> None:
        """Let the thread end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def stay(self, visitor: Visitor, request: Request, send: Send) -> None:
        """Tell the records after a revision until the reader goes.

        Raises:
            CursorError: the revision is not known here.
            InvalidRequestError: what it names is no revision.
        """
        named = _cursor(request)
        cursor = self._watching.synced if named is None else named
        require_cursor(cursor, self._watching.head)
        head = {**STRICT, "Content-Type": MEDIA, "Cache-Control": NEVER, "Connection": "close"}
        if request.method == "HEAD":
            await reply(200, headers=head)(request.scope, request.receive, send)
            return
        connection: Connection = request.scope["state"][STATE]
        connection.stay()
        gone = asyncio.create_task(_gone(request))
        stream = _Stream(self._read, visitor, send, gone, self._clock)
        try:
            await stream.begin(head)
            await stream.tell(cursor)
        except ChainError as error:
            if error.reason is Reason.CONSUMER_SLOW or not await stream.end(error):
                connection.cut()
        except Exception:
            connection.cut()  # nothing else would end it
            raise
        finally:
            gone.cancel()

    async def _read(self, after: int) -> list[Line]:
        if self._watching.synced <= after:
            return []
        run = asyncio.get_running_loop().run_in_executor
        lines, _ = await run(self._threads, self._watching.lines, after, TAKEN)
        return lines


class _Stream:
    """One stream, while it is open."""

    def __init__(
        self,
        read: Callable[[int], Awaitable[list[Line]]],
        visitor: Visitor,
        send: Send,
        gone: asyncio.Task[None],
        clock: Callable[[], float],
    ) -> None:
        self._read = read
        self._visitor = visitor
        self._send = send
        self._gone = gone
        self._clock = clock

    async def begin(self, head: Mapping[str, str]) -> None:
        """Send the head."""
        pairs = [(name.lower().encode(), value.encode()) for name, value in head.items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": pairs})

    async def tell(self, cursor: int) -> None:
        """Tell what comes after a revision, until the reader is gone.

        Raises:
            ResourceExhaustedError: it reads too slowly.
            StoreError: the ledger cannot be read.
            UnauthenticatedError: the credential ended.
            UnreachableError: the server stops.
        """
        due = 0.0
        while not self._gone.done():
            lines = await self._read(cursor)
            for piece in _pieces(lines):
                await self._write(piece)
            if lines:
                cursor, due = lines[-1].revision, min(due, monotonic() + BEAT)
            if monotonic() >= due:
                await self._write(_event("beat", {"revision": cursor, "time": int(self._clock() * 1000)}))
                due = monotonic() + BEAT
            if len(lines) < TAKEN:
                await self._visitor.wait(partial(asyncio.wait, {self._gone}, timeout=TICK))

    async def end(self, error: ChainError) -> bool:
        """Say why there is no more; tell whether it could be said."""
        try:
            async with asyncio.timeout(LAST):
                await self._send(_body(_event("end", {"error": answer_of(error).error or "ended"})))
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            return False
        return True

    async def _write(self, piece: bytes) -> None:
        try:
            async with asyncio.timeout(WRITE_PATIENCE):
                await self._visitor.wait(lambda: self._send(_body(piece)))
        except TimeoutError:
            raise ResourceExhaustedError("the events were not read for too long", Reason.CONSUMER_SLOW) from None


def _body(piece: bytes) -> Message:
    return {"type": "http.response.body", "body": piece, "more_body": True}


def _event(name: str, told: Mapping[str, object]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(told))


def _pieces(lines: list[Line]) -> Iterator[bytes]:
    """Yield the events of records, joined to pieces that are worth a write."""
    piece = bytearray()
    for line in lines:
        data = msgspec.json.encode({"kind": line.kind, "time": line.time, "body": line.body})
        piece += b"id: %d\ndata: %s\n\n" % (line.revision, data.translate(None, b"\r\n"))  # JSON has no need of them
        if len(piece) > PIECE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _cursor(request: Request) -> int | None:
    """Return the revision that a reader has seen; what it had last goes before what it began with."""
    seen = [("after", value) for value in request.headers.getlist("last-event-id")]
    asked = seen or request.query_params.multi_items()
    return revision_of(asked, "after") if asked else None


def revision_of(asked: list[tuple[str, str]], name: str) -> int:
    """Return the one revision that a request names, and nothing else.

    Raises:
        InvalidRequestError: it names none, or more.
    """
    value = asked[0][1] if [found for found, _ in asked] == [name] else ""
    if not value.isascii() or not value.isdecimal() or len(value) > MAX_DIGITS:
        raise InvalidRequestError(f"`{name}` is one revision, and nothing else is asked for here")
    return int(value)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
