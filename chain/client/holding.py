"""What a holder has in hand: its key, its chain and its statements; and what it signs with them.

The law of this file: nothing here asks anybody. A proof is made for one call and for one enforcement point that the
holder itself names, never for one that a server names: a server could relay it. What is signed for a child is
clamped to the parent, and refused here already where it asks for more. Who holds no key signs nothing and orders: its
channel has to prove it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, NamedTuple, Self, TypeVar

from chain import mint, proof, tracecontext
from chain.base64url import b64decode, b64encode
from chain.delegation import Delegation
from chain.desk import Clock, Entropy, Presented
from chain.errors import InvalidRequestError
from chain.grant import Grant
from chain.jcs import Json
from chain.key import PublicKey, Signer
from chain.order import Delegate, Revoke
from chain.request import Request
from chain.view import Delegated

LIFETIME = 300
"""Seconds that a child lives unless told: a task's step, not a day. The parent's own end comes first in any case."""


class Handover(NamedTuple):
    """What the next agent needs.

    Attributes:
        tokens: its chain, root first.
        delegation: what the authority registered.
    """

    tokens: tuple[str, ...]
    delegation: Delegated


S = TypeVar("S")


class Ordered(NamedTuple, Generic[S]):
    """A change that the holder wants, ready to be sent, and to be sent again as it is.

    Attributes:
        presented: the chain under which it is asked.
        subject: the child's token, or the order of one; or the base64url digest of what is revoked.
        proof: None where the channel proves the holder.
        key: idempotency key.
    """

    presented: Presented
    subject: S
    proof: str | None
    key: str


def _untraced() -> None:
    """Return no trace."""


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Holding:
    """A key, a chain and what is stated with them. Immutable; never shown to a model or in a log.

    Attributes:
        signer: the leaf holder's key; None where the authority keeps it, and `channel` proves the holder.
        tokens: the chain, root first.
        audience: the enforcement point that proofs for tools are made for, as the authority registered it.
        purpose, intent, labels: what the agent states of every call; see `chain.request.Request`.
        trace: returns the W3C `traceparent` of what goes on, or None; it is asked for each call.
        channel: whether the transport itself proves the holder (a socket of its own); then no proof is made.
        by_digest: present the chain by its leaf's digest; the authority has to have admitted it before.
        authority: the authority's own audience; None asks the door.
        clock, entropy: the outside world.
    """

    signer: Signer | None
    tokens: Sequence[str]
    audience: str
    purpose: str | None = None
    intent: str | None = None
    labels: tuple[str, ...] = ()
    trace: Callable[[], str | None] = _untraced
    channel: bool = False
    by_digest: bool = False
    authority: str | None = None
    clock: Clock = field(default=time.time)
    entropy: Entropy = field(default=os.urandom)

    def __post_init__(self) -> None:
        """Refuse what could never be allowed.

        Raises:
            InvalidRequestError: no token, another's key, or neither a key nor a channel that proves the holder.
            InvalidTokenError: the leaf is no token.
        """
        if isinstance(self.tokens, str) or not self.tokens:
            raise InvalidRequestError("a chain is a list of tokens, root first")
        object.__setattr__(self, "tokens", tuple(self.tokens))  # frozen: a caller's list may change under us
        if self.signer is None and not self.channel:
            raise InvalidRequestError("without a signer the channel has to prove the holder")
        if self.signer is not None and self.leaf.key != self.signer.key:
            raise InvalidRequestError("the signer's key is not the leaf holder's")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(leaf={self.leaf.id}, holder={self.leaf.holder})"

    @cached_property
    def leaf(self) -> Delegation:
        """The last delegation, as its own holder reads it."""
        return mint.unverified(self.tokens[-1])

    @property
    def presented(self) -> Presented:
        """The chain as the authority gets it."""
        return self.leaf.digest if self.by_digest else tuple(self.tokens)

    def as_holder(self, signer: Signer | None, tokens: Sequence[str]) -> Self:
        """Return the same for another holder, e.g. a worker in this process that was delegated to."""
        return replace(self, signer=signer, tokens=tokens)

    def asking(self, tool: str, arguments: Mapping[str, Json]) -> Request:
        """Return the request for one tool call, with a fresh proof, or a fresh id where the channel is the proof.

        Raises:
            ValueError: the arguments or a name are not what JSON or the request allows.
        """
        request = Request(
            tool=tool,
            arguments=dict(arguments),
            purpose=self.purpose,
            intent=self.intent,
            labels=self.labels,
            audience=self.audience,
            trace=self._traced(),
        )
        if self.channel:
            return request.model_copy(update={"holder": self.leaf.holder, "request_id": self._fresh()})
        made = self._proof(tool, request.arguments, self.audience, request.stated)
        return request.model_copy(update={"proof": made})

    def _traced(self) -> str | None:
        """Return the trace, where there is one: a tracer that fails to name it keeps no call from being made."""
        trace = self.trace()
        return trace if trace and tracecontext.parse(trace) else None

    def handing(
        self, holder: PublicKey, grant: Grant, authority: str, lifetime: int = LIFETIME, max_depth: int | None = None
    ) -> Ordered[str | Delegate]:
        """Sign a child, and the proof that registers it; without a signer, order one.

        Args:
            holder: the next agent's key.
            grant: tools, and the limits that are narrowed; the others are restated.
            authority: the authority's audience.
            lifetime: seconds, clamped to the parent's end.
            max_depth: a lower ceiling on further hops; None keeps the parent's.

        Raises:
            ExcessError: the child asks for more than this holder has; nothing was sent.
        """
        if self.signer is None:
            wanted = Delegate(holder=holder, grant=grant, lifetime=lifetime, max_depth=max_depth)
            return Ordered(self.presented, wanted, None, self._fresh())
        now = self.clock()
        claims = mint.child_claims(
            self.leaf,
            grant,
            holder,
            jti=mint.uuid7(now, self.entropy(10)),
            now=int(now),
            lifetime=lifetime,
            max_depth=max_depth,
        )
        child = mint.derive(self.leaf, claims, self.signer)
        made = self._shown(proof.DELEGATE, {"child": mint.unverified(child).id}, authority)
        return Ordered(self.presented, child, made, self._fresh())

    def revoking(self, target: str | None, authority: str) -> Ordered[str]:
        """Sign the proof that revokes a delegation.

        Args:
            target: the id of this holder's own delegation or of one beneath it; None for its own.
            authority: the authority's audience.
        """
        identity = self.leaf.id if target is None else target
        return Ordered(
            self.presented, identity, self._shown(proof.REVOKE, {"target": identity}, authority), self._fresh()
        )

    def _shown(self, tool: str, arguments: dict[str, Json], authority: str) -> str | None:
        """Return a proof for the authority; None where the channel is one."""
        return None if self.channel else self._proof(tool, arguments, authority)

    def _proof(
        self, tool: str, arguments: dict[str, Json], audience: str, facts: Mapping[str, Json] | None = None
    ) -> str:
        if self.signer is None:
            raise InvalidRequestError("no key to make a proof with")
        return proof.make(
            self.signer,
            self.leaf,
            tool,
            arguments,
            audience=audience,
            jti=self._fresh(),
            iat=int(self.clock()),
            facts=facts,
        )

    def handed(self, ordered: Ordered[str | Delegate], delegated: Delegated) -> Handover:
        """Return what goes to the next agent, once the authority registered it."""
        child = ordered.subject if isinstance(ordered.subject, str) else delegated.token
        return Handover((*self.tokens, child), delegated)

    def _fresh(self) -> str:
        return b64encode(self.entropy(16))


def order(ordered: Ordered[str], cause: str) -> Revoke:
    """Return the revocation that was signed for.

    Raises:
        InvalidRequestError: the target is not an id.
    """
    try:
        return Revoke(b64decode(ordered.subject.encode()), cause)
    except ValueError as error:
        raise InvalidRequestError(f"the target: {error}") from None
