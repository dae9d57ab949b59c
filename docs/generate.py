"""Draws docs/reference.md and docs/controls.md from the tables that the code itself walks.

`python docs/generate.py` writes them; `--check` only tells whether they are up to date (exit 1 where one is not).
"""

from __future__ import annotations

import sys
from pathlib import Path

from chain.caller import ALLOWED, Role
from chain.check import QUESTIONS
from chain.controls import MECHANISMS
from chain.framework import FRAMEWORKS, Item
from chain.reason import Reason

HERE = Path(__file__).parent


def first_line(text: str | None) -> str:
    """The sentence that stands for a docstring in a table."""
    return (text or "").strip().splitlines()[0]


def draw() -> str:
    """The page of the tables that a call meets."""
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


CONTROLS = """\
# Controls

What NIST, OWASP and CSA ask for, and what answers it here. Drawn from `chain/framework.py`, `chain/mechanismcall.py`
and `chain/mechanismrun.py` by `python docs/generate.py`; a test keeps it so, and another that every test named here
is there.

    chain controls report --server HOST:PORT --credential-file auditor.secret
    chain controls report --ledger DIR --framework owasp-asi --framework maestro
    chain controls report --export FILE --key VKEY --md > controls.md
    chain policy approvals --md --ledger DIR     # who has to approve what, in the policy's own words

The report adds to this page how the authority is configured now and what its record shows: how much was refused, the
last refusal with its record, what is switched off and what switches it on, emergencies that nobody signed off, reviews
that are overdue, and what stands and nobody answers for. It exits 1 where something is off that a label rests on (a
**gap**), or something waits for people. An export does not hold the configuration: such rows are `unknown`,
and no gap. Of a service it is for auditors and operators (`configuration` of `GetServerInfo`).

**Enforced**: a call that offends is refused. **Contained**: what goes wrong stays small. **Evidence only**: the
record shows it, and people have to act. **Out of scope**: another product's work. A label rests on the mechanisms in
*by*, and is a gap while one of them is off; those in *also* make it stronger.
"""


def controls() -> str:
    """The page of the controls."""
    lines = [CONTROLS]
    for framework in FRAMEWORKS.values():
        lines += [f"## {framework.title}", "", f"`--framework {framework.name}`. {framework.limit}".rstrip(), ""]
        lines += ["| | item | label | by | also | what is not done |", "|---|---|---|---|---|---|"]
        lines += [item_row(item) for item in framework.items]
        lines.append("")
    lines += ["## Mechanisms", "", "| | what it does | switched on by | tests |", "|---|---|---|---|"]
    for one in MECHANISMS.values():
        tests = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in one.tests)
        lines.append(f"| {one.name} | {one.text} | {one.setting or 'always on'} | {tests} |")
    return "\n".join(lines) + "\n"


def item_row(item: Item) -> str:
    """One line of a framework's table."""
    cells = (item.id, item.title, item.label.value, ", ".join(item.by), ", ".join(item.also), item.limit)
    return f"| {' | '.join(cells)} |"


PAGES = {HERE / "reference.md": draw, HERE / "controls.md": controls}


def main() -> int:
    """Write the pages, or compare them."""
    if "--check" in sys.argv[1:]:
        return 0 if all(page.read_text() == drawn() for page, drawn in PAGES.items()) else 1
    for page, drawn in PAGES.items():
        page.write_text(drawn())
    return 0


if __name__ == "__main__":
    sys.exit(main())
