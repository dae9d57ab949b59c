"""What is asked: chains, requests and their freshness, to the wire and back.

The law of this file: what somebody signed goes to the verifier as it came, and is denied there; what is not a
well-formed request is an error, and nothing is decided. The enforcement point's own facts (audience, who the
channel proves, classification) come from the authenticated caller and never from a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from pydantic import ValidationError

from chain import jcs, tracecontext
from chain.caller import Caller, Role
from chain.claims import Intent
from chain.desk import Presented
from chain.errors import InvalidRequestError
from chain.request import Request
from chain.v1 import authorization_pb2, chain_pb2

LATEST = 0
"""A freshness that every state meets."""


class Asking(NamedTuple):
    """One question, ready for the authority.

    Attributes:
        presented: the chain.
        request: what is asked of it.
        at_least: the revision that the answer must know; `LATEST` for what the authority has, which on a single
            node is everything.
    """

    presented: Presented
    request: Request
    at_least: int


def chain_to(presented: Presented) -> chain_pb2.Chain:
    """Return the message of a chain."""
    if isinstance(presented, bytes):
        return chain_pb2.Chain(digest=presented)
    return chain_pb2.Chain(tokens=[text.encode() for text in presented])


def chain_from(message: chain_pb2.Chain) -> Presented:
    """Return what was presented; nothing at all is an empty chain, which is denied.

    Raises:
        InvalidRequestError: both tokens and a digest.
    """
    if not message.digest:
        return tuple(map(signed_text, message.tokens))
    if message.tokens:
        raise InvalidRequestError("a chain has tokens or a digest, and this one has both")
    return message.digest


def signed_text(data: bytes) -> str:
    """Return signed bytes as text, one character a byte: what is not ASCII survives, and the verifier refuses it."""
    return data.decode("latin-1")


def check_to(
    presented: Presented | None,
    request: Request,
    *,
    channel: bool = False,
    at_least: int = LATEST,
    fully_consistent: bool = False,
) -> authorization_pb2.CheckRequest:
    """Return the message of a question.

    Args:
        presented: the chain; None inside a batch for the batch's own.
        request: what is asked. Its audience and holder do not travel: the service knows them of its caller; `spiffe`
            alone is whom the caller vouches for.
        channel: let the channel prove the holder.
        at_least: a revision that the answer must know.
        fully_consistent: let the answer know every revision.
    """
    message = authorization_pb2.CheckRequest(
        chain=None if presented is None else chain_to(presented),
        tool=request.tool,
        arguments_json=request.canonical_arguments,
        purpose=request.purpose or "",
        intent=None if request.intent is None else chain_pb2.Intent(digest=request.intent),
        classification=request.classification or "",
        labels=request.labels,
        request_id=request.request_id or "",
        traceparent=request.trace or "",
    )
    if request.proof is not None:
        message.proof = request.proof.encode()
    elif channel:
        message.channel = True
    elif request.spiffe is not None:
        message.vouched = request.spiffe
    if fully_consistent:
        message.fully_consistent = True
    elif at_least:
        message.at_least_as_fresh = at_least
    return message


def check_from(
    message: authorization_pb2.CheckRequest,
    caller: Caller,
    shared: Presented | None = None,
    *,
    supposed: bool = False,
    trace: str | None = None,
) -> Asking:
    """Return the question that a message asks.

    Args:
        message: as received.
        caller: who asks, by its credential.
        shared: the chain of an item that states none.
        supposed: whether the answer permits nothing, so that anybody may state a classification.
        trace: what the call's metadata say of it, where the message does not; what is no `traceparent` is left out.

    Raises:
        InvalidRequestError: not well formed, or the caller states what only an enforcement point may.
        ForbiddenError: the caller may not vouch for that holder.
    """
    if message.classification and not supposed and Role.ENFORCEMENT_POINT not in caller.roles:
        raise InvalidRequestError("only an enforcement point may state a classification")
    facts: dict[str, Any] = {"tool": message.tool, "arguments": arguments_from(message.arguments_json)}
    facts |= {**_stated(message), **_shown(message, caller)}
    if trace and "trace" not in facts and tracecontext.parse(trace) is not None:
        facts["trace"] = trace
    if caller.audience is not None:
        facts["audience"] = caller.audience
    try:
        request = Request(**facts)
    except ValidationError as error:
        raise InvalidRequestError(_summary(error)) from None
    fresh = message.at_least_as_fresh if message.WhichOneof("consistency") == "at_least_as_fresh" else LATEST
    own = shared is None or message.HasField("chain")
    return Asking(chain_from(message.chain) if own else shared or (), request, fresh)


def _shown(message: authorization_pb2.CheckRequest, caller: Caller) -> dict[str, Any]:
    """Return what shows who the holder is: a proof, the caller's own channel where that is asked for, or its word.

    Raises:
        ForbiddenError: the caller may not vouch for that holder.
    """
    holder = message.WhichOneof("holder")
    if holder is None:
        return {}
    if holder == "vouched":
        caller.require_vouching(message.vouched)
        return {"spiffe": message.vouched}
    facts: dict[str, Any] = {"spiffe": caller.proven_spiffe, "certificate": caller.proven_certificate}
    if holder == "proof":
        return facts | {"proof": signed_text(message.proof)}
    return facts | {"holder": caller.proven_holder} if message.channel else {}


def explain_to(presented: Presented, request: Request, audience: str | None = None) -> authorization_pb2.ExplainRequest:
    """Return the message that asks how a decision comes about.

    Args:
        presented: the chain.
        request: what is asked, as `check_to` takes it.
        audience: the enforcement point that would ask; None for the caller's own.
    """
    check = check_to(presented, request, channel=request.holder is not None)
    return authorization_pb2.ExplainRequest(check=check, audience=audience or "")


def explain_from(message: authorization_pb2.ExplainRequest, caller: Caller) -> Asking:
    """Return the question that is to be explained.

    An audience that is stated stands before the caller's own, because the answer permits nothing: auditors and
    operators are no enforcement points, and have none.

    Args:
        message: as received.
        caller: who asks, by its credential.

    Raises:
        InvalidRequestError: not well formed.
    """
    stated = replace(caller, audience=message.audience) if message.audience else caller
    return check_from(message.check, stated)


def _stated(message: authorization_pb2.CheckRequest) -> Mapping[str, Any]:
    """Return the optional facts that are stated; an empty one is not."""
    facts: dict[str, Any] = {}
    if message.purpose:
        facts["purpose"] = message.purpose
    if message.HasField("intent"):
        facts["intent"] = message.intent.digest
    if message.labels:
        facts["labels"] = tuple(message.labels)
    if message.classification:
        facts["classification"] = message.classification
    if message.request_id:
        facts["request_id"] = message.request_id
    if message.traceparent:
        facts["trace"] = message.traceparent
    return facts


def arguments_from(data: bytes) -> dict[str, Any]:
    """Return the arguments of a call; no bytes mean none.

    Raises:
        InvalidRequestError: not one strict JSON object.
    """
    if not data:
        return {}
    try:
        value = jcs.loads(data)
    except ValueError as error:
        raise InvalidRequestError(f"arguments: {error}") from None
    if not isinstance(value, dict):
        raise InvalidRequestError("arguments: not a JSON object")
    return value


def _summary(error: ValidationError) -> str:
    """Say what is wrong without repeating what was sent."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"`{'.'.join(map(str, first['loc']))}`: {first['msg']}"


def intent_to(intent: Intent) -> chain_pb2.Intent:
    """Return the message of a root's intent."""
    return chain_pb2.Intent(digest=intent.digest, alg=intent.alg, salt=intent.salt)
