"""How an action comes to be approved: which rules hold it back, for how many people, and who these may be.

The law of this file: drawn from a bundle that validated, in its authors' words beside the rules' own text; what is not
in the bundle is not said.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from chain.bundle import Bundle, Rule


class Paths(NamedTuple):
    """The approval paths of a bundle.

    Attributes:
        digest: of the bundle.
        gates: rules that hold back until people have approved, those that ask most people first.
        approvers: rules that say who may approve.
    """

    digest: str
    gates: tuple[Rule, ...]
    approvers: tuple[Rule, ...]


def paths(bundle: Bundle) -> Paths:
    """Return the approval paths of a bundle."""
    gates = sorted(
        (rule for rule in bundle.rules.values() if rule.threshold), key=lambda rule: (-rule.threshold, rule.id)
    )
    approvers = (rule for rule in bundle.rules.values() if "approve" in rule.actions and not rule.threshold)
    return Paths(bundle.digest, tuple(gates), tuple(sorted(approvers, key=lambda rule: (rule.effect, rule.id))))


def data(found: Paths) -> dict[str, Any]:
    """Return paths for programs."""
    gates = [{**_rule(rule), "people": rule.threshold, "actions": sorted(rule.actions)} for rule in found.gates]
    return {"policy": found.digest, "gates": gates, "approvers": [_rule(rule) for rule in found.approvers]}


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "effect": rule.effect,
        "note": rule.note,
        "file": rule.file,
        "line": rule.line,
        "text": rule.text,
    }


def markdown(found: Paths, level: int = 1) -> Iterator[str]:
    """Yield paths as lines of Markdown.

    Args:
        found: of a bundle.
        level: of the first heading.
    """
    mark = "#" * level
    yield f"{mark} Approval paths"
    yield ""
    yield f"Policy `{found.digest}`. Beside these, a grant may hold its own calls back (`limits.approval`)."
    yield ""
    if not found.gates:
        yield "No rule of this policy asks people."
        return
    yield "| rule | people | of | when |"
    yield "|---|---|---|---|"
    for rule in found.gates:
        yield f"| `{rule.id}` | {rule.threshold} | {', '.join(sorted(rule.actions))} | {cell(rule.note)} |"
    yield ""
    yield f"{mark}# Who may approve"
    yield ""
    yield "Never who asks, nor anybody who is one party with an agent of the chain; and never one person twice."
    yield ""
    yield "| rule | | who |"
    yield "|---|---|---|"
    for rule in found.approvers:
        yield f"| `{rule.id}` | {rule.effect} | {cell(rule.note)} |"
    yield ""
    yield f"{mark}# The rules themselves"
    for rule in (*found.gates, *found.approvers):
        fence = "`" * max(3, 1 + _longest(rule.text))
        yield from ("", f"`{rule.file}`, line {rule.line}:", "", fence, *rule.text.expandtabs(4).splitlines(), fence)


def cell(text: str) -> str:
    """Return text for a cell of a Markdown table: on one line, and nothing in it ends the cell or is taken for HTML."""
    line = " ".join(text.split())
    for char in "\\`*_[]<>|":
        line = line.replace(char, f"\\{char}")
    return line


def _longest(text: str) -> int:
    """Return the length of the longest run of backticks."""
    longest = run = 0
    for char in text:
        run = run + 1 if char == "`" else 0
        longest = max(longest, run)
    return longest
