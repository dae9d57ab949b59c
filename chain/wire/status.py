"""Errors and gRPC statuses: one table, both ways.

The law of this file: an error means that nothing was decided. It travels as a status code, one line for a person,
and a `google.rpc.ErrorInfo` with the reason of the one vocabulary; on the other side it becomes the same class. A
status that this package did not write never becomes more than "not answered" or "failed".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from chain.decision import Finding, denied
from chain.errors import (
    ApprovalError,
    ChainError,
    ConflictError,
    CursorError,
    DeniedError,
    ExcessError,
    ForbiddenError,
    InvalidRequestError,
    InvalidTokenError,
    KeyRingError,
    NotFoundError,
    PolicyError,
    ResourceExhaustedError,
    SignalError,
    SignerError,
    StoreError,
    UnauthenticatedError,
    UnreachableError,
)
from chain.reason import Reason
from chain.v1 import authorization_pb2
from chain.wire.reason import NUMBERS, reason_of

DOMAIN = "chain"
"""`ErrorInfo.domain` of everything that this package answers."""

DETAILS = "grpc-status-details-bin"
"""Trailing metadata that holds the serialised `google.rpc.Status`."""

CODES: tuple[tuple[type[ChainError], grpc.StatusCode], ...] = (
    (ExcessError, grpc.StatusCode.FAILED_PRECONDITION),
    (InvalidTokenError, grpc.StatusCode.FAILED_PRECONDITION),
    (DeniedError, grpc.StatusCode.FAILED_PRECONDITION),
    (ApprovalError, grpc.StatusCode.FAILED_PRECONDITION),
    (KeyRingError, grpc.StatusCode.FAILED_PRECONDITION),
    (InvalidRequestError, grpc.StatusCode.INVALID_ARGUMENT),
    (PolicyError, grpc.StatusCode.INVALID_ARGUMENT),
    (SignalError, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFoundError, grpc.StatusCode.NOT_FOUND),
    (ConflictError, grpc.StatusCode.ALREADY_EXISTS),
    (UnauthenticatedError, grpc.StatusCode.UNAUTHENTICATED),
    (ForbiddenError, grpc.StatusCode.PERMISSION_DENIED),
    (ResourceExhaustedError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (CursorError, grpc.StatusCode.OUT_OF_RANGE),
    (StoreError, grpc.StatusCode.UNAVAILABLE),
    (SignerError, grpc.StatusCode.UNAVAILABLE),
    (UnreachableError, grpc.StatusCode.UNAVAILABLE),
    (ChainError, grpc.StatusCode.INTERNAL),
)
"""The first class that fits gives the code."""

_NAMELESS = "Hostname Verification Check failed"
"""What gRPC's core says of a certificate that does not name whom we called."""

