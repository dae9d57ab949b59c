"""Explanations and simulations have few places: one a caller, so that nobody's keep anybody else waiting."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import pytest

from chain.client import Client
from chain.errors import ResourceExhaustedError
from chain.service.room import STUDIES, Kind, Limit, Room
from chain.service.server import ChainServer
from chain.supposed import Hypothesis
from tests.client.running import secret, serving, settings
from tests.explain.denied import Denied
from tests.support import CAROL, World, honest


class Busy(NamedTuple):
    """A server on which nothing is explained before it is let go."""

    denied: Denied
    address: str
    begun: Event
    goes: Event
    pool: ThreadPoolExecutor

    def client(self, name: str) -> Client:
        return Client(self.address, secret(name), timeout=20)

    def explained(self, name: str) -> Future[Any]:
        """One more explanation under way."""
        client = self.client(name)
        return self.pool.submit(client.explain, self.denied.tokens, self.denied.request())


@pytest.fixture
def busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Busy]:
    denied = Denied(World(), honest(), CAROL, arguments={"amount": 500})
    begun, goes = Event(), Event()
    explain = denied.world.authority.explain

    def late(*asked: Any) -> Any:
        begun.set()
        assert goes.wait(20)
        return explain(*asked)

    monkeypatch.setattr(denied.world.authority, "explain", late)
    started = serving(lambda: ChainServer(denied.world.authority, settings(tmp_path), log=io.StringIO()))
    with started as server, ThreadPoolExecutor() as pool:
        yield Busy(denied, server.address, begun, goes, pool)
        goes.set()


def test_a_caller_has_one_explanation_under_way(busy: Busy) -> None:
    first = busy.explained("point")
    assert busy.begun.wait(20)
    with busy.client("point") as client:
        with pytest.raises(ResourceExhaustedError, match="1 explanations or simulations"):
            client.explain(busy.denied.tokens, busy.denied.request())
        assert not client.check(busy.denied.tokens, busy.denied.request()).allowed  # a check is another matter
    busy.goes.set()
    assert first.result(20).changes
    with busy.client("point") as client:
        assert client.explain(busy.denied.tokens, busy.denied.request()).changes


def test_an_explanation_takes_the_place_of_a_simulation_and_of_nobody_elses(busy: Busy) -> None:
    first = busy.explained("operator")
    assert busy.begun.wait(20)
    with busy.client("operator") as client, pytest.raises(ResourceExhaustedError):
        client.simulate(busy.denied.tokens, busy.denied.request(), Hypothesis())
    others = [busy.explained("point"), busy.explained("agent")]
    busy.goes.set()
    assert [bool(told.result(20).hops) for told in (first, *others)] == [True] * 3


def test_places_of_all_callers_are_few() -> None:
    room = Room(Limit(1_000, 1_000), 1, callers=100)
    for number in range(STUDIES.total):
        room.enter(f"caller-{number}", Kind.STUDY)
    with pytest.raises(ResourceExhaustedError, match="no room"):
        room.enter("another", Kind.STUDY)
    room.enter("another", Kind.CALL)
    room.leave("caller-0", Kind.STUDY)
    room.enter("another", Kind.STUDY)
