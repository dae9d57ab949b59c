"""What approvers do: look at what is asked, say yes or no, and sign off what was done in an emergency.

The law of this file: a word counts only where it is signed by a person's own key, for this request, this action and
this authority. A word that does not count is refused and recorded, and changes nothing. Nobody reviews what he had a
part in, nor has a part in what he reviewed; and nothing is reviewed before it is over.
"""

from __future__ import annotations

from concurrent.futures import Future

import msgspec
from msgspec.structs import replace

from chain import approval as approvals
from chain import records
from chain.approval import Approval, State, Statement, Vote
from chain.caller import Caller
from chain.case import barred, eligible
from chain.change import Compose
from chain.control import Party
from chain.desk import Desk
from chain.errors import ApprovalError, ChainError, ForbiddenError, NotFoundError
from chain.key import PublicKey
from chain.live import Live
from chain.once import Once
from chain.pending import then
from chain.reason import Reason
from chain.search import EVERY, Found, Search, find
from chain.state import EMERGENCY_LIFETIME
from chain.writing import Writing


class Approving:
    """Requests for approval, and what people say to them. A part of `chain.authority.Authority`."""

    def __init__(self, desk: Desk, audience: str) -> None:
        """Answer from a desk; `audience` is the authority's own name, for which statements are made."""
        self._desk = desk
        self._audience = audience

    def find(self, caller: Caller, state: State | None = None, *, in_review: bool = False) -> list[Approval]:
        """Return all requests, newest first.

        Args:
            caller: an approver, auditor or operator.
            state: only those that stand so now.
            in_review: only emergencies that nobody has signed off.

        Raises:
            ForbiddenError: the caller may not look at them.
        """
        found: list[Approval] = []
        search = Search(state, in_review)
        while True:
            page = self.page(caller, search)
            found += page.approvals
            if not page.next:
                return found
            search = search._replace(page=page.next)

    def page(self, caller: Caller, search: Search = EVERY) -> Found:
        """Return one page of requests, newest first.

        Args:
            caller: an approver, auditor or operator.
            search: which, and where to go on.

        Raises:
            InvalidRequestError: a cursor of another search, or a limit out of bounds.
            ForbiddenError: the caller may not look at them.
        """
        caller.require("ListApprovals")
        return find(self._desk.live.approvals.all(), search, self._desk.clock())

    def get(self, caller: Caller, name: str) -> Approval:
        """Return one request with the whole action.

        Raises:
            NotFoundError: there is none, or it was forgotten.
            ForbiddenError: the caller may not look at it.
        """
        caller.require("GetApproval")
        found = self._desk.live.approvals.get(name)
        if found is None:
            raise NotFoundError(f"no request for approval `{name}`")
        return found.at(self._desk.clock())

    def resolve(self, caller: Caller, statement: str, key: PublicKey, once: str | None = None) -> Approval:
        """Take a person's word. See `begin_resolve`."""
        return self.begin_resolve(caller, statement, key, once).result()

    def begin_resolve(
        self, caller: Caller, statement: str, key: PublicKey, once: str | None = None
    ) -> Future[Approval]:
        """Take a person's word on a request: approve it, refuse it for good, or sign off an emergency.

        Args:
            caller: an approver.
            statement: `chain.approval.Statement`, signed.
            key: the approver's own, enrolled as a human's.
            once: idempotency key.

        Raises:
            ApprovalError: STATEMENT_INVALID, APPROVER_INELIGIBLE or REQUEST_CLOSED.
            NotFoundError: no such request.
            ForbiddenError: the caller is no approver, or another than the key's holder.
        """
        caller.require("ResolveApproval")
        if caller.names and key.thumbprint not in self._desk.live.names_of(caller):
            raise ForbiddenError("an approver speaks with the key of its own")
        idempotent = Once.of(caller, "ResolveApproval", once, statement)
        try:
            said = approvals.read(statement, key)
        except ApprovalError as error:
            return self._desk.change(_refusing(error, "", key, caller), idempotent, Approval)
        compose = _resolving(said, statement, key, caller, self._audience)
        return then(self._desk.change(compose, idempotent, Approval), self._whole, _raising)

    def _whole(self, told: Approval) -> Approval:
        """Return a reply with the arguments of its action, which are kept beside the request and nowhere else."""
        found = self._desk.live.approvals.get(told.id)
        if found is None:
            raise NotFoundError(f"the request for approval `{told.id}` was forgotten")
        return replace(told, action=found.action)


