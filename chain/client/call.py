"""Each RPC once: the message that asks, and how its reply is read. Both clients send these.

The law of this file: a reply that is not understood permits nothing. A question is sent once; a change may be sent
again under the idempotency key that it has, and never with another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from google.protobuf.message import Message

from chain.base64url import b64encode
from chain.decision import Decision, Effect
from chain.desk import Presented
from chain.errors import ChainError, UnreachableError
from chain.explain import Explanation
from chain.key import PublicKey
from chain.order import Delegate, Issue, Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.simulate import Simulation
from chain.supposed import Hypothesis
from chain.v1 import (
    approval_pb2_grpc,
    audit_pb2_grpc,
    authorization_pb2,
    authorization_pb2_grpc,
    control_pb2_grpc,
    delegation_pb2,
    delegation_pb2_grpc,
    info_pb2,
    info_pb2_grpc,
    key_pb2_grpc,
    policy_pb2_grpc,
    watch_pb2,
    watch_pb2_grpc,
)
from chain.view import Delegated, Enrolled, Query, Revoked
from chain.wire import convert
from chain.wire.hypothesis import hypothesis_to, simulation_from
from chain.wire.status import item_error_from

R = TypeVar("R")

Answer: TypeAlias = Decision | ChainError
"""Of one item of a batch: what was decided, or why nothing was."""

PAUSES = (0.05, 0.2)
"""Seconds before a change is sent again: once for a lost connection, once more for a server that restarts."""

_SEMANTICS: dict[Effect | None, authorization_pb2.BatchSemantic.ValueType] = {
    None: authorization_pb2.BATCH_SEMANTIC_EXECUTE_ALL,
    Effect.DENY: authorization_pb2.BATCH_SEMANTIC_DENY_ON_FIRST_DENY,
    Effect.ALLOW: authorization_pb2.BATCH_SEMANTIC_PERMIT_ON_FIRST_PERMIT,
}


class Listing(NamedTuple):
    """A page of delegations.

    Attributes:
        delegations: ordered by revision; without their tokens, which belong to the holders.
        next: pass it on for the next page; empty at the end.
        revision: that the page was read at.
    """

    delegations: tuple[Delegated, ...]
    next: str
    revision: int


class Call(NamedTuple, Generic[R]):
    """One RPC, ready to be sent.

    Attributes:
        method: its name.
        message: what is sent.
        read: makes the value of the reply; raises for a denial.
        pauses: seconds to wait before each time that it may be sent again.
        patience: seconds that its answer may take, where the client would wait for less.
    """

    method: str
    message: Message
    read: Callable[[Any], R]
    pauses: tuple[float, ...] = ()
    patience: float = 0.0

    def answer(self, reply: object) -> R:
        """Return what the reply says.

        Raises:
            ChainError: it is not understood, or it is a denial.
        """
        try:
            return self.read(reply)
        except (ValueError, TypeError):
            raise ChainError(f"the reply to {self.method} is not understood", Reason.INTERNAL) from None

    def pause(self, attempt: int, error: ChainError, left: float) -> float:
        """Return how many seconds to wait before sending again.

        Args:
            attempt: how often it was sent, from 0.
            error: how that ended.
            left: seconds until the caller's deadline.

        Raises:
            ChainError: that error, where it may not be sent again.
        """
        lost = isinstance(error, UnreachableError)
        if not lost or attempt >= len(self.pauses) or self.pauses[attempt] >= left:
            raise error
        return self.pauses[attempt]


def methods(channel: Any) -> dict[str, Any]:
    """Return method name -> what sends it, for a channel of either kind."""
    approval = approval_pb2_grpc.ApprovalServiceStub(channel)
    audit = audit_pb2_grpc.AuditServiceStub(channel)
    authorization = authorization_pb2_grpc.AuthorizationServiceStub(channel)
    delegation = delegation_pb2_grpc.DelegationServiceStub(channel)
    control = control_pb2_grpc.ControlServiceStub(channel)
    info = info_pb2_grpc.ServerInfoServiceStub(channel)
    key = key_pb2_grpc.KeyServiceStub(channel)
    policy = policy_pb2_grpc.PolicyServiceStub(channel)
    watch = watch_pb2_grpc.WatchServiceStub(channel)
    stubs = (watch, approval, authorization, delegation, control, policy, info, key, audit)
    return {name: send for stub in stubs for name, send in vars(stub).items()}


def fresh_key() -> str:
    """Return an idempotency key that nobody used."""
    return b64encode(os.urandom(16))


def asked(presented: Presented | None, request: Request, at_least: int = 0) -> authorization_pb2.CheckRequest:
    """Return the message of one question; a request that names its holder leaves the proof to the channel."""
    return convert.check_to(presented, request, channel=request.holder is not None, at_least=at_least)


def check(presented: Presented, request: Request, at_least: int) -> Call[Decision]:
    """Ask for one decision."""
    return Call("Check", asked(presented, request, at_least), lambda reply: convert.decision_from(reply.decision))


def batch_check(calls: Sequence[tuple[Presented, Request]], at_least: int, stop: Effect | None) -> Call[list[Answer]]:
    """Ask for many decisions; a chain that all share travels once."""
    chains = {presented if isinstance(presented, bytes) else tuple(presented) for presented, _ in calls}
    shared = chains.pop() if len(chains) == 1 else None
    items = [asked(None if shared else presented, request, at_least) for presented, request in calls]
    message = authorization_pb2.BatchCheckRequest(
        items=items, semantic=_SEMANTICS[stop], chain=convert.chain_to(shared) if shared else None
    )

    def read(reply: authorization_pb2.BatchCheckResponse) -> list[Answer]:
        if len(reply.results) > len(items) or (stop is None and len(reply.results) < len(items)):
            raise ValueError("not one result an item")
        return [_outcome(result) for result in reply.results]

    return Call("BatchCheck", message, read)


def _outcome(result: authorization_pb2.CheckResult) -> Answer:
    if result.WhichOneof("outcome") == "error":
        return item_error_from(result.error)
    return convert.decision_from(result.decision)  # where neither is set: a denial


def explain(presented: Presented, request: Request, audience: str | None) -> Call[Explanation]:
    """Ask how a decision comes about."""
    return Call("Explain", convert.explain_to(presented, request, audience), convert.explanation_from)


def simulate(
    presented: Presented, request: Request, hypothesis: Hypothesis, policy_files: Mapping[str, str] | None
) -> Call[Simulation]:
    """Ask what would be, if things stood otherwise."""
    message = authorization_pb2.SimulateRequest(
        check=asked(presented, request), hypothesis=hypothesis_to(hypothesis, policy_files or {})
    )
    return Call("Simulate", message, simulation_from)


def issue(order: Issue, key: str | None) -> Call[Delegated]:
    """Ask for a root."""
    return Call("Issue", convert.issue_to(order, key or fresh_key()), convert.issued_from, PAUSES)


def delegate(parent: Presented, child: str | Delegate, proof: str | None, key: str | None) -> Call[Delegated]:
    """Present a child, or order one."""
    message = convert.delegate_to(parent, child, proof, key or fresh_key(), channel=proof is None)
    return Call("Delegate", message, lambda reply: convert.delegated_from(reply, child), PAUSES)


def revoke(
    order: Revoke, standing: Presented | None, proof: str | None, key: str | None, *, dry_run: bool
) -> Call[Revoked]:
    """Ask to revoke."""
    channel = standing is not None and proof is None
    message = convert.revoke_to(order, standing, proof, key or fresh_key(), channel=channel, dry_run=dry_run)
    return Call("Revoke", message, convert.revoked_from, PAUSES)


def get(digest: bytes) -> Call[Delegated]:
    """Ask for one delegation."""
    message = delegation_pb2.GetDelegationRequest(digest=digest)
    return Call("GetDelegation", message, lambda reply: convert.delegation_from(reply.delegation))


def find(query: Query, page: str) -> Call[Listing]:
    """Ask for a page of delegations."""

    def read(reply: delegation_pb2.ListDelegationsResponse) -> Listing:
        found = tuple(map(convert.delegation_from, reply.delegations))
        return Listing(found, reply.next_page_token, reply.revision)

    return Call("ListDelegations", convert.query_to(query, page), read)


def enrol(holder: PublicKey | None, principal: Principal, key: str | None, proof: str | None) -> Call[Enrolled]:
    """State who holds a key."""
    message = convert.enrol_to(holder, principal, key or fresh_key(), proof)
    return Call("Enrol", message, lambda reply: convert.enrolled_from(reply, principal), PAUSES)


def own_key() -> Call[PublicKey]:
    """Ask for the key that is kept for the caller; making it once or twice is the same."""
    return Call("GetOwnKey", delegation_pb2.GetOwnKeyRequest(), convert.own_key_from, PAUSES)


def status_list() -> Call[str]:
    """Ask for the Token Status List."""
    message = delegation_pb2.GetStatusListRequest()
    return Call("GetStatusList", message, lambda reply: reply.status_list.decode())


def info() -> Call[convert.ServerInfo]:
    """Ask what the server is."""
    return Call("GetServerInfo", info_pb2.GetServerInfoRequest(), convert.info_from)


def revision() -> Call[int]:
    """Ask for the last revision that survives power loss."""
    return Call("GetRevision", watch_pb2.GetRevisionRequest(), lambda reply: int(reply.revision))
