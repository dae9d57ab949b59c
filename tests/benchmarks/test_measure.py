"""The stop-watch: quantiles are right, engines take turns, every call gets its own index."""

from __future__ import annotations

import pytest

from benchmarks import measure


def test_quantiles_are_nearest_ranks_of_the_samples() -> None:
    taken = measure.timing([1_000 * n for n in range(101, 0, -1)])
    assert (taken.p50_us, taken.p99_us, taken.calls) == (51.0, 100.0, 101)


def test_no_samples_have_no_quantile() -> None:
    with pytest.raises(ValueError, match="no samples"):
        measure.timing([])


def test_engines_take_turns_and_rotate_and_see_each_index_once() -> None:
    seen: list[tuple[str, int]] = []
    taken = measure.take_turns(
        {"a": lambda index: seen.append(("a", index)), "b": lambda index: seen.append(("b", index))},
        rounds=measure.TURN + 2,
        warmup=1,
    )
    first, second = range(1, 1 + measure.TURN), range(1 + measure.TURN, 3 + measure.TURN)
    turns = [("a", first), ("b", first), ("b", second), ("a", second)]
    assert seen[:2] == [("a", 0), ("b", 0)]
    assert seen[2:] == [(name, index) for name, indices in turns for index in indices]
    assert {name: timing.calls for name, timing in taken.items()} == {"a": measure.TURN + 2, "b": measure.TURN + 2}


def test_a_run_past_its_bound_ends_after_the_fewest_rounds() -> None:
    taken = measure.take_turns({"a": lambda _: None}, rounds=10_000, warmup=0, seconds=0.0)
    assert taken["a"].calls == measure.MIN_ROUNDS


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to measure"):
        measure.take_turns({}, rounds=1, warmup=0)
