"""Grants for an orchestrator and its three agents, as plain JSON: `tools` and `limits` of TOKEN.md.

An agent stands for one class of tools: the reader reads, the writer writes, the actor acts. An
agent without a tool gets no grant at all. Three ways to grant:

task: made for one user task: only the tools of that task, with constraints on their arguments.
    The values come **from the task's ground truth**: this is the upper bound of what an orchestrator
    could derive from the user's words (a value that the user did not say, such as the cheapest
    hotel, a real one could grant only after the reader has returned it). Scalars: `exact` or
    `one_of`; arrays: `subset`; free text that only the agent composes: `wildcard`.
    Where a task calls a tool several times, the grant permits any combination of the values seen.
tools: made for one user task: only the tools of that task, any arguments. The lower bound of the
    same idea: an orchestrator that plans which tools, and no more.
role: one standing grant per agent and suite, every tool of its class, any arguments.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.agentdojo_data import Call, Suite, Task
from chain.catalog import Catalogue

TASK: Final = "task"
TOOLS: Final = "tools"
ROLE: Final = "role"
MODES: Final = (TASK, TOOLS, ROLE)

ORCHESTRATOR: Final = "orchestrator"
AGENTS: Final = {"read": "reader", "write": "writer", "act": "actor"}

FREE_TEXT: Final = frozenset({"body", "content", "description", "subject", "title"})
"""Arguments that hold prose which the agent writes while it works: no plan made beforehand can
know them, so every mode leaves them open. Whatever an attacker can do by words alone to a permitted
recipient therefore passes, and the report names it."""

Grant = dict[str, Any]
"""`{"tools": {TOOL: {ARGUMENT: CONSTRAINT}}, "limits": {"classes": [...]}}`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the human grants the orchestrator, and what it hands on, by agent."""

    root: Grant
    agents: Mapping[str, Grant]


def for_task(task: Task, catalogue: Catalogue) -> Plan:
    """Return the plan of mode `task`."""
    values: dict[str, dict[str, list[Any]]] = {}
    for call in task.calls:
        seen = values.setdefault(call.tool, {})
        for argument, value in call.arguments.items():
            seen.setdefault(argument, []).append(value)
    return _plan(
        {
            tool: {argument: constraint(argument, given) for argument, given in seen.items()}
            for tool, seen in values.items()
        },
        catalogue,
    )


def for_tools(task: Task, catalogue: Catalogue) -> Plan:
    """Return the plan of mode `tools`."""
    return _plan({call.tool: {} for call in task.calls}, catalogue)


def for_role(suite: Suite, catalogue: Catalogue) -> Plan:
    """Return the plan of mode `role`."""
    return _plan({tool: {} for tool in suite.tools}, catalogue)


def agent_for(call: Call, catalogue: Catalogue) -> str:
    """Return the agent whose class the call's tool has."""
    return AGENTS[catalogue.tool(call.tool).action_class]


def constraint(argument: str, values: Sequence[Any]) -> dict[str, Any]:
    """The narrowest constraint of the vocabulary that permits every value seen.

    Raises:
        ValueError: arrays and scalars mixed, or objects, for one argument.
    """
    if argument in FREE_TEXT:
        return {"constraint_type": "wildcard"}
    if all(isinstance(value, list) for value in values):
        return {"constraint_type": "subset", "allowed": _distinct(x for v in values for x in v)}
    if any(isinstance(value, list | dict) for value in values):
        raise ValueError(f"argument `{argument}` mixes kinds of value")
    distinct = _distinct(values)
    if len(distinct) == 1:
        return {"constraint_type": "exact", "value": distinct[0]}
    return {"constraint_type": "one_of", "values": distinct}


def _plan(capabilities: Mapping[str, Mapping[str, Any]], catalogue: Catalogue) -> Plan:
    by_class: dict[str, dict[str, Any]] = {action: {} for action in AGENTS}
    for tool, constraints in capabilities.items():
        by_class[catalogue.tool(tool).action_class][tool] = dict(constraints)
    granted = {action: held for action, held in by_class.items() if held}
    return Plan(
        root=_grant({tool: c for held in granted.values() for tool, c in held.items()}, granted),
        agents={AGENTS[action]: _grant(held, [action]) for action, held in granted.items()},
    )


def _grant(capabilities: Mapping[str, Any], classes: Iterable[str]) -> Grant:
    return {"tools": dict(capabilities), "limits": {"classes": list(classes)}}


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Values once each, in the order first seen; objects are compared by their JSON."""
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())
