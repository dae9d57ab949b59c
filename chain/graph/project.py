"""The graph as networkx has it: delegations as nodes, with refused asks and requests for approval hung on.

The law of this file: names are a stranger's words. Whatever is not printable is escaped here, once, so that no format
meets a control character; what a format itself obeys, its writer escapes (`chain.graph.export`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import networkx as nx

from chain.auditor import narrowed
from chain.given import Entry, Given
from chain.graph.forest import Forest
from chain.graph.lineage import status

LIMIT = 2_000
"""Delegations that are drawn unless more are asked for: beyond that, no layout shows anything."""


class Drawn(NamedTuple):
    """A projection.

    Attributes:
        graph: nodes with `kind` (`delegation`, `refused`, `approval`), edges with `kind` and `narrowed`.
        more: delegations that were left out.
    """

    graph: nx.DiGraph[str]
    more: int


def chosen(forest: Forest, name: str | None, limit: int = LIMIT, *, live: bool = False) -> tuple[list[Given], int]:
    """Return the delegations to be drawn, parents first, and how many more there are.

    Args:
        forest: what stands.
        name: only what has to do with this (`Forest.starts`): it, all above and all beneath; None takes everything.
        limit: at most so many.
        live: only what stands.

    Raises:
        NotFoundError: nothing is called so.
        InvalidRequestError: several begin like this.
    """
    if name is None:
        found = list(forest.history.given.values())
    else:
        starts = forest.starts(name)
        wanted = {hop.id: hop for one in starts for hop in (*one.chain, *one.beneath)}
        found = sorted(wanted.values(), key=lambda one: (one.entry.revision, one.hop))
    if live:
        found = [one for one in found if one.id in forest.live]
    return found[:limit], max(len(found) - limit, 0)


def project(forest: Forest, ones: Iterable[Given]) -> nx.DiGraph[str]:
    """Return these delegations as a graph; of its edges, those between them."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    calls = _calls(forest)
    for one in ones:
        stands, (allowed, denied) = status(forest, one), calls.get(one.id, (0, 0))
        name = clean(one.id)
        graph.add_node(
            name,
            kind="delegation",
            label=clean(forest.called(one)),
            key=clean(one.holder),
            hop=one.hop,
            tools=clean(", ".join(one.tools)),
            task=clean(one.task),
            until=one.exp,
            status=str(stands["status"]),
            why=clean(str(stands["why"])),
            allowed=allowed,
            denied=denied,
            record=one.entry.revision,
        )
        if one.above is not None and (above := clean(one.above.id)) in graph:
            lost = clean("; ".join(narrowed(one)))
            graph.add_edge(above, name, kind="delegated", narrowed=lost, record=one.entry.revision)
    _refused(forest, graph)
    _asked(forest, graph)
    return graph


def clean(text: str) -> str:
    """Return text with everything escaped that is not printable."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _calls(forest: Forest) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for entry in forest.history.decided:
        allowed, denied = found.get(leaf := entry.body.get("leaf", ""), (0, 0))
        found[leaf] = (allowed + 1, denied) if entry.body["effect"] == "ALLOW" else (allowed, denied + 1)
    return found


def _hang(graph: nx.DiGraph[str], kind: str, leaf: str, entry: Entry, label: str, why: str) -> None:
    if (above := clean(leaf)) in graph:
        name = f"{kind}-{entry.revision}"
        graph.add_node(name, kind=kind, label=clean(label), why=clean(why), record=entry.revision)
        graph.add_edge(above, name, kind=kind, narrowed="", record=entry.revision)


def _refused(forest: Forest, graph: nx.DiGraph[str]) -> None:
    for entry in forest.history.refused:
        body = entry.body
        why = str(body.get("detail", body["reason"]))
        if "field" in body:
            why = f"{body['field']}: asked {body['asked']}, granted {body['granted']}"
        _hang(graph, "refused", body.get("leaf", ""), entry, f"{body['method']} refused", why)


def _asked(forest: Forest, graph: nx.DiGraph[str]) -> None:
    waited = {
        entry.body["awaits"]: entry.body.get("leaf", "") for entry in forest.history.decided if "awaits" in entry.body
    }
    for name, asked in forest.history.asked.items():
        body = asked.entry.body
        said = "used" if asked.uses else asked.words[-1].body["state"] if asked.words else "pending"
        what = f"{body['tool']} {body.get('amount', '')}".strip()
        _hang(graph, "approval", waited.get(name, ""), asked.entry, what, str(said))
