"""What the demonstration leaves: a ledger at hand with issued, narrowed, refused, approved and revoked in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain.cli import main

Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited") / "kept"
    assert CliRunner().invoke(main, ["demo", "--json", "--keep", str(folder)]).exit_code == 0
    return folder


@pytest.fixture
def ask(kept: Path) -> Ask:
    def asked(*words: str) -> list[dict[str, Any]]:
        result = CliRunner().invoke(main, ["audit", *words, "--ledger", str(kept), "--json"])
        assert result.exit_code == 0, result.stderr
        rows: list[dict[str, Any]] = json.loads(result.stdout)["rows"]
        return rows

    return asked
