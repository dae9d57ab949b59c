"""Ledgers that are written while somebody watches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chain.service.server import ChainServer
from tests.client.running import running
from tests.service.conftest import directory, serve

__all__ = ["directory", "serve"]


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainServer]:
    """A real server in a thread of its own; short path, because a unix socket's has 107 bytes."""
    with running(Path(tmp_path_factory.mktemp("w"))) as server:
        yield server
