"""What a session needs of an authority, wherever it lives; and the one that lives in the same process.

The law of this file: a door asks and hands back the answer. It never answers in the authority's place: no answer in
time is an error, and an error permits nothing.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Protocol, TypeVar

from chain.authority import Authority
from chain.caller import Caller
from chain.client.lookout import Asking, AsyncAsking, AsyncLookout, Lookout
from chain.decision import Decision
from chain.desk import Presented
from chain.errors import UnreachableError
from chain.order import Delegate, Revoke
from chain.request import Request
from chain.view import Delegated, Revoked
from chain.watch import Stand

TIMEOUT = 2.0
"""Seconds that an answer may take: far beyond any healthy decision, short enough that an agent's turn survives it."""

R = TypeVar("R")


class Door(Protocol):
    """A way to an authority; `chain.client.Client` and `Local` are two."""

    def audience(self) -> str:
        """Return the authority's own name: what proofs for `Delegate` and `Revoke` are made for."""
        ...

    def check(self, presented: Presented, request: Request) -> Decision:
        """Return the authority's decision on one call."""
        ...

    def standing(self, presented: Presented) -> Stand:
        """Return whether a chain stands now, whatever may be called under it."""
        ...

    def lookout(self, presented: Presented, pulse: float) -> Lookout:
        """Return somebody who keeps an eye on a chain, with `pulse` seconds between signs of life."""
        ...

    def delegate(
        self, parent: Presented, child: str | Delegate, proof: str | None = None, key: str | None = None
    ) -> Delegated:
        """Register a child that the parent's holder signed, or order one to be signed for it."""
        ...

    def revoke(
        self,
        order: Revoke,
        standing: Presented | None = None,
        proof: str | None = None,
        *,
        dry_run: bool = False,
        key: str | None = None,
    ) -> Revoked:
        """Revoke a delegation and everything beneath it."""
        ...


class AsyncDoor(Protocol):
    """The same for asyncio; `chain.client.AsyncClient` and `AsyncLocal` are two."""

    async def audience(self) -> str:
        """Return the authority's own name: what proofs for `Delegate` and `Revoke` are made for."""
        ...

    async def check(self, presented: Presented, request: Request) -> Decision:
        """Return the authority's decision on one call."""
        ...

    async def standing(self, presented: Presented) -> Stand:
        """Return whether a chain stands now, whatever may be called under it."""
        ...

    async def lookout(self, presented: Presented, pulse: float) -> AsyncLookout:
        """Return somebody who keeps an eye on a chain, with `pulse` seconds between signs of life."""
        ...

    async def delegate(
        self, parent: Presented, child: str | Delegate, proof: str | None = None, key: str | None = None
    ) -> Delegated:
        """Register a child that the parent's holder signed, or order one to be signed for it."""
        ...

    async def revoke(
        self,
        order: Revoke,
        standing: Presented | None = None,
        proof: str | None = None,
        *,
        dry_run: bool = False,
        key: str | None = None,
    ) -> Revoked:
        """Revoke a delegation and everything beneath it."""
        ...


class _Embedded:
    """An authority in this process, and who asks it."""

    def __init__(self, authority: Authority, caller: Caller, timeout: float = TIMEOUT) -> None:
        """Open the door.

        Args:
            authority: not owned; its program closes it.
            caller: who asks, e.g. `chain.caller.embedded("https://bank.example")`.
            timeout: seconds to wait for an answer.
        """
        self._authority = authority
        self._caller = caller
        self._timeout = timeout

    def _as_caller(self, request: Request) -> Request:
        """Put the caller's facts in place of the request's own: names in a request prove nothing."""
        caller = self._caller
        facts = {"audience": caller.audience, "holder": None, "spiffe": None, "certificate": None}
        if request.proof is not None or request.holder is not None:
            facts |= {"spiffe": caller.proven_spiffe, "certificate": caller.proven_certificate}
        elif request.spiffe is not None:
            caller.require_vouching(request.spiffe)
            facts["spiffe"] = request.spiffe
        if request.holder is not None:
            facts["holder"] = caller.proven_holder
        return request.model_copy(update=facts)

    def _check(self, presented: Presented, request: Request) -> Future[list[Decision]]:
        return self._authority.begin_check(self._caller, [(presented, self._as_caller(request))])

    def _standing(self, presented: Presented) -> Stand:
        return self._authority.watch.standing(self._caller, presented)


