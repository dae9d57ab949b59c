"""Who can do what: the constraints of every hop, asked with the predicates that `chain.check` asks.

The law of this file: a call is possible where every hop permits it; what a hop does not say in a way that is understood
permits nothing. What the ledger alone cannot tell (policy, purposes, people's approval) is named beside the answer, and
narrows it further.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from math import ceil
from typing import Any

from msgspec import UNSET, UnsetType

from chain import auditor, budget
from chain.auditor import Row
from chain.budget import Spent, UnreadableError
from chain.errors import InvalidRequestError
from chain.given import Given
from chain.grant import Limits
from chain.graph.forest import Forest
from chain.graph.rows import Rows
from chain.state import MAX_SKEW

Arguments = Mapping[str, Any]
"""Of one call, decoded."""


def ways(
    forest: Forest, tool: str, arguments: Arguments | None = None, among: Iterable[Given] | None = None
) -> Iterator[Given]:
    """Yield every delegation under which its holder can call a tool, now or once its time begins (`needs`).

    Args:
        forest: what stands.
        tool: its name.
        arguments: of just this call; None asks whether there is any.
        among: of what stands only these: each after its parent, which must be one of them; None for all.
    """
    classed = class_of(forest, tool)
    if forest.history.suspension(("tool", tool), forest.now) is not None:
        return
    reads = classed not in ("write", "act")  # a class that is not known may be that of a read
    if not reads and forest.history.suspension(("tool", tool), forest.now, "quarantined") is not None:
        return
    halted = forest.history.halts(forest.now, "quarantined")
    able: set[str] = set()
    for one in forest.live.values() if among is None else among:
        if one.above is not None and one.above.id not in able:
            continue
        if not _permits(one, tool, arguments, classed) or ("budget" in one.limits and _used_up(forest, one, arguments)):
            continue
        if not reads and halted(one):
            continue
        able.add(one.id)
        yield one


def class_of(forest: Forest, tool: str) -> str:
    """Return a tool's class, as the latest decision about it says; empty where there is none under this policy.

    A policy may bring a catalogue, and with it another class: whoever can call must not be missed for an old one.
    """
    entry, policies = forest.history.tools.get(tool), forest.history.policies
    if entry is None or (policies and policies[-1].revision > entry.revision):
        return ""
    return str(entry.body["class"])


def _permits(one: Given, tool: str, arguments: Arguments | None, classed: str) -> bool:
    rules = one.rules(tool)
    if rules is None:
        return False
    classes = one.limits.get("classes")
    if classes is not None and classed and classed not in classes:
        return False
    if arguments is None or not rules:  # no constraints leave the arguments open
        return True
    return rules.keys() == arguments.keys() and all(rule.permits(arguments[name]) for name, rule in rules.items())


def _used_up(forest: Forest, one: Given, arguments: Arguments | None) -> bool:
    """Tell whether a hop's budget leaves no room for a call, or for just this one."""
    limits = limits_of(one)
    if limits is None or isinstance(limits.budget, UnsetType):
        return True
    amount = Decimal(0) if arguments is None else None
    if arguments is not None and not isinstance(limits.budget.amount, UnsetType):
        try:
            amount = budget.read(arguments, limits.budget.amount.argument)
        except UnreadableError:
            return True
    return budget.left(limits.budget, forest.spent.get(one.id, Spent()), amount) is not None


def limits_of(one: Given) -> Limits | None:
    """Return what a delegation limits; None where that cannot be read."""
    return None if one.grant is None else one.grant.limits


def needs(forest: Forest, one: Given, tool: str) -> list[str]:
    """Return what a call must bring besides, in words: what tokens ask of the moment, and the ledger cannot know."""
    limits, words = limits_of(one), _hindered(forest, one, tool)
    if limits is None:
        return [*words, "its limits cannot be read"]
    classed = class_of(forest, tool)
    if limits.classes is not UNSET and classed not in limits.classes:
        words.append(f"class {' or '.join(limits.classes) or 'none'}" + (f", and it is {classed}" if classed else ""))
    if limits.purposes is not UNSET:
        words.append(f"purpose {' or '.join(limits.purposes) or 'none'}")
    if limits.classification is not UNSET:
        words.append(f"data up to {limits.classification}")
    if not isinstance(limits.approval, UnsetType):
        for gate in limits.approval:
            if gate.when.tool == tool or (
                gate.when.action_class is not UNSET and classed in ("", gate.when.action_class)
            ):
                words.append(f"approval by {gate.threshold} of {len(gate.approvers)}")
    for hop in one.chain:
        words += left(forest, hop)
    return words


