"""What the ledger's recorded checks would have come to under another policy.

The law of this file: only the policy's part is decided anew, of the hops and of the call; whatever else stood against
a call still does, since a policy rescues nothing. Facts are those of the record: chain, tool, purpose, labels, data
label, amount, audience, age, approvals. Principals are taken as they are known now, since the record does not say how
they stood. What the record cannot tell is skipped, and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from chain.base64url import b64decode
from chain.catalog import Tool
from chain.control import Party
from chain.decision import Effect
from chain.delegation import Chain
from chain.errors import ChainError, clip
from chain.grant import rank
from chain.ledger import Record, decode
from chain.outcome import Asked
from chain.policyview import Flip, Replayed
from chain.reason import Reason

if TYPE_CHECKING:
    from chain.desk import Desk
    from chain.policy import Policy

MAX_REPLAY = 10_000
"""Recorded checks that one comparison decides anew."""

PAGE = 4_096
"""Revisions that are read at once."""

_POLICY = {reason.value for reason in (Reason.POLICY_DENIED, Reason.POLICY_ERROR, Reason.HOP_UNAPPROVED)}
_PEOPLE = {reason.value for reason in (Reason.APPROVAL_REQUIRED, Reason.APPROVAL_DENIED, Reason.APPROVAL_THROTTLED)}


class _Then(NamedTuple):
    """What a check would come to, and why."""

    effect: Effect
    detail: str


_ALLOW = _Then(Effect.ALLOW, "")


def replay(desk: Desk, policy: Policy, most: int, before: Policy | None = None) -> Replayed:
    """Decide the last recorded checks anew.

    Args:
        desk: of the ledger.
        policy: that would have been active.
        most: how many, at most `MAX_REPLAY`.
        before: what flips under this one too is not the other's doing, and only counted.
    """
    flips, replayed, skipped, drifted = [], 0, 0, 0
    for record in _last(desk, min(most, MAX_REPLAY)):
        then = _decide(desk, policy, record)
        if then is None:
            skipped += 1
            continue
        replayed += 1
        body = record.body
        if then.effect.value != body["effect"]:
            same = None if before is None else _decide(desk, before, record)
            if same is not None and same.effect is then.effect:
                drifted += 1
                continue
            detail = then.detail or "nothing of this policy speaks against it"
            flips.append(
                Flip(record.revision, body["id"], body["tool"], body["effect"], then.effect.value, clip(detail, 200))
            )
    return Replayed(tuple(flips), replayed, skipped, drifted)


def _last(desk: Desk, most: int) -> Iterator[Record]:
    """Yield the last recorded checks, newest first."""
    upper, found = desk.store.head, 0
    while upper > 0 and found < most:
        lower = max(1, upper - PAGE + 1)
        page = [decode(data) for data, _ in desk.store.records(lower, PAGE, "decided")]
        for record in reversed(page):
            if record.revision <= upper and found < most:
                found += 1
                yield record
        upper = lower - 1


def _decide(desk: Desk, policy: Policy, record: Record) -> _Then | None:
    """Return what a check would come to; None where the record cannot tell."""
    body = record.body
    findings: list[list[Any]] = body.get("findings", [])
    if not all(map(_lifted, findings)):
        return _Then(Effect.DENY, "")
    chain = _chain(desk, body)
    people = _approvers(desk, body)
    if chain is None or people is None:
        return None
    parties = tuple(desk.live.party(hop.holder) for hop in chain.hops)
    return _hops(desk, policy, chain, parties) or _call(policy, chain, parties, record, people)


def _lifted(finding: list[Any]) -> bool:
    """Tell whether another policy could lift a finding."""
    reason, hop, _ = finding
    return reason in _POLICY | _PEOPLE or (reason == Reason.AMOUNT_UNREADABLE.value and hop is None)


def _chain(desk: Desk, body: Mapping[str, Any]) -> Chain | None:
    try:
        return desk.resolve(b64decode(str(body["leaf"]).encode()))[0]
    except (KeyError, ValueError, ChainError):
        return None


def _approvers(desk: Desk, body: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return who approved; None where nobody remembers."""
    name = body.get("approval")
    if name is None:
        return ()
    used = desk.live.approvals.get(name)
    return None if used is None else tuple(vote.approver for vote in used.votes if vote.verdict == "approve")


def _hops(desk: Desk, policy: Policy, chain: Chain, parties: tuple[Party, ...]) -> _Then | None:
    for place, outcome in policy.faults(chain, parties):
        if not outcome.gates:
            return _Then(Effect.DENY, f"hop {place} may not be made: {outcome.words}")
        if not desk.live.approved(chain.hops[place].digest):
            return _Then(Effect.DENY, f"hop {place} needs an approval that it has not: {outcome.words}")
    return None


def _call(
    policy: Policy, chain: Chain, parties: tuple[Party, ...], record: Record, people: tuple[str, ...]
) -> _Then | None:
    body = record.body
    tool = policy.catalogue.tool(body["tool"])
    amount = _amount(body)
    if tool.amount is not None and amount is None:
        if any(reason == Reason.AMOUNT_UNREADABLE.value for reason, *_ in body.get("findings", [])):
            return _Then(Effect.DENY, f"`{tool.amount.argument}` is missing or no amount")
        return None
    asked = Asked(
        tool=body["tool"],
        purpose=body.get("purpose", ""),
        intent=body.get("intent", ""),
        audience=body.get("audience", ""),
        labels=body.get("labels", ()),
        classification=_label(body, tool, policy.labels),
        age=max(0, record.time // 1000 - chain.root.iat),
        amount=None if tool.amount is None else amount,
        approvers=people,
        currency="" if tool.amount is None else str(body.get("amount", "")).partition(" ")[2],
    )
    outcome = policy.call(chain, parties, asked)
    if not outcome.permitted and not outcome.gates:
        return _Then(Effect.DENY, outcome.words)
    gates = [gate for gate in outcome.gates if gate.threshold > len(people)]
    held = [f"`{gate.rule}` takes {gate.threshold}" for gate in gates]
    if not people and _held_by_hops(chain, body["tool"], tool):
        held.append("a gate of the chain holds it back")
    if not held:
        return _ALLOW
    refused = any(reason in _PEOPLE - {Reason.APPROVAL_REQUIRED.value} for reason, *_ in body.get("findings", []))
    return _Then(Effect.DENY if refused else Effect.APPROVAL_REQUIRED, "; ".join(held))


def _held_by_hops(chain: Chain, name: str, tool: Tool) -> bool:
    whens = (gate.when for hop in chain.hops for gate in hop.approval)
    return any(when.tool == name or when.action_class == tool.action_class for when in whens)


def _amount(body: Mapping[str, Any]) -> Decimal | None:
    text = str(body.get("amount", "")).partition(" ")[0]
    return Decimal(text) if text else None


def _label(body: Mapping[str, Any], tool: Tool, labels: tuple[str, ...]) -> str:
    """Return the effective label, as a check does: the higher of catalogue and enforcement point."""
    highest = len(labels) - 1
    said = [label for label in (tool.classification, body.get("classification")) if label is not None]
    ranks = [rank(label, labels) for label in said]
    return labels[max((highest if place is None else place for place in ranks), default=highest)]
