"""The smallest change that would flip an answer to ALLOW.

The law of this file: whatever is returned was tried: the call was decided again under it, and was allowed; and with
any one step left out it was not. The work is bounded (chain/trial.py), and where nothing is found, nothing is claimed.
What is not authentic, not proven or used before is helped by no change, and nobody is told how to get around a person's
refusal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import chain as joined

from chain.applied import Situation
from chain.decision import Decision
from chain.explain import Change, all_may_see
from chain.reason import Reason
from chain.remedy import Proposal
from chain.seeking import Seeking, cost, fields
from chain.trial import Trials


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


def smallest(situation: Situation, allowed: Callable[[Change], bool] = all_may_see) -> tuple[Change, ...]:
    """Return the smallest change under which a call would be allowed.

    Args:
        situation: the call as it stands.
        allowed: tells whether a step may be part of it.

    Returns:
        The steps, in order; none where the call is allowed as it is, or where nothing was found.
    """
    trials = Trials(situation)
    return least(Seeking(trials, allowed).run(), trials)


def least(steps: Proposal, trials: Trials) -> Proposal:
    """Return what is left of steps that flip an answer once everything is out that is not needed.

    A field goes out for all hops at once, or for one of them; the dearest goes first. None are left where too little
    work is: that something is needed was tried, too.

    Args:
        steps: under which the call is allowed.
        trials: of the call; they may work as long again as they did to find the steps.
    """
    trials.renew()
    parts = dict.fromkeys(joined(fields(steps), ((step,) for step in steps)))
    waiting = deque(sorted(parts, key=cost, reverse=True))
    tried = 0
    while tried < len(waiting):
        part = waiting[0]
        fewer = tuple(step for step in steps if step not in part)
        if fewer == steps:  # it went out with another
            waiting.popleft()
            continue
        flips = trials.flips(fewer)
        if flips is None:
            return ()
        waiting.rotate(-1)
        steps, tried = (fewer, 0) if flips else (steps, tried + 1)
    return steps


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
