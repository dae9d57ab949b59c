"""What is stopped, and what others signal, to the wire and back.

The law of this file: a scope or mode that is not known is refused, and never read as a weaker one.
"""

from __future__ import annotations

from chain.control import EVERYTHING, Mode, Scope, Suspension
from chain.errors import InvalidRequestError
from chain.signalling import Signalled
from chain.steering import Lifted, Stopped
from chain.v1 import control_pb2 as pb

_SCOPES: dict[Scope, pb.SuspensionScope.ValueType] = {
    "agent": pb.SUSPENSION_SCOPE_AGENT,
    "trust_domain": pb.SUSPENSION_SCOPE_TRUST_DOMAIN,
    "task": pb.SUSPENSION_SCOPE_TASK,
    "tool": pb.SUSPENSION_SCOPE_TOOL,
    "everything": pb.SUSPENSION_SCOPE_EVERYTHING,
}
_MODES: dict[Mode, pb.SuspensionMode.ValueType] = {
    "suspended": pb.SUSPENSION_MODE_SUSPENDED,
    "quarantined": pb.SUSPENSION_MODE_QUARANTINED,
}
_SCOPE_OF: dict[int, Scope] = {number: scope for scope, number in _SCOPES.items()}
_MODE_OF: dict[int, Mode] = {number: mode for mode, number in _MODES.items()}


def suspend_to(scope: str, name: str, cause: str, mode: str, lifetime: int, key: str) -> pb.SuspendRequest:
    """Return the message of something to be stopped.

    Raises:
        InvalidRequestError: a scope or mode that is not known, or a lifetime that no message holds.
    """
    if mode not in _MODES:
        raise InvalidRequestError(f"a mode is one of {', '.join(_MODES)}")
    try:
        return pb.SuspendRequest(
            scope=_scope_to(scope),
            name=name,
            mode=_MODES["suspended" if mode == "suspended" else "quarantined"],
            cause=cause,
            lifetime_seconds=lifetime,
            idempotency_key=key,
        )
    except ValueError:
        raise InvalidRequestError("a lifetime is a number of seconds, 0 for ever") from None


def resume_to(scope: str, name: str, cause: str, key: str) -> pb.ResumeRequest:
    """Return the message of something that is to go on.

    Raises:
        InvalidRequestError: a scope that is not known.
    """
    return pb.ResumeRequest(scope=_scope_to(scope), name=name, cause=cause, idempotency_key=key)


def _scope_to(scope: str) -> pb.SuspensionScope.ValueType:
    for known, number in _SCOPES.items():
        if known == scope:
            return number
    raise InvalidRequestError(f"a scope is one of {', '.join(_SCOPES)}")


def scope_from(message: pb.SuspendRequest | pb.ResumeRequest) -> Scope:
    """Return what kind of thing a request is about.

    Raises:
        InvalidRequestError: a scope that is not known, or a name where everything is meant.
    """
    scope = _SCOPE_OF.get(message.scope)
    if scope is None:
        raise InvalidRequestError("a scope that is not known")
    if scope == "everything" and message.name not in ("", EVERYTHING):
        raise InvalidRequestError("everything has no name")
    return scope


def mode_from(message: pb.SuspendRequest) -> Mode:
    """Return how far something is to be stopped: all the way, where nothing is said.

    Raises:
        InvalidRequestError: a mode that is not known.
    """
    mode = _MODE_OF.get(message.mode or pb.SUSPENSION_MODE_SUSPENDED)
    if mode is None:
        raise InvalidRequestError("a mode that is not known")
    return mode


def suspension_to(suspension: Suspension) -> pb.Suspension:
    """Return the message of one thing that is stopped."""
    return pb.Suspension(
        scope=_SCOPES[suspension.scope],
        name=suspension.name,
        mode=_MODES[suspension.mode],
        cause=suspension.cause,
        author=suspension.author,
        since_seconds=suspension.since,
        until_seconds=suspension.until,
        revision=suspension.revision,
    )


def suspension_from(message: pb.Suspension) -> Suspension:
    """Return one thing that is stopped.

    Raises:
        ValueError: a scope or mode that is not known.
    """
    scope, mode = _SCOPE_OF.get(message.scope), _MODE_OF.get(message.mode)
    if scope is None or mode is None:
        raise ValueError("a suspension that is not understood")
    return Suspension(
        scope=scope,
        name=message.name,
        mode=mode,
        cause=message.cause,
        author=message.author,
        since=message.since_seconds,
        until=message.until_seconds,
        revision=message.revision,
    )


def suspended_to(told: Stopped) -> pb.SuspendResponse:
    """Return the message that it is stopped."""
    return pb.SuspendResponse(
        suspension=suspension_to(told), revision=told.revision, enrolled_keys=told.keys, lifted=told.lifted
    )


def suspended_from(message: pb.SuspendResponse) -> Stopped:
    """Return what was stopped.

    Raises:
        ValueError: a scope or mode that is not known.
    """
    suspension = suspension_from(message.suspension)
    told = {field: getattr(suspension, field) for field in Suspension.__struct_fields__}
    keys = message.enrolled_keys if message.HasField("enrolled_keys") else None
    return Stopped(**told, keys=keys, lifted=message.lifted)


def suspensions_to(suspensions: list[Suspension]) -> pb.ListSuspensionsResponse:
    """Return the message of all that is stopped."""
    return pb.ListSuspensionsResponse(suspensions=map(suspension_to, suspensions))


def suspensions_from(message: pb.ListSuspensionsResponse) -> list[Suspension]:
    """Return all that is stopped.

    Raises:
        ValueError: one of them is not understood.
    """
    return [suspension_from(one) for one in message.suspensions]


def lifted_from(message: pb.ResumeResponse, scope: str, name: str) -> Lifted:
    """Return what goes on; `scope` and `name` are what was asked for.

    Raises:
        ValueError: a scope that is not known.
    """
    known = next((one for one in _SCOPES if one == scope), None)
    if known is None:
        raise ValueError("a scope that is not known")
    return Lifted(known, EVERYTHING if known == "everything" else name, message.revision)


def signalled_to(signalled: Signalled) -> pb.ReportSignalResponse:
    """Return the message that a signal was taken."""
    return pb.ReportSignalResponse(
        revision=signalled.revision,
        principals=signalled.principals,
        repeated_event=signalled.repeated,
        principal_count=signalled.count,
        late_event=signalled.late,
    )


def signalled_from(message: pb.ReportSignalResponse) -> Signalled:
    """Return what was taken."""
    return Signalled(
        tuple(message.principals),
        message.revision,
        message.repeated_event,
        message.principal_count,
        message.late_event,
    )
