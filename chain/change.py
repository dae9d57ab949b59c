"""The changes of delegations that a caller may ask for, and how each is made inside its commit.

The law of this file: a change is composed by the ledger's single writer against the facts as they stand. One that
is refused writes the record of its refusal, uses up its nonce all the same, and changes nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import TypeAlias

import msgspec

from chain import check as checks
from chain import records, ruling
from chain.base64url import b64encode
from chain.caller import Caller
from chain.case import Case, Verdict
from chain.decision import Effect, Finding, denied
from chain.delegation import Chain
from chain.errors import (
    ChainError,
    DeniedError,
    ExcessError,
    InvalidTokenError,
)
from chain.grant import Grant
from chain.live import Live
from chain.order import Revoke
from chain.proof import DELEGATE
from chain.reason import Reason
from chain.request import Request
from chain.row import RevocationRow
from chain.statuslist import Reference
from chain.view import Delegated, Struck
from chain.writing import Writing

Compose: TypeAlias = Callable[[Writing], bytes | ChainError]

_STANDING = (checks.window, checks.revoked)

_HOLDING = (checks.holder,)
_encode = msgspec.json.encode


def issuing(chain: Chain, token: str, caller: Caller, listed: Reference | None = None) -> Compose:
    """Register a root that was just signed, in its place of the status list, if the policy lets it be made."""

    def compose(writing: Writing) -> bytes | ChainError:
        verdict = _handover(chain, writing)
        clash = None if verdict.findings else writing.admit(chain, [token], "issued", caller.name)
        if verdict.findings or clash is not None:
            findings = [*verdict.findings, *([] if clash is None else [clash])]
            return _refuse("Issue", chain.leaf.id, chain, findings, writing, caller, verdict)
        revision = writing.revision - 1
        if listed is not None:
            writing.stand(writing.live.place(listed.idx, chain.leaf, revision))
        _approved(chain, verdict, writing)
        return _encode(Delegated.of(chain, token, revision))

    return compose


def widening(parent: Chain, target: str, error: InvalidTokenError, caller: Caller) -> Compose:
    """Record a delegation that was asked for and is not one: it asks for more, or its token is bad.

    Args:
        parent: what was to be handed on.
        target: the digest of the child; the parent's where nothing was signed.
        error: why not.
        caller: who asks.
    """

    def compose(writing: Writing) -> bytes | ChainError:
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
        unproven = _holding(parent, request, writing)
        findings = [*_standing(chain, request, writing), *(unproven or _paced(parent, writing))]
        verdict = None if findings else _handover(chain, writing)
        if verdict is not None:
            findings += verdict.findings
        clash = None if findings else writing.admit(chain, tokens, "delegated", caller.name)
        if clash is not None:
            findings.append(clash)
        if findings:
            error = _refuse("Delegate", chain.leaf.id, parent, findings, writing, caller, verdict, chain)
            if not unproven:
                writing.pace(parent, findings, denied=error.decision.effect is Effect.DENY)
            return error
        revision = writing.revision - 1
        _approved(chain, verdict, writing)
        writing.fan_out()
        writing.pace(parent, (), denied=False)
        return _encode(Delegated.of(chain, tokens[-1], revision))

    return compose


def unsigned(parent: Chain, request: Request, caller: Caller) -> Compose:
    """Refuse a child that was asked for without a signature, and that nothing is signed for.

    Args:
        parent: what was to be handed on.
        request: for `proof.DELEGATE`; what the caller's channel proves.
        caller: who asks.
    """

    def compose(writing: Writing) -> ChainError:
        findings = [*_standing(parent, request, writing), *_holding(parent, request, writing)]
        if not findings:  # the channel proves the holder, and yet another key of it was given this hop
            detail = "not given to the key that is kept for the caller"
            findings = [Finding(reason=Reason.HOLDER_MISMATCH, hop=parent.leaf.hop, detail=detail)]
        return _refuse("Delegate", parent.leaf.id, parent, findings, writing, caller)

    return compose


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
        return _encode(Struck("delegation", (target,), revision, int(writing.at.now), until))

    return compose


def would_revoke(standing: Chain, request: Request, live: Live, now: float) -> None:
    """Return where `revoking` would revoke for an agent. Nothing is used up, so that the same proof may do it.

    Raises:
        DeniedError: it would not.
    """
    findings = checks.check(standing, request, live, now, _STANDING + _HOLDING).findings
    if findings:
        raise DeniedError(denied(*findings, at=now))


def own(tool: str, arguments: dict[str, str], audience: str, proof_text: str | None, caller: Caller) -> Request:
    """Return the request for one of the authority's own tools (`chain.proof.DELEGATE`, `chain.proof.REVOKE`)."""
    return Request(
        tool=tool,
        arguments=arguments,
        audience=audience,
        proof=proof_text,
        holder=caller.proven_holder,
        spiffe=caller.proven_spiffe,
        certificate=caller.proven_certificate,
    )


