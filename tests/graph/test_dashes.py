"""An id or a thumbprint may begin with dashes: every command that takes a name finds what bears it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain.cli import main
from chain.ledger import Record, encode
from tests.audit.exported import lines
from tests.book import Book
from tests.graph.conftest import PAY

ROOT, CHILD, CALL, REFUSED = "-h-root-0000", "--limit-0000", "-o-decision", "--refused"
ANN, BOB = "-k-ann", "--key-bob"


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    book = Book()
    book.give(ROOT, None, ANN, grant=PAY)
    low = {"tools": {"bank.pay": {"amount": {"constraint_type": "range", "max": 10}}}}
    book.give(CHILD, ROOT, BOB, grant=low)
    call = {"effect": "ALLOW", "reason": "allowed", "tool": "bank.pay", "class": "act", "target": "bank"}
    book.write("decided", 1, **call, id=CALL, arguments="", leaf=CHILD, depth=1, holder=BOB, caller="pep")
    no = {"effect": "DENY", "reason": "tool_not_granted", "tool": "mail.read", "class": "read", "target": "mail"}
    book.write("decided", 2, **no, id=REFUSED, arguments="", leaf=CHILD, depth=1, holder=BOB, caller="pep")
    file = tmp_path_factory.mktemp("dashed") / "export"
    data = [encode(Record(*entry)) for entry in book.entries]
    file.write_bytes(b"".join(lines(data, (len(data),))))
    return file


def ask(export: Path, *words: str, at: bool = True) -> dict[str, Any]:
    instant = ["--at", "2000"] if at else []
    result = CliRunner().invoke(main, [*words, "--export", str(export), "--json", *instant])
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


@pytest.mark.parametrize(
    ("words", "record"),
    [
        (["graph", "lineage", CHILD], 1),
        (["graph", "lineage", BOB], 1),
        (["graph", "blast", CHILD], 2),
        (["graph", "blast", ANN], 1),
        (["graph", "what-can", BOB], 2),
        (["graph", "cut", BOB, "--tool", "bank.pay"], 2),
        (["graph", "cut", BOB, "--tool", "bank.pay", "--keep", ANN, "bank.pay"], 2),
        (["graph", "diff", ROOT, CHILD], 1),
        (["graph", "diff", CHILD, ROOT], 2),
        (["audit", "path", CALL], 1),
        (["audit", "path", CHILD], 1),
        (["audit", "could", BOB], 2),
        (["audit", "who", "--decision", CALL], 3),
        (["audit", "who", "--agent", BOB], 3),
        (["audit", "for-whom", "--decision", CALL], 3),
        (["audit", "for-whom", "--agent", BOB], 3),
        (["audit", "rule", "--decision", CALL], 3),
        (["audit", "rule", "--agent", BOB], 3),
        (["audit", "attempts", "--decision", REFUSED], 4),
        (["audit", "attempts", "--agent", BOB], 4),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_what_begins_with_a_dash_is_found(words: list[str], record: int, export: Path, *, last: bool) -> None:
    """Whether it stands before the options or after them."""
    group, name, *rest = words
    told = ask(export, group, name, *(["--at", "2000", *rest] if last else rest), at=not last)
    assert told["rows"][0]["record"] == record


@pytest.mark.parametrize("name", [CHILD, BOB])
def test_it_is_drawn(name: str, export: Path) -> None:
    told = ask(export, "graph", "export", name)
    assert told["delegations"] == 2


@pytest.mark.parametrize(
    "words",
    [
        ["graph", "lineage", "-h-nothing"],
        ["graph", "what-can", "-h-nobody"],
        ["graph", "diff", ROOT, "-h-nothing"],
        ["audit", "path", "-h-nothing"],
        ["audit", "could", "-h-nobody"],
    ],
)
def test_what_nothing_bears_is_not_found(words: list[str], export: Path) -> None:
    result = CliRunner().invoke(main, [*words, "--export", str(export), "--at", "2000"])
    assert result.exit_code == 1
    assert words[-1] in result.stderr
