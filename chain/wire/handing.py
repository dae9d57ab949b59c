"""A child that is presented, or ordered, and what becomes of it: to the wire and back.

The law of this file: a child comes signed, or it is an order and the service signs it; never both. A denial is a reply
of its own and is never taken for a child that stands.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from chain import mint
from chain.decision import Decision
from chain.desk import Presented
from chain.order import Delegate
from chain.v1 import delegation_pb2
from chain.view import Delegated
from chain.wire.asking import chain_from, chain_to, signed_text
from chain.wire.change import audience_from, denial_from, seconds_to
from chain.wire.decision import decision_to
from chain.wire.delegation import delegation_from, delegation_to, grant_to
from chain.wire.holder import holder_from, holder_to


class Handing(NamedTuple):
    """A child to be recorded.

    Attributes:
        parent: the chain handed on.
        child: the new token, or what it is to say.
        proof: the parent holder's proof, where there is one.
        channel: whether the channel is to prove the parent's holder.
    """

    parent: Presented
    child: str | Delegate
    proof: str | None
    channel: bool


def delegate_to(
    parent: Presented, child: str | Delegate, proof: str | None, key: str, *, channel: bool = False
) -> delegation_pb2.DelegateRequest:
    """Return the message of a child to be recorded, or to be signed first."""
    form: dict[str, Any] = {"child": child.encode()} if isinstance(child, str) else {"unsigned": _unsigned_to(child)}
    message = delegation_pb2.DelegateRequest(parent=chain_to(parent), idempotency_key=key, **form)
    if proof is not None:
        message.proof = proof.encode()
    elif channel:
        message.channel = True
    return message


def delegate_from(message: delegation_pb2.DelegateRequest) -> Handing:
    """Return the child that a message presents.

    Raises:
        InvalidRequestError: a chain that is not well formed, or an order that cannot be carried out.
    """
    holder = message.WhichOneof("holder")
    unsigned = message.WhichOneof("form") == "unsigned"
    return Handing(
        parent=chain_from(message.parent),
        child=_unsigned_from(message.unsigned) if unsigned else signed_text(message.child),
        proof=signed_text(message.proof) if holder == "proof" else None,
        channel=holder == "channel" and message.channel,
    )


def _unsigned_to(order: Delegate) -> delegation_pb2.UnsignedChild:
    audience = (order.audience,) if isinstance(order.audience, str) else order.audience
    return delegation_pb2.UnsignedChild(
        **holder_to(order.holder),
        grant_json=grant_to(order.grant),
        lifetime_seconds=seconds_to(order.lifetime),
        max_depth=order.max_depth,
        audience=audience or (),
    )


def _unsigned_from(message: delegation_pb2.UnsignedChild) -> Delegate:
    return Delegate(
        holder=holder_from(message),
        grant=mint.grant(message.grant_json),
        lifetime=message.lifetime_seconds,
        max_depth=message.max_depth if message.HasField("max_depth") else None,
        audience=audience_from(message.audience),
    )


def delegated_to(
    outcome: Delegated | Decision, revision: int, root: str | None = None, *, signed: bool = False
) -> delegation_pb2.DelegateResponse:
    """Return the message of a child that stands, or of the denial.

    Args:
        outcome: the child, or why there is none.
        revision: of the record, or a later one.
        root: token of the chain's root, where it is known.
        signed: whether the service signed the child, so that its holder has no token yet.
    """
    if isinstance(outcome, Decision):
        return delegation_pb2.DelegateResponse(denial=decision_to(outcome), revision=revision)
    return delegation_pb2.DelegateResponse(
        delegation=delegation_to(outcome, root, grant=True),
        revision=revision,
        token=outcome.token.encode() if signed else b"",
    )


def delegated_from(message: delegation_pb2.DelegateResponse, child: str | Delegate) -> Delegated:
    """Return the child that stands.

    Args:
        message: from the service.
        child: the token that was presented, or what was ordered.

    Raises:
        DeniedError: anything else than a recorded child.
        ValueError: no token where the service was to sign one.
    """
    if message.WhichOneof("outcome") != "delegation":
        raise denial_from(message.denial).error()
    if isinstance(child, str):
        return delegation_from(message.delegation, child)
    if not message.token:
        raise ValueError("no token of the child")
    return delegation_from(message.delegation, message.token.decode())
