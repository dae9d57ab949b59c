"""What each hop gave and what it took away, in words. For people; nothing here decides.

The law of this file: what is lost between two hops is what the parent would ask beyond its child: the one
attenuation rule, read backwards.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import UNSET

from chain.decision import Decision, Finding
from chain.delegation import Chain, Delegation
from chain.grant import Grant, Limits
from chain.reason import Reason


class Lost(NamedTuple):
    """One dimension that a hop narrowed.

    Attributes:
        field: where, e.g. ``tools.bank.transfer.amount``.
        before: what the parent grants, as text.
        after: what is left.
    """

    field: str
    before: str
    after: str


class HopExplanation(NamedTuple):
    """One hop of an explained chain.

    Attributes:
        hop: position, root = 0.
        id: the delegation's identity.
        holder: thumbprint of the holder's key.
        requested: the call asked for, as text; empty where none was.
        granted: what this hop gives, one line a capability or limit.
        lost: what it took away from its parent.
        findings: what stands against the request here.
        jti: the token's own name for itself; for display.
        exp: when the delegation ends, seconds.
    """

    hop: int
    id: str
    holder: str
    requested: str
    granted: tuple[str, ...]
    lost: tuple[Lost, ...]
    findings: tuple[Finding, ...]
    jti: str
    exp: int


class Explanation(NamedTuple):
    """A decision with every hop laid open."""

    decision: Decision
    hops: tuple[HopExplanation, ...]


def narrowed(parent: Grant, child: Grant) -> tuple[Lost, ...]:
    """Return what a child gives up of its parent's grant."""
    return tuple(
        Lost(e.field, before=e.child, after="not granted" if e.reason is Reason.TOOL_ADDED else e.parent)
        for e in parent.excess(child)
    )


def described(grant: Grant, tool: str | None = None) -> tuple[str, ...]:
    """Return a grant line by line; of one tool only where one is named."""
    names = [name for name in grant.tools if tool in (None, name)]
    lines = [f"`{name}` {_arguments(grant, name)}" for name in names]
    for name in Limits.__struct_fields__:
        value = getattr(grant.limits, name)
        if value is not UNSET:
            lines.append(f"{name}: {_limit(value)}")
    return tuple(lines)


def _arguments(grant: Grant, tool: str) -> str:
    rules = grant.tools[tool]
    if not rules:
        return "with any arguments"
    return "with " + ", ".join(f"`{name}`: {rule}" for name, rule in rules.items())


def _limit(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def explain(chain: Chain, decision: Decision, requested: str = "", tool: str | None = None) -> Explanation:
    """Lay a decided chain open, hop by hop.

    Args:
        chain: verified.
        decision: from `chain.check`, for this chain.
        requested: the call, as text.
        tool: of each grant only this tool is shown; None shows all.
    """
    parent: Delegation | None = None
    hops = []
    for hop in chain.hops:
        hops.append(
            HopExplanation(
                hop=hop.hop,
                id=hop.id,
                holder=hop.holder,
                requested=requested,
                granted=described(hop.grant, tool),
                lost=() if parent is None else narrowed(parent.grant, hop.grant),
                findings=tuple(finding for finding in decision.findings if finding.hop == hop.hop),
                jti=hop.claims.jti,
                exp=hop.exp,
            )
        )
        parent = hop
    return Explanation(decision, tuple(hops))
