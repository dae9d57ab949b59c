"""A small organisation by hand, and the ledger that the demonstration leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.cli import main
from tests.book import Book
from tests.demonstration import Played
from tests.graph.served import told

__all__ = ["told"]

TOP = {"constraint_type": "range", "max": 100}
PAY = {"tools": {"bank.pay": {"amount": TOP}, "mail.read": {}}}

Run = Callable[..., Result]


@pytest.fixture
def book() -> Book:
    r"""Two roots; carol holds a delegation of each.

    r1 (ann) - b1 (bob) - c1 (carol)
             \ d1 (dave, reads only)
    r2 (ann) - c2 (carol)
    """
    book = Book()
    for name in ("ann", "bob", "carol", "dave"):
        book.enrol(f"k-{name}", f"spiffe://a.test/{name}")
    book.give("r1-0000", None, "k-ann", grant=PAY)
    book.give("b1-0000", "r1-0000", "k-bob", grant=PAY)
    low = {"tools": {"bank.pay": {"amount": {"constraint_type": "range", "max": 10}}}}
    book.give("c1-0000", "b1-0000", "k-carol", grant=low)
    book.give("d1-0000", "r1-0000", "k-dave", grant={"tools": {"mail.read": {}}, "limits": {"classes": ["read"]}})
    book.give("r2-0000", None, "k-ann", grant=PAY, facts={"txn": "t2", "sub": "alice", "owner": "team"})
    book.give("c2-0000", "r2-0000", "k-carol", grant=low, facts={"txn": "t2", "sub": "alice", "owner": "team"})
    return book


@pytest.fixture(scope="session")
def kept(demonstration: Played, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demonstration.copy(tmp_path_factory.mktemp("graphed") / "kept").folder


@pytest.fixture
def run(kept: Path) -> Run:
    def ran(*words: str) -> Result:
        return CliRunner().invoke(main, ["graph", *words, "--ledger", str(kept)])

    return ran


@pytest.fixture(scope="session")
def paid(kept: Path) -> str:
    """The instant of the clerk's first payment, before anything was revoked."""
    words = ["audit", "who", "--tool", "bank.pay", "--effect", "ALLOW", "--ledger", str(kept), "--json"]
    rows: list[dict[str, Any]] = json.loads(CliRunner().invoke(main, words).stdout)["rows"]
    return str(rows[0]["time"])
