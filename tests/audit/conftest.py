"""What the demonstration leaves: a ledger at hand with issued, narrowed, refused, approved and revoked in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chain.cli import main

Ask = Callable[..., list[dict[str, Any]]]
Run = Callable[..., Result]


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


@pytest.fixture
def copied(kept: Path, tmp_path: Path) -> Path:
    """The same, for a test to change."""
    folder = tmp_path / "kept"
    shutil.copytree(kept, folder)
    config = folder / "chain.toml"
    config.write_text(config.read_text().replace(str(kept), str(folder)))
    return folder


@pytest.fixture
def run() -> Run:
    def ran(*words: str | Path) -> Result:
        return CliRunner().invoke(main, list(map(str, words)))

    return ran
