"""What an auditor should look at first.

The law of this file: pure, and each finding is a fact with its record; whether it is wrong is for the reader to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from chain.auditor import Row
from chain.given import Entry, Given
from chain.history import History
from chain.reason import Reason

OFTEN = 3
"""Refusals of one holder that are worth a look."""

REVIEWED = frozenset({"nobody's", "unused"})
"""Kinds of which an access review (`chain.graph.review`) knows more."""

_ENDED = frozenset({Reason.REVOKED.value, Reason.EXPIRED.value, Reason.SUSPENDED.value})


def notable(history: History, now: float, used: Iterable[str] = ()) -> list[Row]:
    """Return the findings, those of people and emergencies first.

    Args:
        history: the ledger.
        now: seconds; at which instant.
        used: ids of delegations under which calls were allowed that the history holds no longer.
    """
    denied = (entry for entry in history.decided if entry.body["effect"] == "DENY")
    refusals = sorted([*denied, *history.refused], key=lambda entry: entry.revision)
    live = list(history.live(now).values())
    return [
        *_emergencies(history),
        *_suspended(history, now),
        *_often(history, refusals),
        *_after_the_end(history, refusals),
        *_strangers(history, live),
        *_unused(history, live, used),
    ]


def _row(kind: str, text: str, entry: Entry, name: str = "") -> Row:
    return {"kind": kind, "text": text, "record": entry.revision, "id": name}


def _emergencies(history: History) -> Iterator[Row]:
    for asked in history.asked.values():
        for word in asked.words:
            if word.body.get("emergency"):
                who, why = word.body.get("approver", ""), word.body.get("justification", "")
                yield _row("emergency", f"{who} let `{asked.entry.body['tool']}` pass in an emergency: {why}", word)


def _suspended(history: History, now: float) -> Iterator[Row]:
    for entry in history.suspended.values():
        body: Any = entry.body
        if not 0 < body.get("until", 0) <= now:
            yield _row("stopped", f"{body['scope']} {body['name']} is {body['mode']}: {body.get('cause', '')}", entry)


def _often(history: History, refusals: list[Entry]) -> Iterator[Row]:
    found: dict[str, list[Entry]] = {}
    for entry in refusals:
        if holder := entry.body.get("holder"):
            found.setdefault(holder, []).append(entry)
    for holder, entries in sorted(found.items(), key=lambda one: -len(one[1])):
        if len(entries) >= OFTEN:
            reasons = ", ".join(dict.fromkeys(str(entry.body["reason"]) for entry in entries))
            text = f"{history.called(holder)} was refused {len(entries)} times: {reasons}"
            yield _row("refused often", text, entries[-1], entries[-1].body.get("leaf", ""))


def _after_the_end(history: History, refusals: list[Entry]) -> Iterator[Row]:
    found: dict[str, list[Entry]] = {}
    for entry in refusals:
        if entry.body["reason"] in _ENDED and entry.body.get("leaf"):
            found.setdefault(entry.body["leaf"], []).append(entry)
    for leaf, entries in found.items():
        who = history.called(entries[-1].body.get("holder", ""))
        times = "once" if len(entries) == 1 else f"{len(entries)} times"
        text = f"{who} tried {times} to use what was {entries[-1].body['reason']}"
        yield _row("used after its end", text, entries[-1], leaf)


def _strangers(history: History, live: list[Given]) -> Iterator[Row]:
    seen = set[str]()
    for one in live:
        if one.holder not in history.enrolled and one.holder not in seen:
            seen.add(one.holder)
            text = f"{one.holder} holds a live delegation and is enrolled as nobody: no one answers for it"
            yield _row("nobody's", text, one.entry, one.id)


def _unused(history: History, live: list[Given], leaves: Iterable[str]) -> Iterator[Row]:
    used = set[str]()
    allowed = (str(entry.body.get("leaf", "")) for entry in history.decided if entry.body["effect"] == "ALLOW")
    for leaf in chain(leaves, allowed):
        one = history.given.get(leaf)
        while one is not None and one.id not in used:
            used.add(one.id)
            one = one.above
    for one in live:
        if one.id not in used and (one.above is None or one.above.id in used):
            text = f"{history.called(one.holder)}: live, and no call was allowed under it or beneath it"
            yield _row("unused", text, one.entry, one.id)
