"""What expires when, so that it is forgotten in small steps.

The law of this file: nobody waits for housekeeping. A step costs a fraction of a millisecond, however much expired.
"""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")

SPAN = 16
"""Seconds in one bucket: how long a key may stay after it expired."""

STEP = 1_024
"""Keys or empty buckets in one step, a fraction of a millisecond; a commit adds no more (`MAX_BATCH`)."""


class Expiry(Generic[K]):
    """Keys in buckets by the second at which they expire."""

    __slots__ = ("_buckets", "_next")

    def __init__(self, now: float) -> None:
        """Start with no keys.

        Args:
            now: seconds; nothing is expected to have expired long before.
        """
        self._buckets: dict[int, list[K]] = {}
        self._next = int(now) // SPAN

    def add(self, key: K, expires: int) -> None:
        """Note when (seconds) a key expires; a key noted twice comes due twice."""
        self._buckets.setdefault(max(expires // SPAN, self._next), []).append(key)

    def due(self, now: float) -> list[K]:
        """Take out some keys that expired by `now` (seconds), at most `STEP`; the rest comes with the next calls."""
        end, steps = int(now) // SPAN, STEP
        found: list[K] = []
        while self._next < end and steps > 0:
            bucket = self._buckets.get(self._next)
            if bucket:
                size = min(len(bucket), steps)
                found += bucket[-size:]
                del bucket[-size:]
                steps -= size
            else:
                self._buckets.pop(self._next, None)
                self._next += 1
                steps -= 1
        return found
