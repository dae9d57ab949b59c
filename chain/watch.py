"""What is told as it happens: which records to whom, from where on, and whether a chain still stands.

The law of this file: pure. A record is told as it stands in the ledger or with fewer members, never with others; a
cursor from which nothing can go on is refused, never moved. Whether a chain stands is asked with the questions of
`chain.check`, so that what a watcher is told and what a call is answered cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import msgspec

from chain import check as checks
from chain.caller import Caller, Role
from chain.case import Case, Question
from chain.delegation import Chain
from chain.errors import CursorError, ForbiddenError, InvalidRequestError, StoreError
from chain.reason import Reason
from chain.request import Request
from chain.state import State

KINDS = frozenset(
    {
        "issued", "delegated", "admitted", "refused", "revoked", "decided", "enrolled", "approval_requested",
        "approval_resolved", "approval_consumed", "policy_activated", "suspended", "lifted", "signalled", "resumed",
        "key_changed", "ledger_accepted",
    }
)  # fmt: skip
"""Every kind of record (`chain.ledger.Record`)."""

TURNING = KINDS - {
    "issued", "delegated", "admitted", "refused", "decided", "approval_requested", "approval_resolved",
    "approval_consumed", "policy_activated", "ledger_accepted",
}  # fmt: skip
"""Kinds after which a chain may stand otherwise than before: all but those that surely leave it as it was."""

PAGE = 1_000
"""Records that are read at once."""

_OVERSEERS = frozenset({Role.AUDITOR, Role.OPERATOR})
"""Who is told everything."""

_READERS = _OVERSEERS | {Role.ISSUER, Role.ENFORCEMENT_POINT}
"""Who may follow the ledger, whatever happens in it."""

APPROVALS = frozenset({"approval_requested", "approval_resolved", "approval_consumed"})
"""Kinds that an approver may follow, so that nobody has to ask again and again what waits for people."""

_OPEN = frozenset(
    {
        "revoked", "enrolled", "suspended", "lifted", "approval_consumed", "policy_activated", "resumed",
        "key_changed",
    }
)  # fmt: skip
"""Kinds that every reader of the ledger is told in full: they change what is allowed, and enforcement needs them."""

_DELEGATION = (
    "id", "parent", "jti", "issuer", "signer", "certifier", "holder", "hop", "iat", "exp", "facts", "bound", "caller",
)  # fmt: skip

_MEMBERS: dict[str, tuple[str, ...]] = {
    "issued": _DELEGATION,  # what it grants is told to overseers only
    "delegated": _DELEGATION,
    "admitted": _DELEGATION,
    "decided": ("id", "effect", "leaf"),
    "refused": ("method", "leaf"),
    "approval_requested": ("id", "binding", "expires"),
    "approval_resolved": ("id", "binding", "verdict", "state"),
}
"""Kind -> members that an issuer or enforcement point is told of what it did not ask itself; of others, none."""

_POSTURE = "posture"
"""Member of a decision that is told to overseers alone, and not to whoever asked: what was signalled of its holders."""

_UNTOLD = "the ledger is told to issuers, enforcement points, auditors and operators, and its approvals to approvers"

_ASKED = Request(tool="chain:watch")
"""The authority's own tools are reads (`chain.catalog`), which is what a quarantined chain may still do."""

_QUESTIONS: tuple[Question, ...] = (checks.window, checks.revoked, checks.suspended)


class Line(msgspec.Struct, frozen=True):
    """A record as the ledger holds it; its body is not taken apart.

    Attributes:
        revision, kind, time: as in `chain.ledger.Record`.
        body: one JSON object.
    """

    revision: int
    kind: str
    time: int
    body: msgspec.Raw


class Told(NamedTuple):
    """A record as it is told to somebody.

    Attributes:
        revision: all up to it was told; go on from here.
        kind: out of `KINDS`.
        time: milliseconds since the epoch.
        body: one JSON object.
    """

    revision: int
    kind: str
    time: int
    body: bytes

    @property
    def members(self) -> dict[str, Any]:
        """The body, decoded."""
        return msgspec.json.decode(self.body, type=dict[str, Any])


class Page(NamedTuple):
    """Records in order.

    Attributes:
        records: those that were asked for.
        revision: all up to it was told; the next page comes after it.
    """

    records: tuple[Told, ...]
    revision: int


