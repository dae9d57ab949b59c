"""The replay: human -> orchestrator -> reader, writer and actor -> tool, one suite and mode at once.

Every user task is set up (a root by the human for the orchestrator, a delegation to each agent that
gets anything), its ground-truth calls are checked with their real arguments by the agent of their
class, and then every injection task of the suite is tried under the very same delegations. Two
attackers:

any agent: the worst case. Each party of the run, the orchestrator included, tries the injected call
    with its own chain and its own key; it counts as refused only if every one was refused.
reader: the agent that reads the planted text tries it itself, which is where an injection lands.
    A run whose task reads nothing has no reader, and no such attempt.

Nothing is executed: the question is only what the authority would let through. Each injected call
is judged by itself, so one that merely reads (the first step of an exfiltration) counts as passed
even when the step that carries the data out is refused.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from benchmarks import agentdojo_grants as grants
from benchmarks.agentdojo_data import Call, Suite, Task
from benchmarks.measure import Timing, timing
from chain.catalog import Catalogue

if TYPE_CHECKING:
    from benchmarks.agentdojo_grants import Grant, Plan

Held = TypeVar("Held")


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer: allowed or not, the reason code, and the hop that refused if one did."""

    allowed: bool
    reason: str
    hop: int | None


class Door(Protocol[Held]):
    """What the replay needs of a running authority; `Held` is a delegation in somebody's hands."""

    def issue(self, holder: str, grant: Grant, task: str) -> Held:
        """The human issues a root to `holder` for the task named `task`."""
        ...

    def delegate(self, parent: Held, holder: str, grant: Grant) -> Held:
        """The parent's holder hands `grant` to `holder`; raises when refused."""
        ...

    def check(self, held: Held, call: Call) -> Verdict:
        """Its holder asks to make the call, with a proof or over its own channel."""
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """A legitimate call that was refused."""

    user_task: str
    tool: str
    reason: str
    hop: int | None


@dataclass(slots=True)
class Tried:
    """One injected call over all user tasks of its suite.

    Attributes:
        index: position in its injection task's ground truth.
        pairs: user tasks under which it was tried.
        passed: user tasks under which some agent got it through, and which agents.
        reader_pairs, reader_passed: the same for the reader alone, counted.
        reasons: how often each reason refused an attempt.
    """

    injection_task: str
    index: int
    tool: str
    arguments: Mapping[str, Any]
    pairs: int = 0
    passed: dict[str, list[str]] = field(default_factory=dict)
    reader_pairs: int = 0
    reader_passed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What came out for one suite and one mode."""

    suite: str
    mode: str
    legitimate: int = 0
    refused: list[Refusal] = field(default_factory=list)
    tried: list[Tried] = field(default_factory=list)
    delegate_ns: list[int] = field(default_factory=list)
    check_ns: list[int] = field(default_factory=list)

    @property
    def delegate(self) -> Timing:
        """One `Delegate`, as its caller sees it."""
        return timing(self.delegate_ns)

    @property
    def check(self) -> Timing:
        """One `Check`, as its caller sees it; the injected ones included."""
        return timing(self.check_ns)


def replay(door: Door[Held], suite: Suite, mode: str, catalogue: Catalogue) -> Outcome:
    """Plays every user task of a suite with grants made the way `mode` says.

    Raises:
        ValueError: an unknown mode.
        Exception: whatever the door raises when a delegation that must succeed does not.
    """
    outcome = Outcome(suite.name, mode)
    outcome.tried = [
        Tried(task.id, index, call.tool, call.arguments)
        for task in suite.injection_tasks
        for index, call in enumerate(task.calls)
    ]
    standing = _set_up(door, grants.for_role(suite, catalogue), suite.name, outcome) if mode == grants.ROLE else None
    for task in suite.user_tasks:
        held = standing or _set_up(door, _plan(mode, task, catalogue), f"{suite.name}.{task.id}", outcome)
        _legitimate(door, held, task, catalogue, outcome)
        for tried in outcome.tried:
            _attack(door, held, task, tried, outcome)
    return outcome


def _plan(mode: str, task: Task, catalogue: Catalogue) -> Plan:
    if mode == grants.TASK:
        return grants.for_task(task, catalogue)
    if mode == grants.TOOLS:
        return grants.for_tools(task, catalogue)
    raise ValueError(f"unknown mode `{mode}`")


def _set_up(door: Door[Held], plan: Plan, task: str, outcome: Outcome) -> dict[str, Held]:
    """The delegations of one run, by who holds them."""
    root = door.issue(grants.ORCHESTRATOR, plan.root, task)
    held = {grants.ORCHESTRATOR: root}
    for agent, grant in plan.agents.items():
        start = time.perf_counter_ns()
        held[agent] = door.delegate(root, agent, grant)
        outcome.delegate_ns.append(time.perf_counter_ns() - start)
    return held


def _legitimate(
    door: Door[Held],
    held: Mapping[str, Held],
    task: Task,
    catalogue: Catalogue,
    outcome: Outcome,
) -> None:
    for call in task.calls:
        verdict = _ask(door, held[grants.agent_for(call, catalogue)], call, outcome)
        outcome.legitimate += 1
        if not verdict.allowed:
            outcome.refused.append(Refusal(task.id, call.tool, verdict.reason, verdict.hop))


def _attack(door: Door[Held], held: Mapping[str, Held], task: Task, tried: Tried, outcome: Outcome) -> None:
    call = Call(tried.tool, tried.arguments)
    tried.pairs += 1
    for agent, leaf in held.items():
        verdict = _ask(door, leaf, call, outcome)
        is_reader = agent == grants.AGENTS["read"]
        tried.reader_pairs += is_reader
        if verdict.allowed:
            tried.passed.setdefault(task.id, []).append(agent)
            tried.reader_passed += is_reader
        else:
            tried.reasons[verdict.reason] = tried.reasons.get(verdict.reason, 0) + 1


def _ask(door: Door[Held], leaf: Held, call: Call, outcome: Outcome) -> Verdict:
    start = time.perf_counter_ns()
    verdict = door.check(leaf, call)
    outcome.check_ns.append(time.perf_counter_ns() - start)
    return verdict
