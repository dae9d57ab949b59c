"""Changes that are asked for, and what they bring, to the wire and back.

The law of this file: every write carries an idempotency key; a denial is a reply of its own and is never taken for
a change that was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from chain import mint
from chain.base64url import b64encode
from chain.claims import Audience, Intent
from chain.control import Named, Strike
from chain.decision import Decision, Effect
from chain.desk import Presented
from chain.errors import InvalidRequestError
from chain.order import Issue, Revoke
from chain.reason import Reason
from chain.v1 import chain_pb2, decision_pb2, delegation_pb2
from chain.view import MAX_LISTED, Delegated, Revoked
from chain.wire.asking import chain_from, chain_to, intent_to, signed_text
from chain.wire.decision import decision_from, decision_to
from chain.wire.delegation import delegation_from, delegation_to, digest_from, grant_to, id_to
from chain.wire.holder import holder_from, holder_to

MAX_KEY = 128
"""Bytes of an idempotency key."""

MAX_CAUSE = 1024
"""Bytes of the cause of a revocation."""


class Ending(NamedTuple):
    """A delegation to be revoked.

    Attributes:
        order: what and why.
        standing: the chain under whose authority, where a role does not suffice.
        proof: its leaf holder's proof, where there is one.
        channel: whether the channel is to prove that holder.
    """

    order: Revoke
    standing: Presented | None
    proof: str | None
    channel: bool


def key_from(key: str) -> str:
    """Return an idempotency key.

    Raises:
        InvalidRequestError: none, or too long.
    """
    if not 0 < len(key.encode()) <= MAX_KEY:
        raise InvalidRequestError(f"an idempotency key of 1 to {MAX_KEY} bytes is required")
    return key


def issue_to(order: Issue, key: str) -> delegation_pb2.IssueRequest:
    """Return the message of a root to be issued.

    Raises:
        InvalidRequestError: a lifetime of no time at all.
    """
    audience = (order.audience,) if isinstance(order.audience, str) else order.audience
    return delegation_pb2.IssueRequest(
        **holder_to(order.holder),
        grant_json=grant_to(order.grant),
        subject=order.sub or "",
        audience=audience or (),
        task=order.task or "",
        intent=None if order.intent is None else intent_to(order.intent),
        owner=order.owner or "",
        lifetime_seconds=seconds_to(order.lifetime),
        max_depth=order.max_depth,
        idempotency_key=key,
        listed=order.listed,
    )


def seconds_to(lifetime: int | None) -> int:
    """Return a lifetime as it travels: none is 0, so that 0 itself cannot."""
    if lifetime is not None and lifetime < 1:
        raise InvalidRequestError(f"a lifetime of {lifetime} s")
    return lifetime or 0


def issue_from(message: delegation_pb2.IssueRequest) -> Issue:
    """Return the root that a message asks for.

    Raises:
        InvalidRequestError: a key, a grant or a fact that is not accepted.
    """
    try:
        intent = _intent(message.intent) if message.HasField("intent") else None
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"intent: {error}") from None
    return Issue(
        holder=holder_from(message),
        grant=mint.grant(message.grant_json),
        lifetime=message.lifetime_seconds or None,
        max_depth=message.max_depth,
        audience=audience_from(message.audience),
        sub=message.subject or None,
        owner=message.owner or None,
        task=message.task or None,
        intent=intent,
        listed=message.listed,
    )


def _intent(message: chain_pb2.Intent) -> Intent:
    return msgspec.convert({"digest": message.digest, "alg": message.alg, "salt": message.salt}, Intent)


def audience_from(named: Sequence[str]) -> Audience | None:
    """Return who may accept a token; one is written as JWT does, as a string (RFC 7519 s4.1.3).

    Raises:
        InvalidRequestError: a name that cannot be one.
    """
    if not named:
        return None
    try:
        audience: Audience = msgspec.convert(named[0] if len(named) == 1 else tuple(named), Audience)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"audience: {error}") from None
    return audience


def issued_to(delegated: Delegated | Decision) -> delegation_pb2.IssueResponse:
    """Return the message of a root that was issued, or of the denial."""
    if isinstance(delegated, Decision):
        return delegation_pb2.IssueResponse(denial=decision_to(delegated))
    return delegation_pb2.IssueResponse(
        delegation=delegation_to(delegated, grant=True), token=delegated.token.encode(), revision=delegated.revision
    )


def issued_from(message: delegation_pb2.IssueResponse) -> Delegated:
    """Return the root that was issued.

    Raises:
        DeniedError: none was.
    """
    if message.HasField("denial"):
        raise denial_from(message.denial).error()
    return delegation_from(message.delegation, message.token.decode())


def revoke_to(
    order: Revoke,
    standing: Presented | None,
    proof: str | None,
    key: str | None,
    *,
    channel: bool = False,
    dry_run: bool = False,
) -> delegation_pb2.RevokeRequest:
    """Return the message of a delegation to be revoked, or of a name.

    Raises:
        InvalidRequestError: a kind of name that is not known.
    """
    message = delegation_pb2.RevokeRequest(
        target=order.target,
        chain=None if standing is None else chain_to(standing),
        cause=order.cause,
        dry_run=dry_run,
        idempotency_key=key or "",
        named=None if order.named is None else _named_to(order.named),
    )
    if proof is not None:
        message.proof = proof.encode()
    elif channel:
        message.channel = True
    return message


def revoke_from(message: delegation_pb2.RevokeRequest) -> Ending:
    """Return the revocation that a message asks for.

    Raises:
        InvalidRequestError: no target, a target and a name, or a cause that is too long or more than a line.
    """
    if len(message.cause.encode()) > MAX_CAUSE or len(message.cause.splitlines()) > 1:
        raise InvalidRequestError(f"a cause is one line of at most {MAX_CAUSE} bytes")
    if message.HasField("named"):
        if message.target or message.HasField("chain") or message.WhichOneof("holder"):
            raise InvalidRequestError("either a delegation is revoked, or a name, for which no chain stands")
        return Ending(Revoke(cause=message.cause, named=_named_from(message.named)), None, None, channel=False)
    standing = chain_from(message.chain) if message.HasField("chain") else None
    target = digest_from(message.target) if message.target else _leaf(standing)
    holder = message.WhichOneof("holder")
    return Ending(
        order=Revoke(target, message.cause),
        standing=standing,
        proof=signed_text(message.proof) if holder == "proof" else None,
        channel=holder == "channel" and message.channel,
    )


_KINDS: dict[Strike, delegation_pb2.RevocationKind.ValueType] = {
    "holder": delegation_pb2.REVOCATION_KIND_HOLDER,
    "task": delegation_pb2.REVOCATION_KIND_TASK,
    "key": delegation_pb2.REVOCATION_KIND_KEY,
    "issuer": delegation_pb2.REVOCATION_KIND_ISSUER,
}


def _named_to(named: Named) -> delegation_pb2.RevocationName:
    kind = _KINDS.get(named.kind)
    if kind is None:
        raise InvalidRequestError(f"a kind of name is one of {', '.join(_KINDS)}")
    return delegation_pb2.RevocationName(kind=kind, name=named.name)


def _named_from(message: delegation_pb2.RevocationName) -> Named:
    for kind, number in _KINDS.items():
        if number == message.kind:
            return Named(kind, message.name)
    raise InvalidRequestError("a kind of name that is not known")


def _leaf(standing: Presented | None) -> bytes:
    """Return the identity of a chain's leaf, whether or not the chain is authentic."""
    if not standing:
        raise InvalidRequestError("neither a target nor a chain")
    if isinstance(standing, bytes):
        return digest_from(standing)
    return sha256(standing[-1].rpartition(".")[0].encode()).digest()


