"""What each kind of record says.

The law of this file: a record answers who, for whom, via which hop, what, why and when, with digests of tokens
and arguments; never a token, never a proof, never raw arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from chain import jcs
from chain.approval import Approval, Vote
from chain.base64url import b64encode
from chain.case import Verdict
from chain.catalog import Tool
from chain.control import ORDINARY, Named, Standing, Strike, Suspension
from chain.decision import Decision
from chain.delegation import Chain, Delegation
from chain.errors import ExcessError
from chain.grant import NO_LIMITS, Grant
from chain.key import PublicKey
from chain.keyring import Held
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.signal import Event

MAX_LISTED = 1_000
"""Keys or principals that one record names."""


def digest(data: bytes) -> str:
    """Return base64url SHA-256."""
    return b64encode(sha256(data).digest())


def delegation(chain: Chain, hop: Delegation, caller: str) -> dict[str, Any]:
    """Return the body of `issued`, `delegated` and `admitted`: what it gives, whole, and the token by digest."""
    parent = chain.hops[hop.hop - 1] if hop.hop else None
    facts = {name: value for name, value in chain.facts._asdict().items() if value is not None}
    body: dict[str, Any] = {
        "id": hop.id,
        "parent": None if parent is None else parent.id,
        "jti": hop.claims.jti,
        "issuer": hop.claims.iss,
        "signer": hop.signer,
        "holder": hop.holder,
        "hop": hop.hop,
        "iat": hop.iat,
        "exp": hop.exp,
        "grant": granted(hop.grant),
        "facts": facts,
        "caller": caller,
    }
    body |= {"bound": hop.names[1]} if len(hop.names) > 1 else {}
    return body | ({"certifier": hop.certifier} if hop.certifier else {})


def granted(grant: Grant) -> dict[str, Any]:
    """Return what a delegation gives, as it stands in its token but for the entry's type."""
    given: dict[str, Any] = {"tools": msgspec.to_builtins(grant.tools)}
    return given if grant.limits == NO_LIMITS else given | {"limits": msgspec.to_builtins(grant.limits)}


def refused(what: str, target: str, chain: Chain, reason: Reason, hop: int | None, caller: str) -> dict[str, Any]:
    """Return the body of `refused`: a change that was asked for and not made.

    Args:
        what: the method.
        target: what it was about, an id or a digest.
        chain: under which authority it was asked.
        reason, hop: why not, and where.
        caller: who asked.
    """
    return {
        "method": what,
        "target": target,
        "leaf": chain.leaf.id,
        "holder": chain.leaf.holder,
        "reason": reason.value,
        "hop": hop,
        "caller": caller,
    }


def excess(error: ExcessError) -> dict[str, Any]:
    """Return what a `refused` record adds where a child asked for more than its parent grants."""
    return {"field": error.field, "granted": error.parent, "asked": error.child}


def revoked(target: str, cause: str, caller: str) -> dict[str, Any]:
    """Return the body of `revoked`. What fell with it follows from the records before: nobody waits for a count."""
    return {"id": target, "cause": cause, "caller": caller}


def struck(named: Named, names: Sequence[str], cause: str, caller: str) -> dict[str, Any]:
    """Return the body of `revoked` where it was by name.

    Args:
        named: what was said.
        names: what that meant: of a holder, its keys and those of all who worked under it.
        cause, caller: why, and who asked.
    """
    body: dict[str, Any] = {"kind": named.kind, "name": named.name, "cause": cause, "caller": caller}
    return body if names == (named.name,) else body | listed("names", names)


def further(kind: Strike, names: Sequence[str], cause: str, caller: str, first: int) -> Iterator[dict[str, Any]]:
    """Yield the bodies of the `revoked` records for the names that the first record has no room for (`listed`).

    Args:
        kind, names: of all that is revoked.
        cause, caller: why, and who asked.
        first: revision of the record that names the others.
    """
    for start in range(MAX_LISTED, len(names), MAX_LISTED):
        page = list(names[start : start + MAX_LISTED])
        yield {"kind": kind, "name": page[0], "names": page, "of": first, "cause": cause, "caller": caller}


def listed(what: str, names: Sequence[str]) -> dict[str, Any]:
    """Return names for a record: the first `MAX_LISTED`, and where there are more, how many in all.

    A record's size must not follow from how many there are: of what is revoked, the others stand in `further` records.
    """
    if len(names) <= MAX_LISTED:
        return {what: list(names)} if names else {}
    return {what: list(names[:MAX_LISTED]), f"{what}_count": len(names)}


def approval_requested(asked: Approval) -> dict[str, Any]:
    """Return the body of `approval_requested`: who wants to do what, and whom it takes; arguments by digest."""
    action = asked.action
    body: dict[str, Any] = {
        "id": asked.id,
        "binding": asked.binding,
        "subject": action.subject,
        "holder": asked.holder,
        "tool": action.tool,
        "arguments": digest(jcs.dumps(action.arguments)),
        "root": action.root,
        "demands": [[demand.source, demand.threshold, list(demand.approvers)] for demand in asked.demands],
        "expires": asked.expires,
    }
    stated = {"target": action.target, "amount": action.amount, "purpose": action.purpose, "task": asked.task}
    return body | {name: value for name, value in stated.items() if value}


