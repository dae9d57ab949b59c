"""`benchmarks.hops`: every engine says yes where it must and no where it must, and rows have their form."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from benchmarks import hops, measure, scenario
from benchmarks.scenario import Engine, Unfit, Workload

COMPARED, MISSING = hops.engines()
PEERS = ("tenuo", "biscuit-python")
needs_peers = pytest.mark.skipif(bool(set(PEERS) & set(MISSING)), reason=f"extra `bench` lacks {MISSING}")

CELLS = [
    pytest.param(engine, mode, depth, id=f"{engine.name}-{mode}-{depth}")
    for engine in COMPARED
    for mode in scenario.MODES
    if mode in engine.modes
    for depth in (1, 2)
]


@pytest.mark.skipif(not CELLS, reason=f"no engine is installed, extra `bench` lacks {MISSING}")
@pytest.mark.parametrize(("engine", "mode", "depth"), CELLS)
def test_an_engine_allows_the_call_and_refuses_its_twins(engine: Engine, mode: str, depth: int) -> None:
    workload = engine.prepare(mode, depth, 2)
    for index in range(2):
        workload.call(index)
    assert workload.bytes > 0
    assert workload.denied
    assert {name: refused() for name, refused in workload.denied.items()} == dict.fromkeys(workload.denied, True)


@needs_peers
def test_rows_cover_every_mode_and_depth_that_an_engine_has() -> None:
    rows = hops.run(COMPARED, depths=(1, 2), calls=measure.MIN_ROUNDS)
    cells = {(engine.name, mode, depth) for engine in COMPARED for mode in engine.modes for depth in (1, 2)}
    assert {(row.engine, row.mode, row.depth) for row in rows} == cells
    assert all(0 < row.p50_us <= row.p99_us for row in rows)
    assert f"x {hops.REFERENCE}" in hops.table(rows)


@needs_peers
def test_json_prints_the_rows_as_one_array(capsys: pytest.CaptureFixture[str]) -> None:
    assert hops.main(["--json", "--calls", str(measure.MIN_ROUNDS), "--depth", "1"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed
    assert all(set(row) == {"engine", "mode", "depth", "p50_us", "p99_us", "bytes"} for row in printed)


@dataclass(frozen=True)
class YesMan:
    """An engine that allows everything, or nothing."""

    denied: Mapping[str, Callable[[], bool]]
    name: str = "yes"
    modes: frozenset[str] = frozenset({scenario.WARM})

    def prepare(self, _mode: str, _depth: int, _calls: int) -> Workload:
        return Workload(bytes=1, call=lambda _: None, denied=self.denied)


def test_an_engine_that_allows_a_denied_twin_is_not_timed() -> None:
    with pytest.raises(Unfit, match="stolen"):
        hops.run([YesMan({"stolen": lambda: False})], depths=(1,), calls=1)
    assert len(hops.run([YesMan({"stolen": lambda: True})], depths=(1,), calls=1)) == 1
