"""Servers for the tests: one for a module, and others as they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .hosted import Hosted, settings

Host = Callable[..., Hosted]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    hosted = Hosted(settings(tmp_path_factory.mktemp("web")))
    yield hosted
    hosted.close()


@pytest.fixture
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Start a server with other settings."""
    running: list[Hosted] = []

    def start(**changes: object) -> Hosted:
        given = {
            name: changes.pop(name) for name in ("clock", "workloads", "people", "ring", "notary") if name in changes
        }
        made = Hosted(settings(tmp_path_factory.mktemp("web"), **changes), **given)
        running.append(made)
        return made

    yield start
    for hosted in running:
        hosted.close()
