"""What counting costs a check: `Meter.start` and `Meter.decided` of one call, with the clock that a server has.

`python -m benchmarks.meter` prints µs of one check, median and 99th percentile of rounds of a thousand.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from chain.decision import decided
from chain.meter import Meter

ROUNDS, CALLS = 200, 1_000


def main() -> None:
    """Measure and print."""
    meter = Meter(time.monotonic)
    asked: Any = [
        SimpleNamespace(decision=decided((), 0.0, "d", 1), chain=SimpleNamespace(leaf=SimpleNamespace(hop=8)))
    ]
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            meter.decided(asked, meter.start())
        taken.append((time.perf_counter() - began) / CALLS * 1e6)
    taken.sort()
    print(f"{taken[ROUNDS // 2]:.2f} µs a check, p99 {taken[ROUNDS * 99 // 100]:.2f}")


if __name__ == "__main__":
    main()
