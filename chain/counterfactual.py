"""The smallest change that would flip an answer to ALLOW.

The law of this file: whatever is returned was tried: the call was decided again under it, and was allowed; and with
any one step left out it was not. The work is bounded, and where nothing is found, nothing is claimed. What is not
authentic, not proven or used before is helped by no change, and nobody is told how to get around a person's refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from chain.applied import Situation, applied
from chain.decision import Decision, Finding
from chain.explain import Change, all_may_see
from chain.reason import Reason
from chain.relief import HALVINGS, RELIEFS
from chain.remedy import OF_ARGUMENTS, Proposal, refused

MAX_TRIES = 200
"""Decisions that one search may make, of a tenth to a few milliseconds each: no caller can make it more."""

MAX_STEPS = 48
"""Steps of one change; a longer list helps nobody."""

_STEP = 1_000
_WEIGHTS = {"request": 0, "approval": 1, "grant": 2, "state": 3}
"""What a step costs: first the fewest steps, then what the caller can change itself."""

_LOOKS = {Reason.POLICY_DENIED: HALVINGS, Reason.POLICY_ERROR: HALVINGS}
"""Decisions that proposals take because of a finding, before any of them is tried."""

_RULE, _POLICY = 4, 12
"""How many other steps it outweighs to take a rule out of the policy, or the policy out of force."""


def suggested(
    decision: Decision, situation: Situation, allowed: Callable[[Change], bool] = all_may_see
) -> tuple[Change, ...]:
    """Return the smallest change that would flip a decision, where there is any that may help.

    Args:
        decision: with everything that stands against the call, its proof included.
        situation: the call.
        allowed: tells whether a step may be part of it.
    """
    return () if decision.allowed or unhelped(decision) else smallest(situation, allowed)


class _Place(NamedTuple):
    """Somewhere that steps lead; ordered by what it has cost and is still likely to.

    Attributes:
        likely: cost of the steps, and a step for each thing that still stands against the call.
        against: how many those are; of two that are alike the one with fewer comes first.
        number: of places found before, which no other has.
        steps: that lead there.
        situation: there.
        findings: against the call there.
    """

    likely: int
    against: int
    number: int
    steps: Proposal
    situation: Situation
    findings: tuple[Finding, ...]


class _Search:
    """One search, with what is left of its work."""

    def __init__(self, start: Situation, allowed: Callable[[Change], bool]) -> None:
        self.start = start
        self.allowed = allowed
        self.left = MAX_TRIES
        self.waiting: list[_Place] = []
        self.known: set[frozenset[tuple[str, str]]] = set()

    def run(self) -> Proposal:
        """Return the first steps that are found to flip the answer; none where the work is done before."""
        self.find(())
        while self.waiting:
            place = heappop(self.waiting)
            if not place.findings:
                return place.steps
            self.left -= _LOOKS.get(place.findings[0].reason, 0)
            for proposal in _proposals(place.situation, place.findings[0].reason):
                if self.left > 0 and all(map(self.allowed, proposal)):
                    self.find(_joined(place.steps, proposal))
        return ()

    def find(self, steps: Proposal) -> None:
        """Decide the call where steps lead, unless that is known, no chain, or too far."""
        key = frozenset((step.field, step.after) for step in steps)
        if key in self.known or len(steps) > MAX_STEPS:
            return
        self.known.add(key)
        self.left -= 1
        reached = _reached(steps, self.start)
        if reached is None:
            return
        findings = reached.verdict().findings
        against = _against(reached, findings)
        if len(steps) + against <= MAX_STEPS:
            likely = sum(map(_cost, steps)) + against * _STEP
            heappush(self.waiting, _Place(likely, against, len(self.known), steps, reached, findings))


def smallest(situation: Situation, allowed: Callable[[Change], bool] = all_may_see) -> tuple[Change, ...]:
    """Return the smallest change under which a call would be allowed.

    Args:
        situation: the call as it stands.
        allowed: tells whether a step may be part of it.

    Returns:
        The steps, in order; none where the call is allowed as it is, or where nothing was found.
    """
    return _least(_Search(situation, allowed).run(), situation)


def _against(situation: Situation, findings: tuple[Finding, ...]) -> int:
    """Return how many things stand against a call, as a step lifts them: arguments by name, all else by reason."""
    reasons = {finding.reason for finding in findings}
    return len(reasons - OF_ARGUMENTS) + (len(refused(situation)) if reasons & OF_ARGUMENTS else 0)


def _reached(steps: Proposal, situation: Situation) -> Situation | None:
    """Return where steps lead, or None where they lead nowhere, or to what is no chain."""
    try:
        reached = applied(steps, situation)
    except ValueError:
        return None
    return reached if reached.chain is situation.chain or reached.sound else None


def _proposals(situation: Situation, reason: Reason) -> Iterator[Proposal]:
    for propose in RELIEFS.get(reason, ()):
        yield from filter(None, _proposed(propose, situation))


def _proposed(propose: Callable[[Situation], Iterator[Proposal]], situation: Situation) -> list[Proposal]:
    try:
        return list(propose(situation))
    except ValueError:  # what no grant or principal could state is no proposal
        return []


def _joined(steps: Proposal, proposal: Proposal) -> Proposal:
    """Return steps with further ones; a later one about the same field takes the place of an earlier one."""
    before = {step.field: step.before for step in steps}
    fields = {step.field for step in proposal}
    kept = tuple(step for step in steps if step.field not in fields)
    return kept + tuple(step._replace(before=before.get(step.field, step.before)) for step in proposal)


def _cost(step: Change) -> int:
    many = _POLICY if step.field == "policy" else _RULE if step.field.startswith("policy.") else 1
    return many * _STEP + _WEIGHTS[step.kind]


def _least(steps: Proposal, situation: Situation) -> Proposal:
    """Return what is left once every step that is not needed is out; the dearest go first."""
    for step in sorted(steps, key=_cost, reverse=True):
        fewer = tuple(one for one in steps if one is not step)
        if _flips(fewer, situation):
            return _least(fewer, situation)
    return steps


def _flips(steps: Proposal, situation: Situation) -> bool:
    reached = _reached(steps, situation)
    return reached is not None and not reached.verdict().findings


def unhelped(decision: Decision) -> str:
    """Return why no change would help against a denial, where that follows from it; else the empty string.

    Args:
        decision: as `Check` would answer.
    """
    reasons = {finding.reason for finding in decision.findings}
    if any(reason.number < Reason.NOT_YET_VALID.number for reason in reasons):
        return "the chain is not authentic: no grant, approval or fact makes up for that"
    if Reason.REPLAY in reasons:
        return "the proof or request id was used before: no grant, approval or fact makes up for that"
    if any(map(unproven, reasons)):
        return "nothing shows that the holder asks: no grant, approval or fact makes up for that"
    if Reason.APPROVAL_DENIED in reasons:
        return "somebody refused this very call, and a refusal is final"
    return ""


def unproven(reason: Reason) -> bool:
    """Tell whether a finding leaves open who asks."""
    proof = range(Reason.PROOF_MISSING.number, Reason.REPLAY.number + 1)
    return reason.number in proof
