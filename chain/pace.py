"""How fast principals act: rate limits, and a circuit breaker that stops one who has gone wild.

The law of this file: counts in memory, of what was proven to be a principal's own asking or signing. One who holds many
keys, or has many workers, has one count; nobody else can run it up to where it suspends. A restart begins to count
anew, which a suspension that was recorded survives. Readers look at any moment and change nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush, heappushpop

from chain.recent import Recent


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a principal is stopped without anybody saying so; with all who work under it, it has one count.

    Attributes:
        window: seconds that are looked back on.
        calls: calls in a window that a principal may make at most, delegating included; 0 for any number.
        denials: denied calls in a window that suspend it; 0 for never.
        delegations: hops made in a window that suspend it (fan-out); 0 for never.
        outstanding: hops that it made and that have not ended, beyond which it makes no more; 0 for any number.
        cooldown: seconds that such a suspension lasts.
    """

    window: int = 60
    calls: int = 0
    denials: int = 0
    delegations: int = 0
    outstanding: int = 0
    cooldown: int = 300


class _Counts:
    """The latest events of each principal, as many as the limit and no more."""

    __slots__ = ("_limit", "_times", "_window")

    def __init__(self, limit: int, window: int) -> None:
        self._limit = limit
        self._window = window
        self._times: Recent[str, deque[float]] = Recent()

    def add(self, actor: str, now: float) -> bool:
        """Note an event; tell whether the limit is reached."""
        if not self._limit:
            return False
        times = self._times.get(actor) or deque(maxlen=self._limit)
        times.append(now)
        self._times.put(actor, times)
        return self.wait(actor, now) > 0

    def wait(self, actor: str, now: float) -> float:
        """Return in how many seconds the window holds fewer events than the limit; 0 where it does."""
        times = self._times.get(actor) if self._limit else None
        if times is None:
            return 0.0
        seen = tuple(times) if len(times) == self._limit else ()
        return max(seen[0] + self._window - now, 0.0) if len(seen) == self._limit else 0.0

    def forget(self, actor: str) -> None:
        """Begin anew."""
        self._times.drop(actor)


class Pace:
    """Counts by principal. Changed by the ledger's writer alone."""

    def __init__(self, breaker: Breaker) -> None:
        self.breaker = breaker
        self._calls = _Counts(breaker.calls, breaker.window)
        self._denials = _Counts(breaker.denials, breaker.window)
        self._delegations = _Counts(breaker.delegations, breaker.window)
        self._ends: Recent[str, list[int]] = Recent()

    def rested(self, actor: str, now: float) -> float:
        """Return how many seconds a principal has to wait before its next call; 0 where it need not."""
        return self._calls.wait(actor, now)

    def called(self, actor: str, now: float) -> None:
        """Count a call."""
        self._calls.add(actor, now)

    def refused(self, actor: str, now: float) -> bool:
        """Count a denial; tell whether it was one too many, after which counting begins anew."""
        return self._tripped(self._denials, actor, now)

    def delegated(self, actor: str, now: float) -> bool:
        """Count a hop; tell whether it was one too many, after which counting begins anew."""
        return self._tripped(self._delegations, actor, now)

    def keep(self, actor: str, ends: int) -> None:
        """Count a hop as long as it lives: until `ends`, in seconds."""
        if self.breaker.outstanding:
            kept = self._ends.get(actor) or []
            if len(kept) < self.breaker.outstanding:
                heappush(kept, ends)
            else:
                heappushpop(kept, ends)  # those that end last are enough to tell when there is room again
            self._ends.put(actor, kept)

    def crowded(self, actor: str, now: float, more: Sequence[int] = ()) -> float:
        """Return in how many seconds a principal may make another hop; 0 where it may (writer only).

        Args:
            actor: whose hops are counted.
            now: seconds.
            more: when others of its hops end that are about to be made.
        """
        if not self.breaker.outstanding:
            return 0.0
        kept = self._ends.get(actor) or []
        while kept and kept[0] <= now:
            heappop(kept)
        if len(kept) + len(more) < self.breaker.outstanding:
            return 0.0
        return max(min((*kept[:1], *more)) - now, 0.0)  # of those that have ended already, none is too many

    @staticmethod
    def _tripped(counts: _Counts, actor: str, now: float) -> bool:
        tripped = counts.add(actor, now)
        if tripped:
            counts.forget(actor)
        return tripped
