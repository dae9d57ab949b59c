"""The four changes that a caller may ask for, and how each is made inside its commit.

The law of this file: a change is composed by the ledger's single writer against the facts as they stand. One that
is refused writes the record of its refusal, uses up its nonce all the same, and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

import msgspec
from msgspec import UNSET

from chain import check as checks
from chain import enrolment, mint, records
from chain.base64url import b64encode
from chain.batch import Writing, take
from chain.caller import Caller, Role
from chain.claims import Audience, Claims, Intent
from chain.decision import Finding, denied
from chain.delegation import Chain
from chain.errors import ChainError, DeniedError, ExcessError, ForbiddenError, InvalidTokenError
from chain.grant import Grant
from chain.key import PublicKey
from chain.ledger import Durability, Record, encode
from chain.live import Live
from chain.principal import Principal
from chain.request import Request
from chain.row import EnrolmentRow, RevocationRow, Write
from chain.timeline import RESUMED
from chain.view import Delegated, Enrolled, Struck

Compose: TypeAlias = Callable[[Writing], bytes | ChainError]

_STANDING = (checks.window, checks.revoked)
_HOLDING = (checks.holder,)
_encode = msgspec.json.encode


def fingerprint(*parts: object) -> bytes:
    """Return the digest that binds an idempotency key to one request."""
    return sha256(_encode(parts)).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """A root to be issued.

    Attributes:
        holder: the first agent's key.
        grant: what it may do.
        lifetime: seconds.
        max_depth: how many hops may follow.
        audience: who may accept it; None for everybody.
        sub, owner, task, intent: root facts (TOKEN.md s2).
    """

    holder: PublicKey
    grant: Grant
    lifetime: int
    max_depth: int = 8
    audience: Audience | None = None
    sub: str | None = None
    owner: str | None = None
    task: str | None = None
    intent: Intent | None = None

    def fingerprint(self) -> bytes:
        """Return the digest of everything asked for."""
        facts = (self.audience, self.sub, self.owner, self.task, self.intent)
        return fingerprint(self.holder.thumbprint, self.grant, self.lifetime, self.max_depth, facts)

    def claims(self, issuer: str, jti: str, now: int) -> Claims:
        """Return the root's claims."""
        return mint.root_claims(
            self.grant,
            self.holder,
            issuer=issuer,
            jti=jti,
            now=now,
            lifetime=self.lifetime,
            max_depth=self.max_depth,
            audience=UNSET if self.audience is None else self.audience,
            sub=self.sub or UNSET,
            owner=self.owner or UNSET,
            txn=self.task or UNSET,
            intent=self.intent or UNSET,
        )


def issuing(chain: Chain, token: str, caller: Caller) -> Compose:
    """Register a root that was just signed."""

    def compose(writing: Writing) -> bytes | ChainError:
        clash = writing.admit(chain, [token], "issued", caller.name)
        if clash is not None:
            return DeniedError(denied(clash, at=writing.at.now))
        return _encode(Delegated.of(chain, token, writing.revision - 1))

    return compose


def widening(parent: Chain, child: str, error: InvalidTokenError, caller: Caller) -> Compose:
    """Record a delegation that was asked for and is not one: it asks for more, or its token is bad."""

    def compose(writing: Writing) -> bytes | ChainError:
        target = records.digest(child.rpartition(".")[0].encode())
        body = records.refused("Delegate", target, parent, error.reason, error.hop, caller.name)
        if isinstance(error, ExcessError):
            body |= records.excess(error)
        writing.record("refused", body)
        return error

    return compose


def delegating(parent: Chain, chain: Chain, tokens: Sequence[str], request: Request, caller: Caller) -> Compose:
    """Register a child, if its parent stands and its parent's holder asks for it.

    Args:
        parent: the chain handed on.
        chain: the same with the child.
        tokens: of `chain`.
        request: for `proof.DELEGATE`.
        caller: who asks.
    """

    def compose(writing: Writing) -> bytes | ChainError:
        findings = list(_standing(chain, request, writing))
        findings += _holding(parent, request, writing)
        clash = None if findings else writing.admit(chain, tokens, "delegated", caller.name)
        if clash is not None:
            findings.append(clash)
        if findings:
            return _refuse("Delegate", chain.leaf.id, parent, findings, writing, caller)
        return _encode(Delegated.of(chain, tokens[-1], writing.revision - 1))

    return compose


