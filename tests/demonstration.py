"""The demonstration that was played once, what it left behind, and copies of that."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple


class Played(NamedTuple):
    """The demonstration's report and the directory it kept."""

    folder: Path
    report: dict[str, Any]

    def chain(self, name: str) -> Path:
        return self.folder / "chains" / f"{name}.chain"

    def key(self, name: str) -> Path:
        return self.folder / "keys" / f"{name}.key"

    def public(self, name: str) -> Path:
        return self.folder / "keys" / f"{name}.jwk"

    def copy(self, folder: Path) -> Played:
        """The same in a folder that is not there yet, to be changed."""
        shutil.copytree(self.folder, folder)
        config = folder / "chain.toml"
        config.write_text(config.read_text().replace(str(self.folder), str(folder)))
        return Played(folder, self.report)


def demonstrate(folder: Path) -> Played:
    """Play it into a folder that is not there yet; it says one JSON value and nothing else."""
    line = [sys.executable, "-m", "chain", "demo", "--json", "--keep", str(folder)]
    ended = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stderr, ended.stdout.count("\n")) == (0, "", 1)
    return Played(folder, json.loads(ended.stdout))
