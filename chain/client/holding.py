"""What a holder has in hand: its key, its chain and its statements; and what it signs with them.

The law of this file: nothing here asks anybody. A proof is made for one call and for one enforcement point that the
holder itself names, never for one that a server names: a server could relay it. What is signed for a child is
clamped to the parent, and refused here already where it asks for more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple, Self

from chain import mint, proof
from chain.base64url import b64decode, b64encode
from chain.delegation import Delegation
from chain.desk import Clock, Entropy, Presented
from chain.errors import InvalidRequestError
from chain.grant import Grant
from chain.jcs import Json
from chain.key import PublicKey, Signer
from chain.order import Revoke
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


class Ordered(NamedTuple):
    """A change that the holder signed for, ready to be sent, and to be sent again as it is.

    Attributes:
        presented: the chain under which it is asked.
        subject: the child's token, or the base64url digest of what is revoked.
        proof: None where the channel proves the holder.
        key: idempotency key.
    """

    presented: Presented
    subject: str
    proof: str | None
    key: str


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Holding:
    """A key, a chain and what is stated with them. Immutable; never shown to a model or in a log.

    Attributes:
        signer: the leaf holder's key.
        tokens: the chain, root first.
        audience: the enforcement point that proofs for tools are made for, as the authority registered it.
        purpose, intent, labels: what the agent states of every call; see `chain.request.Request`.
        channel: whether the transport itself proves the holder (a socket of its own); then no proof is made.
        by_digest: present the chain by its leaf's digest; the authority has to have admitted it before.
        authority: the authority's own audience; None asks the door.
        clock, entropy: the outside world.
    """

    signer: Signer
    tokens: Sequence[str]
    audience: str
    purpose: str | None = None
    intent: str | None = None
    labels: tuple[str, ...] = ()
    channel: bool = False
    by_digest: bool = False
    authority: str | None = None
    clock: Clock = field(default=time.time)
    entropy: Entropy = field(default=os.urandom)

    def __post_init__(self) -> None:
        """Refuse what could never be allowed.

        Raises:
            InvalidRequestError: no token, or another's key.
            InvalidTokenError: the leaf is no token.
        """
        if isinstance(self.tokens, str) or not self.tokens:
            raise InvalidRequestError("a chain is a list of tokens, root first")
        object.__setattr__(self, "tokens", tuple(self.tokens))  # frozen: a caller's list may change under us
        if self.leaf.key != self.signer.key:
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

    def as_holder(self, signer: Signer, tokens: Sequence[str]) -> Self:
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
        )
        if self.channel:
            return request.model_copy(update={"holder": self.leaf.holder, "request_id": self._fresh()})
        made = proof.make(
            self.signer,
            self.leaf,
            tool,
            request.arguments,
            audience=self.audience,
            jti=self._fresh(),
            iat=int(self.clock()),
            facts=request.stated,
        )
        return request.model_copy(update={"proof": made})

    def handing(
        self, holder: PublicKey, grant: Grant, authority: str, lifetime: int = LIFETIME, max_depth: int | None = None
    ) -> Ordered:
        """Sign a child, and the proof that registers it.

        Args:
            holder: the next agent's key.
            grant: tools, and the limits that are narrowed; the others are restated.
            authority: the authority's audience.
            lifetime: seconds, clamped to the parent's end.
            max_depth: a lower ceiling on further hops; None keeps the parent's.

        Raises:
            ExcessError: the child asks for more than this holder has; nothing was sent.
        """
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
        return self._ordered(child, proof.DELEGATE, {"child": mint.unverified(child).id}, authority)

    def revoking(self, target: str | None, authority: str) -> Ordered:
        """Sign the proof that revokes a delegation.

        Args:
            target: the id of this holder's own delegation or of one beneath it; None for its own.
            authority: the authority's audience.
        """
        identity = self.leaf.id if target is None else target
        return self._ordered(identity, proof.REVOKE, {"target": identity}, authority)

    def _ordered(self, subject: str, tool: str, arguments: dict[str, Json], authority: str) -> Ordered:
        made = None
        if not self.channel:
            made = proof.make(
                self.signer,
                self.leaf,
                tool,
                arguments,
                audience=authority,
                jti=self._fresh(),
                iat=int(self.clock()),
            )
        return Ordered(self.presented, subject, made, self._fresh())

    def handed(self, ordered: Ordered, delegated: Delegated) -> Handover:
        """Return what goes to the next agent, once the authority registered it."""
        return Handover((*self.tokens, ordered.subject), delegated)

    def _fresh(self) -> str:
        return b64encode(self.entropy(16))


def order(ordered: Ordered, cause: str) -> Revoke:
    """Return the revocation that was signed for.

    Raises:
        InvalidRequestError: the target is not an id.
    """
    try:
        return Revoke(b64decode(ordered.subject.encode()), cause)
    except ValueError as error:
        raise InvalidRequestError(f"the target: {error}") from None