def approval_resolved(
    asked: Approval, vote: Vote, state: str, statement: str, key: PublicKey, caller: str
) -> dict[str, Any]:
    """Return the body of `approval_resolved`: one person's word, whole and with its key, so that others can verify it.

    Args:
        asked: the request.
        vote: the word.
        state: of the request from now on.
        statement: as signed; it says nothing secret, and permits nothing a second time.
        key: the person's.
        caller: who handed it in.
    """
    body: dict[str, Any] = {
        "id": asked.id,
        "binding": asked.binding,
        "approver": vote.approver,
        "key": vote.key,
        "verdict": vote.verdict,
        "state": state,
        "until": vote.until,
        "statement": statement,
        "jwk": key.to_json(),
        "caller": caller,
    }
    if vote.emergency:
        body["emergency"] = True
    if vote.justification:
        body["justification"] = vote.justification
    return body


def suspended(suspension: Suspension) -> dict[str, Any]:
    """Return the body of `suspended`."""
    return {
        "scope": suspension.scope,
        "name": suspension.name,
        "mode": suspension.mode,
        "cause": suspension.cause,
        "author": suspension.author,
        "until": suspension.until,
    }


def signalled(
    event: Event, keys: Sequence[str], principals: Sequence[str], caller: str, unchanged: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the body of `signalled`: who said what of whom; the token by digest.

    Args:
        event: what was said.
        keys: whose holdings it revoked.
        principals: whom it was about.
        caller: who handed it in.
        unchanged: those of them of whom something newer was known, so that it changed nothing.
    """
    body: dict[str, Any] = {
        "kind": event.kind,
        "issuer": event.transmitter.issuer,
        "jti": event.jti,
        "event": event.digest,
        "at": event.at,
        "principals": [],
        "caller": caller,
    }
    stated = {"level": event.level, "change": event.change, "cause": event.cause}
    body |= {name: value for name, value in stated.items() if value}
    if unchanged:
        body |= listed("unchanged", unchanged) | {"why_unchanged": "a newer event was taken before"}
    return body | listed("principals", principals) | listed("keys", keys)


def key_changed(held: Held, before: Held | None, cause: str, caller: str) -> dict[str, Any]:
    """Return the body of `key_changed`: where a key of the issuer stands from here on."""
    body: dict[str, Any] = {"key": held.key.thumbprint, "state": held.state, "jwk": msgspec.to_builtins(held.jwk)}
    if before is not None:
        body["before"] = before.state
    if held.until:
        body["until"] = held.until
    return body | {"cause": cause, "caller": caller}


def enrolled(thumbprint: str, principal: Principal, caller: str) -> dict[str, Any]:
    """Return the body of `enrolled`."""
    return {"holder": thumbprint, "principal": principal.model_dump(), "caller": caller}


def decided(
    decision: Decision,
    request: Request,
    caller: str,
    tool: Tool,
    chain: Chain | None,
    principal: Principal | None,
    verdict: Verdict | None = None,
) -> dict[str, Any]:
    """Return the body of `decided`.

    Args:
        decision: with its id.
        request: what was asked.
        caller: who asked.
        tool: what the catalogue says of it.
        chain: None where the tokens were not an authentic chain.
        principal: who the leaf's holder is, where it is enrolled.
        verdict: on an authentic chain.
    """
    body: dict[str, Any] = {
        "id": decision.id,
        "effect": decision.effect.value,
        "reason": decision.reason.value,
        "hop": decision.hop,
        "caller": caller,
        "tool": request.tool,
        "class": tool.action_class,
        "target": tool.target,
        "arguments": digest(request.canonical_arguments),
    }
    stated = {
        "classification": request.classification,
        "audience": request.audience,
        "trace": request.trace,
        **request.stated,
    }
    body |= {name: value for name, value in stated.items() if value}
    if chain is not None:
        leaf = chain.leaf
        body |= {"leaf": leaf.id, "depth": leaf.hop, "holder": leaf.holder, "issuer": chain.issuer}
        if chain.facts.sub:
            body["sub"] = chain.facts.sub
        if chain.facts.txn:
            body["txn"] = chain.facts.txn
    if principal is not None:
        body |= {"principal": principal.id, "owner": principal.owner}
    body |= _said(decision)
    if verdict is not None:
        body |= _used(verdict)
    if decision.findings:
        body["findings"] = [[f.reason.value, f.hop, f.detail] for f in decision.findings]
    return body


def posture(hops: Iterable[tuple[int, Standing]]) -> dict[str, Any]:
    """Return how the holders of a chain stood when a call was decided, as far as signals said anything of them.

    Args:
        hops: each hop, with how its holder stands.
    """
    found = [[hop, one.risk, one.assurance, list(one.labels)] for hop, one in hops if one != ORDINARY]
    return {"posture": found} if found else {}


def _said(decision: Decision) -> dict[str, Any]:
    """Return what a decision says beside its effect."""
    said: dict[str, Any] = {}
    if decision.policy:
        said |= {"policy": decision.policy, "rules": list(decision.rules)}
    if decision.obligations:
        said["obligations"] = [one.id for one in decision.obligations]
    if not decision.enforced:
        said["enforced"] = False
    if decision.awaits is not None:
        said["awaits"] = decision.awaits.request_id
    return said


def _used(verdict: Verdict) -> dict[str, Any]:
    """Return what a call moved and used up."""
    used: dict[str, Any] = {"label": verdict.label} if verdict.label else {}
    if verdict.amount:
        used["amount"] = verdict.amount
    if verdict.goes_through and verdict.spends:
        used["spent"] = [[b64encode(one.digest), f"{one.amount:f}", one.currency] for one in verdict.spends]
    if verdict.goes_through and verdict.used is not None:
        used["approval"] = verdict.used.id
    return used
