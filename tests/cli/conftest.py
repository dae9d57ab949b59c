"""Commands in processes of their own, and a service on what the demonstration left."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.demonstration import Played


class Ended(NamedTuple):
    """A command that ran in a process of its own."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(*arguments: str | Path, input: str | None = None, **environment: str) -> Ended:  # noqa: A002 - as subprocess
    """Run `python -m chain`."""
    process = subprocess.run(
        command(*arguments),
        input=input,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | environment,
    )
    return Ended(process.returncode, process.stdout, process.stderr)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "chain", *map(str, arguments)]


@pytest.fixture(scope="session")
def played(demonstration: Played, tmp_path_factory: pytest.TempPathFactory) -> Played:
    return demonstration.copy(tmp_path_factory.mktemp("played") / "kept")


class Service(NamedTuple):
    """`chain serve` in a process of its own, on what a demonstration kept."""

    address: str
    folder: Path
    process: subprocess.Popen[str]

    def as_caller(self, name: str) -> Sequence[str]:
        return ("--server", self.address, "--credential-file", str(self.folder / "secrets" / f"{name}.secret"))


@pytest.fixture(scope="session")
def service(played: Played, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    configuration = (played.folder / "chain.toml").read_text()
    ledger = tmp_path_factory.mktemp("service") / "ledger"
    changed, count = re.subn(r'(?m)^ledger = ".*"$', f'ledger = "{ledger}"', configuration)
    assert count == 1
    file = ledger.parent / "chain.toml"
    file.write_text("roots_must_name = []\n" + changed)  # what these tests issue is told apart by its tools alone
    process = subprocess.Popen(
        command("serve", "--config", file), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    yield Service(ready["serving"], played.folder, process)
    process.terminate()
    assert process.wait(20) == 0
    process.stdout.close()
