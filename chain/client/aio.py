"""The client of the service, for asyncio. `chain.client.sync` with `await`; the calls are the same.

The law of this file: every call has a deadline, and every way of not getting an answer is an error. A question is
never sent twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self

import grpc

from chain.client import call as calls
from chain.client.approvals import AsyncApprovals
from chain.client.audit import AsyncAudit
from chain.client.call import Answer, Call, Listing, R
from chain.client.door import TIMEOUT
from chain.client.endpoint import Credential, Identity, endpoint
from chain.client.following import PATIENCE, Following, T, of_chain, of_ledger, once
from chain.client.graph import AsyncGraph
from chain.client.keys import AsyncKeys
from chain.client.lending import lent
from chain.client.lines import AsyncLines
from chain.client.lookout import AsyncLookout, AsyncWatching
from chain.client.policies import AsyncPolicies
from chain.client.steering import AsyncSteering
from chain.client.stream import AsyncCheckStream
from chain.client.watch import AsyncWatch, ask_async
from chain.decision import Decision, Effect
from chain.desk import Presented
from chain.explain import Explanation
from chain.key import PublicKey
from chain.order import Delegate, Issue, Revoke
from chain.principal import Principal
from chain.request import Request
from chain.simulate import Simulation
from chain.supposed import Hypothesis
from chain.view import Delegated, Enrolled, Query, Revoked
from chain.watch import Stand, Told
from chain.wire.info import ServerInfo
from chain.wire.status import error_from
from chain.wire.watch import HEARTBEAT


class AsyncClient:
    """A connection to one service, for one event loop. Arguments, results and errors are those of `Client`."""

    def __init__(
        self,
        target: str,
        credential: Credential | None = None,
        *,
        roots: bytes | None = None,
        identity: Identity | None = None,
        server_name: str | None = None,
        trust_domain: str | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """Prepare; the connection is made with the first call. See `Client`."""
        place = endpoint(
            target, credential, roots, identity=identity, server_name=server_name, trust_domain=trust_domain
        )
        self._lines = AsyncLines(place)
        self._timeout = timeout
        self._info: ServerInfo | None = None
        self.approvals = AsyncApprovals(self._run)
        self.audit = AsyncAudit(self._run)
        self.graph = AsyncGraph(self._run)
        self.keys = AsyncKeys(self._run)
        self.policies = AsyncPolicies(self._run)
        self.steering = AsyncSteering(self._run)

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
        return AsyncCheckStream(self._lines, self._timeout)

    async def explain(self, presented: Presented, request: Request, audience: str | None = None) -> Explanation:
        """Say hop by hop how the decision comes about; as `Client.explain`."""
        return await self._run(calls.explain(presented, request, audience))

    async def simulate(
        self,
        presented: Presented,
        request: Request,
        hypothesis: Hypothesis,
        policy_files: Mapping[str, str] | None = None,
    ) -> Simulation:
        """Say what would be decided, if things stood otherwise; as `Client.simulate`."""
        return await self._run(calls.simulate(presented, request, hypothesis, policy_files))

    async def issue(self, order: Issue, key: str | None = None) -> Delegated:
        """Issue a root; as `Client.issue`."""
        return await self._run(calls.issue(order, key))

    async def delegate(
        self, parent: Presented, child: str | Delegate, proof: str | None = None, key: str | None = None
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
        self, holder: PublicKey | None, principal: Principal, key: str | None = None, proof: str | None = None
    ) -> Enrolled:
        """Record who a key belongs to; an agent sends the key's own agreement (`chain.enrolment.make`)."""
        return await self._run(calls.enrol(holder, principal, key, proof))

    async def own_key(self) -> PublicKey:
        """Return the key that the service keeps for this agent; as `Client.own_key`."""
        return await self._run(calls.own_key())

    async def status_list(self) -> str:
        """Return the Token Status List of the service's roots, signed by its issuer."""
        return await self._run(calls.status_list())

    async def info(self) -> ServerInfo:
        """Return what the server says of itself, now."""
        return await self._run(calls.info())

    async def revision(self) -> int:
        """Return the last revision that survives power loss."""
        return await self._run(calls.revision())

    def watch(
        self,
        after: int | None = None,
        kinds: Iterable[str] = (),
        *,
        until_now: bool = False,
        heartbeat: float = HEARTBEAT,
    ) -> AsyncWatch[Told]:
        """Follow the ledger; as `Client.watch`."""
        return self._follow(of_ledger(after, kinds, heartbeat, until_now=until_now, timeout=self._timeout))

    def watch_chain(self, presented: Presented, *, heartbeat: float = HEARTBEAT) -> AsyncWatch[Stand]:
        """Follow how a chain stands; as `Client.watch_chain`."""
        return self._follow(of_chain(presented, heartbeat, PATIENCE))

    async def standing(self, presented: Presented) -> Stand:
        """Return whether a chain stands now, whatever may be called under it."""
        return await ask_async(self._lines, once(presented), self._timeout)

    async def lookout(self, presented: Presented, pulse: float) -> AsyncLookout:
        """Return somebody who keeps an eye on a chain; `AsyncSession` posts it."""
        return await AsyncWatching.posted(self._follow(of_chain(presented, pulse)), pulse)

    def _follow(self, following: Following[T]) -> AsyncWatch[T]:
        return AsyncWatch(self._lines, following, self.revision)

    async def audience(self) -> str:
        """Return the authority's own name; asked once."""
        if self._info is None:
            self._info = await self.info()
        return self._info.authority

    def lend(self, path: Path) -> AbstractContextManager[None]:
        """As `Client.lend`; it answers on a thread of its own."""
        return lent(self._lines.place, path)

    async def close(self) -> None:
        """Release the connection."""
        await self._lines.close()

    async def _run(self, call: Call[R]) -> R:
        end = time.monotonic() + max(self._timeout, call.patience)
        attempt = 0
        while True:
            left = end - time.monotonic()
            try:
                reply = await self._lines.ask(call.method, call.message, left)
            except grpc.RpcError as error:
                await asyncio.sleep(call.pause(attempt, error_from(error), end - time.monotonic()))
                attempt += 1
            else:
                return call.answer(reply)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()
