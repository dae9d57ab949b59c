"""Every scenario through both doors, the library's and the service's, each over both stores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import product
from pathlib import Path

import pytest

from chain.signal import Transmitter
from chain.state import Settings
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from tests.scenarios.door import Door, LibraryDoor
from tests.scenarios.runner import FILES, IDP, IDP_KEY, load, play
from tests.scenarios.service import service
from tests.support import Clock, Json, World

SCENARIOS = [scenario for file in FILES for scenario in load(file)]
IDPS = [Transmitter(IDP, (IDP_KEY.key,))]
WAYS = tuple(product(("library", "service"), ("memory", "sqlite")))

PLAYED: Counter[tuple[str, str]] = Counter()
"""Way -> scenarios that came to their end."""


@contextmanager
def opened(way: tuple[str, str], directory: Path, told: Json | None = None) -> Iterator[tuple[Door, Clock]]:
    """A door; `told` are settings, by the one name that both the library's and the service's have."""
    door, kept = way
    clock = Clock()
    store = MemoryStore() if kept == "memory" else SqliteStore(directory / "ledger")
    if door == "service":
        with service(directory, store, clock, told=told) as served:
            yield served, clock
    else:
        with closing(store):
            settings = None if told is None else Settings(**told)
            world = World(
                store=store,
                clock=clock,
                enrolled=(),
                transmitters=IDPS,
                settings=settings,
                accountable=told is not None,
            )
            yield LibraryDoor(world), clock


@pytest.mark.parametrize("way", WAYS, ids="-".join)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
def test_scenario(scenario: Json, way: tuple[str, str], tmp_path: Path) -> None:
    with opened(way, tmp_path, scenario.get("told")) as (door, clock):
        assert play(scenario, door, clock) >= 2
    PLAYED[way] += 1


def test_there_are_as_many_as_we_think() -> None:
    names = [scenario["name"] for scenario in SCENARIOS]
    assert (len(names), len(set(names))) == (54, 54)
    expectations = [step for scenario in SCENARIOS for step in scenario["steps"] if "expect" in step]
    assert len(expectations) >= 60


def test_both_doors_played_them_all(request: pytest.FixtureRequest) -> None:
    here = [item for item in request.session.items if item.path == Path(__file__)]
    chosen = [item for item in here if item.name.startswith("test_scenario[")]
    if len(chosen) < len(WAYS) * len(SCENARIOS):
        pytest.skip("only some of the scenarios were asked for")
    assert dict(PLAYED) == dict.fromkeys(WAYS, 54)


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_a_scenario_that_is_wrong_fails(way: tuple[str, str], tmp_path: Path) -> None:
    wrong = {"name": "wrong", "steps": [{"issue": "root", "to": "alice", "tools": {}, "expect": {"effect": "DENY"}}]}
    with opened(way, tmp_path) as (door, clock), pytest.raises(AssertionError, match="wrong, step 1"):
        play(wrong, door, clock)
