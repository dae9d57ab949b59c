"""The client of the service, for asyncio. `chain.client.sync` with `await`; the calls are the same.

The law of this file: every call has a deadline, and every way of not getting an answer is an error. A question is
never sent twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

import grpc
from grpc import aio

from chain.change import Issue, Revoke
from chain.client import call as calls
from chain.client.call import Answer, Call, Listing, R
from chain.client.door import TIMEOUT
from chain.client.endpoint import endpoint
from chain.client.stream import AsyncCheckStream
from chain.decision import Decision, Effect
from chain.desk import Presented
from chain.errors import UnreachableError
from chain.explain import Explanation
from chain.key import PublicKey
from chain.principal import Principal
from chain.request import Request
from chain.view import Delegated, Enrolled, Query, Revoked
from chain.wire.info import ServerInfo
from chain.wire.status import error_from


class AsyncClient:
    """A connection to one service, for one event loop. Arguments, results and errors are those of `Client`."""

    def __init__(
        self, target: str, credential: str | None = None, *, roots: bytes | None = None, timeout: float = TIMEOUT
    ) -> None:
        """Prepare; the connection is made with the first call. See `Client`."""
        self._place = endpoint(target, credential, roots)
        self._timeout = timeout
        self._info: ServerInfo | None = None

    @cached_property
    def _channel(self) -> aio.Channel:
        """Opened inside the loop that uses it."""
        place = self._place
        if place.tls is None:
            return aio.insecure_channel(place.address, place.options)
        return aio.secure_channel(place.address, place.tls, place.options)

    @cached_property
    def _methods(self) -> dict[str, Any]:
        return calls.methods(self._channel)

    async def check(self, presented: Presented, request: Request, at_least: int = 0) -> Decision:
        """Decide one call; as `Client.check`."""
        return await self._run(calls.check(presented, request, at_least))

    async def batch_check(
        self, items: Sequence[tuple[Presented, Request]], at_least: int = 0, stop: Effect | None = None
    ) -> list[Answer]:
        """Decide many calls, in order; as `Client.batch_check`."""
        return await self._run(calls.batch_check(items, at_least, stop))

    def check_stream(self) -> AsyncCheckStream:
        """Open a stream for one question after another; use it as an asynchronous context manager."""
        return AsyncCheckStream(self._methods["CheckStream"], self._place.metadata, self._timeout)

    async def explain(self, presented: Presented, request: Request) -> Explanation:
        """Say hop by hop how the decision comes about; as `Client.explain`."""
        return await self._run(calls.explain(presented, request))

    async def issue(self, order: Issue, key: str | None = None) -> Delegated:
        """Issue a root; as `Client.issue`."""
        return await self._run(calls.issue(order, key))

    async def delegate(
        self, parent: Presented, child: str, proof: str | None = None, key: str | None = None
    ) -> Delegated:
        """Register a child that the parent's holder signed; as `Client.delegate`."""
        return await self._run(calls.delegate(parent, child, proof, key))

    async def revoke(
        self,
        order: Revoke,
        standing: Presented | None = None,
        proof: str | None = None,
        *,
        dry_run: bool = False,
        key: str | None = None,
    ) -> Revoked:
        """Revoke a delegation and everything beneath it; as `Client.revoke`."""
        return await self._run(calls.revoke(order, standing, proof, key, dry_run=dry_run))

    async def get(self, digest: bytes) -> Delegated:
        """Return one delegation, without its token."""
        return await self._run(calls.get(digest))

    async def find(self, query: Query, page: str = "") -> Listing:
        """Return a page of delegations; as `Client.find`."""
        return await self._run(calls.find(query, page))

    async def enrol(
        self, holder: PublicKey, principal: Principal, key: str | None = None, proof: str | None = None
    ) -> Enrolled:
        """Record who a key belongs to; an agent sends the key's own agreement (`chain.enrolment.make`)."""
        return await self._run(calls.enrol(holder, principal, key, proof))

    async def info(self) -> ServerInfo:
        """Return what the server says of itself, now."""
        return await self._run(calls.info())

    async def audience(self) -> str:
        """Return the authority's own name; asked once."""
        if self._info is None:
            self._info = await self.info()
        return self._info.authority

    async def close(self) -> None:
        """Release the connection."""
        await self._channel.close()

    async def _run(self, call: Call[R]) -> R:
        end = time.monotonic() + self._timeout
        send = self._methods[call.method]
        attempt = 0
        while True:
            left = end - time.monotonic()
            try:
                reply = await send(call.message, timeout=left, metadata=self._place.metadata)
            except grpc.RpcError as error:
                await asyncio.sleep(call.pause(attempt, error_from(error), end - time.monotonic()))
                attempt += 1
            except aio.UsageError:
                raise UnreachableError("the client is closed") from None
            else:
                return call.answer(reply)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()
