"""Decisions over the wire: as they were, and never more than was said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.decision import Decision, Effect, Finding, Obligation
from chain.reason import Reason
from chain.v1 import authorization_pb2, decision_pb2, reason_pb2
from chain.wire.decision import decision_from, decision_to
from chain.wire.reason import EFFECTS, NUMBERS, effect_of, reason_of

HOPS = st.none() | st.integers(0, 64)
FINDINGS = st.builds(Finding, reason=st.sampled_from(Reason), hop=HOPS, detail=st.text())


def test_every_reason_and_effect_has_its_number_and_no_other() -> None:
    assert {reason: NUMBERS[reason] for reason in Reason} == {reason: reason.number for reason in Reason}
    assert set(reason_pb2.Reason.values()) == {0, *NUMBERS.values()}
    assert set(decision_pb2.Effect.values()) == {0, *EFFECTS.values()}
    assert all(reason_of(number) is reason for reason, number in NUMBERS.items())


@given(
    effect=st.sampled_from(Effect),
    findings=st.lists(FINDINGS, min_size=1, max_size=4),
    at_ms=st.integers(0, 2**41),
    obligations=st.dictionaries(st.text(), st.dictionaries(st.text(), st.text(), max_size=2), max_size=2),
)
def test_a_decision_comes_back_as_it_was(
    effect: Effect, findings: list[Finding], at_ms: int, obligations: dict[str, dict[str, str]]
) -> None:
    reason = Reason.ALLOWED if effect is Effect.ALLOW else Reason.REVOKED
    decision = Decision(
        effect=effect,
        reason=reason,
        hop=findings[0].hop,
        findings=tuple(findings),
        obligations=tuple(Obligation(id=name, parameters=value) for name, value in obligations.items()),
        id="d-1",
        revision=7,
        at=at_ms / 1000,
    )
    sent = decision_pb2.Decision.FromString(decision_to(decision).SerializeToString())
    back = decision_from(sent)
    assert back.model_copy(update={"at": 0}) == decision.model_copy(update={"at": 0})
    assert abs(back.at - decision.at) <= 0.001


@pytest.mark.parametrize("effect", [0, 4, 99, -1])
def test_an_effect_that_is_not_known_denies(effect: int) -> None:
    assert effect_of(effect) is None
    message = decision_pb2.Decision(effect=effect, reason=reason_pb2.REASON_ALLOWED, decision_id="x")
    assert not decision_from(message).allowed
    message.effect = decision_pb2.EFFECT_ALLOW
    assert decision_from(message).allowed


def test_a_reply_without_a_decision_denies() -> None:
    assert not decision_from(authorization_pb2.CheckResponse().decision).allowed
    allow = decision_pb2.Decision(effect=decision_pb2.EFFECT_ALLOW)
    assert decision_from(authorization_pb2.CheckResponse(decision=allow).decision).allowed


@pytest.mark.parametrize("reason", [0, 999_999])
def test_a_reason_that_is_not_known_changes_nothing_about_the_effect(reason: int) -> None:
    for effect in Effect:
        message = decision_pb2.Decision(effect=EFFECTS[effect], reason=reason)
        assert decision_from(message).effect is effect
        assert decision_from(message).reason is Reason.INTERNAL


def test_a_denial_never_bears_the_reason_of_an_allow() -> None:
    message = decision_pb2.Decision(effect=decision_pb2.EFFECT_DENY, reason=reason_pb2.REASON_ALLOWED)
    assert decision_from(message).reason is Reason.INTERNAL
