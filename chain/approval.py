"""Approvals: what exactly a human is asked, what a human says, and whose word counts.

The law of this file: an approval is for one action of one chain. The binding hash covers who asks, the tool, every
argument, the target, the amount, the root and the path of holders; not the leaf, which may be too short-lived to
outlast a human, so that a fresh leaf of the same path can use what was approved for the old one. Who asks never
approves, nor anybody who is one party with an agent of the chain.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from chain import jcs, jws
from chain.base64url import b64encode
from chain.delegation import Chain
from chain.errors import ApprovalError, clip
from chain.grant import Count, Text
from chain.jws import JoseError
from chain.key import PublicKey, Signer
from chain.principal import Principal

STATEMENT_TYPE = "chain-approval+jwt"
"""JOSE `typ` of an approver's statement, so that it is never taken for a token or a proof."""

MAX_STATEMENT = 16 * 1024
"""Characters of one statement."""

WORD_LIFETIME = 900
"""Seconds that an approver's word is good for, where nothing else is said: as long as a request waits."""

MAX_SKEW = 30
"""Seconds a statement's `iat` may lie ahead of the authority's clock."""

State: TypeAlias = Literal["pending", "approved", "denied", "consumed", "expired"]
Verdict: TypeAlias = Literal["approve", "deny", "sign_off"]


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """What a human is asked about, whole: its JCS is what the binding hash is made of.

    Attributes:
        subject: id of the principal that asks, or the thumbprint of a key that nobody enrolled.
        tool: exact name, or a reserved one where a hop is asked about.
        arguments: all of them.
        target: system that the tool acts on; empty where unknown.
        amount: as decimal text with its currency, e.g. ``120.50 EUR``; empty where it moves none.
        purpose, audience, labels: as the request states them; empty where it does not.
        classification: effective label of the data.
        root: digest of the chain's root, base64url.
        path: thumbprints of the holders, root first.
    """

    subject: str
    tool: str
    arguments: dict[str, Any]
    target: str
    amount: str
    purpose: str
    audience: str
    labels: tuple[str, ...]
    classification: str
    root: str
    path: tuple[str, ...]

    def binding(self) -> str:
        """Return the binding hash: base64url SHA-256 of the JCS of all members."""
        return b64encode(sha256(jcs.dumps(msgspec.to_builtins(self))).digest())


class Demand(msgspec.Struct, frozen=True):
    """One gate that holds an action back.

    Attributes:
        source: where it is written: ``policy:ID`` or ``hop:N``.
        threshold: how many distinct people.
        approvers: who they may be, ids of principals; empty leaves that to the policy.
    """

    source: str
    threshold: int
    approvers: tuple[str, ...] = ()


class Vote(msgspec.Struct, frozen=True):
    """One person's word on a request, as it was accepted.

    Attributes:
        approver: id of the principal.
        key: thumbprint of the key that signed.
        verdict: what was said.
        at: seconds.
        until: seconds, after which it does not count.
        emergency: break-glass: stands for every other approver, and has to be signed off by somebody else.
        justification: why, one line; an emergency has one.
    """

    approver: str
    key: str
    verdict: Verdict
    at: int
    until: int
    emergency: bool = False
    justification: str = ""


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """One request for approval, and what came of it.

    Attributes:
        id: names it.
        binding: hash of `action`.
        action: what is asked.
        demands: what holds it back.
        holder: thumbprint of the key that asked.
        owners: accountable for an agent of the chain; they are one party with it.
        parties: ids of the agents of the chain.
        task, sub: of the chain; empty where it states none.
        root_ends: seconds, when the chain's root ends: as long as that a refusal holds.
        created, expires: seconds.
        state: how it stands.
        votes: what was said, oldest first, reviews too; one a person, who may still refuse after having approved.
        opened: revision of the record that opened it.
        revision: of the record that changed it last.
    """

    id: str
    binding: str
    action: Action
    demands: tuple[Demand, ...]
    holder: str
    owners: tuple[str, ...]
    parties: tuple[str, ...]
    task: str = ""
    sub: str = ""
    root_ends: int
    created: int
    expires: int
    state: State = "pending"
    votes: tuple[Vote, ...] = ()
    opened: int = 0
    revision: int = 0

    def at(self, now: float) -> Approval:
        """Return it as it stands at an instant: not used in time is expired, and a word that ended is no word."""
        if self.state not in ("pending", "approved"):
            return self
        if self.expires <= now:
            return msgspec.structs.replace(self, state="expired")
        if self.state == "approved" and missing(self.demands, self.standing(now)):
            return msgspec.structs.replace(self, state="pending")
        return self

    def standing(self, now: float) -> list[Vote]:
        """Return the approvals that have not ended; whether their authors may still give them is not asked."""
        return [vote for vote in self.votes if vote.verdict == "approve" and vote.until > now]

    @property
    def emergency(self) -> bool:
        """Whether somebody broke the glass."""
        return any(vote.emergency for vote in self.votes)

    @property
    def signed_off(self) -> Vote | None:
        """Who reviewed the emergencies that there were; None where there was none, or one came after the review."""
        last = next((vote for vote in reversed(self.votes) if vote.emergency or vote.verdict == "sign_off"), None)
        return None if last is None or last.emergency else last

    @property
    def refused_by(self) -> str:
        """Who refused it; empty where nobody did."""
        return next((vote.approver for vote in self.votes if vote.verdict == "deny"), "")

    @property
    def in_review(self) -> bool:
        """Whether an emergency still waits for somebody else's signature."""
        return self.emergency and self.signed_off is None


