"""WatchService: records as they come, and whether a chain still stands.

The law of this file: what a stream holds is bounded, however little its client reads: it takes a page, writes it, and
takes the next; a write that the client does not let through in time ends it. Its place among the caller's streams stays
taken until the client has read the end, or its connection is gone: what gRPC holds for it is bounded with that. A
stream ends with its credential and with the server, and nobody who watches holds up anybody who asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any

from chain import watch
from chain.authority import Authority
from chain.delegation import Chain
from chain.errors import InvalidRequestError, ResourceExhaustedError
from chain.reason import Reason
from chain.service.gate import Call
from chain.service.tail import TICK, Follower, Tail
from chain.v1 import watch_pb2 as pb
from chain.wire.watch import Watched, beat_to, stand_to, told_to, watch_from

WRITE_PATIENCE = 10.0
"""Seconds that a client may take to let one message through; its own buffers and the network's are full then."""


class WatchMethods:
    """The methods of WatchService."""

    def __init__(self, authority: Authority, clock: Callable[[], float]) -> None:
        """Tell of an authority; `clock` gives seconds since the epoch."""
        self._authority = authority
        self._clock = clock
        self._tail = Tail(authority.watch)

    def methods(self) -> Mapping[str, Any]:
        """Return the handler of each method."""
        return {"Watch": self._watch, "GetRevision": self._revision}

    async def _revision(self, _message: pb.GetRevisionRequest, call: Call) -> pb.GetRevisionResponse:
        return pb.GetRevisionResponse(revision=self._authority.watch.revision(call.caller))

    async def _watch(self, call: Call) -> None:
        message = await call.read()
        if message is None:
            raise InvalidRequestError("no message")
        watched = watch_from(message)
        if watched.chain is not None:
            chain = self._authority.watch.chain(call.caller, watched.chain)
            kinds = watch.TURNING
        else:
            kinds, chain = watch.readable(call.caller, watched.kinds), None
            watch.require_cursor(watched.after or 0, self._authority.watch.head)
        follower = self._tail.follow(kinds)
        stream = _Stream(self._authority, self._tail, follower, call, watched, self._clock)
        try:
            await (stream.records() if chain is None else stream.standing(chain))
        finally:
            self._tail.leave(follower)


class _Stream:
    """One stream, while it is open."""

    def __init__(
        self,
        authority: Authority,
        tail: Tail,
        follower: Follower,
        call: Call,
        watched: Watched,
        clock: Callable[[], float],
    ) -> None:
        self._watching = authority.watch
        self._tail = tail
        self._follower = follower
        self._call = call
        self._watched = watched
        self._clock = clock
        self._due = 0.0  # of the next heartbeat, monotonic seconds

    async def records(self) -> None:
        """Tell the ledger's records.

        Raises:
            ResourceExhaustedError: the client reads too slowly.
            StoreError: the ledger cannot be read.
            UnauthenticatedError: the credential ended.
            UnreachableError: the server stops.
        """
        after, goal = self._watched.after, self._watching.head if self._watched.until_now else None
        cursor = self._watching.synced if after is None else after
        while goal is None or cursor < goal:
            cursor = await self._turn(cursor)
        await self._write(beat_to(cursor, self._clock()))

    async def _turn(self, cursor: int) -> int:
        """Tell what came after a revision, or wait for it; return the revision up to which all was told."""
        lines, revision = await self._tail.after(cursor, self._follower)
        for line in lines:
            if line.kind in self._follower.kinds:
                await self._write(told_to(watch.told(line, self._call.caller)))
        if revision == cursor:
            await self._call.wait(lambda: self._follower.wait(self._pause()))
        if monotonic() >= self._due:
            await self._write(beat_to(revision, self._clock()))
        return revision

    def _pause(self) -> float:
        """Return how long to wait: to the next heartbeat; a tick, where all that is missing is a sync."""
        return TICK if self._watched.until_now else self._due - monotonic()

    async def standing(self, chain: Chain) -> None:
        """Tell how a chain stands, until it does not.

        Raises:
            ResourceExhaustedError: the client reads too slowly.
            StoreError: the ledger cannot be read.
            UnauthenticatedError: the credential ended.
            UnreachableError: the server stops.
        """
        told = None
        while True:
            self._tail.require()
            revision = self._watching.synced  # before the facts, which run ahead of it
            stand = self._watching.stand(chain)
            if stand != told:
                await self._write(stand_to(stand, revision))
                told = stand
            elif monotonic() >= self._due:
                await self._write(beat_to(revision, self._clock()))
            if not stand.stands or self._watched.until_now:
                return
            pause = min(self._due - monotonic(), self._watching.left(chain))
            await self._call.wait(partial(self._follower.wait, pause))

    async def _write(self, message: pb.WatchResponse) -> None:
        """Hand a message to the client, and put the next heartbeat off.

        Raises:
            ResourceExhaustedError: it does not read.
        """
        try:
            async with asyncio.timeout(WRITE_PATIENCE):
                await self._call.wait(lambda: self._call.context.write(message))
        except TimeoutError:
            raise ResourceExhaustedError(
                "the stream was not read for too long; go on from its last revision", Reason.CONSUMER_SLOW
            ) from None
        self._due = monotonic() + self._watched.heartbeat
