"""Decided calls as OpenTelemetry spans, in the JSON form of OTLP 1.x: one span for each hop, and one for the call.

The law of this file: ids follow from the decision, so that who exports twice exports the same spans. A span of a hop
lies beneath that of the hop above it, and the call beneath the leaf; where the call named a trace, they are part of
it, beneath the span that called. All stand at the instant of the decision, since the ledger does not say how long it
took. What failed bears its reason, at its hop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from chain import outward, tracecontext
from chain.given import Entry
from chain.history import GIVEN

SCHEMA = "https://opentelemetry.io/schemas/1.37.0"

_INTERNAL, _SERVER = 1, 2
_OK, _ERROR = 1, 2

SWEEP = 10_000
"""Delegations between two looks at which of them have ended."""

LATER = 3600
"""Seconds that an ended delegation is still known, since calls under it are still refused."""


class Link(NamedTuple):
    """What a span says of a hop."""

    id: str
    parent: str
    holder: str
    issuer: str
    hop: int
    exp: int


class Tracer:
    """Makes spans of records, as they come; it remembers the delegations that have not ended."""

    def __init__(self, source: str, version: str) -> None:
        """Trace a ledger.

        Args:
            source: names it.
            version: of this software.
        """
        self._resource = {
            "attributes": _attributes(
                {"service.name": "chain", "service.version": version, "service.instance.id": source}
            )
        }
        self._scope = {"name": "chain.ledger", "version": version}
        self._links: dict[str, Link] = {}
        self._until_sweep = SWEEP

    def take(self, entry: Entry) -> dict[str, Any] | None:
        """Return the spans of a record, as one request to export them; None of one that is no decided call."""
        if entry.kind in GIVEN:
            self._know(entry)
        if entry.kind != "decided":
            return None
        spans = list(self._spans(entry))
        return {
            "resourceSpans": [
                {
                    "resource": self._resource,
                    "scopeSpans": [{"scope": self._scope, "spans": spans, "schemaUrl": SCHEMA}],
                    "schemaUrl": SCHEMA,
                }
            ]
        }

    def _know(self, entry: Entry) -> None:
        told = entry.body
        name = str(told["id"])
        self._links[name] = Link(
            name, str(told.get("parent") or ""), str(told["holder"]), str(told["issuer"]), told["hop"], told["exp"]
        )
        self._until_sweep -= 1
        if self._until_sweep <= 0:
            self._until_sweep = SWEEP
            self._links = {id_: one for id_, one in self._links.items() if one.exp + LATER > entry.seconds}

    def _spans(self, entry: Entry) -> Sequence[dict[str, Any]]:
        told = entry.body
        caller = tracecontext.parse(str(told.get("trace", "")))
        trace = sha256(f"chain:{told['id']}".encode()).hexdigest()[:32] if caller is None else caller.id
        failed = told["reason"] if told["effect"] != "ALLOW" else ""
        spans, above = [], "" if caller is None else caller.span
        for one in self._path(str(told.get("leaf", ""))):
            known = {"id": one.id, "holder": one.holder, "hop": one.hop, "expires": one.exp, "issuer": one.issuer}
            at_fault = failed if told.get("hop") == one.hop else ""
            mine = _span_id(told["id"], one.id)
            spans.append(_span(entry, trace, mine, above, f"hop {one.hop}", _INTERNAL, _named(known), at_fault))
            above = mine
        call = _span_id(told["id"], "")
        spans.append(_span(entry, trace, call, above, f"check {told['tool']}", _SERVER, _of_call(entry), failed))
        return spans

    def _path(self, leaf: str) -> Sequence[Link]:
        """Return the hops from the root to a leaf, as far as they are known."""
        found: list[Link] = []
        while (one := self._links.get(leaf)) is not None:
            found.append(one)
            leaf = one.parent
        return found[::-1]


def _of_call(entry: Entry) -> dict[str, Any]:
    told = entry.body
    said = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": told["tool"]}
    if told.get("sub"):
        said["enduser.id"] = told["sub"]
    names = ("id", "effect", "reason", "hop", "class", "target", "leaf", "depth", "txn", "caller", "policy", "rules")
    known = {name: told[name] for name in names if told.get(name) is not None}
    return said | _named(known | {"revision": entry.revision, "principal": outward.principal(entry)})


def _named(known: Mapping[str, Any]) -> dict[str, Any]:
    return {f"chain.{name}": value for name, value in known.items() if value != ""}


def _span(
    entry: Entry, trace: str, mine: str, above: str, name: str, kind: int, known: Mapping[str, Any], failed: str
) -> dict[str, Any]:
    nanos = str(entry.time * 1_000_000)
    made: dict[str, Any] = {
        "traceId": trace,
        "spanId": mine,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": nanos,
        "endTimeUnixNano": nanos,
        "attributes": _attributes(known),
        "status": {"code": _ERROR, "message": failed} if failed else {"code": _OK},
    }
    return made | ({"parentSpanId": above} if above else {})


def _span_id(decision: str, hop: str) -> str:
    return sha256(f"chain:{decision}\n{hop}".encode()).hexdigest()[:16]


def _attributes(known: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in known.items()]


def _value(value: object) -> dict[str, Any]:
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [_value(one) for one in value]}}
    return {"stringValue": str(value)}
