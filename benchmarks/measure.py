"""Timing. The law here: engines that are compared take turns, a few calls each, in one process.

A slow second on a shared machine then falls on all of them alike, and ratios stay meaningful where
absolute figures do not. A turn is `TURN` calls, because each engine in service runs its own code again and
again; taking turns call by call would time how well it survives another's working set in the caches. Nothing is
subtracted: the two clock reads around a call (about 0.1 µs) stay in every figure.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

TURN = 20  # calls of one engine in a row: some ten milliseconds, far shorter than a slow second
MIN_ROUNDS = 20  # below this a p99 is only the maximum and a median still wanders

Call = Callable[[int], object]
"""One timed call. The argument counts up from 0 over warm-up and samples, so that a call whose
material is single-use (a nonce, a never-seen chain) finds its own."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Quantiles of the samples of one call, in microseconds."""

    p50_us: float
    p99_us: float
    calls: int


def quantile(ordered: Sequence[int], share: float) -> int:
    """The nearest-rank quantile of samples in ascending order; `share` within 0..1.

    Raises:
        ValueError: no samples.
    """
    if not ordered:
        raise ValueError("a quantile of no samples")
    rank = round(share * (len(ordered) - 1))
    return ordered[rank]


def timing(samples_ns: Sequence[int]) -> Timing:
    """Quantiles of samples given in nanoseconds.

    Raises:
        ValueError: no samples.
    """
    ordered = sorted(samples_ns)
    return Timing(
        p50_us=quantile(ordered, 0.50) / 1_000,
        p99_us=quantile(ordered, 0.99) / 1_000,
        calls=len(ordered),
    )


def take_turns(calls: Mapping[str, Call], *, rounds: int, warmup: int, seconds: float = 60.0) -> dict[str, Timing]:
    """Times every call `rounds` times, in turns of `TURN`, in an order that rotates.

    Args:
        calls: name of the engine and its call; index 0..warmup-1 is warm-up, then samples.
        rounds: samples per engine.
        warmup: untimed calls per engine before them.
        seconds: bound on the whole run; past it the run ends after MIN_ROUNDS samples.

    Raises:
        ValueError: no calls or no rounds.
    """
    if not calls or rounds < 1:
        raise ValueError("nothing to measure")
    names = list(calls)
    for index in range(warmup):
        for name in names:
            calls[name](index)
    samples: dict[str, list[int]] = {name: [] for name in names}
    # Material prepared for the run must not be traversed by collections inside it; the collector
    # itself stays on, since every engine would meet it in service.
    gc.collect()
    gc.freeze()
    try:
        _sample(calls, samples, range(warmup, warmup + rounds), seconds)
    finally:
        gc.unfreeze()
    return {name: timing(taken) for name, taken in samples.items()}


def _sample(calls: Mapping[str, Call], samples: dict[str, list[int]], indices: range, seconds: float) -> None:
    clock = time.perf_counter_ns
    names = list(calls)
    end = clock() + int(seconds * 1e9)
    for turn, begin in enumerate(range(indices.start, indices.stop, TURN)):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            call = calls[name]
            for index in range(begin, min(begin + TURN, indices.stop)):
                start = clock()
                call(index)
                samples[name].append(clock() - start)
        if (turn + 1) * TURN >= MIN_ROUNDS and clock() > end:
            return
