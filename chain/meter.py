"""How many calls were decided how, and how long it took.

The law of this file: counts in memory, from the start of the process on; what really happened stands in the ledger.
Nothing is counted by a name that a caller chooses, so that nobody makes the counts grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import Lock

from chain.batch import Asked
from chain.decision import Decision

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Seconds: a known chain is decided in a fraction of the first, a synced write in some milliseconds."""


@dataclass(slots=True)
class Spread:
    """How long calls of one depth took.

    Attributes:
        counts: how many took at most each of `BOUNDS` and more than the one before; the last took longer.
        total: seconds of all.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0


@dataclass(slots=True)
class Counted:
    """What was counted.

    Attributes:
        checks: (effect, reason) -> how many.
        seconds: depth -> how long; None where no authentic chain was presented.
    """

    checks: dict[tuple[str, str], int] = field(default_factory=dict)
    seconds: dict[int | None, Spread] = field(default_factory=dict)


class Meter:
    """Counts decisions; threads share it."""

    __slots__ = ("_counted", "_lock", "_steady")

    def __init__(self, steady: Callable[[], float] | None = None) -> None:
        """Begin with nothing.

        Args:
            steady: seconds that pass however the clock is set; without it nobody can tell how long a call took.
        """
        self._counted = Counted()
        self._lock = Lock()
        self._steady = steady

    def start(self) -> float:
        """Return the instant at which a question came."""
        return 0.0 if self._steady is None else self._steady()

    def decided(self, asked: Iterable[Asked], began: float) -> None:
        """Count what was decided together, each of which waited for all of it; what nobody came to is not counted.

        Args:
            asked: calls.
            began: from `start`.
        """
        taken = None if self._steady is None else self._steady() - began
        bound = 0 if taken is None else bisect_left(BOUNDS, taken)
        with self._lock:
            for item in asked:
                if item.decision is None:
                    continue
                self._add(item.decision, 1)
                if taken is not None:
                    depth = None if item.chain is None else item.chain.leaf.hop
                    spread = self._counted.seconds.get(depth)
                    if spread is None:
                        spread = self._counted.seconds[depth] = Spread()
                    spread.counts[bound] += 1
                    spread.total += taken

    def refused(self, denial: Decision, count: int) -> None:
        """Count calls that could not be decided, and were denied."""
        with self._lock:
            self._add(denial, count)

    def _add(self, decision: Decision, count: int) -> None:
        key = decision.effect.value, decision.reason.value
        self._counted.checks[key] = self._counted.checks.get(key, 0) + count

    def counted(self) -> Counted:
        """Return what was counted so far; it does not change any more."""
        with self._lock:
            spreads = {depth: Spread(list(one.counts), one.total) for depth, one in self._counted.seconds.items()}
            return Counted(dict(self._counted.checks), spreads)
