"""The search for steps that flip an answer.

The law of this file: the likeliest place is looked at first, and none before it is the likeliest. Steps are first taken
to do what they were proposed for, and only the trial tells whether they do. Who runs out of work finds nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from typing import NamedTuple, TypeAlias

from chain import relief, remedy
from chain.applied import Situation
from chain.decision import Finding
from chain.explain import Change
from chain.reason import Reason
from chain.relief import HALVINGS, OF_THE_CALL, RELIEFS, of_the_call
from chain.remedy import OF_ARGUMENTS, TOGETHER, Proposal, refused
from chain.trial import Trials, Weighed

MAX_STEPS = 48
"""Steps of one change; a longer list helps nobody. A field that changes at many hops is one step."""

_STEP = 1_000
_WEIGHTS = {"request": 0, "approval": 1, "grant": 2, "state": 3}
"""What a step costs: first the fewest steps, then what the caller can change itself."""

_HOP = 4
"""What each further hop costs at which the same field changes."""

_GUESS = 1_300
"""What it is guessed to cost that something more stands against a call: a bit more than most steps do. So whoever got
furthest goes on, and ways of the same length beside it are not all looked at first."""

_DETOUR, _AGAIN = 300, 3_000
"""What it costs to follow the second proposal of a source, or twice that a later one: the first is the nearest. And to
do so again on the same way: whoever tries every other value of everything finds nothing else."""

_RULE, _POLICY = 4, 12
"""How many other steps it outweighs to take a rule out of the policy, or the policy out of force."""

_LATE = frozenset(
    {
        Reason.POLICY_DENIED,
        Reason.POLICY_ERROR,
        Reason.HOP_UNAPPROVED,
        Reason.APPROVAL_REQUIRED,
        Reason.APPROVAL_THROTTLED,
    }
)
"""Findings of questions that are not asked while another stands against the call (`Trials.weigh`)."""

_VALUES = 200
"""What it takes to propose another value of one argument, beside asking what refuses it."""

_HOP_FIELD = re.compile(r"hops\.\d+\.")

Source: TypeAlias = Callable[[Situation], Iterator[Proposal]]
"""Proposes changes of a call."""


def fields(steps: Iterable[Change]) -> list[Proposal]:
    """Return steps by what they change, the same field of every hop together."""
    found: dict[str, list[Change]] = defaultdict(list)
    for step in steps:
        found[_HOP_FIELD.sub("hops.", step.field, count=1)].append(step)
    return [tuple(together) for together in found.values()]


def cost(steps: Iterable[Change]) -> int:
    """Return what steps cost."""
    return sum(_weight(together[0]) + _HOP * (len(together) - 1) for together in fields(steps))


def _weight(step: Change) -> int:
    many = _POLICY if step.field == "policy" else _RULE if step.field.startswith("policy.") else 1
    return many * _STEP + _WEIGHTS[step.kind]


class _Path(NamedTuple):
    """How one came somewhere.

    Attributes:
        steps: that lead there.
        expected: how many late findings stand there, as far as is known.
        surprise: how many more than expected came up on the way.
        detour: what it costs that it was not the nearest way.
        meant: what the last of the steps are meant to lift.
    """

    steps: Proposal
    expected: int = 0
    surprise: int = 0
    detour: int = 0
    meant: Reason = Reason.ALLOWED


class _Task(NamedTuple):
    """Something to do next.

    Attributes:
        likely: what the steps cost, and what they are guessed to that would lift what still stands against the call.
        against: how many those are; of two that are alike the one with fewer comes first.
        number: of tasks before, which no other has.
        path: to look at; or that led to the situation.
        source: asked what to change of it; None to look at the path.
        situation: where that is.
        reason: that stands against the call there.
    """

    likely: int
    against: int
    number: int
    path: _Path
    source: Source | None = None
    situation: Situation | None = None
    reason: Reason = Reason.ALLOWED


class Seeking:
    """One search."""

    def __init__(self, trials: Trials, allowed: Callable[[Change], bool]) -> None:
        """Prepare.

        Args:
            trials: of the call, with the work that may be done.
            allowed: tells whether a step may be part of the change.
        """
        self._trials = trials
        self._allowed = allowed
        self._waiting: list[_Task] = []
        self._known: set[frozenset[tuple[str, str]]] = {frozenset()}
        self._surprise = 0
        self._number = 0

    def run(self) -> Proposal:
        """Return the first steps that are found to flip the answer; none where there are none, or no more work."""
        start = self._trials.begin()
        if start.findings:
            self._found(_Path((), expected=len(_late(start.findings))), self._trials.start, start)
        while self._waiting and self._trials.left:
            task = heappop(self._waiting)
            if task.path.surprise < self._surprise:
                self._put_off(task)
            elif task.source is not None and task.situation is not None:
                self._propose(task, task.source, task.situation)
            elif self._look(task.path):
                return task.path.steps
        return ()

    def _look(self, path: _Path) -> bool:
        """Tell whether steps flip the answer; where they do not, go on from there."""
        situation = self._trials.reach(path.steps)
        weighed = None if situation is None else self._trials.weigh(situation)
        if situation is None or weighed is None:
            return False
        if weighed.findings:
            self._found(path, situation, weighed)
        return not weighed.findings

    def _found(self, path: _Path, situation: Situation, weighed: Weighed) -> None:
        """Ask what might lift what stands against the call."""
        late = _late(weighed.findings)
        expected = len(late) if weighed.whole else max(len(late), path.expected)
        more = max(0, len(late - {path.meant}) - path.expected)
        self._surprise = max(self._surprise, path.surprise + more)
        path = path._replace(expected=expected, surprise=path.surprise + more)
        against = expected + _plain(situation, weighed.findings)
        for source in _sources(weighed.findings):
            self._put(against, path, source, situation, weighed.findings[0].reason)

    def _propose(self, task: _Task, source: Source, situation: Situation) -> None:
        """Put every proposal of a source beside what waits."""
        if not self._trials.pay(self._price(source, situation, task.against)):
            return
        path = task.path._replace(expected=max(0, task.path.expected - (task.reason in _LATE)))
        for place, proposal in enumerate(_proposed(source, situation)):
            steps = _joined(path.steps, proposal)
            key = frozenset((step.field, step.after) for step in steps)
            if key in self._known or not all(map(self._allowed, proposal)):
                continue
            self._known.add(key)
            lifted = len(proposal) if proposal[0].field.startswith("arguments.") else 1
            against = max(0, task.against - lifted)
            if len(fields(steps)) + against <= MAX_STEPS:
                detour = path.detour + min(place, 2) * _DETOUR + (_AGAIN if place and path.detour else 0)
                self._put(against, path._replace(steps=steps, detour=detour, meant=task.reason))

    def _price(self, source: Source, situation: Situation, against: int) -> int:
        """Return what it takes to ask a source."""
        hops = self._trials.hops
        if source is remedy.arguments:
            return hops + _VALUES * min(against, TOGETHER)
        if source is relief.amounts:
            return HALVINGS * hops
        afresh = source is relief.rules and not self._trials.remembers(situation)
        return hops + self._trials.cold if afresh else hops

    def _put(
        self,
        against: int,
        path: _Path,
        source: Source | None = None,
        situation: Situation | None = None,
        reason: Reason = Reason.ALLOWED,
    ) -> None:
        self._number += 1
        likely = cost(path.steps) + path.detour + against * _GUESS
        if source is relief.rules:
            likely += (_RULE - 1) * _STEP
        heappush(self._waiting, _Task(likely, against, self._number, path, source, situation, reason))

    def _put_off(self, task: _Task) -> None:
        """Expect here, too, what came up unexpected elsewhere: else everything beside that is looked at before it."""
        more = self._surprise - task.path.surprise
        path = task.path._replace(expected=task.path.expected + more, surprise=self._surprise)
        self._put(task.against + more, path, task.source, task.situation, task.reason)


def _late(findings: Iterable[Finding]) -> frozenset[Reason]:
    return _LATE.intersection(finding.reason for finding in findings)


def _plain(situation: Situation, findings: Iterable[Finding]) -> int:
    """Return how many other things stand against a call, as a step lifts them: arguments by name, else by reason."""
    reasons = {finding.reason for finding in findings} - _LATE
    return len(reasons - OF_ARGUMENTS) + (len(refused(situation)) if reasons & OF_ARGUMENTS else 0)


def _sources(findings: tuple[Finding, ...]) -> tuple[Source, ...]:
    """Return what may lift the first of the findings, and all of its reason."""
    reason = findings[0].reason
    own = OF_THE_CALL.get(reason, ()) if any(map(of_the_call, findings)) else ()
    return own + RELIEFS.get(reason, ())


def _proposed(source: Source, situation: Situation) -> list[Proposal]:
    try:
        return [proposal for proposal in source(situation) if proposal]
    except ValueError:  # what no grant or principal could state is no proposal
        return []


def _joined(steps: Proposal, proposal: Proposal) -> Proposal:
    """Return steps with further ones; a later one about the same field takes the place of an earlier one."""
    before = {step.field: step.before for step in steps}
    changed = {step.field for step in proposal}
    kept = tuple(step for step in steps if step.field not in changed)
    return kept + tuple(step._replace(before=before.get(step.field, step.before)) for step in proposal)
