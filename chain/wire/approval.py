"""Requests for approval and people's words, to the wire and back.

The law of this file: what a person signs is made of the action's own bytes, so that they are read strictly, and a list
leaves the arguments out: nobody approves from a list. A state or a verdict that is not known is not understood.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from chain import jcs
from chain.approval import Action, Approval, Demand, State, Verdict, Vote
from chain.errors import InvalidRequestError
from chain.key import PublicKey
from chain.search import MAX_FOUND, Found, Search
from chain.v1 import approval_pb2
from chain.wire.asking import signed_text
from chain.wire.holder import jwk_from

MAX_BYTES = 2 * 1024 * 1024
"""Of one page: half of what a client takes."""

_STATE_TO: dict[State, approval_pb2.ApprovalState.ValueType] = {
    "pending": approval_pb2.APPROVAL_STATE_PENDING,
    "approved": approval_pb2.APPROVAL_STATE_APPROVED,
    "denied": approval_pb2.APPROVAL_STATE_DENIED,
    "consumed": approval_pb2.APPROVAL_STATE_CONSUMED,
    "expired": approval_pb2.APPROVAL_STATE_EXPIRED,
}
_STATE_FROM: dict[int, State] = {number: state for state, number in _STATE_TO.items()}
_VERDICTS: tuple[Verdict, ...] = ("approve", "deny", "sign_off")


def approval_to(approval: Approval, *, whole: bool = True) -> approval_pb2.Approval:
    """Return the message of a request; without its arguments where it is not the `whole` one."""
    action = approval.action if whole else replace(approval.action, arguments={})
    return approval_pb2.Approval(
        request_id=approval.id,
        binding=approval.binding,
        action_json=jcs.dumps(msgspec.to_builtins(action)),
        demands=[
            approval_pb2.Demand(source=one.source, threshold=one.threshold, approvers=one.approvers)
            for one in approval.demands
        ],
        holder=approval.holder,
        subject=approval.sub,
        task=approval.task,
        state=_STATE_TO[approval.state],
        votes=map(_vote_to, approval.votes),
        signed_off=None if approval.signed_off is None else _vote_to(approval.signed_off),
        created_at_seconds=approval.created,
        expires_at_seconds=approval.expires,
        revision=approval.revision,
        owners=approval.owners,
        parties=approval.parties,
    )


def approval_from(message: approval_pb2.Approval) -> Approval:
    """Return the request that a message states. When its root ends, and when it was opened, does not travel.

    Raises:
        ValueError: an action that is not strictly one, or a state or verdict that is not known.
    """
    state = _STATE_FROM.get(message.state)
    if state is None:
        raise ValueError("a state that is not known")
    return Approval(
        id=message.request_id,
        binding=message.binding,
        action=_action_from(message.action_json),
        demands=tuple(Demand(one.source, one.threshold, tuple(one.approvers)) for one in message.demands),
        holder=message.holder,
        owners=tuple(message.owners),
        parties=tuple(message.parties),
        task=message.task,
        sub=message.subject,
        root_ends=0,
        created=message.created_at_seconds,
        expires=message.expires_at_seconds,
        state=state,
        votes=tuple(map(_vote_from, message.votes)),
        revision=message.revision,
    )


def _action_from(data: bytes) -> Action:
    """Return an action whose canonical form these bytes are: no member more, none less, none twice."""
    action = msgspec.convert(jcs.loads(data), Action)
    if jcs.dumps(msgspec.to_builtins(action)) != data:
        raise ValueError("the action is not in canonical form")
    return action


def _vote_to(vote: Vote) -> approval_pb2.Vote:
    return approval_pb2.Vote(
        approver=vote.approver,
        key=vote.key,
        verdict=vote.verdict,
        at_seconds=vote.at,
        until_seconds=vote.until,
        emergency=vote.emergency,
        justification=vote.justification,
    )


def _vote_from(message: approval_pb2.Vote) -> Vote:
    verdict = next((known for known in _VERDICTS if known == message.verdict), None)
    if verdict is None:
        raise ValueError("a verdict that is not known")
    return Vote(
        approver=message.approver,
        key=message.key,
        verdict=verdict,
        at=message.at_seconds,
        until=message.until_seconds,
        emergency=message.emergency,
        justification=message.justification,
    )


def found_to(found: Found, search: Search) -> approval_pb2.ListApprovalsResponse:
    """Return the message of a page: as many as fit, one at least, without their arguments; and where to go on."""
    reply, size = approval_pb2.ListApprovalsResponse(next_page_token=found.next), 0
    for place, approval in enumerate(found.approvals):
        message = approval_to(approval, whole=False)
        size += message.ByteSize()
        if place and size > MAX_BYTES:
            reply.next_page_token = search.cursor(found.approvals[place - 1])
            break
        reply.approvals.append(message)
    return reply


def found_from(message: approval_pb2.ListApprovalsResponse) -> Found:
    """Return the page that a message states.

    Raises:
        ValueError: a request in it is not understood; or there is more, and not from here on.
    """
    if message.next_page_token and not message.approvals:
        raise ValueError("an empty page that is not the last")
    return Found(tuple(map(approval_from, message.approvals)), message.next_page_token)


def search_to(search: Search) -> approval_pb2.ListApprovalsRequest:
    """Return the message that asks for a page."""
    return approval_pb2.ListApprovalsRequest(
        state=approval_pb2.APPROVAL_STATE_UNSPECIFIED if search.state is None else _STATE_TO[search.state],
        in_review=search.in_review,
        page_size=search.limit,
        page_token=search.page,
    )


def search_from(message: approval_pb2.ListApprovalsRequest) -> Search:
    """Return what a message looks for.

    Raises:
        InvalidRequestError: a state that is not known.
    """
    state = _STATE_FROM.get(message.state)
    if state is None and message.state != approval_pb2.APPROVAL_STATE_UNSPECIFIED:
        raise InvalidRequestError("a state of requests that is not known")
    return Search(state, message.in_review, message.page_token, message.page_size or MAX_FOUND)


def resolve_to(statement: str, key: PublicKey, once: str) -> approval_pb2.ResolveApprovalRequest:
    """Return the message of a person's word."""
    return approval_pb2.ResolveApprovalRequest(
        statement=statement.encode(), jwk_json=key.to_json().encode(), idempotency_key=once
    )


def resolve_from(message: approval_pb2.ResolveApprovalRequest) -> tuple[str, PublicKey]:
    """Return a person's word as it came, and the key that it is said to be signed with.

    Raises:
        InvalidRequestError: a key that is not accepted.
    """
    return signed_text(message.statement), jwk_from(message.jwk_json)
