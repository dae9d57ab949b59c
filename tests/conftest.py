"""What every run of the tests stands on.

The law of this file: what is the same for all tests is done once. The demonstration is played once, and whoever
changes what it left changes a copy. Where Python is told to keep no bytecode (`PYTHONDONTWRITEBYTECODE`, as in
containers) each of the hundreds of programs that tests start would compile all of its modules again: they share a
folder that goes with the run, and beside the sources nothing is written. While tests are collected, no garbage is.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator

import pytest

from tests.demonstration import Played, demonstrate


def pytest_configure(config: pytest.Config) -> None:
    if not sys.dont_write_bytecode:
        return
    folder = tempfile.TemporaryDirectory(prefix="bytecode-")
    config.add_cleanup(folder.cleanup)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = folder.name  # its own, too: what mutates modules asks it
    sys.dont_write_bytecode = False


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.enable()


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """What the demonstration left, which nobody may change."""
    return demonstrate(tmp_path_factory.mktemp("demo") / "kept")
