"""`benchmarks.controls`: every control is on when it is timed, and rows have their form."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from benchmarks import controls, measure
from benchmarks.scenario import Unfit

FEW = dict.fromkeys(controls.CALLS, measure.MIN_ROUNDS)


def test_rows_cover_every_control_at_both_levels() -> None:
    rows = controls.run(calls=FEW)
    assert {(row.level, row.control) for row in rows} == {
        (level, control.name) for level in FEW for control in controls.CONTROLS
    }
    by_name = {(row.level, row.control): row for row in rows}
    for row in rows:
        other = by_name[row.level, row.beside]
        assert row.p50_us > 0
        assert row.beside_us == other.p50_us
        assert row.more_us == pytest.approx(row.p50_us - other.p50_us, abs=0.02)
        assert row.ratio == pytest.approx(row.p50_us / other.p50_us, rel=0.01)
    assert all(control.name in controls.table(rows) for control in controls.CONTROLS)


def test_json_prints_the_rows_as_one_array(capsys: pytest.CaptureFixture[str]) -> None:
    assert controls.main(["--json", "--calls", str(measure.MIN_ROUNDS)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(printed) == 2 * len(controls.CONTROLS)
    assert all(set(row) == {field.name for field in fields(controls.Row)} for row in printed)


@pytest.mark.parametrize("name", ["policy", "suspension", "strike", "budget", "approval", "shadow", "all"])
def test_a_control_that_is_not_on_is_not_timed(name: str) -> None:
    """Each is asked for what it is there to refuse: the same one that nobody switched on does not refuse it."""
    known = {control.name: control for control in controls.CONTROLS}
    if name == "budget":
        broken = replace(known[name], bites=lambda bench: bench.ask(controls.READ, controls.GIVEN).allowed is False)
    elif name == "shadow":
        broken = replace(known[name], settings=None)
    else:
        broken = replace(known[name], on=lambda _: None)
    with pytest.raises(Unfit, match="not on"):
        controls.run([known["none"], replace(broken, beside="none")], calls=FEW)


def test_a_control_that_refuses_the_call_is_not_timed() -> None:
    def stop(bench: controls.Bench) -> None:
        bench.authority.steering.suspend(controls.GATE, "everything", "", "a test")

    with pytest.raises(Unfit, match="refuses the call"):
        controls.run([controls.Control("stopped", stop, beside="stopped")], calls=FEW)
