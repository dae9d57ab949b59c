"""The graph in other people's formats: DOT, GraphML, Mermaid, JSON, PROV-JSON.

The law of this file: whoever names an agent chooses the text that stands here. Each format's own escape is applied to
every text, in one function, and a name can neither end a string nor begin a node, a line or a tag.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import networkx as nx

COLOURS = {
    "stands": "#2e7d32", "expired": "#757575", "revoked": "#b71c1c", "suspended": "#e65100", "unknown": "#757575",
    "refused": "#b71c1c", "approval": "#4527a0",
}  # fmt: skip
"""Status of a delegation, or kind of another node -> its outline; the label says the same in words."""


def dot(graph: nx.DiGraph[str]) -> str:
    """Return the graph in the DOT language."""
    lines = ["digraph delegations {", "  rankdir=TB; node [shape=box, fontname=sans]; edge [fontname=sans];"]
    for name, data in graph.nodes(data=True):
        style = ', style="dashed"' if data["kind"] != "delegation" else ""
        lines.append(f'  {_dot(name)} [label={_dot(_label(data))}, color="{_colour(data)}"{style}];')
    for above, below, data in graph.edges(data=True):
        red = ', color="#b71c1c", style="dashed"' if data["kind"] == "refused" else ""
        lines.append(f"  {_dot(above)} -> {_dot(below)} [label={_dot(_short(data['narrowed']))}{red}];")
    return "\n".join([*lines, "}", ""])


def graphml(graph: nx.DiGraph[str]) -> str:
    """Return the graph as GraphML."""
    return "\n".join([*nx.generate_graphml(graph), ""])


def mermaid(graph: nx.DiGraph[str]) -> str:
    """Return the graph as a Mermaid flowchart."""
    short = {name: f"n{number}" for number, name in enumerate(graph)}
    lines = ["flowchart TB"]
    for name, data in graph.nodes(data=True):
        lines.append(f'  {short[name]}["{_mermaid(_label(data))}"]:::{data.get("status", data["kind"])}')
    for above, below, data in graph.edges(data=True):
        arrow = "-.->" if data["kind"] == "refused" else "-->"
        words = _mermaid(_short(data["narrowed"]))
        lines.append(f"  {short[above]} {arrow}" + (f'|"{words}"|' if words else "") + f" {short[below]}")
    lines += [f"  classDef {name} stroke:{colour}" for name, colour in COLOURS.items()]
    return "\n".join([*lines, ""])


def json(graph: nx.DiGraph[str]) -> str:
    """Return the graph as JSON: `nodes`, each with its `id`; `edges` with `source` and `target`."""
    nodes = [{"id": name, **data} for name, data in graph.nodes(data=True)]
    edges = [{"source": above, "target": below, **data} for above, below, data in graph.edges(data=True)]
    return msgspec.json.encode({"nodes": nodes, "edges": edges}).decode() + "\n"


WRITERS: Mapping[str, Callable[[nx.DiGraph[str]], str]] = {
    "dot": dot, "graphml": graphml, "mermaid": mermaid, "json": json,
}  # fmt: skip
"""Name of a format -> its writer; PROV is told of the ledger, not of the drawing (`chain.graph.prov`)."""

_WIDE = 60
"""Characters of one line in a drawing; the whole text is in GraphML and JSON."""

_PLAIN = re.compile(r"[A-Za-z0-9 .,:/_-]")


def _label(data: Mapping[str, Any]) -> str:
    if data["kind"] != "delegation":
        return f"{_short(data['label'])} | {_short(data['why'])} | record {data['record']}"
    calls = f"{data['allowed']} allowed, {data['denied']} denied"
    parts = (_short(data["label"]), _short(data["tools"]), data["status"], calls, f"record {data['record']}")
    return " | ".join(parts)


def _short(text: str) -> str:
    return text if len(text) <= _WIDE else f"{text[: _WIDE - 1]}…"


def _colour(data: Mapping[str, Any]) -> str:
    return COLOURS[data.get("status", data["kind"])]


def _dot(text: str) -> str:
    r"""Return a quoted id: within one, only the quote ends it, and a backslash begins `\N` and its like."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _mermaid(text: str) -> str:
    """Return text in which every character that Mermaid, Markdown or HTML may obey is a number."""
    return "".join(char if _PLAIN.fullmatch(char) else f"#{ord(char)};" for char in text)
