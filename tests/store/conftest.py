from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chain.ledger import Store
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore

STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "sqlite": lambda path: SqliteStore(path / "ledger"),
    "sqlite-all-synced": lambda path: SqliteStore(path / "ledger", all_synced=True),
}


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = STORES[request.param](tmp_path)
    yield opened
    opened.close()