_PLAIN: dict[grpc.StatusCode, type[ChainError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: ForbiddenError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    grpc.StatusCode.OUT_OF_RANGE: CursorError,
    grpc.StatusCode.UNAVAILABLE: UnreachableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: UnreachableError,
    grpc.StatusCode.CANCELLED: UnreachableError,
}
_PRECONDITION = frozenset({grpc.StatusCode.FAILED_PRECONDITION})
_ARGUMENT = frozenset({grpc.StatusCode.INVALID_ARGUMENT})

_TOLD: dict[Reason, tuple[type[ChainError], frozenset[grpc.StatusCode]]] = {
    Reason.STATEMENT_INVALID: (ApprovalError, _PRECONDITION | _ARGUMENT),
    Reason.APPROVER_INELIGIBLE: (ApprovalError, _PRECONDITION | _ARGUMENT),
    Reason.REQUEST_CLOSED: (ApprovalError, _PRECONDITION | _ARGUMENT),
    Reason.KEY_RING_MISSING: (KeyRingError, _PRECONDITION),
    Reason.KEY_RING_UNAVAILABLE: (KeyRingError, _PRECONDITION),
    Reason.KEY_STATE_INVALID: (KeyRingError, _PRECONDITION),
    Reason.SIGNING_KEY_MISSING: (KeyRingError, _PRECONDITION),
    Reason.POLICY_INVALID: (PolicyError, _ARGUMENT),
}
"""Reasons that tell which class an error is of, under the codes that it travels with."""

_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class Failed(Protocol):
    """What grpc raises, sync or aio."""

    def code(self) -> grpc.StatusCode:
        """Return the status code."""
        ...

    def details(self) -> str | None:
        """Return the line for a person."""
        ...

    def trailing_metadata(self) -> Iterable[Any] | None:
        """Return pairs."""
        ...


def code_of(error: ChainError) -> grpc.StatusCode:
    """Return the status code of an error."""
    if error.reason is Reason.STATEMENT_INVALID:
        return grpc.StatusCode.INVALID_ARGUMENT
    return next(code for kind, code in CODES if isinstance(error, kind))


def number_of(code: grpc.StatusCode) -> int:
    """Return a status code's number."""
    return code.value[0]


def details_of(error: ChainError) -> bytes:
    """Return the serialised `google.rpc.Status` of an error, for `DETAILS`."""
    info = error_details_pb2.ErrorInfo(reason=error.reason.name, domain=DOMAIN, metadata=_facts(error))
    packed = any_pb2.Any()
    packed.Pack(info)
    status = status_pb2.Status(code=number_of(code_of(error)), message=error.detail, details=[packed])
    return bytes(status.SerializeToString())


def _facts(error: ChainError) -> dict[str, str]:
    facts: dict[str, str] = {}
    if isinstance(error, InvalidTokenError) and error.hop is not None:
        facts["hop"] = str(error.hop)
    if isinstance(error, SignalError):
        facts["err"] = error.code
    if isinstance(error, ExcessError):
        facts |= {"field": error.field, "parent": error.parent, "child": error.child}
    return facts


def error_from(failed: Failed) -> ChainError:
    """Return the error that a failed call stands for; nothing was decided."""
    details = b""
    for name, value in failed.trailing_metadata() or ():
        if name == DETAILS and isinstance(value, bytes):
            details = value
    return error_of(failed.code(), failed.details() or "", details)


def error_of(code: grpc.StatusCode, message: str, details: bytes = b"") -> ChainError:
    """Return the error of a status.

    Args:
        code: the status code; it alone decides the family.
        message: the line for a person.
        details: the serialised `google.rpc.Status`, where there is one.
    """
    info = _info(details)
    if info is None and _NAMELESS in message:
        return UnreachableError("the server's certificate does not name this host; `server_name` says what it names")
    if info is None:
        return _PLAIN.get(code, ChainError)(message or code.name.lower())
    reason = Reason.__members__.get(info.reason, Reason.INTERNAL)
    return _written(code, reason, message, info.metadata)


def _info(details: bytes) -> error_details_pb2.ErrorInfo | None:
    """Return what this package wrote beside the code, if it did."""
    info = error_details_pb2.ErrorInfo()
    try:
        for packed in status_pb2.Status.FromString(details).details:
            if packed.Unpack(info) and info.domain == DOMAIN:
                return info
    except DecodeError:
        return None
    return None


def _written(code: grpc.StatusCode, reason: Reason, message: str, facts: Mapping[str, str]) -> ChainError:
    kind, codes = _TOLD.get(reason, (ChainError, frozenset()))
    if code in codes:
        return kind(message, reason)
    if code is grpc.StatusCode.INVALID_ARGUMENT and reason is Reason.SIGNAL_INVALID:
        return SignalError(message, facts.get("err", "invalid_request"))
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        hop = int(facts["hop"]) if facts.get("hop", "").isdecimal() else None
        if hop is not None and "field" in facts:
            return _excess(reason, hop, message, facts)
        return InvalidTokenError(reason, hop, message)
    if code is grpc.StatusCode.UNAVAILABLE and reason is not Reason.UNREACHABLE:
        return (SignerError if reason is Reason.SIGNER_UNAVAILABLE else StoreError)(message, reason)
    return _PLAIN.get(code, ChainError)(message, reason)


def _excess(reason: Reason, hop: int, message: str, facts: Mapping[str, str]) -> ExcessError:
    parent, child = facts.get("parent", ""), facts.get("child", "")
    subject = message.partition(f" asks {child} where ")[0]
    return ExcessError(reason, hop, facts["field"], parent, child, subject or None)


def item_error_to(error: ChainError) -> authorization_pb2.CheckError:
    """Return the message of an item that could not be decided."""
    return authorization_pb2.CheckError(
        code=number_of(code_of(error)), reason=NUMBERS[error.reason], message=error.detail
    )


def item_error_from(message: authorization_pb2.CheckError) -> ChainError:
    """Return the error of an item; it is not a denial, and it permits nothing."""
    code = _BY_NUMBER.get(message.code, grpc.StatusCode.UNKNOWN)
    return _written(code, reason_of(message.reason), message.message, {})


def denied_by(error: ChainError, at: float) -> DeniedError:
    """Return the refusal that an enforcement point acts on when nothing was decided.

    Args:
        error: why not.
        at: seconds, by the enforcement point's clock.
    """
    return DeniedError(denied(Finding(reason=error.reason, hop=None, detail=error.detail), at=at))
