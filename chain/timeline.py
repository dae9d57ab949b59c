"""Which readings of the clock the ledger believes.

The law of this file: time that the ledger believed does not come back, so one wrong reading must not be believed:
whatever lies before it would be refused until that time has come. A reading far ahead decides the call that it was
read for, which only narrows, and moves the ledger's time when the clock still says so a minute later. Record times
are the readings, so that a restart arrives at the same belief.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chain.ledger import Durability, Record, encode
from chain.row import Write

MAX_BACKSTEP_MS = 1_000
"""How far the clock may lie behind the ledger: time services step by less, a restored machine by more."""

MAX_LEAP_MS = 24 * 3600 * 1_000
"""How far ahead of the ledger one reading alone is believed. A ledger may rest longer, and then asks for a second."""

CONFIRM_MS = 60 * 1_000
"""How long, by the clock itself, it must go on from a leap; a reading that was only a glitch does not."""

RESUMED = "resumed"
"""Kind of the record with which an operator accepts a clock that lies behind the ledger."""

REPLAYED = 1_000
"""Records that a restart reads to know the time: more than a leap is likely to write before it is confirmed."""


class Timeline:
    """The time of a ledger.

    Attributes:
        floor: milliseconds; the latest time that is believed, 0 where there was none.
    """

    __slots__ = ("_leap", "floor")

    def __init__(self, records: Iterable[tuple[str, int]] = ()) -> None:
        """Take the readings that records bear.

        Args:
            records: kind and time (ms), oldest first.
        """
        self.floor = 0
        self._leap: int | None = None
        for kind, time in records:
            if kind == RESUMED or self.behind(time):  # what goes back was never believed when it was written
                self.floor, self._leap = time, None
            else:
                self.take(time)

    def behind(self, ms: int) -> bool:
        """Tell whether a reading lies before what is believed."""
        return ms < self.floor - MAX_BACKSTEP_MS

    def take(self, ms: int) -> int:
        """Take a reading that is not behind, and return the time that a record bears (ms)."""
        if self.floor and ms > self.floor + MAX_LEAP_MS:
            if self._leap is None or ms < self._leap:
                self._leap = ms
            if ms < self._leap + CONFIRM_MS:
                return ms
        self._leap = None
        self.floor = max(self.floor, ms)
        return self.floor


@dataclass(frozen=True, slots=True)
class Resuming:
    """The record of an operator's word that the clock is right and the ledger's time was not.

    Attributes:
        now, was: milliseconds, by the clock and by the ledger.
        durability: as every change.
    """

    now: int
    was: int
    durability: Durability = Durability.SYNCED

    def prepare(self, first: int) -> Write:
        """Say what to write."""
        return Write([encode(Record(first, RESUMED, self.now, {"was": self.was}))])
