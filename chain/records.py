"""What each kind of record says.

The law of this file: a record answers who, for whom, via which hop, what, why and when, with digests of tokens
and arguments; never a token, never a proof, never raw arguments.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from chain.base64url import b64encode
from chain.catalog import Tool
from chain.decision import Decision
from chain.delegation import Chain, Delegation
from chain.errors import ExcessError
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request


def digest(data: bytes) -> str:
    """Return base64url SHA-256."""
    return b64encode(sha256(data).digest())


def delegation(chain: Chain, hop: Delegation, caller: str) -> dict[str, Any]:
    """Return the body of `issued`, `delegated` and `admitted`."""
    parent = chain.hops[hop.hop - 1] if hop.hop else None
    facts = {name: value for name, value in chain.facts._asdict().items() if value is not None}
    return {
        "id": hop.id,
        "parent": None if parent is None else parent.id,
        "jti": hop.claims.jti,
        "issuer": hop.claims.iss,
        "holder": hop.holder,
        "hop": hop.hop,
        "exp": hop.exp,
        "tools": sorted(hop.grant.tools),
        "facts": facts,
        "caller": caller,
    }


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
) -> dict[str, Any]:
    """Return the body of `decided`.

    Args:
        decision: with its id.
        request: what was asked.
        caller: who asked.
        tool: what the catalogue says of it.
        chain: None where the tokens were not an authentic chain.
        principal: who the leaf's holder is, where it is enrolled.
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
        "classification": request.classification or tool.classification,
        "audience": request.audience,
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
    if decision.findings:
        body["findings"] = [[f.reason.value, f.hop, f.detail] for f in decision.findings]
    return body
