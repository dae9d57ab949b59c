"""Decisions, findings and the errors of single items, to the wire and back.

The law of this file: what says ALLOW in so many words is ALLOW; a reply that is missing, damaged or from a later
vocabulary is a denial.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from chain.base64url import b64decode, b64encode
from chain.decision import Awaited, Decision, Effect, Finding, Obligation, denied
from chain.reason import Reason
from chain.v1 import decision_pb2
from chain.wire.reason import EFFECTS, NUMBERS, effect_of, reason_of


def decision_to(decision: Decision) -> decision_pb2.Decision:
    """Return the message of a decision."""
    return decision_pb2.Decision(
        effect=EFFECTS[decision.effect],
        reason=NUMBERS[decision.reason],
        hop=decision.hop,
        findings=[finding_to(finding) for finding in decision.findings],
        obligations=[_obligation_to(obligation) for obligation in decision.obligations],
        decision_id=decision.id,
        revision=decision.revision,
        evaluated_at_ms=int(decision.at * 1000),
        policy_digest=b64decode(decision.policy.encode()) if decision.policy else b"",
        rules=decision.rules,
        shadowed=not decision.enforced,
        awaits=None if decision.awaits is None else _awaited_to(decision.awaits),
    )


def decision_from(message: decision_pb2.Decision) -> Decision:
    """Return the decision that a message states; one whose effect is not understood is a denial."""
    at = message.evaluated_at_ms / 1000
    effect = effect_of(message.effect)
    if effect is None:
        detail = f"the answer's effect {message.effect} is not understood"
        return denied(Finding(reason=Reason.INTERNAL, hop=None, detail=detail), *findings_from(message.findings), at=at)
    return Decision(
        effect=effect,
        reason=_consistent(effect, reason_of(message.reason)),
        hop=message.hop if message.HasField("hop") else None,
        findings=findings_from(message.findings),
        obligations=tuple(Obligation(id=item.id, parameters=dict(item.parameters)) for item in message.obligations),
        id=message.decision_id,
        revision=message.revision,
        at=at,
        enforced=effect is not Effect.DENY or not message.shadowed,
        policy=b64encode(message.policy_digest) if message.policy_digest else "",
        rules=tuple(message.rules),
        awaits=_awaited_from(message.awaits) if message.HasField("awaits") else None,
    )


def _awaited_to(awaits: Awaited) -> decision_pb2.Awaited:
    return decision_pb2.Awaited(
        request_id=awaits.request_id,
        binding=awaits.binding,
        expires_at_seconds=awaits.expires_at,
        threshold=awaits.threshold,
        approvals=awaits.approvals,
    )


def _awaited_from(message: decision_pb2.Awaited) -> Awaited:
    return Awaited(
        request_id=message.request_id,
        binding=message.binding,
        expires_at=message.expires_at_seconds,
        threshold=message.threshold,
        approvals=message.approvals,
    )


def _consistent(effect: Effect, reason: Reason) -> Reason:
    """Never let a denial bear the reason of an allow."""
    return Reason.INTERNAL if effect is not Effect.ALLOW and reason is Reason.ALLOWED else reason


def finding_to(finding: Finding) -> decision_pb2.Finding:
    """Return the message of a finding."""
    return decision_pb2.Finding(reason=NUMBERS[finding.reason], hop=finding.hop, detail=finding.detail)


def findings_from(messages: Iterable[decision_pb2.Finding]) -> tuple[Finding, ...]:
    """Return findings as they stand."""
    return tuple(
        Finding(
            reason=reason_of(message.reason),
            hop=message.hop if message.HasField("hop") else None,
            detail=message.detail,
        )
        for message in messages
    )


def _obligation_to(obligation: Obligation) -> decision_pb2.Obligation:
    """Return the message of an obligation; a parameter that is no string travels as its JSON text."""
    parameters = {
        name: value if isinstance(value, str) else msgspec.json.encode(value).decode()
        for name, value in obligation.parameters.items()
    }
    return decision_pb2.Obligation(id=obligation.id, parameters=parameters)