class Stand(NamedTuple):
    """How a chain stands.

    Attributes:
        stands: whether it does: begun, not expired, revoked or suspended.
        reason: why not; `ALLOWED` where it stands.
        hop: where; None where at no single one.
        detail: in words, for operators.
    """

    stands: bool
    reason: Reason
    hop: int | None = None
    detail: str = ""


STANDS = Stand(stands=True, reason=Reason.ALLOWED)


def fallen(reason: Reason, detail: str, hop: int | None = None) -> Stand:
    """Return how a chain stands that does not."""
    return Stand(stands=False, reason=reason, hop=hop, detail=detail)


def standing(chain: Chain, state: State, now: float) -> Stand:
    """Tell whether a chain stands now, whatever may be called under it.

    A quarantined one stands, because it may still read; what else it asks is refused at its next call.

    Args:
        chain: verified.
        state: live facts.
        now: seconds since the epoch.
    """
    case = Case(chain, _ASKED, state, now)
    for question in _QUESTIONS:
        question(case)
    if not case.findings:
        return STANDS
    first = case.findings[0]
    return fallen(first.reason, first.detail, first.hop)


def expires(chain: Chain) -> int:
    """Return the second at which a chain stops to stand by itself."""
    return min(hop.exp for hop in chain.hops)


def readable(caller: Caller, kinds: Iterable[str]) -> frozenset[str]:
    """Return the kinds that are told to a caller who follows the ledger.

    An agent follows no ledger: it may ask how its own chain stands.

    Args:
        caller: who asks.
        kinds: which; none named means all that it may follow.

    Raises:
        ForbiddenError: it may not follow them.
        InvalidRequestError: one that does not exist.
    """
    every = KINDS if not _READERS.isdisjoint(caller.roles) else APPROVALS if Role.APPROVER in caller.roles else None
    if every is None:
        raise ForbiddenError(f"`{caller.name}` may watch a chain that it presents; {_UNTOLD}")
    named = _known(kinds)
    if not named <= every:
        raise ForbiddenError(f"`{caller.name}` may watch only {', '.join(sorted(every))}")
    return named or every


def require_own(caller: Caller, names: AbstractSet[str], chain: Chain, *, named: bool) -> None:
    """Return where a caller may know how a chain stands: whoever has its tokens, holds a hop, or checks calls.

    Args:
        caller: who asks.
        names: what the tokens that it holds may call it.
        chain: verified.
        named: whether it was only named, by its digest.

    Raises:
        ForbiddenError: it may not.
    """
    if caller.roles <= {Role.APPROVER}:
        raise ForbiddenError(f"`{caller.name}` watches approvals, and no chain")
    held = any(hop.holder in names for hop in chain.hops)
    if named and not held and _READERS.isdisjoint(caller.roles):
        raise ForbiddenError("the chain is not this caller's, and only its digest was presented")


def _known(kinds: Iterable[str]) -> frozenset[str]:
    """Return kinds that exist: whoever waits for another would wait for ever."""
    named = frozenset(kinds)
    if unknown := sorted(named - KINDS):
        raise InvalidRequestError(f"no record is of the kind `{unknown[0][:64]}`")
    return named


def require_cursor(after: int, head: int) -> None:
    """Return where a stream can go on after a revision.

    The ledger keeps every record, so only the future is out of reach: that reader saw another ledger, or one that
    has lost its end, and has to look before it goes on. (Where old records are compacted one day, they join it.)

    Args:
        after: the last revision that was seen.
        head: the last revision written.

    Raises:
        CursorError: it cannot.
    """
    if after > head:
        raise CursorError(f"revision {after} is not known here, the last is {head}")


_lines = msgspec.json.Decoder(Line)


def read(data: bytes) -> Line:
    """Return an encoded record as a line.

    Raises:
        StoreError: it is no record.
    """
    try:
        return _lines.decode(data)
    except msgspec.DecodeError as error:
        raise StoreError("a stored record cannot be read") from error


def told(line: Line, caller: Caller) -> Told:
    """Return a record as a caller may see it."""
    body = bytes(line.body)
    if line.kind not in _OPEN and _OVERSEERS.isdisjoint(caller.roles):
        members = msgspec.json.decode(body, type=dict[str, Any])
        if members.get("caller") != caller.name:
            shown = {name: members[name] for name in _MEMBERS.get(line.kind, ()) if name in members}
            body = msgspec.json.encode(shown)
        elif members.pop(_POSTURE, None) is not None:
            body = msgspec.json.encode(members)
    return Told(line.revision, line.kind, line.time, body)
