"""What the page is told: JSON values, each delegation and each event with the record that shows it.

The law of this file: nothing is left out in silence. What is not listed is counted, and a ledger with more delegations
than a page can hold is refused, with what to ask instead.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

from chain import auditor, explain
from chain.auditor import Row
from chain.errors import InvalidRequestError
from chain.given import Asked, Entry, Given
from chain.history import History
from chain.lapsed import NOTHING, LetGo
from chain.report.notable import REVIEWED, notable
from chain.report.turn import Turns

MAX_DELEGATIONS = 50_000
"""On one page: twice of what a browser was seen to handle with ease."""

MAX_ALLOWED = 20_000
"""Allowed calls that are listed, the latest ones; all others are counted at their delegation."""

MAX_FINDINGS = 2_000
"""That are listed of an access review; the rest is counted, and `chain graph review` has it."""

NODE = (
    "id", "parent", "holder", "hop", "record", "made", "from", "expires", "grant", "narrowed", "task", "sub", "owner",
    "issuer", "jti", "calls", "turns",
)  # fmt: skip
"""Columns of a delegation; `parent`, `holder`, `grant` and `narrowed` are places in their lists."""

EVENT = (
    "record", "time", "node", "holder", "effect", "what", "target", "reason", "hop", "detail", "task", "approval",
    "rules", "id", "caller",
)  # fmt: skip
"""Columns of a call that was decided or of a change that was refused; `effect` is REFUSED for the latter."""

COUNTED = ("requests", "policies", "stops", "enrolled", "revocations", "tools", "unknown")
"""Of what a history holds no longer, what is only counted."""

Json: TypeAlias = dict[str, Any]


class Origin(NamedTuple):
    """What a report is of.

    Attributes:
        named: where the record was read, in words.
        options: of a command that reads the same record.
        live: whether that can be asked for changes, too.
        made: when the report was made, in seconds.
    """

    named: str
    options: tuple[str, ...]
    live: bool
    made: float


class _Table:
    """A list in which equal values have one place."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self._places: dict[Any, int] = {}

    def place(self, key: Any, row: Any = None) -> int:  # noqa: ANN401 - whatever JSON holds
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = len(self.rows)
            self.rows.append(key if row is None else row)
        return place


def data(history: History, now: float, origin: Origin, *, task: str | None = None, gone: LetGo = NOTHING) -> Json:
    """Return what the page shows.

    Args:
        history: the ledger, up to `now`.
        now: seconds; as of which instant.
        origin: where it is from.
        task: only what belongs to it.
        gone: what the history holds no longer.

    Raises:
        InvalidRequestError: more delegations than a page holds.
    """
    chosen = [one for one in history.given.values() if task in (None, one.task)]
    if len(chosen) > MAX_DELEGATIONS:
        raise InvalidRequestError(
            f"{len(chosen)} delegations are more than the {MAX_DELEGATIONS} of one page; choose a task with --task"
        )
    places = {one.id: place for place, one in enumerate(chosen)}
    holders, grants, losses, turns = _Table(), _Table(), _Table(), Turns(history, now, gone.since)
    for name in (one.holder for one in chosen):
        holders.place(name, _holder(history, name))
    decided = [entry for entry in history.decided if task in (None, entry.body.get("txn"))]
    refused = [entry for entry in history.refused if task is None or entry.body.get("leaf") in places]
    allowed = [entry for entry in decided if entry.body["effect"] == "ALLOW"]
    left = {entry.revision for entry in allowed[:-MAX_ALLOWED]}
    calls = Counter(gone.allowed)
    calls.update(str(entry.body.get("leaf", "")) for entry in allowed)
    return {
        "origin": {"named": origin.named, "options": shlex.join(origin.options), "live": origin.live},
        "made": int(origin.made * 1000),
        "at": int(now * 1000),
        "task": task,
        "revision": 0 if history.last is None else history.last.revision,
        "unlisted": len(left) + sum(gone.allowed.values()),
        "others": gone.others,
        "gone": gone.delegations,
        "letgo": {name: getattr(gone, name) for name in COUNTED},
        "since": gone.since,
        "unknown": history.unknown,
        "holders": holders.rows,
        "nodes": {
            "columns": NODE,
            "rows": [_node(one, history, turns, places, (holders, grants, losses), calls) for one in chosen],
        },
        "grants": grants.rows,
        "losses": losses.rows,
        "events": {
            "columns": EVENT,
            "rows": sorted(
                [_decided(history, entry, places) for entry in decided if entry.revision not in left]
                + [_refused(history, entry, places) for entry in refused]
            ),
        },
        "approvals": [_asked(history, one) for one in history.asked.values() if task in (None, _task(one))],
        "policies": [_policy(entry) for entry in history.policies],
        "suspensions": [_suspension(entry) for entry in history.suspended.values() if _stands(entry, now)],
        "findings": [
            row | {"node": places.get(row["id"], -1)}
            for row in notable(history, now, gone.allowed)
            if _of(row, task, places)
        ],
    }


def _of(row: Mapping[str, Any], task: str | None, places: Mapping[str, int]) -> bool:
    return task is None or row["id"] in places


def _task(one: Asked) -> str:
    return str(one.entry.body.get("task", ""))


def _stands(entry: Entry, now: float) -> bool:
    return not 0 < entry.body.get("until", 0) <= now


