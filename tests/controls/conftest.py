"""What the demonstration leaves, for reports on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chain.cli import main

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("controlled") / "kept"
    assert CliRunner().invoke(main, ["demo", "--json", "--keep", str(folder)]).exit_code == 0
    return folder


@pytest.fixture
def copied(played: Path, tmp_path: Path) -> Path:
    """The same, for a test to change."""
    folder = tmp_path / "kept"
    shutil.copytree(played, folder)
    config = folder / "chain.toml"
    config.write_text(config.read_text().replace(str(played), str(folder)))
    return folder


@pytest.fixture
def run() -> Run:
    def ran(*words: str | Path) -> Result:
        return CliRunner().invoke(main, list(map(str, words)))

    return ran