class Statement(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """What an approver signs; members stand in canonical order.

    Attributes:
        aud: the authority.
        binding: hash of the action, as the approver's own side computed it from what was shown.
        exp: seconds, when the word ends.
        iat: seconds.
        request: the request's id.
        verdict: `approve`, `deny`, or `sign_off` of an emergency.
        emergency: break-glass.
        justification: one line.
    """

    aud: Text
    binding: Text
    exp: Count
    iat: Count
    request: Text
    verdict: Verdict
    emergency: bool = False
    justification: Text | UnsetType = UNSET

    def __post_init__(self) -> None:
        if not isinstance(self.justification, UnsetType) and len(self.justification.splitlines()) > 1:
            raise ValueError("a justification is one line")
        if self.emergency and (self.verdict != "approve" or self.justification is UNSET):
            raise ValueError("an emergency is an approval with a justification")


_decode = msgspec.json.Decoder(Statement).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def sign(signer: Signer, statement: Statement) -> str:
    """Return an approver's statement, a compact JWS."""
    return jws.join({"typ": STATEMENT_TYPE}, _encode(statement), signer)


def word(
    approval: Approval,
    signer: Signer,
    audience: str,
    verdict: Verdict,
    *,
    now: float,
    lifetime: int = WORD_LIFETIME,
    emergency: bool = False,
    justification: str = "",
) -> str:
    """Return a person's signed word on a request, about the action that is shown and nothing else.

    Args:
        approval: as it was shown; the binding is computed anew from its action.
        signer: the person's own key.
        audience: the authority's name.
        verdict: what is said.
        now: seconds.
        lifetime: seconds that the word is good for; an emergency's ends after `chain.state.EMERGENCY_LIFETIME`.
        emergency: break-glass.
        justification: one line; an emergency needs one.

    Raises:
        ApprovalError: what is shown is not what the request names, or an emergency without a justification.
    """
    binding = approval.action.binding()
    if binding != approval.binding:
        raise ApprovalError("the action that is shown is not the one that the request names")
    try:
        said = Statement(
            audience, binding, int(now) + lifetime, int(now), approval.id, verdict, emergency, justification or UNSET
        )
    except ValueError as error:
        raise ApprovalError(str(error)) from None
    return sign(signer, said)


def read(text: str, key: PublicKey) -> Statement:
    """Return what the holder of a key said.

    Args:
        text: compact JWS.
        key: the approver's.

    Raises:
        ApprovalError: STATEMENT_INVALID: not by that key, or not strictly a statement.
    """
    if len(text) > MAX_STATEMENT:
        raise ApprovalError("the statement is too large")
    try:
        frame = jws.split(text)
        if frame.header.typ != STATEMENT_TYPE:
            raise ApprovalError(f"`typ` is not `{STATEMENT_TYPE}`")
        if not frame.signed_by(key):
            raise ApprovalError("the statement was not signed with the approver's key")
        statement = _decode(frame.payload)
    except (JoseError, msgspec.DecodeError, RecursionError) as error:
        raise ApprovalError(f"the statement: {error}") from None
    if _encode(statement) != frame.payload:
        raise ApprovalError("the statement's payload is not canonical")
    return statement


def require(statement: Statement, approval: Approval, audience: str, now: float) -> None:
    """Return where a statement is about this request, for this authority, now.

    Raises:
        ApprovalError: STATEMENT_INVALID.
    """
    if (statement.request, statement.binding) != (approval.id, approval.binding):
        raise ApprovalError("the statement is about another request, or another action")
    if statement.aud != audience:
        raise ApprovalError(f"the statement was made for `{clip(statement.aud, 80)}`")
    if statement.iat > now + MAX_SKEW or statement.exp <= now or statement.exp <= statement.iat:
        raise ApprovalError("the statement is from the future, or has ended")


def ineligible(
    approval: Approval, key: str, principal: Principal | None, agents: Iterable[Principal] = ()
) -> str | None:
    """Return why a person may never approve a request, whatever a policy says, or None.

    Args:
        approval: the request, with those whom its chain had when it was made.
        key: thumbprint of the person's key.
        principal: who that is by enrolment.
        agents: whom the chain has by now.
    """
    if principal is None:
        return "nobody enrolled the approver's key"
    if principal.kind != "human":
        return f"`{principal.id}` is no human"
    if key in approval.action.path:
        return f"`{principal.id}` holds a delegation of the chain"
    now = list(agents)
    parties = {approval.action.subject, *approval.parties, *(agent.id for agent in now)}
    if principal.under in approval.action.path or any(_same_party(principal.id, party) for party in parties):
        return f"`{principal.id}` is an agent of the chain, or works under one"
    owners = {*approval.owners, *(agent.owner for agent in now)}
    if not owners.isdisjoint((principal.owner, principal.id)):
        return f"`{principal.owner}` answers for an agent of the chain too"
    return None


def _same_party(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def missing(demands: Iterable[Demand], votes: Iterable[Vote]) -> list[Demand]:
    """Return the demands that votes do not meet.

    Args:
        demands: gates.
        votes: eligible ones that approve, of distinct people.
    """
    said = list(votes)
    return [demand for demand in demands if not _met(demand, said)]


def _met(demand: Demand, votes: list[Vote]) -> bool:
    named = {vote.approver: vote for vote in votes if not demand.approvers or vote.approver in demand.approvers}
    return len(named) >= demand.threshold or any(vote.emergency for vote in named.values())


def path(chain: Chain) -> tuple[str, ...]:
    """Return the thumbprints of a chain's holders, root first."""
    return tuple(hop.holder for hop in chain.hops)
