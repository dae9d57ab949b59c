"""AgentDojo's four published suites as plain values: what users ask for, what attackers try.

Source: package `agentdojo`, benchmark version v1.2.2 (it loads offline). For every user task and
every injection task the package holds the calls that solve it, with real arguments; those are read
here, against the suite's default environment. `published` checks the counts, so that another
edition of the package cannot change the benchmark unnoticed.

The suites hold 74 tools (24 + 28 + 11 + 11; 69 names, five of them in two suites). Nine of the 35
injection tasks (eight of workspace, one of travel) publish a goal but no calls: there is nothing
of theirs to replay.
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chain.catalog import Catalogue, Tool

VERSION: Final = "v1.2.2"
SUITES: Final = ("workspace", "travel", "banking", "slack")

CATALOGUE_FILE: Final = Path(__file__).parent / "data" / "agentdojo_catalogue.toml"


class Changed(Exception):
    """The installed package or the catalogue is not what the benchmark was written for."""


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call. The tool is named `suite.function`, the arguments are JSON values."""

    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """A user task or an injection task, and the calls that carry it out, in order."""

    id: str
    goal: str
    calls: Sequence[Call]


@dataclass(frozen=True, slots=True)
class Suite:
    """One suite: its tools, what its user wants, what attackers plant in its data."""

    name: str
    tools: Sequence[str]
    user_tasks: Sequence[Task]
    injection_tasks: Sequence[Task]


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is, over all suites."""

    user_tasks: int
    user_calls: int
    injection_tasks: int
    injection_calls: int
    tools: int


PUBLISHED: Final = Counts(user_tasks=97, user_calls=339, injection_tasks=35, injection_calls=47, tools=74)


def published() -> list[Suite]:
    """The four suites.

    Raises:
        ModuleNotFoundError: `agentdojo` is not installed (extra `bench`).
        Changed: the counts are not the published ones.
    """
    load = importlib.import_module("agentdojo.task_suite.load_suites").get_suites
    loaded = load(VERSION)
    suites = [_suite(name, loaded[name]) for name in SUITES]
    found = counts(suites)
    if found != PUBLISHED:
        raise Changed(f"agentdojo {VERSION} holds {found}, expected {PUBLISHED}")
    return suites


def counts(suites: Sequence[Suite]) -> Counts:
    """Counts over `suites`; a tool counts once in each suite that has it."""
    return Counts(
        user_tasks=sum(len(suite.user_tasks) for suite in suites),
        user_calls=sum(len(task.calls) for suite in suites for task in suite.user_tasks),
        injection_tasks=sum(len(suite.injection_tasks) for suite in suites),
        injection_calls=sum(len(task.calls) for suite in suites for task in suite.injection_tasks),
        tools=sum(len(suite.tools) for suite in suites),
    )


def catalogue(path: Path = CATALOGUE_FILE) -> Catalogue:
    """Read the hand-written catalogue; its tools are named `suite.function`.

    Raises:
        Changed: an entry that leaves a member out; nothing is judged by default here. Only `amount` is left out
            throughout, since no tool of the suites says in which currency it pays.
        ValueError: an unknown class or sensitivity, or a member too many.
    """
    tools: dict[str, Tool] = {}
    for suite, entries in tomllib.loads(path.read_text(encoding="utf-8")).items():
        for function, entry in entries.items():
            tool = Tool.model_validate(entry)
            if tool.model_fields_set != Tool.model_fields.keys() - {"amount"}:
                raise Changed(f"catalogue entry `{suite}.{function}` leaves a member out")
            tools[f"{suite}.{function}"] = tool
    return Catalogue(tools)


def _suite(name: str, loaded: Any) -> Suite:
    def tasks(found: Mapping[str, Any], text: str) -> list[Task]:
        # Each ground truth gets an environment of its own: none may see another's changes.
        return [
            Task(
                id=identifier,
                goal=getattr(task, text),
                calls=[
                    Call(f"{name}.{call.function}", dict(call.args))
                    for call in task.ground_truth(loaded.load_and_inject_default_environment({}))
                ],
            )
            for identifier, task in found.items()
        ]

    return Suite(
        name=name,
        tools=[f"{name}.{tool.name}" for tool in loaded.tools],
        user_tasks=tasks(loaded.user_tasks, "PROMPT"),
        injection_tasks=tasks(loaded.injection_tasks, "GOAL"),
    )
