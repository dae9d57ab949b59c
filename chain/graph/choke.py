"""Choke points: what others depend on wholly, so that they stand and fall with it.

The law of this file: an agent depends on a delegation or on another agent where every way to what it holds leads
through it. That is the dominator of a graph, and in a forest the common part of the ways.
"""

from __future__ import annotations

from chain.auditor import Row
from chain.given import Given
from chain.graph.cut import lowest
from chain.graph.forest import Forest
from chain.graph.reach import ways


def chokepoints(forest: Forest, tool: str | None = None) -> list[Row]:
    """What the most agents depend on, first.

    Args:
        forest: what stands.
        tool: only for what it takes to call this one.
    """
    able = forest.live if tool is None else {one.id: one for one in ways(forest, tool)}
    held: dict[str, list[Given]] = {}
    for one in able.values():
        held.setdefault(forest.called(one), []).append(one)
    delegations: dict[str, list[str]] = {}
    agents: dict[str, list[str]] = {}
    for agent, ones in held.items():
        for hop in _common(ones):
            if forest.called(hop) != agent:
                delegations.setdefault(hop.id, []).append(agent)
        for name in _between(forest, ones) - {agent}:
            agents.setdefault(name, []).append(agent)
    sizes = _sizes(forest)
    found = [_row(forest, forest.live[name], "delegation", name, who, sizes[name]) for name, who in delegations.items()]
    for name, who in agents.items():
        beneath = sum(1 for _ in forest.below(forest.agents[name]))
        found.append(_row(forest, forest.agents[name][0], "agent", name, who, beneath))
    return sorted(found, key=lambda row: (-row["agents"], -row["falls"], row["record"], row["kind"]))


def _common(ones: list[Given]) -> list[Given]:
    """Return what lies above all of these, and so on every way to them."""
    if any(one.chain[0] is not ones[0].chain[0] for one in ones):
        return []
    return lowest(ones).chain


def _between(forest: Forest, ones: list[Given]) -> set[str]:
    called = forest.called
    found = {called(hop) for hop in ones[0].chain}
    for one in ones[1:]:
        if len(found) < 2:  # itself alone
            break
        found &= {called(hop) for hop in one.chain}
    return found


def _sizes(forest: Forest) -> dict[str, int]:
    """Return how many fall with each: itself, and what lies beneath."""
    sizes = dict.fromkeys(forest.live, 1)
    for one in reversed(forest.live.values()):
        if one.above is not None:
            sizes[one.above.id] += sizes[one.id]
    return sizes


def _row(forest: Forest, one: Given, kind: str, name: str, who: list[str], falls: int) -> Row:
    said = {"kind": kind, "name": name, "agents": len(who), "falls": falls, "who": sorted(who)[:10]}
    return forest.row(one) | said
