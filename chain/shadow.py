"""What would have been denied: decisions in shadow, counted.

The law of this file: pure, and from the ledger alone. A decision counts as in shadow where its record says so in as
many words (`"enforced": false`), and a record that cannot be read counts as none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

KIND = "decided"
"""Of the records that are looked at."""

BY = ("reason", "rule", "tool", "principal")
"""What is counted by."""


class Count(NamedTuple):
    """How often, and when last.

    Attributes:
        name: the reason, rule, tool or principal.
        calls: that would have been denied because of it, or made with it or by it.
        revision: of the last one.
    """

    name: str
    calls: int
    revision: int


class Report(NamedTuple):
    """What shadow let through.

    Attributes:
        decided: all decisions that were looked at.
        shadowed: those of them that were denied in shadow.
        revision: of the last record that was looked at; 0 for none.
        untold: records that do not say why: they were told to somebody who may not see all of them.
        counts: by each of `BY`, the most frequent first.
    """

    decided: int
    shadowed: int
    revision: int
    untold: int
    counts: Mapping[str, tuple[Count, ...]]


def report(records: Iterable[tuple[int, Mapping[str, Any]]]) -> Report:
    """Count what would have been denied.

    Args:
        records: revision and body of `decided` records, in the order of the ledger.
    """
    found: dict[str, dict[str, Count]] = {by: {} for by in BY}
    decided = shadowed = last = untold = 0
    for revision, body in records:
        decided, last, untold = decided + 1, revision, untold + ("reason" not in body)
        if body.get("enforced") is not False:
            continue
        shadowed += 1
        for by, names in _named(body).items():
            for name in names:
                before = found[by].get(name, Count(name, 0, 0))
                found[by][name] = Count(name, before.calls + 1, revision)
    counts = {by: tuple(sorted(each.values(), key=lambda one: (-one.calls, one.name))) for by, each in found.items()}
    return Report(decided, shadowed, last, untold, counts)


def _named(body: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what a record counts under; each name once."""
    findings = body.get("findings")
    reasons = [item[0] for item in findings if isinstance(item, list) and item] if isinstance(findings, list) else []
    rules = body.get("rules") if "policy_denied" in reasons else None
    named = {
        "reason": reasons,
        "rule": rules if isinstance(rules, list) else [],
        "tool": [body.get("tool")],
        "principal": [body.get("principal") or body.get("holder")],
    }
    return {by: list(dict.fromkeys(name for name in names if isinstance(name, str))) for by, names in named.items()}
