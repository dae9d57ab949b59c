"""How each delegation stood, from the moment that it was made.

The law of this file: what stands at an instant is what `History.end` says of the records up to it; a turn is an instant
at which that answer changes. What ended an ancestor ended all beneath it, so each is worked out from the one above.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from chain.given import Given
from chain.history import History

_PASSING = frozenset({"live", "suspended"})
"""What it depends on suspensions whether a delegation is."""

_NEVER = 1 << 62
"""Milliseconds: later than any instant that is asked for."""


class Turn(NamedTuple):
    """From when on a delegation stood otherwise than before.

    Attributes:
        time: milliseconds since the epoch.
        status: live, expired, revoked or suspended.
        record: that brought it; 0 where time alone did.
        cause: in words.
        of: id of the delegation that it befell, itself or an ancestor; empty where a name was meant.
    """

    time: int
    status: str
    record: int
    cause: str
    of: str


class _Stop(NamedTuple):
    """A suspension, from its record to what lifted or replaced it."""

    start: int
    end: int
    record: int
    cause: str


class _Fate(NamedTuple):
    """What befalls a delegation and all beneath it."""

    revoked: Turn | None
    expired: Turn
    stops: tuple[_Stop, ...]


class Turns:
    """The turns of every delegation of a ledger."""

    def __init__(self, history: History, now: float, since: int = 0) -> None:
        """Work them out.

        Args:
            history: the ledger up to `now`.
            now: seconds; no turn is later.
            since: milliseconds; of before it is not known what was suspended, so nothing is said to have stood then.
        """
        self._history, self._now, self._since = history, int(now * 1000), since
        self._stops = _stops(history)
        self._fates: dict[str, _Fate] = {}
        self._cache: dict[tuple[tuple[str, ...], str], tuple[_Stop, ...]] = {}
        for one in history.given.values():  # the one above was recorded first
            self._fates[one.id] = self._fate(one)

    def of(self, one: Given) -> list[Turn]:
        """Return the turns of a delegation, the first of them at its making, or when it is first known how it stood."""
        fate, born = self._fates[one.id], one.entry.time
        points = {
            born,
            max(born, self._since),
            fate.expired.time,
            fate.revoked.time if fate.revoked is not None else born,
        }
        points.update(edge for stop in fate.stops for edge in (stop.start, stop.end))
        found: list[Turn] = []
        for time in sorted(points):
            if born <= time <= max(self._now, born):
                turn = _standing(fate, time)
                if time < self._since and turn.status in _PASSING:
                    continue
                if not found or found[-1][1:] != turn[1:]:
                    found.append(turn)
        return found

    def expires(self, one: Given) -> int:
        """Return when its time is over, in milliseconds, or that of an ancestor, whichever is first."""
        return self._fates[one.id].expired.time

    def _fate(self, one: Given) -> _Fate:
        above = None if one.above is None else self._fates[one.above.id]
        expired = Turn(one.exp * 1000, "expired", 0, "its time was over", one.id)
        revoked, stops = min(self._strikes(one), default=None), self._suspensions(one)
        if above is not None:
            expired = min(above.expired, expired, key=lambda turn: turn.time)
            revoked = min((turn for turn in (above.revoked, revoked) if turn is not None), default=None)
            stops = above.stops if set(stops) <= set(above.stops) else tuple(sorted({*above.stops, *stops}))
        return _Fate(revoked, expired, stops)

    def _strikes(self, one: Given) -> Iterator[Turn]:
        history = self._history
        if (entry := history.revoked.get(one.id)) is not None:
            yield Turn(entry.time, "revoked", entry.revision, str(entry.body.get("cause", "")), one.id)
        if history.struck:
            for kind, name in history.names(one):
                if (entry := history.struck.get((kind, name))) is not None:
                    cause = f"{kind} {name}: {entry.body.get('cause', '')}".removesuffix(": ")
                    yield Turn(entry.time, "revoked", entry.revision, cause, "")

    def _suspensions(self, one: Given) -> tuple[_Stop, ...]:
        if not self._stops:
            return ()
        key = one.names, one.task
        if key not in self._cache:
            found = {stop for scope in self._history.scopes(one) for stop in self._stops.get(scope, ())}
            self._cache[key] = tuple(sorted(found))
        return self._cache[key]


def _standing(fate: _Fate, time: int) -> Turn:
    """Return how it stands at an instant, the reasons in the order of `History.end`."""
    if fate.revoked is not None and fate.revoked.time <= time:
        return fate.revoked._replace(time=time)
    if fate.expired.time <= time:
        return fate.expired._replace(time=time)
    for stop in fate.stops:
        if stop.start <= time < stop.end:
            return Turn(time, "suspended", stop.record, stop.cause, "")
    return Turn(time, "live", 0, "", "")


def _stops(history: History) -> Mapping[tuple[str, str], list[_Stop]]:
    """Return how long each suspension stood: until it was lifted, replaced, or over by itself."""
    found: dict[tuple[str, str], list[_Stop]] = {}
    for entry in history.controls:
        known = found.setdefault((entry.body["scope"], entry.body["name"]), [])
        if known:
            known[-1] = known[-1]._replace(end=min(known[-1].end, entry.time))
        if entry.kind == "suspended" and entry.body.get("mode") == "suspended":  # who is quarantined still reads
            body = entry.body
            until = int(body.get("until", 0) * 1000)
            cause = f"{body['scope']} {body['name']}: {body.get('cause', '')}".removesuffix(": ")
            known.append(_Stop(entry.time, until if until > 0 else _NEVER, entry.revision, cause))
    return found
