"""Reasons and effects by their numbers.

The law of this file: an unknown number never permits. An effect that is not known is a denial; a reason that is not
known is `INTERNAL`, and changes nothing about the effect.
"""

from __future__ import annotations

from chain.decision import Effect
from chain.reason import Reason
from chain.v1 import decision_pb2, reason_pb2

EFFECTS: dict[Effect, decision_pb2.Effect.ValueType] = {
    Effect.ALLOW: decision_pb2.EFFECT_ALLOW,
    Effect.DENY: decision_pb2.EFFECT_DENY,
    Effect.APPROVAL_REQUIRED: decision_pb2.EFFECT_APPROVAL_REQUIRED,
}

NUMBERS: dict[Reason, reason_pb2.Reason.ValueType] = {
    reason: reason_pb2.Reason.Value(f"REASON_{reason.name}") for reason in Reason
}

HIGHEST = max(reason.number for reason in Reason)
"""The vocabulary only grows, so its highest number is its version."""

_EFFECTS: dict[int, Effect] = {number: effect for effect, number in EFFECTS.items()}
_REASONS: dict[int, Reason] = {number: reason for reason, number in NUMBERS.items()}


def effect_of(number: int) -> Effect | None:
    """Return the effect, or None for one that is not known: the caller denies."""
    return _EFFECTS.get(number)


def reason_of(number: int) -> Reason:
    """Return the reason, `INTERNAL` for one that is not known."""
    return _REASONS.get(number, Reason.INTERNAL)
