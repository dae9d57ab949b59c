from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(os.environ.get("CHAIN_VECTORS", Path(__file__).parents[3] / "shared" / "vectors"))

Vectors = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def groups() -> Vectors:
    """Read the test groups of a Wycheproof file, or skip where the vectors are not there."""

    def read(name: str) -> list[dict[str, Any]]:
        file = FOLDER / "wycheproof" / f"{name}_test.json"
        if not file.is_file():
            pytest.skip(f"no vectors in {FOLDER}: name their folder in CHAIN_VECTORS")
        found: list[dict[str, Any]] = json.loads(file.read_text())["testGroups"]
        return found

    return read