@dataclass(frozen=True, slots=True)
class Revoke:
    """A delegation to be revoked, with all beneath it.

    Attributes:
        target: its digest.
        cause: why, for the record.
    """

    target: bytes
    cause: str = ""


def revoking(order: Revoke, caller: Caller, standing: Chain | None, request: Request) -> Compose:
    """Revoke; one id in a set fells the whole subtree, and its size is nothing to wait for.

    Args:
        order: what and why.
        caller: who asks.
        standing: the chain under whose authority an agent asks; None where a role suffices.
        request: for `proof.REVOKE`.
    """

    def compose(writing: Writing) -> bytes | ChainError:
        target = b64encode(order.target)
        if standing is not None:
            findings = [*_standing(standing, request, writing), *_holding(standing, request, writing)]
            if findings:
                return _refuse("Revoke", target, standing, findings, writing, caller)
        until = writing.revision - 1
        revision = writing.record("revoked", records.revoked(target, order.cause, caller.name))
        writing.live.revoke(order.target)
        writing.write.revocations.append(RevocationRow(order.target, revision, writing.at.ms))
        return _encode(Struck(target, revision, int(writing.at.now), until))

    return compose


def would_revoke(standing: Chain, request: Request, live: Live, now: float) -> None:
    """Return where `revoking` would revoke for an agent. Nothing is used up, so that the same proof may do it.

    Raises:
        DeniedError: it would not.
    """
    findings = checks.check(standing, request, live, now, _STANDING + _HOLDING).findings
    if findings:
        raise DeniedError(denied(*findings, at=now))


def enrolling(key: PublicKey, principal: Principal, caller: Caller, audience: str, proof_text: str | None) -> Compose:
    """Record who a key belongs to.

    An operator says so. An agent enrols workers under itself, if their keys agree; whose a key is already, it cannot
    change.

    Args:
        key, principal: what and whose.
        caller: who asks.
        audience: the authority's own name.
        proof_text: the agreement of the key (`enrolment.make`).
    """

    def compose(writing: Writing) -> bytes | ChainError:
        if Role.OPERATOR not in caller.roles:
            own = caller.holder or ""
            above = writing.live.principal(own)
            if above is None or not above.may_enrol(principal, own):
                return ForbiddenError("an agent enrols workers under its own id, with its own owner")
            if writing.live.principal(key.thumbprint) is not None:
                return ForbiddenError("the key is enrolled already")
            try:
                enrolment.require(proof_text, key, principal.id, own, audience=audience, now=writing.at.now)
            except DeniedError as error:
                return error
        revision = writing.record("enrolled", records.enrolled(key.thumbprint, principal, caller.name))
        body = writing.live.enrol(key.thumbprint, principal)
        writing.write.enrolments.append(EnrolmentRow(key.thumbprint, body, revision))
        return _encode(Enrolled(key.thumbprint, principal.id, revision))

    return compose


@dataclass(frozen=True, slots=True)
class Resuming:
    """The record of an operator's word that the clock is right and the ledger's time was not.

    Attributes:
        now, was: milliseconds, by the clock and by the ledger.
        durability: as every change.
    """

    now: int
    was: int
    durability: Durability = Durability.SYNCED

    def prepare(self, first: int) -> Write:
        """Say what to write."""
        return Write([encode(Record(first, RESUMED, self.now, {"was": self.was}))])


def own(tool: str, arguments: dict[str, str], audience: str, proof_text: str | None, caller: Caller) -> Request:
    """Return the request for one of the authority's own tools (`chain.proof.DELEGATE`, `chain.proof.REVOKE`)."""
    return Request(tool=tool, arguments=arguments, audience=audience, proof=proof_text, holder=caller.proven_holder)


def _standing(chain: Chain, request: Request, writing: Writing) -> tuple[Finding, ...]:
    return checks.check(chain, request, writing.live, writing.at.now, _STANDING).findings


def _holding(chain: Chain, request: Request, writing: Writing) -> tuple[Finding, ...]:
    verdict = checks.check(chain, request, writing.live, writing.at.now, _HOLDING)
    take(verdict, writing)
    return verdict.findings


def _refuse(
    what: str, target: str, chain: Chain, findings: list[Finding], writing: Writing, caller: Caller
) -> ChainError:
    decision = denied(*findings, at=writing.at.now)
    writing.record("refused", records.refused(what, target, chain, decision.reason, decision.hop, caller.name))
    return DeniedError(decision)