def _standing(chain: Chain, request: Request, writing: Writing) -> tuple[Finding, ...]:
    return checks.check(chain, request, writing.live, writing.at.now, _STANDING).findings


def _holding(chain: Chain, request: Request, writing: Writing) -> tuple[Finding, ...]:
    verdict = checks.check(chain, request, writing.live, writing.at.now, _HOLDING)
    writing.use(verdict)
    return verdict.findings


def _paced(parent: Chain, writing: Writing) -> tuple[Finding, ...]:
    """Say where a holder that was proven asks too often, or has made as many hops as it may have under way."""
    wait = writing.live.rested(parent, writing.at.now)
    if wait > 0:
        detail = f"too many calls; again in {ceil(wait)} s"
        return (Finding(reason=Reason.RATE_LIMITED, hop=parent.leaf.hop, detail=detail),)
    crowd = writing.crowded(parent.hops)
    return () if crowd is None else (crowd,)


def _handover(chain: Chain, writing: Writing) -> Verdict:
    """Ask the policy about the last hop of a chain, and people where it says so.

    What they are asked about is who gets what for how long, and not the token: that may be signed anew until they have
    answered. A root that is only being issued has no digest yet, and is asked about with all that it states.
    """
    leaf = chain.leaf
    arguments = {
        "holder": leaf.holder,
        "grant": msgspec.to_builtins(Grant(tools=leaf.grant.tools, limits=leaf.grant.limits)),
        "max_depth": leaf.claims.del_max_depth,
        **_life(chain),
        "audience": sorted(leaf.audience or ()),
    }
    if not leaf.hop:
        arguments |= {name: fact for name, fact in chain.facts._asdict().items() if fact is not None}
    request = Request.model_construct(tool=DELEGATE, arguments=arguments)
    case = Case(chain, request, writing.live, writing.at.now, handover=True)
    for question in (checks.revoked, checks.suspended, ruling.handover, ruling.approval):
        question(case)
    return case.verdict()


def _life(chain: Chain) -> dict[str, int]:
    """Return how long a hop lives; one that ends with its parent is cut shorter each time that it is signed anew."""
    leaf = chain.leaf
    if leaf.hop and leaf.exp == chain.hops[-2].exp:
        return {"until": leaf.exp}
    return {"lifetime": leaf.exp - leaf.iat}


def _approved(chain: Chain, verdict: Verdict | None, writing: Writing) -> None:
    """Note that people approved a hop, which uses their approval up."""
    if verdict is None or verdict.used is None:
        return
    leaf = chain.leaf
    writing.spend(verdict, leaf.id)
    writing.approve_hop(leaf)


def _refuse(
    what: str,
    target: str,
    chain: Chain,
    findings: list[Finding],
    writing: Writing,
    caller: Caller,
    verdict: Verdict | None = None,
    whole: Chain | None = None,
) -> DeniedError:
    """Record a change that is not made, ask people where they could still permit it, and return its error.

    Args:
        what, target, caller: who asked for what.
        chain: under which it was asked.
        findings: against it.
        writing: takes the record.
        verdict: of the policy on a hop, where it was asked.
        whole: the chain with that hop; `chain` where it is absent.
    """
    decision = denied(*findings, at=writing.at.now)
    if verdict is not None and verdict.want is not None and decision.effect is Effect.APPROVAL_REQUIRED:
        asker = chain.leaf.holder if whole is not None else ""
        awaits = writing.ask_people(whole or chain, verdict.want, asker)
        decision = decision.model_copy(update={"awaits": awaits})
    writing.record("refused", records.refused(what, target, chain, decision.reason, decision.hop, caller.name))
    return decision.error()
