"""docs/graph.md plays as it stands: its blocks, each command of its table, and its program."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain.cli import main
from chain.cli.graph import graph
from chain.cli.kept import Kept
from chain.given import Entry
from chain.graph.forest import Forest
from chain.graph.reach import who_can
from chain.history import History
from tests.graph.conftest import Run
from tests.pages import ROOT, play

PAGE = (ROOT / "docs" / "graph.md").read_text(encoding="utf-8")
CLERK, PAYMENTS = "spiffe://demo.example/clerk", "spiffe://demo.example/payments"
ORCHESTRATOR = "spiffe://demo.example/orchestrator"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.timeout(120)
def test_the_blocks(tmp_path: Path) -> None:
    play("graph.md", tmp_path, more_than=1, seconds=110)


def spelled(command: str) -> Iterator[str]:
    """Every way to write a command of the table: with and without what is in brackets, with each alternative."""
    if (found := re.search(r" \[([^]]*)\]", command)) is not None:
        for inside in ("", f" {found[1]}"):
            yield from spelled(command[: found.start()] + inside + command[found.end() :])
    elif (found := re.search(r"[\w-]+(?:\|[\w-]+)+", command)) is not None:
        for one in found[0].split("|"):
            yield from spelled(command[: found.start()] + one + command[found.end() :])
    else:
        yield command


COMMANDS = [
    one
    for line in PAGE.splitlines()
    if line.startswith("| ") and "`chain graph" in line
    for text in re.findall(r"`chain graph ([^`]+)`", line)
    for one in spelled(text.replace("\\|", "|"))
]


def test_the_table_names_every_question() -> None:
    assert {command.split()[0] for command in COMMANDS} == set(graph.commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_table_answers(command: str, run: Run, kept: Path, paid: str) -> None:
    up = json.loads(run("lineage", CLERK, "--at", paid, "--json").stdout)["rows"]
    values = {
        "AGENT": [CLERK, PAYMENTS], "KEY": [up[-1]["key"]], "DELEGATION": [up[-1]["id"]], "NAME": [CLERK],
        "A": [up[0]["id"]], "B": [up[-1]["id"]], "TOOL": ["bank.pay", "bank.pay"], "SYSTEM": ["bank"],
        "JSON": ['{"amount": 5}'], "T1": [paid], "T2": ["2099-01-01"],
    }  # fmt: skip
    words = [values[word].pop(0) if word in values else word for word in command.split()]
    instant = [] if "--at" in words else ["--at", paid]
    result = run(*words, *instant, "--json")
    assert result.exit_code == 0, (shlex.join(words), result.stderr)
    told: dict[str, Any] = json.loads(result.stdout)
    if command == "review":
        assert told["rows"] == [], "the demonstration is younger than what a review minds"
        assert json.loads(run("review", "--life", "1s", *instant, "--json").stdout)["rows"]
    else:
        assert told.get("rows") or told["delegations"]


def test_the_program_without_a_service_prints_who_can(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    programs = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (program,) = (text for text in programs if "History(" in text)
    with Kept(kept) as client:
        known = {"History": History, "Entry": Entry, "Forest": Forest, "who_can": who_can, "time": time}
        exec(program, known | {"client": client})  # noqa: S102 - the page's own lines
    (line,) = capsys.readouterr().out.splitlines()
    asked = ["graph", "who-can", "bank.pay", "--args", '{"amount": 50}', "--ledger", str(kept), "--json"]
    (row,) = json.loads(CliRunner().invoke(main, asked).stdout)["rows"]
    assert line == f"{row['agent']} {row['record']}"
    assert row["agent"] == ORCHESTRATOR