def _raising(error: Exception) -> Approval:
    raise error


def _resolving(said: Statement, text: str, key: PublicKey, caller: Caller, audience: str) -> Compose:
    def compose(writing: Writing) -> bytes | ChainError:
        live, now = writing.live, writing.at.now
        found = live.approvals.get(said.request)
        if found is None:
            return NotFoundError(f"no request for approval `{said.request}`")
        asked = found.at(now)
        try:
            approvals.require(said, asked, audience, now)
            vote = _vote(asked, said, key, writing)
        except ApprovalError as error:
            return _refusing(error, asked.id, key, caller)(writing)
        revision = writing.revision
        if said.verdict == "sign_off":
            row = live.approvals.sign_off(found, vote, revision)
        else:
            counted = eligible(asked, _parties(asked, live), live, now)
            row = live.approvals.vote(asked, vote, counted, revision)
        after = msgspec.json.decode(row.body, type=Approval).at(now)
        writing.record("approval_resolved", records.approval_resolved(asked, vote, after.state, text, key, caller.name))
        writing.stand(row)
        return msgspec.json.encode(replace(after, action=replace(after.action, arguments={})))

    return compose


def _refusing(error: ApprovalError, target: str, key: PublicKey, caller: Caller) -> Compose:
    """Record a word that does not count."""

    def compose(writing: Writing) -> bytes | ChainError:
        body = {"method": "ResolveApproval", "target": target, "key": key.thumbprint, "caller": caller.name}
        writing.record("refused", body | {"reason": error.reason.value, "detail": error.detail})
        return error

    return compose


def _parties(asked: Approval, live: Live) -> tuple[Party, ...]:
    return tuple(live.party(holder) for holder in asked.action.path)


def _vote(asked: Approval, said: Statement, key: PublicKey, writing: Writing) -> Vote:
    """Return a person's word as it is taken.

    Raises:
        ApprovalError: the request is closed, or this person's word does not count.
    """
    live, now = writing.live, writing.at.now
    principal = live.principal(key.thumbprint)
    until = min(said.exp, asked.expires)
    if said.emergency:
        until = min(until, int(now) + EMERGENCY_LIFETIME)
    vote = Vote(
        approver="" if principal is None else principal.id,
        key=key.thumbprint,
        verdict=said.verdict,
        at=int(now),
        until=said.exp if said.verdict == "sign_off" else until,
        emergency=said.emergency,
        justification=said.justification if isinstance(said.justification, str) else "",
    )
    if said.verdict == "sign_off":
        if not asked.in_review or _glass_is_open(asked, now):
            when = " before the emergency was used, or is over" if asked.in_review else ""
            raise ApprovalError(f"nothing waits to be signed off here{when}", Reason.REQUEST_CLOSED)
    elif asked.state not in ("pending", "approved"):
        raise ApprovalError(f"the request is {asked.state}", Reason.REQUEST_CLOSED)
    why = barred(asked, key.thumbprint, vote, _parties(asked, live), live, now)
    if why is None and _spoke(asked, vote):
        why = f"`{vote.approver}` has spoken already"
    if why is not None:
        raise ApprovalError(why, Reason.APPROVER_INELIGIBLE)
    return vote


def _glass_is_open(asked: Approval, now: float) -> bool:
    """Tell whether an emergency may still be used: there is nothing to be reviewed yet."""
    return asked.state in ("pending", "approved") and any(vote.emergency for vote in asked.standing(now))


def _spoke(asked: Approval, vote: Vote) -> bool:
    """Tell whether a person said something before that leaves no room for this word.

    Whoever spoke may still refuse, which only stops; whoever reviewed may review again what came since.
    """
    if vote.verdict == "deny":
        return False
    said = (one.verdict for one in asked.votes if one.approver == vote.approver)
    return any(vote.verdict == "approve" or verdict != "sign_off" for verdict in said)
