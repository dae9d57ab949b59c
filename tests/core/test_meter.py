"""Counting: every decision once, whoever asks, and nothing that a caller could make grow."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from types import SimpleNamespace
from typing import Any

from chain.decision import Finding, decided, denied
from chain.meter import BOUNDS, Meter
from chain.reason import Reason


def item(reason: Reason | None = None, depth: int | None = 0) -> Any:
    findings = () if reason is None else (Finding(reason=reason, hop=None, detail=""),)
    chain = None if depth is None else SimpleNamespace(leaf=SimpleNamespace(hop=depth))
    return SimpleNamespace(decision=decided(findings, 0.0, "d", 1), chain=chain)


def ticking(*instants: float) -> Callable[[], float]:
    left = iter(instants)
    return lambda: next(left)


def test_decisions_are_counted_by_effect_and_reason() -> None:
    meter = Meter()
    meter.decided([item(), item(), item(Reason.REPLAY), SimpleNamespace(decision=None, chain=None)], meter.start())
    meter.refused(denied(Finding(reason=Reason.STORE_UNAVAILABLE, hop=None, detail=""), at=0.0), 3)
    assert meter.counted().checks == {
        ("ALLOW", "allowed"): 2,
        ("DENY", "replay"): 1,
        ("DENY", "store_unavailable"): 3,
    }
    assert meter.counted().seconds == {}, "nobody has a clock for that"


def test_seconds_are_counted_by_depth_in_the_bucket_that_they_fit() -> None:
    meter = Meter(ticking(0.0, 0.0001, 0.0, 0.0003, 0.0, 7.0))
    for depth in (0, 0, None):
        meter.decided([item(depth=depth)], meter.start())
    counted = meter.counted().seconds
    assert counted.keys() == {0, None}
    assert (counted[0].counts[:3], sum(counted[0].counts)) == ([1, 0, 1], 2)
    assert round(counted[0].total, 9) == 0.0004
    assert counted[None].counts[len(BOUNDS)] == 1, "longer than every bound"


def test_a_batch_waited_for_all_of_it() -> None:
    meter = Meter(ticking(0.0, 0.02))
    meter.decided([item(depth=1), item(depth=2), item(depth=1)], meter.start())
    counted = meter.counted().seconds
    assert [(depth, sum(one.counts), round(one.total, 6)) for depth, one in counted.items()] == [
        (1, 2, 0.04),
        (2, 1, 0.02),
    ]


def test_threads_lose_no_count_and_a_reading_does_not_change() -> None:
    meter = Meter(lambda: 0.0)
    before = meter.counted()
    threads = [Thread(target=lambda: [meter.decided([item()], 0.0) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert meter.counted().checks == {("ALLOW", "allowed"): 2000}
    assert before.checks == {}
