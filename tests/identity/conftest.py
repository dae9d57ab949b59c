"""A development trust domain that is served for one test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chain.identity.devapi import DevWorkloadApi
from chain.identity.devca import DevAuthority

CHAIN, ALICE = "spiffe://dev.test/chain", "spiffe://dev.test/agents/alice"


def eventually(holds: Callable[[], bool], within: float = 10.0) -> None:
    """Wait until something holds that another thread brings about."""
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.01)


@pytest.fixture
def authority() -> DevAuthority:
    return DevAuthority("dev.test", time.time, 3600)


@pytest.fixture
def api(authority: DevAuthority, tmp_path: Path) -> Iterator[DevWorkloadApi]:
    serving = DevWorkloadApi(authority, [CHAIN, ALICE, None], {CHAIN: ["localhost"]})
    serving.start(tmp_path / "sockets")
    yield serving
    serving.stop()
