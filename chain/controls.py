"""What an authority answers a framework with: each item, how it is configured, and what the record shows of it.

The law of this file: pure. A label holds only while everything that it rests on is on; else the item is a gap, however
much the record shows. What nobody tells of the configuration is unknown, and never taken for on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from chain.configuration import Configuration
from chain.framework import FRAMEWORKS, Framework, Item, Label
from chain.given import Asked, Entry, Given
from chain.history import History
from chain.mechanism import Mechanism
from chain.mechanismcall import OF_CALLS
from chain.mechanismrun import OF_OPERATION

MECHANISMS = {one.name: one for one in (*OF_CALLS, *OF_OPERATION)}
"""Name -> mechanism."""

_LAST = 253_402_300_799
"""Seconds: the last instant that a date with four digits of a year has."""


class State(StrEnum):
    """How an item or a mechanism stands."""

    ON = "on"
    GAP = "gap"
    UNKNOWN = "unknown"
    OUTSIDE = "out of scope"


class Evidence(NamedTuple):
    """What the record shows of a mechanism, or of an item.

    Attributes:
        records: of its kinds.
        refused: calls and changes that it refused.
        last: the last of these; None where there was none.
    """

    records: int = 0
    refused: int = 0
    last: Entry | None = None


class Shown(NamedTuple):
    """A mechanism as it stands.

    Attributes:
        mechanism: which.
        state: on, a gap where it is switched off, or unknown.
        evidence: of it.
    """

    mechanism: Mechanism
    state: State
    evidence: Evidence


class Row(NamedTuple):
    """An item as it stands.

    Attributes:
        framework: its name.
        item: which.
        state: a gap where something is off that its label rests on.
        off: names of those; of an item that is no gap, none.
        weaker: names of what would make it stronger, and is off.
        evidence: of all that it rests on.
        tests: node ids.
    """

    framework: str
    item: Item
    state: State
    off: tuple[str, ...]
    weaker: tuple[str, ...]
    evidence: Evidence
    tests: tuple[str, ...]


class Finding(NamedTuple):
    """Something that people have to do.

    Attributes:
        what: `review` of an emergency that nobody signed off, or of a principal whose day for it is over; or `owner` of
            what nobody answers for.
        record: that shows it.
        since: seconds.
        detail: in words.
    """

    what: str
    record: int
    since: float
    detail: str


class Report(NamedTuple):
    """All of it.

    Attributes:
        rows: in the order of the frameworks.
        shown: every mechanism.
        findings: in the order of their records.
        revision: of the last record that it rests on.
        configured: whether anybody told how the authority is configured.
    """

    rows: tuple[Row, ...]
    shown: tuple[Shown, ...]
    findings: tuple[Finding, ...]
    revision: int
    configured: bool

    @property
    def gaps(self) -> tuple[Row, ...]:
        """The items whose label does not hold."""
        return tuple(row for row in self.rows if row.state is State.GAP)


def report(
    history: History, told: Configuration | None, now: float, names: Sequence[str] = tuple(FRAMEWORKS)
) -> Report:
    """Return how the items of frameworks are answered.

    Args:
        history: the record.
        told: how the authority is configured; None where nobody says, as of an export.
        now: seconds; at which instant.
        names: of the frameworks.
    """
    refusals = _refusals(history)
    shown = {one.name: Shown(one, state(one, told), _evidence(history, refusals, [one])) for one in MECHANISMS.values()}
    rows = tuple(
        _row(framework, item, shown, _evidence(history, refusals, [MECHANISMS[name] for name in item.by]))
        for framework in _named(names)
        for item in framework.items
    )
    findings = tuple(sorted(findings_of(history, now), key=lambda one: one.record))
    revision = 0 if history.last is None else history.last.revision
    return Report(rows, tuple(shown.values()), findings, revision, told is not None)


def state(one: Mechanism, told: Configuration | None) -> State:
    """Return how a mechanism stands under a configuration."""
    if one.on is None:
        return State.ON
    if told is None:
        return State.UNKNOWN
    return State.ON if one.on(told) else State.GAP


def findings_of(history: History, now: float) -> Iterable[Finding]:
    """Yield what people have to do: reviews that are open, and what stands and nobody answers for."""
    for asked in history.asked.values():
        if (entry := unreviewed(asked)) is not None:
            who, why = entry.body.get("approver", ""), entry.body.get("justification", "")
            tool = asked.entry.body.get("tool", "")
            detail = f"nobody signed off the emergency of `{who}` for `{tool}`, request {asked.entry.body['id']}: {why}"
            yield Finding("review", entry.revision, entry.seconds, detail)
    yield from _unowned(history, now)
    yield from _overdue(history, now)


def unreviewed(asked: Asked) -> Entry | None:
    """Return the word that broke the glass, where nobody signed it off after (`chain.approval.Approval.in_review`)."""
    found: Entry | None = None
    for entry in asked.words:
        if entry.body.get("emergency"):
            found = entry
        elif entry.body.get("verdict") == "sign_off":
            found = None
    return found


def _unowned(history: History, now: float) -> Iterable[Finding]:
    """Yield the roots that stand without an owner, and once each the holders that nobody answers for."""
    held: dict[str, list[Given]] = {}
    for one in history.live(now).values():
        if one.above is None and not one.facts.get("owner"):
            detail = f"nobody answers for root {one.id}, held by `{history.called(one.holder)}`"
            yield Finding("owner", one.entry.revision, one.entry.seconds, detail)
        if not history.principal(one.holder).get("owner"):
            held.setdefault(one.holder, []).append(one)
    for holder, ones in held.items():
        entry, more = ones[0].entry, f" and of {len(ones) - 1} more" if len(ones) > 1 else ""
        detail = f"nobody answers for `{holder}`, the holder of {ones[0].id}{more}"
        yield Finding("owner", entry.revision, entry.seconds, detail)


def _overdue(history: History, now: float) -> Iterable[Finding]:
    """Yield once each the principals whose review was due by a day that is over; not those whose keys are all gone."""
    today = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=min(max(now, 0), _LAST))).date().isoformat()
    told: set[str] = set()
    for holder, entry in history.enrolled.items():
        who = history.principal(holder)
        due, name = str(who.get("review") or ""), str(who.get("id", ""))
        if due and due < today and name not in told and ("holder", holder) not in history.struck:
            told.add(name)
            detail = f"`{name}` was to be reviewed by {due}; `{who.get('owner', '')}` answers for it"
            yield Finding("review", entry.revision, entry.seconds, detail)


def _named(names: Sequence[str]) -> Iterable[Framework]:
    return (framework for name, framework in FRAMEWORKS.items() if name in names)


def _refusals(history: History) -> dict[str, tuple[int, Entry]]:
    """Return how often each reason refused something, and the last time."""
    found: dict[str, tuple[int, Entry]] = {}
    calls = (entry for entry in history.decided if entry.body["effect"] != "ALLOW")
    for entry in (*calls, *history.refused):
        count, last = found.get(entry.body["reason"], (0, entry))
        found[entry.body["reason"]] = count + 1, max(last, entry, key=lambda one: one.revision)
    return found


def _evidence(history: History, refusals: Mapping[str, tuple[int, Entry]], mechanisms: Sequence[Mechanism]) -> Evidence:
    """Return what the record shows of mechanisms together; what two of them claim counts once."""
    reasons = {reason.value for one in mechanisms for reason in one.reasons}
    kinds = {kind for one in mechanisms for kind in one.kinds}
    found = [refusals[reason] for reason in sorted(reasons & refusals.keys())]
    last = max((entry for _, entry in found), key=lambda entry: entry.revision, default=None)
    return Evidence(sum(history.kinds.get(kind, 0) for kind in kinds), sum(count for count, _ in found), last)


def _row(framework: Framework, item: Item, shown: Mapping[str, Shown], evidence: Evidence) -> Row:
    rests = [shown[name] for name in item.by]
    return Row(
        framework.name,
        item,
        _stands(item, rests),
        tuple(one.mechanism.name for one in rests if one.state is State.GAP),
        tuple(name for name in item.also if shown[name].state is State.GAP),
        evidence,
        tuple(dict.fromkeys(test for one in rests for test in one.mechanism.tests)),
    )


def _stands(item: Item, rests: Sequence[Shown]) -> State:
    if item.label is Label.OUTSIDE:
        return State.OUTSIDE
    states = {one.state for one in rests}
    return next((worst for worst in (State.GAP, State.UNKNOWN) if worst in states), State.ON)


def data(found: Report) -> dict[str, Any]:
    """Return a report for programs."""
    return {
        "revision": found.revision,
        "configured": found.configured,
        "gaps": len(found.gaps),
        "rows": [_row_data(row) for row in found.rows],
        "mechanisms": [
            {
                "name": one.mechanism.name,
                "text": one.mechanism.text,
                "state": one.state.value,
                "setting": one.mechanism.setting,
                "evidence": _evidence_data(one.evidence),
                "tests": one.mechanism.tests,
            }
            for one in found.shown
        ],
        "findings": [one._asdict() for one in found.findings],
    }


def _row_data(row: Row) -> dict[str, Any]:
    return {
        "framework": row.framework,
        "id": row.item.id,
        "title": row.item.title,
        "label": row.item.label.value,
        "state": row.state.value,
        "by": row.item.by,
        "also": row.item.also,
        "off": row.off,
        "weaker": row.weaker,
        "limit": row.item.limit,
        "evidence": _evidence_data(row.evidence),
        "tests": row.tests,
    }


def _evidence_data(one: Evidence) -> dict[str, Any]:
    last = one.last
    told = None if last is None else {"record": last.revision, "time": last.seconds, "reason": last.body["reason"]}
    return {"records": one.records, "refused": one.refused, "last": told}
