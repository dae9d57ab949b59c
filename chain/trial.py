"""Calls decided on trial, under one change after the other, until the work is used up.

The law of this file: work is counted and bounded, in hops that are asked, and never timed. What is cheap to ask is
asked first, and where that stands against a call, nothing dear is. What was made or asked once is not made or asked
again.
"""

from __future__ import annotations

from typing import NamedTuple

from chain import ruling
from chain.applied import Situation, applied
from chain.decision import Finding
from chain.outcome import PolicyView
from chain.reason import Reason
from chain.regrant import Regrants
from chain.remedy import Proposal

WORK = 20_000
"""What one search may do; a hop that is asked about one argument counts 1, which takes a few microseconds."""

FIXED = 16
"""What a decision takes beside its hops."""

MADE = 16
"""What it takes to make a hop that grants something else."""

PARSED = 2_000
"""What it takes to make a policy that lacks some of its rules."""

COLD = 80
"""What a policy takes for a hop that it does not remember."""


class Weighed(NamedTuple):
    """What stands against a call on trial.

    Attributes:
        findings: as far as was asked; none only where everything was asked, and the call would be allowed.
        whole: whether everything was asked.
    """

    findings: tuple[Finding, ...]
    whole: bool


class Trials:
    """Every trial of one call.

    Attributes:
        start: the call as it stands.
        left: of the work.
    """

    def __init__(self, start: Situation, work: int | None = None) -> None:
        """Begin with a call; `work` is `WORK` where none is given."""
        self.start = start
        self.left = self._work = WORK if work is None else work
        self._regrants = Regrants(start.request.tool, start.rules)
        self._policies: dict[tuple[object, ...], PolicyView | None] = {}
        self._asked: set[tuple[object, ...]] = set()

    @property
    def hops(self) -> int:
        """What it takes to ask every hop once."""
        return len(self.start.chain) * (2 + len(self.start.request.arguments)) + FIXED

    @property
    def cold(self) -> int:
        """What it takes to ask a policy about hops that it does not remember."""
        return len(self.start.chain) * COLD

    def begin(self) -> Weighed:
        """Ask everything of the call as it stands."""
        self.pay(self.hops)
        self._remind(self.start)
        self._asked.add(self._question(self.start))
        return Weighed(self.start.verdict().findings, whole=True)

    def renew(self) -> None:
        """Let as much be done again as at first."""
        self.left = self._work

    def pay(self, work: int) -> bool:
        """Tell whether so much work may still be done; it counts as done then."""
        if work > self.left:
            self.left = 0
            return False
        self.left -= work
        return True

    def reach(self, steps: Proposal) -> Situation | None:
        """Return where steps lead, or None where they lead nowhere, or to what is no chain."""
        made = self._regrants.made
        try:
            reached = applied(steps, self.start, self._regrants)
        except ValueError:
            return None
        finally:
            self.pay(len(self.start.chain) + MADE * (self._regrants.made - made))
        changed = reached.chain is not self.start.chain
        if changed and not (reached.under_ceiling and self._regrants.sound(reached.chain)):
            return None
        self._remind(reached)
        return reached

    def weigh(self, situation: Situation) -> Weighed | None:
        """Ask what stands against a call: all but the policy first, then the root's hop, then everything.

        Returns:
            None where too little work is left to tell.
        """
        if not self.pay(self.hops):
            return None
        findings = situation.verdict(ruling.policy).findings
        if findings or situation.state.policy is None:
            return Weighed(findings, whole=situation.state.policy is None)
        if not self.remembers(situation):
            if not self.pay(COLD):
                return None
            root = situation.rooted.findings
            if any(finding.reason is Reason.POLICY_DENIED for finding in root):
                return Weighed(root, whole=False)
            if not self.pay(self.cold):
                return None
            self._asked.add(self._question(situation))
        return Weighed(situation.verdict().findings, whole=True)

    def flips(self, steps: Proposal) -> bool | None:
        """Tell whether the call would be allowed after steps; None where too little work is left to tell."""
        reached = self.reach(steps)
        if reached is None:
            return False
        weighed = self.weigh(reached)
        return None if weighed is None else not weighed.findings

    def remembers(self, situation: Situation) -> bool:
        """Tell whether the policy was asked about these hops before."""
        return self._question(situation) in self._asked

    @staticmethod
    def _question(situation: Situation) -> tuple[object, ...]:
        """Return what a policy remembers its answer about the hops by."""
        state = situation.state
        return situation.chain, state.policy, tuple(state.party(hop.holder) for hop in situation.chain.hops)

    def _remind(self, situation: Situation) -> None:
        """Go on with the policy that was asked about this very chain before."""
        state = situation.state
        key = (situation.chain, *state.hypothesis.rules)
        if key in self._policies:
            state.ask(self._policies[key])
            return
        if state.hypothesis.without_rules:
            self.pay(PARSED)
        self._policies[key] = state.policy
