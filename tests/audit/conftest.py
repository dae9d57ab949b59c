"""What the demonstration leaves: a ledger at hand with issued, narrowed, refused, approved and revoked in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.cli import main
from tests.demonstration import Played

Ask = Callable[..., list[dict[str, Any]]]
Run = Callable[..., Result]


@pytest.fixture(scope="session")
def kept(demonstration: Played, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demonstration.copy(tmp_path_factory.mktemp("audited") / "kept").folder


@pytest.fixture
def ask(kept: Path) -> Ask:
    def asked(*words: str) -> list[dict[str, Any]]:
        result = CliRunner().invoke(main, ["audit", *words, "--ledger", str(kept), "--json"])
        assert result.exit_code == 0, result.stderr
        rows: list[dict[str, Any]] = json.loads(result.stdout)["rows"]
        return rows

    return asked


@pytest.fixture
def copied(demonstration: Played, tmp_path: Path) -> Path:
    """The same, for a test to change."""
    return demonstration.copy(tmp_path / "kept").folder


@pytest.fixture
def run() -> Run:
    def ran(*words: str | Path) -> Result:
        return CliRunner().invoke(main, list(map(str, words)))

    return ran
