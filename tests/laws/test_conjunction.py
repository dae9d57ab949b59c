"""A decision is chain and policy and state: whatever is added takes away, and nothing rescues what was refused."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chain.case import Case
from chain.check import QUESTIONS, check
from chain.decision import Effect
from chain.live import Live
from chain.reason import Reason
from chain.request import Request
from tests.laws.facts import CONTROLS, FORBIDS, Control, Situation, facts, policy, situations
from tests.support import PEP, World

SEEDED = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=400)

RANK = {Effect.DENY: 0, Effect.APPROVAL_REQUIRED: 1, Effect.ALLOW: 2}

REASONS: dict[str, set[Reason]] = {
    "window": {Reason.NOT_YET_VALID, Reason.EXPIRED, Reason.LIFETIME_EXCEEDED},
    "audience": {Reason.AUDIENCE_MISSING, Reason.AUDIENCE_MISMATCH},
    "capability": {
        Reason.TOOL_NOT_GRANTED, Reason.ARGUMENT_MISSING, Reason.ARGUMENT_NOT_GRANTED, Reason.CONSTRAINT_VIOLATED
    },
    "holder": {Reason.PROOF_MISSING, Reason.HOLDER_MISMATCH, Reason.REQUEST_ID_MISSING, Reason.REPLAY},
    "revoked": {Reason.REVOKED},
    "suspended": {Reason.SUSPENDED, Reason.QUARANTINED},
    "rate": {Reason.RATE_LIMITED},
    "enrolled": {Reason.HOLDER_UNKNOWN},
    "action_class": {Reason.CLASS_NOT_GRANTED},
    "classification": {Reason.CLASSIFICATION_EXCEEDED},
    "purpose": {Reason.PURPOSE_MISSING, Reason.PURPOSE_MISMATCH},
    "intent": {Reason.INTENT_MISSING, Reason.INTENT_MISMATCH},
    "home": {Reason.STATE_UNAVAILABLE},
    "policy": {Reason.POLICY_DENIED, Reason.POLICY_ERROR, Reason.HOP_UNAPPROVED, Reason.AMOUNT_UNREADABLE},
    "approval": {Reason.APPROVAL_REQUIRED, Reason.APPROVAL_DENIED, Reason.APPROVAL_THROTTLED},
    "budget": {Reason.BUDGET_EXCEEDED, Reason.AMOUNT_UNREADABLE},
}  # fmt: skip
"""What each question finds, in the order of TOKEN.md s4."""

several = st.lists(st.sampled_from(CONTROLS), max_size=4, unique_by=lambda control: control.name)
rules = st.sets(st.sampled_from(sorted(FORBIDS)))


@pytest.fixture(scope="module")
def live() -> Live:
    return World().authority._desk.live


def effect(live: Live, situation: Situation, controls: list[Control], **instead: object) -> Effect:
    state = facts(live, controls, **instead)
    return check(situation.chain(), situation.asked(), state, situation.now).decision.effect


def test_the_table_is_that_of_the_questions() -> None:
    assert [question.__name__ for question in QUESTIONS] == list(REASONS)


@SEEDED
@given(situation=situations, standing=several, one=st.sampled_from(CONTROLS))
def test_whatever_is_added_permits_no_more(
    live: Live, situation: Situation, standing: list[Control], one: Control
) -> None:
    """A suspension, a revocation by name, a spent budget, a risk, a rate, a policy: none turns a denial into more."""
    before = effect(live, situation, standing)
    assert RANK[effect(live, situation, [*standing, one])] <= RANK[before]


@SEEDED
@given(situation=situations, standing=several)
def test_a_gate_permits_no_more(live: Live, situation: Situation, standing: list[Control]) -> None:
    free, gated = situation._replace(gated=False), situation._replace(gated=True)
    assert RANK[effect(live, gated, standing)] <= RANK[effect(live, free, standing)]


@SEEDED
@given(situation=situations, standing=several, few=rules, more=rules)
def test_a_rule_that_forbids_permits_no_more(
    live: Live, situation: Situation, standing: list[Control], few: set[str], more: set[str]
) -> None:
    fewer, all_of_them = policy(*sorted(few)), policy(*sorted(few | more))
    others = [control for control in standing if control.name != "policy"]
    narrowed = effect(live, situation, others, policy=all_of_them)
    assert RANK[narrowed] <= RANK[effect(live, situation, others, policy=fewer)]
    assert RANK[narrowed] <= RANK[effect(live, situation, others, policy=None)]


@SEEDED
@given(situation=situations, standing=several, few=rules)
def test_findings_come_in_the_order_of_the_questions(
    live: Live, situation: Situation, standing: list[Control], few: set[str]
) -> None:
    others = [control for control in standing if control.name != "policy"]
    state = facts(live, others, policy=policy(*sorted(few)) if few else None)
    case, found = Case(situation.chain(), situation.asked(), state, situation.now), 0
    for question in QUESTIONS:
        question(case)
        assert {finding.reason for finding in case.findings[found:]} <= REASONS[question.__name__]
        found = len(case.findings)
    verdict = check(situation.chain(), situation.asked(), state, situation.now)
    assert list(verdict.findings) == case.findings


@SEEDED
@given(situation=situations, standing=several)
def test_people_are_asked_only_where_nothing_else_is_found(
    live: Live, situation: Situation, standing: list[Control]
) -> None:
    state = facts(live, standing)
    verdict = check(situation.chain(), situation.asked(), state, situation.now)
    reasons = {finding.reason for finding in verdict.findings}
    assert (verdict.decision.effect is Effect.APPROVAL_REQUIRED) is (reasons == {Reason.APPROVAL_REQUIRED})
    assert (verdict.decision.effect is Effect.ALLOW) is (not reasons)
    if reasons:
        assert (verdict.spends, verdict.used, verdict.goes_through) == ((), None, False)
    else:
        assert bool(verdict.spends) is (situation.limits >= 5)


@SEEDED
@given(situation=situations, standing=several)
def test_the_same_facts_give_the_same_verdict_and_are_left_as_they_were(
    live: Live, situation: Situation, standing: list[Control]
) -> None:
    state = facts(live, standing)
    before = (dict(live._nonces), set(live.revoked), dict(state.controls.suspensions), set(state.controls.struck))
    first = check(situation.chain(), situation.asked(), state, situation.now)
    assert first == check(situation.chain(), situation.asked(), state, situation.now)
    assert first == check(situation.chain(), situation.asked(), facts(live, standing), situation.now)
    after = (dict(live._nonces), set(live.revoked), dict(state.controls.suspensions), set(state.controls.struck))
    assert before == after


def test_all_three_answers_are_found(live: Live) -> None:
    """The situations reach an ALLOW, a denial and a question to people, so that the laws compare something."""
    request = Request(tool="bank.pay", arguments={"amount": 5}, audience=PEP, request_id="0123456789abcdef")
    plain = Situation(2, 1, False, request, stranger=False, late=False)
    assert effect(live, plain, []) is Effect.ALLOW
    assert effect(live, plain._replace(gated=True), []) is Effect.APPROVAL_REQUIRED
    assert effect(live, plain, [], policy=policy()) is Effect.APPROVAL_REQUIRED
    assert [effect(live, plain, [control]) for control in CONTROLS].count(Effect.DENY) >= 9