def _holder(history: History, name: str) -> Json:
    who = history.principal(name)
    told = {member: who[member] for member in ("kind", "owner", "under") if who.get(member)}
    return {"key": name, "name": history.called(name), "enrolled": bool(who)} | told


def _node(
    one: Given,
    history: History,
    turns: Turns,
    places: Mapping[str, int],
    tables: tuple[_Table, _Table, _Table],
    calls: Mapping[str, int],
) -> list[Any]:
    holders, grants, losses = tables
    lines = tuple(explain.described(one.grant)) if one.grant is not None else ("cannot be read here",)
    tools = tuple(one.grant.tools) if one.grant is not None else ()
    return [
        one.id,
        -1 if one.above is None else places.get(one.above.id, -1),
        holders.place(one.holder),
        one.hop,
        one.entry.revision,
        one.entry.time,
        one.iat * 1000,
        turns.expires(one),
        grants.place((tools, lines), {"tools": tools, "lines": lines}),
        losses.place(tuple(auditor.narrowed(one))),
        one.task,
        one.sub,
        str(one.facts.get("owner", "")),
        history.called(one.above.holder) if one.above is not None else one.issuer,
        str(one.entry.body.get("jti", "")),
        calls.get(one.id, 0),
        turns.of(one),
    ]


def _decided(history: History, entry: Entry, places: Mapping[str, int]) -> list[Any]:
    body = entry.body
    return [
        entry.revision,
        entry.time,
        places.get(body.get("leaf", ""), -1),
        str(body.get("principal") or history.called(body.get("holder", ""))),
        body["effect"],
        body["tool"],
        body.get("target", ""),
        body["reason"],
        body.get("hop"),
        "; ".join(dict.fromkeys(str(finding[2]) for finding in body.get("findings", ()))),
        body.get("txn", ""),
        body.get("approval") or body.get("awaits", ""),
        list(body.get("rules", ())),
        body["id"],
        body["caller"],
    ]


def _refused(history: History, entry: Entry, places: Mapping[str, int]) -> list[Any]:
    body = entry.body
    detail = str(body.get("detail", ""))
    if "field" in body:
        detail = f"{body['field']}: asked {body['asked']}, granted {body['granted']}"
    return [
        entry.revision,
        entry.time,
        places.get(body.get("leaf", ""), -1),
        history.called(body.get("holder") or body.get("key", "")),
        "REFUSED",
        body["method"],
        "",
        body["reason"],
        body.get("hop"),
        detail,
        "",
        "",
        [],
        str(body.get("target", "")),
        body["caller"],
    ]


def _asked(history: History, one: Asked) -> Json:
    body = one.entry.body
    return {
        "record": one.entry.revision,
        "time": one.entry.time,
        "id": body["id"],
        "who": str(body.get("subject") or history.called(body.get("holder", ""))),
        "what": body["tool"],
        "target": body.get("target", ""),
        "amount": body.get("amount", ""),
        "purpose": body.get("purpose", ""),
        "task": body.get("task", ""),
        "expires": body["expires"] * 1000,
        "demands": [f"{threshold} by {source}" for source, threshold, _ in body["demands"]],
        "words": [
            {
                "record": entry.revision,
                "time": entry.time,
                "who": entry.body.get("approver", ""),
                "said": entry.body["verdict"],
                "why": entry.body.get("justification", ""),
                "emergency": bool(entry.body.get("emergency")),
            }
            for entry in one.words
        ],
        "state": one.words[-1].body.get("state", "pending") if one.words else "pending",
        "uses": [{"record": entry.revision, "time": entry.time} for entry in one.uses],
    }


def _policy(entry: Entry) -> Json:
    body = entry.body
    digest, rules = str(body.get("digest", "")), list(body.get("rules", ()))
    return {"record": entry.revision, "time": entry.time, "digest": digest, "rules": rules}


def _suspension(entry: Entry) -> Json:
    body = entry.body
    told = {member: body.get(member, "") for member in ("scope", "name", "mode", "cause", "author")}
    return {"record": entry.revision, "time": entry.time} | told


def reviewed(told: Json, rows: Iterable[Row]) -> Json:
    """Return it with the rows of an access review (`chain.graph.review`), which says more of use than `notable` does.

    Args:
        told: from `data`.
        rows: of the same instant; those of delegations that the page does not show are left out.
    """
    places = {row[0]: place for place, row in enumerate(told["nodes"]["rows"])}
    kept = [row for row in told["findings"] if row["kind"] not in REVIEWED]
    more = [
        {"kind": row["finding"], "text": f"{row['agent']}: {row['detail']}", "record": row["record"], "id": row["id"]}
        | {"node": places[row["id"]]}
        for row in rows
        if row["id"] in places
    ]
    found = kept + more
    return told | {"findings": found[:MAX_FINDINGS], "more_findings": max(0, len(found) - MAX_FINDINGS)}


def shown(told: Json, entries: Iterable[Entry]) -> list[Entry]:
    """Return the records that a page holds: all but the calls that it only counts.

    Args:
        told: from `data`.
        entries: of the ledger.
    """
    listed = {row[0] for row in told["events"]["rows"]}
    return [entry for entry in entries if entry.kind not in {"decided", "refused"} or entry.revision in listed]
