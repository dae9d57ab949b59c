"""What approvers do, over the service: `client.approvals`.

The law of this file: what is signed is the hash of the action that was received and shown, computed here. A server that
shows one action and names another gets no signature.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from chain.approval import WORD_LIFETIME, Approval, State, word
from chain.client.call import PAUSES, Call, fresh_key
from chain.key import PublicKey, Signer
from chain.search import EVERY, Found, Search
from chain.state import EMERGENCY_LIFETIME
from chain.v1 import approval_pb2 as pb
from chain.wire import approval as wire

A = TypeVar("A")
"""What a call gives: a request, or what is awaited for one."""


def _page(search: Search) -> Call[Found]:
    return Call("ListApprovals", wire.search_to(search), wire.found_from)


def _get(request_id: str) -> Call[Approval]:
    message = pb.GetApprovalRequest(request_id=request_id)

    def read(reply: pb.GetApprovalResponse) -> Approval:
        found = wire.approval_from(reply.approval)
        if found.id != request_id or found.action.binding() != found.binding:
            raise ValueError("another request, or another action than it names")
        return found

    return Call("GetApproval", message, read)


def _resolve(statement: str, key: PublicKey, once: str | None) -> Call[Approval]:
    message = wire.resolve_to(statement, key, once or fresh_key())
    return Call("ResolveApproval", message, lambda reply: wire.approval_from(reply.approval), PAUSES)


class _Words(ABC, Generic[A]):
    """What an approver says, in words of the domain.

    Every method takes the request as it was shown, the person's own key and the authority's name, and raises
    `ApprovalError` where the action is not the one that the request names, or the word does not count.
    """

    @abstractmethod
    def resolve(self, statement: str, key: PublicKey, once: str | None = None) -> A:
        """Hand a signed word in."""

    def approve(self, approval: Approval, signer: Signer, audience: str, *, lifetime: int = WORD_LIFETIME) -> A:
        """Approve; `lifetime` is how many seconds the word is good for."""
        said = word(approval, signer, audience, "approve", now=time.time(), lifetime=lifetime)
        return self.resolve(said, signer.key)

    def deny(self, approval: Approval, signer: Signer, audience: str, justification: str = "") -> A:
        """Refuse, for good."""
        said = word(approval, signer, audience, "deny", now=time.time(), justification=justification)
        return self.resolve(said, signer.key)

    def sign_off(self, approval: Approval, signer: Signer, audience: str, justification: str = "") -> A:
        """Put a name under an emergency that somebody else declared."""
        said = word(approval, signer, audience, "sign_off", now=time.time(), justification=justification)
        return self.resolve(said, signer.key)

    def emergency(self, approval: Approval, signer: Signer, audience: str, justification: str) -> A:
        """Break the glass: one word instead of as many as it takes, for a minute; somebody else has to sign it off."""
        said = word(
            approval,
            signer,
            audience,
            "approve",
            now=time.time(),
            lifetime=EMERGENCY_LIFETIME,
            emergency=True,
            justification=justification,
        )
        return self.resolve(said, signer.key)


class Approvals(_Words[Approval]):
    """Requests for approval, for threads. A part of `Client`; its twin is `Authority.approvals`."""

    def __init__(self, run: Callable[[Call[Any]], Any]) -> None:
        """Ask through a client."""
        self._run = run

    def find(self, state: State | None = None, *, in_review: bool = False) -> list[Approval]:
        """Return all requests, newest first, without their arguments; asks for page after page.

        Args:
            state: only those that stand so.
            in_review: only emergencies that nobody has signed off.
        """
        found: list[Approval] = []
        search: Search | None = Search(state, in_review)
        while search is not None:
            page = self.page(search)
            found += page.approvals
            search = search._replace(page=page.next) if page.next else None
        return found

    def page(self, search: Search = EVERY) -> Found:
        """Return one page of requests, newest first, without their arguments, and where the next begins.

        Args:
            search: which, and where to go on.
        """
        found: Found = self._run(_page(search))
        return found

    def get(self, request_id: str) -> Approval:
        """Return one request with the whole action, which is the one that its binding names."""
        found: Approval = self._run(_get(request_id))
        return found

    def resolve(self, statement: str, key: PublicKey, once: str | None = None) -> Approval:
        """Hand a signed word in; `once` is the idempotency key."""
        after: Approval = self._run(_resolve(statement, key, once))
        return after


class AsyncApprovals(_Words[Awaitable[Approval]]):
    """Requests for approval, for asyncio. A part of `AsyncClient`; as `Approvals`, with `await`."""

    def __init__(self, run: Callable[[Call[Any]], Awaitable[Any]]) -> None:
        """Ask through a client."""
        self._run = run

    async def find(self, state: State | None = None, *, in_review: bool = False) -> list[Approval]:
        """Return all requests, newest first; as `Approvals.find`."""
        found: list[Approval] = []
        search: Search | None = Search(state, in_review)
        while search is not None:
            page = await self.page(search)
            found += page.approvals
            search = search._replace(page=page.next) if page.next else None
        return found

    async def page(self, search: Search = EVERY) -> Found:
        """Return one page of requests; as `Approvals.page`."""
        found: Found = await self._run(_page(search))
        return found

    async def get(self, request_id: str) -> Approval:
        """Return one request with the whole action; as `Approvals.get`."""
        found: Approval = await self._run(_get(request_id))
        return found

    async def resolve(self, statement: str, key: PublicKey, once: str | None = None) -> Approval:
        """Hand a signed word in; as `Approvals.resolve`."""
        after: Approval = await self._run(_resolve(statement, key, once))
        return after
