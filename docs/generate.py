"""Draws docs/reference.md from the tables that the code itself walks.

`python docs/generate.py` writes it; `--check` only tells whether it is up to date (exit 1 where it is not).
"""

from __future__ import annotations

import sys
from pathlib import Path

from chain.caller import ALLOWED, Role
from chain.check import QUESTIONS
from chain.reason import Reason

TARGET = Path(__file__).parent / "reference.md"


def first_line(text: str | None) -> str:
    """The sentence that stands for a docstring in a table."""
    return (text or "").strip().splitlines()[0]


def draw() -> str:
    """The whole page."""
    lines = ["# Reference", "", "Drawn from the code by `python docs/generate.py`; a test keeps it so.", ""]
    lines += ["## What every call is asked", "", "In this order; the first fault is the reason. `chain/check.py`.", ""]
    lines += ["| | question | answer that allows |", "|---|---|---|"]
    lines += [f"| {n} | `{q.__name__}` | {first_line(q.__doc__)} |" for n, q in enumerate(QUESTIONS, 1)]
    lines += ["", "## Who may call what", "", "Deny by default. `chain/caller.py`.", ""]
    lines += ["| method | " + " | ".join(f"`{role.value}`" for role in Role) + " |"]
    lines += ["|---|" + "---|" * len(Role)]
    for method, roles in ALLOWED.items():
        lines.append(f"| {method} | " + " | ".join("yes" if role in roles else "" for role in Role) + " |")
    lines += ["", "## Reasons", "", "One vocabulary for library, wire, ledger and pages. `chain/reason.py`.", ""]
    lines += ["| number | code | meaning |", "|---|---|---|"]
    lines += [f"| {reason.number} | `{reason.value}` | {reason.meaning} |" for reason in Reason]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or compare it."""
    if "--check" in sys.argv[1:]:
        return 0 if TARGET.read_text() == draw() else 1
    TARGET.write_text(draw())
    return 0


if __name__ == "__main__":
    sys.exit(main())
