"""What each hop gave and what it took away, in words. For people; nothing here decides.

The law of this file: what is lost between two hops is what the parent would ask beyond its child: the one
attenuation rule, read backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from chain.decision import Decision, Finding
from chain.delegation import Chain, Delegation
from chain.grant import Budget, Gate, Grant, Limits
from chain.reason import Reason

_OF_RULES = frozenset({Reason.POLICY_DENIED, Reason.POLICY_ERROR, Reason.HOP_UNAPPROVED, Reason.APPROVAL_REQUIRED})
"""Findings whose words name a rule of the policy."""


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
        rules: ids of the policy's rules that spoke on whether this hop may be made.
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
    rules: tuple[str, ...] = ()


class Change(NamedTuple):
    """One step of the smallest change that would flip an answer (`chain.applied` applies it).

    Attributes:
        kind: what to change: `request`, `grant`, `state` or `approval`.
        field: where, as a path, e.g. ``arguments.amount`` or ``hops.1.revoked``.
        before: what stands there, as JSON text; empty where nothing does.
        after: what would have to stand there; empty for nothing.
        words: the same for a person.
    """

    kind: str
    field: str
    before: str
    after: str
    words: str


class Explanation(NamedTuple):
    """A decision with every hop laid open.

    Attributes:
        decision: what `Check` would answer.
        hops: root first; none where the chain is not authentic.
        changes: the smallest change that would make it ALLOW; none where it is, or where nothing here would.
    """

    decision: Decision
    hops: tuple[HopExplanation, ...]
    changes: tuple[Change, ...] = ()

    def to_agent(self, names: AbstractSet[str]) -> Explanation:
        """Return what an agent sees that is nothing else: no rule of a hop, and none of the call unless it is its own.

        Args:
            names: what the tokens that the agent holds may call it.
        """
        decision = told_to(names, self.decision, [hop.holder for hop in self.hops])
        hops = tuple(
            hop._replace(findings=tuple(one for one in decision.findings if one.hop == hop.hop), rules=())
            for hop in self.hops
        )
        seen = all(map(agents_may_see, self.changes))  # a part of it would not flip the answer
        return Explanation(decision, hops, self.changes if seen else ())


def told_to(names: AbstractSet[str], decision: Decision, holders: Sequence[str]) -> Decision:
    """Return a decision as an agent sees it that is nothing else: no rule of another's hop, or of another's call.

    Args:
        names: what the tokens that the agent holds may call it.
        decision: with all that was found.
        holders: names of the chain's, root first; none where it is not authentic.
    """
    own = bool(holders) and holders[-1] in names

    def told(finding: Finding) -> Finding:
        plain = finding.reason not in _OF_RULES or (own if finding.hop is None else holders[finding.hop] in names)
        return finding if plain else finding.model_copy(update={"detail": finding.reason.meaning})

    return decision.model_copy(
        update={
            "findings": tuple(map(told, decision.findings)),
            "rules": decision.rules if own else (),
            "awaits": decision.awaits if own else None,
        }
    )


def all_may_see(_change: Change) -> bool:
    """Tell that whoever is more than an agent may see any step."""
    return True


def agents_may_see(change: Change) -> bool:
    """Tell whether a step says nothing of the policy's rules or of anybody's risk."""
    return not change.field.startswith(("policy", "principals."))


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
    if isinstance(value, tuple):
        return ", ".join(map(_limit, value))
    if isinstance(value, Budget):
        return _budget(value)
    if isinstance(value, Gate):
        what = f"`{value.when.tool}`" if isinstance(value.when.tool, str) else f"every {value.when.action_class}"
        return f"{what} takes {value.threshold} of {', '.join(value.approvers)}"
    return str(value)


def _budget(budget: Budget) -> str:
    parts = [] if isinstance(budget.calls, UnsetType) else [f"{budget.calls} calls"]
    if not isinstance(budget.amount, UnsetType):
        parts.append(f"{budget.amount.value} {budget.amount.currency} by `{budget.amount.argument}`")
    return " and ".join(parts) + ", shared by all beneath it"


def explain(
    chain: Chain,
    decision: Decision,
    requested: str = "",
    tool: str | None = None,
    spoke: Sequence[tuple[str, ...]] = (),
) -> Explanation:
    """Lay a decided chain open, hop by hop.

    Args:
        chain: verified.
        decision: from `chain.check`, for this chain.
        requested: the call, as text.
        tool: of each grant only this tool is shown; None shows all.
        spoke: ids of the rules that spoke on each hop; none where no policy was asked.
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
                rules=spoke[hop.hop] if spoke else (),
            )
        )
        parent = hop
    return Explanation(decision, tuple(hops))
