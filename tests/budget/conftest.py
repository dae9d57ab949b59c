from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.budget.counter import WAYS, Counter, opened


@pytest.fixture(params=WAYS)
def counter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Counter]:
    with opened(request.param, tmp_path) as made:
        yield made