class Local(_Embedded):
    """The door to an `Authority` in the same process."""

    def audience(self) -> str:
        """Return the authority's own name."""
        return self._authority.audience

    def check(self, presented: Presented, request: Request) -> Decision:
        """Decide one call.

        Raises:
            UnreachableError: no answer in time.
        """
        return self._wait(self._check(presented, request))[0]

    def standing(self, presented: Presented) -> Stand:
        """Return whether a chain stands now; raises what `chain.watching.Watching.standing` does."""
        return self._standing(presented)

    def lookout(self, presented: Presented, pulse: float) -> Lookout:
        """Return who looks whenever it is asked: nothing has to travel, so there is no pulse."""
        return Asking(lambda: self._standing(presented))

    def delegate(
        self, parent: Presented, child: str | Delegate, proof: str | None = None, key: str | None = None
    ) -> Delegated:
        """Register a child; raises what `Authority.begin_delegate` does, and UnreachableError."""
        return self._wait(self._authority.begin_delegate(self._caller, parent, child, proof, key))

    def revoke(
        self,
        order: Revoke,
        standing: Presented | None = None,
        proof: str | None = None,
        *,
        dry_run: bool = False,
        key: str | None = None,
    ) -> Revoked:
        """Revoke; raises what `Authority.begin_revoke` does, and UnreachableError."""
        begun = self._authority.begin_revoke(self._caller, order, standing, proof, dry_run=dry_run, key=key)
        return self._wait(begun)

    def _wait(self, begun: Future[R]) -> R:
        try:
            return begun.result(self._timeout)
        except TimeoutError:
            raise _late(self._timeout) from None


class AsyncLocal(_Embedded):
    """The same for asyncio: the loop goes on while the ledger commits."""

    async def audience(self) -> str:
        """Return the authority's own name."""
        return self._authority.audience

    async def check(self, presented: Presented, request: Request) -> Decision:
        """Decide one call.

        Raises:
            UnreachableError: no answer in time.
        """
        return (await self._wait(self._check(presented, request)))[0]

    async def standing(self, presented: Presented) -> Stand:
        """Return whether a chain stands now; raises what `chain.watching.Watching.standing` does."""
        return self._standing(presented)

    async def lookout(self, presented: Presented, pulse: float) -> AsyncLookout:
        """Return who looks whenever it is asked: nothing has to travel, so there is no pulse."""
        return AsyncAsking(lambda: self._standing(presented))

    async def delegate(
        self, parent: Presented, child: str | Delegate, proof: str | None = None, key: str | None = None
    ) -> Delegated:
        """Register a child; raises what `Authority.begin_delegate` does, and UnreachableError."""
        return await self._wait(self._authority.begin_delegate(self._caller, parent, child, proof, key))

    async def revoke(
        self,
        order: Revoke,
        standing: Presented | None = None,
        proof: str | None = None,
        *,
        dry_run: bool = False,
        key: str | None = None,
    ) -> Revoked:
        """Revoke; raises what `Authority.begin_revoke` does, and UnreachableError."""
        begun = self._authority.begin_revoke(self._caller, order, standing, proof, dry_run=dry_run, key=key)
        return await self._wait(begun)

    async def _wait(self, begun: Future[R]) -> R:
        if begun.done():
            return begun.result()
        try:
            # Shielded: a commit that is on its way is not undone by whoever stops waiting for it.
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(begun)), self._timeout)
        except TimeoutError:
            raise _late(self._timeout) from None


def _late(timeout: float) -> UnreachableError:
    return UnreachableError(f"the authority did not answer within {timeout} s")