def revoked_to(outcome: Revoked | Decision, revision: int) -> delegation_pb2.RevokeResponse:
    """Return the message of a revocation, or of the denial.

    Args:
        outcome: what fell, or would; or why nothing did.
        revision: of the record; of a dry run, what it was computed at.
    """
    if isinstance(outcome, Decision):
        return delegation_pb2.RevokeResponse(denial=decision_to(outcome), revision=revision)
    fallen = [id_to(item) for item in outcome.fallen[:MAX_LISTED]]
    revocation = delegation_pb2.Revocation(fallen=fallen, fallen_count=outcome.count, at_least=outcome.at_least)
    return delegation_pb2.RevokeResponse(revocation=revocation, revision=revision)


def revoked_from(message: delegation_pb2.RevokeResponse) -> Revoked:
    """Return what fell.

    Raises:
        DeniedError: anything else than a revocation.
    """
    if message.WhichOneof("outcome") != "revocation":
        raise denial_from(message.denial).error()
    fallen = tuple(map(b64encode, message.revocation.fallen))
    return Revoked(fallen, message.revocation.fallen_count, message.revision, message.revocation.at_least)


def denial_from(message: decision_pb2.Decision) -> Decision:
    """Return a denial, whatever effect the message states: it is not the arm that permits."""
    decision = decision_from(message)
    if decision.allowed:
        return decision.model_copy(update={"effect": Effect.DENY, "reason": Reason.INTERNAL})
    return decision