def _hindered(forest: Forest, one: Given, tool: str) -> list[str]:
    """Return what stops a call that delegations alone would permit."""
    history, now, words = forest.history, forest.now, list[str]()
    begins = max(hop.iat for hop in one.chain)
    if begins > now + MAX_SKEW:
        words.append(f"its time, which begins in {ceil(begins - now)} s")
    if history.suspension(("tool", tool), now) is not None:
        words.append("the tool's suspension lifted")
    if class_of(forest, tool) != "read" and history.suspended:
        stopped = [history.stop(hop, now, "quarantined") for hop in one.chain]
        if any(stopped) or history.suspension(("tool", tool), now, "quarantined") is not None:
            words.append("a quarantine lifted, unless it reads")
    return words


def left(forest: Forest, one: Given) -> list[str]:
    """Return what is left of a delegation's budget, in words."""
    limits = limits_of(one)
    if limits is None or isinstance(limits.budget, UnsetType):
        return []
    given, spent, words = limits.budget, forest.spent.get(one.id, Spent()), list[str]()
    if not isinstance(given.calls, UnsetType):
        words.append(f"{max(given.calls - spent.calls, 0)} of {given.calls} calls left at hop {one.hop}")
    if not isinstance(given.amount, UnsetType):
        ceiling = Decimal(given.amount.value)
        rest = max(ceiling - spent.amount, Decimal(0))
        words.append(f"{rest:f} of {ceiling:f} {given.amount.currency} left at hop {one.hop}")
    return words


def who_can(
    forest: Forest, tool: str | None = None, target: str | None = None, arguments: Arguments | None = None
) -> Rows:
    """Who can do something: a row for each delegation under which its holder can.

    Args:
        forest: what stands.
        tool: its name.
        target: instead, a system: every tool that was last decided about as one of it.
        arguments: of just this call.

    Raises:
        InvalidRequestError: neither a tool nor a target, both, or arguments of no one tool.
    """
    if (tool is None) is (target is None):
        raise InvalidRequestError("name a tool, or a target system")
    if tool is None and arguments is not None:
        raise InvalidRequestError("arguments are those of one tool; name it")
    names = [tool] if tool is not None else on(forest, str(target))
    return Rows(partial(_able, forest, one, name) for name in names for one in ways(forest, name, arguments))


def _able(forest: Forest, one: Given, tool: str) -> Row:
    rules = one.rules(tool) or {}
    told = {"tool": tool, "arguments": {name: str(rule) for name, rule in rules.items()}}
    return forest.row(one) | told | {"needs": needs(forest, one, tool)}


def on(forest: Forest, target: str) -> list[str]:
    """Return the tools of a target system, as decisions say."""
    return sorted(name for name, entry in forest.history.tools.items() if entry.body.get("target") == target)


def what_can(forest: Forest, agent: str, tool: str | None = None) -> Rows:
    """What an agent can do: every tool of every delegation that it holds, and what each hop narrowed on the way.

    Raises:
        NotFoundError: nobody is called so.
    """
    forest.require(agent)
    found = auditor.could(forest.history, agent, forest.now, tool, forest.of(agent))
    return Rows(partial(_effective, forest, row) for row in found)


def _effective(forest: Forest, row: Row) -> Row:
    one, tool = forest.live[row["id"]], row["tool"]
    narrowed = [f"hop {hop.hop}: {word}" for hop in one.chain for word in auditor.narrowed(hop, tool)]
    return row | {"narrowed": narrowed, "needs": needs(forest, one, tool), "path": path(forest, one)}


def path(forest: Forest, one: Given) -> list[str]:
    """Return the names on the way to a delegation, root first."""
    return [forest.called(hop) for hop in one.chain]
