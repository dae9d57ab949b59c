"""How a key becomes somebody's, inside the commit that records it.

The law of this file: an operator says whose a key is. An agent enrols workers under itself alone, if their keys agree
(`chain.enrolment`); whose a key is already, it cannot change.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from chain import enrolment, records
from chain.caller import Caller, Role
from chain.change import Compose
from chain.decision import Finding, denied
from chain.errors import ChainError, DeniedError, ForbiddenError, InvalidRequestError, ResourceExhaustedError
from chain.key import PublicKey
from chain.live import Live
from chain.principal import Principal
from chain.reason import Reason
from chain.roster import MAX_UNDER
from chain.row import EnrolmentRow
from chain.view import Enrolled
from chain.writing import Writing

_encode = msgspec.json.encode


def enrolling(
    key: PublicKey | None, principal: Principal, caller: Caller, audience: str, proof_text: str | None
) -> Compose:
    """Record who a key belongs to.

    An operator says so. An agent enrols workers under itself, if their keys agree; whose a key is already, it cannot
    change.

    Args:
        key, principal: what and whose; None for the id itself, which an SVID proves.
        caller: who asks.
        audience: the authority's own name.
        proof_text: the agreement of the key (`enrolment.make`).
    """
    name = principal.id if key is None else key.thumbprint

    def compose(writing: Writing) -> bytes | ChainError:
        fault = _misplaced(name, principal, writing.live)
        if fault is None and Role.OPERATOR not in caller.roles:
            fault = _not_its_worker(
                key, principal, _above(principal, caller, writing.live), audience, proof_text, writing
            )
        if fault is not None:
            return fault
        revision = writing.record("enrolled", records.enrolled(name, principal, caller.name))
        body = writing.live.enrol(name, principal)
        writing.write.enrolments.append(EnrolmentRow(name, body, revision))
        return _encode(Enrolled(name, principal.id, revision))

    return compose


def _above(principal: Principal, caller: Caller, live: Live) -> str:
    """Return the name under which an agent enrols a worker: the one that is stated, if it is its own."""
    under = principal.under or ""
    return under if under in live.names_of(caller) and under in live.roster.principals else ""


def _misplaced(name: str, principal: Principal, live: Live) -> ChainError | None:
    """Return why nobody can work in that place: under itself, or further down than every call walks up."""
    if principal.under is None:
        return None
    above = live.roster.line(principal.under)
    if name in (principal.under, *(one.under for one in above)):
        return InvalidRequestError("nobody works under itself")
    if len(above) >= MAX_UNDER:
        return InvalidRequestError(f"workers work at most {MAX_UNDER - 1} steps under the agent at the top")
    return None


def _not_its_worker(
    key: PublicKey | None, principal: Principal, own: str, audience: str, proof_text: str | None, writing: Writing
) -> ChainError | None:
    """Return why the agent that holds the key `own` does not enrol this worker, or None."""
    live = writing.live
    above = live.principal(own)
    if key is None or above is None or not above.may_enrol(principal, own):
        return ForbiddenError("an agent enrols workers under its own id, with its own owner")
    if live.principal(key.thumbprint) is not None:
        return ForbiddenError("the key is enrolled already")
    if (stopped := next(_held(own, writing), None)) is not None:
        return DeniedError(denied(stopped, at=writing.at.now))
    try:
        enrolment.require(proof_text, key, principal.id, own, audience=audience, now=writing.at.now)
    except DeniedError as error:
        return error
    most = live.settings.max_workers
    if sum(("holder", one) not in live.controls.struck for one in live.roster.colleagues(own)) >= most:
        return ResourceExhaustedError(f"the agent at the top has {most} workers, and may have no more")
    return None


def _held(holder: str, writing: Writing) -> Iterator[Finding]:
    """Yield what keeps an agent from enrolling anybody: to make workers is no read."""
    live, now = writing.live, writing.at.now
    line = (holder, *(one.under for one in live.roster.line(holder) if one.under is not None))
    if not live.controls.struck.isdisjoint(("holder", key) for key in line):
        yield Finding(reason=Reason.REVOKED, hop=None, detail="all that it holds was revoked, or what it works under")
    for one in (*live.controls.around(None, None), *live.stopped(holder, now)):
        if one.at(now):
            reason = Reason.SUSPENDED if one.mode == "suspended" else Reason.QUARANTINED
            yield Finding(reason=reason, hop=None, detail=f"{one.words}, and enrolling is no read")
