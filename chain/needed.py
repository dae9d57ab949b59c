"""What is told of delegations rests on which facts; and of facts, which are let go of first.

The law of this file: pure, and it lets go of nothing itself. A fact is needed where it is told of a delegation, or of
anybody whom its holder works under, or of who answers for it.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import NamedTuple

from chain.given import Asked, Entry, Given
from chain.history import History
from chain.lapsed import Key
from chain.principal import SCHEME

ENROLLED, REVOKED, TOOL, ASKED = "enrolled", "revoked", "tool", "asked"
"""Kinds of facts beside those of names that were revoked, which are `chain.control.Strike`."""


def line(history: History, names: Iterable[str]) -> set[str]:
    """Return names, the keys enrolled for those that are ids, all under whom they work, and so on."""
    found = set[str]()
    ahead = list(names)
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        found.add(name)
        ahead.append(str(history.principal(name).get("under") or ""))
        if name.startswith(SCHEME):
            ahead.extend(history.roster.keys_of(name))
    return found - {""}


def who(history: History, ones: Collection[Given]) -> set[str]:
    """Return those who hold delegations and who answers for them, with all whom `line` names."""
    holders = {name for one in ones for name in one.names}
    owners = {str(one.facts.get("owner", "")) for one in ones if one.above is None}
    return line(history, holders | {name for name in owners if name.startswith(SCHEME)})


def facts(history: History, ones: Collection[Given]) -> set[Key]:
    """Return the facts that what is told of delegations rests on."""
    roots = [one for one in ones if one.above is None]
    found: set[Key] = {(kind, name) for name in who(history, ones) for kind in (ENROLLED, "holder")}
    found.update(("key", key) for one in ones for key in one.signers)
    found.update(("task", one.task) for one in ones)
    found.update(("issuer", one.issuer) for one in roots)
    found.update((REVOKED, one.id) for one in ones)
    found.update((TOOL, tool) for one in ones for tool in one.granted)
    return found


def spare(kind: str, held: Mapping[str, Entry] | Mapping[Key, Entry], needed: Container[Key], kept: int) -> list[Key]:
    """Return what is let go of so that so many facts are left, where that can be: the oldest that are not needed.

    Args:
        kind: of facts whose names are no `Key` themselves.
        held: name -> the record that says so.
        needed: what stays.
        kept: how many are left.
    """
    keys = ((entry.revision, key if isinstance(key, tuple) else (kind, key)) for key, entry in held.items())
    found = sorted(one for one in keys if one[1] not in needed)
    return [key for _, key in found[: max(0, len(held) - kept)]]


def unasked(asked: Mapping[str, Asked], pinned: Container[Key], now: float, kept: int) -> list[str]:
    """Return the requests for approval that are let go of, so that no more than so many records of them are left.

    Those that are over go first, then those that are open, then those that somebody let pass in an emergency; of each,
    those of which nothing was heard for longest.

    Args:
        asked: id -> request.
        pinned: what stays.
        now: seconds.
        kept: records that are left.
    """
    left = records(asked)
    found: list[str] = []
    for name, one in sorted(asked.items(), key=lambda pair: _weight(pair[1], now)):
        if left <= kept:
            break
        if (ASKED, name) not in pinned:
            found.append(name)
            left -= _records(one)
    return found


def records(asked: Mapping[str, Asked]) -> int:
    """Return of how many records requests for approval are made."""
    return sum(map(_records, asked.values()))


def _records(one: Asked) -> int:
    return 1 + len(one.words) + len(one.uses)


def _weight(one: Asked, now: float) -> tuple[int, int]:
    last = max(entry.revision for entry in (one.entry, *one.words, *one.uses))
    if any(entry.body.get("emergency") for entry in one.words):
        return 2, last
    denied = bool(one.words) and one.words[-1].body.get("state") == "denied"
    return int(not (one.uses or denied or one.entry.body["expires"] <= now)), last


class Stop(NamedTuple):
    """A suspension or quarantine that is over.

    Attributes:
        scope: what it was about, with its name.
        end: milliseconds.
        places: of its records, what lifted it among them.
    """

    scope: Key
    end: int
    places: tuple[int, ...]


def over(controls: Sequence[Entry], now: float) -> list[Stop]:
    """Return what was lifted, or replaced, or is over by itself, and what lifted nothing.

    Args:
        controls: every record that suspended something or lifted it, in order.
        now: seconds.
    """
    found: list[Stop] = []
    standing: dict[Key, int] = {}
    for place, entry in enumerate(controls):
        scope = entry.body["scope"], entry.body["name"]
        before = standing.pop(scope, None)
        lifts = () if entry.kind == "suspended" else (place,)
        if before is not None:
            found.append(Stop(scope, min(_until(controls[before]), entry.time), (before, *lifts)))
        elif lifts:
            found.append(Stop(scope, entry.time, lifts))
        if not lifts:
            standing[scope] = place
    ended = ((scope, place, _until(controls[place])) for scope, place in standing.items())
    return found + [Stop(scope, end, (place,)) for scope, place, end in ended if end <= now * 1000]


def _until(entry: Entry) -> int:
    return int(entry.body.get("until", 0) * 1000) or 1 << 62


def scopes(history: History) -> set[Key]:
    """Return the scope and name of all that a suspension can be about and stop something of what is held."""
    ones = {(one.names, one.task): one for one in history.given.values()}
    return {scope for one in ones.values() for scope in history.scopes(one)}
