"""Every scenario through the library's door. Another door needs only another fixture value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from tests.scenarios.door import LibraryDoor
from tests.scenarios.runner import FILES, load, play
from tests.support import Json, World

SCENARIOS = [scenario for file in FILES for scenario in load(file)]


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "ledger")
    yield World(store=store, enrolled=())
    store.close()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
def test_scenario(scenario: Json, world: World) -> None:
    assert play(scenario, LibraryDoor(world), world.clock) >= 2


def test_there_are_as_many_as_we_think() -> None:
    names = [scenario["name"] for scenario in SCENARIOS]
    assert (len(names), len(set(names))) == (29, 29)
    expectations = [step for scenario in SCENARIOS for step in scenario["steps"] if "expect" in step]
    assert len(expectations) >= 60


def test_a_scenario_that_is_wrong_fails(world: World) -> None:
    wrong = {"name": "wrong", "steps": [{"issue": "root", "to": "alice", "tools": {}, "expect": {"effect": "DENY"}}]}
    with pytest.raises(AssertionError, match="wrong, step 1"):
        play(wrong, LibraryDoor(world), world.clock)
