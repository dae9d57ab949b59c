"""The lineage of what was delegated and decided as W3C provenance (PROV-DM), in PROV-JSON.

The law of this file: every statement is that of one record. A delegation is an entity, what a record tells an activity,
a holder or issuer an agent; names stand in labels alone, never in an identifier.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from chain.given import Entry, Given
from chain.graph.forest import Forest
from chain.graph.project import clean

_LAST = 253_402_300_799
"""Seconds of the last moment of the year 9999, the last that a date can be."""

_PREFIX = {"chain": "urn:chain:prov:"}

Bundle = dict[str, dict[str, Any]]


def document(forest: Forest, ones: Iterable[Given]) -> str:
    """Return delegations, what was made of them, decided under them and ended them, as one PROV-JSON document."""
    said = _Said(forest)
    drawn = {one.id: one for one in ones}
    for one in drawn.values():
        said.delegation(one)
    for entry in (*forest.history.decided, *forest.history.refused):
        if entry.body.get("leaf") in drawn:
            said.use(entry, drawn[entry.body["leaf"]])
    return msgspec.json.encode({"prefix": _PREFIX, **said.bundle}).decode() + "\n"


class _Said:
    """Statements, gathered."""

    def __init__(self, forest: Forest) -> None:
        self.bundle: Bundle = {}
        self._forest = forest
        self._agents: dict[str, str] = {}

    def delegation(self, one: Given) -> None:
        """Say what a delegation is, who made it of what, for whom, and what ended it."""
        forest = self._forest
        entity, activity = _entity(one), self._activity(one.entry)
        facts = {
            "prov:type": _name("chain:Delegation"),
            "prov:label": clean(f"{forest.called(one)}: {', '.join(one.tools)}"),
            "chain:record": one.entry.revision,
            "chain:hop": one.hop,
            "chain:expires": _time(one.exp),
        }
        self._put("entity", entity, facts)
        holder = self._agent(one.holder, forest.called(one))
        above = one.above
        from_, called = (one.issuer, one.issuer) if above is None else (above.holder, forest.called(above))
        giver = self._agent(from_, called)
        self._tell("wasGeneratedBy", entity=entity, activity=activity, time=_time(one.entry.seconds))
        self._tell("wasAttributedTo", entity=entity, agent=giver)
        self._tell("wasAssociatedWith", activity=activity, agent=giver)
        self._tell("actedOnBehalfOf", delegate=holder, responsible=giver, activity=activity)
        if above is not None:
            self._tell("wasDerivedFrom", generatedEntity=entity, usedEntity=_entity(above), activity=activity)
            self._put("entity", _entity(above), {})
        ended = forest.history.revoked.get(one.id)
        if ended is not None:
            by, at = self._activity(ended), _time(ended.seconds)
            self._tell("wasInvalidatedBy", entity=entity, activity=by, time=at)

    def use(self, entry: Entry, leaf: Given) -> None:
        """Say that a call was decided, or a change refused, under a delegation."""
        activity = self._activity(entry)
        self._tell("used", activity=activity, entity=_entity(leaf), time=_time(entry.seconds))
        self._tell("wasAssociatedWith", activity=activity, agent=self._agent(leaf.holder, self._forest.called(leaf)))

    def _activity(self, entry: Entry) -> str:
        name, at = f"chain:record-{entry.revision}", _time(entry.seconds)
        told = {key: clean(str(entry.body[key])) for key in ("tool", "effect", "reason", "method") if key in entry.body}
        facts = {"prov:startTime": at, "prov:endTime": at, "prov:type": _name(f"chain:{entry.kind}")}
        self._put("activity", name, facts | {f"chain:{key}": value for key, value in told.items()})
        return name

    def _agent(self, name: str, label: str) -> str:
        known = self._agents.get(name)
        if known is None:
            known = self._agents[name] = f"chain:agent-{len(self._agents) + 1}"
            human = self._forest.history.principal(name).get("kind") == "human"
            kind = _name("prov:Person" if human else "prov:SoftwareAgent")
            self._put("agent", known, {"prov:type": kind, "prov:label": clean(label), "chain:key": clean(name)})
        return known

    def _put(self, kind: str, name: str, facts: dict[str, Any]) -> None:
        there = self.bundle.setdefault(kind, {})
        if facts or name not in there:
            there[name] = facts

    def _tell(self, relation: str, **members: str) -> None:
        there = self.bundle.setdefault(relation, {})
        there[f"_:{relation}{len(there) + 1}"] = {f"prov:{name}": value for name, value in members.items()}


def _entity(one: Given) -> str:
    return f"chain:delegation-{quote(clean(one.id), safe='')}"


def _name(text: str) -> dict[str, str]:
    return {"$": text, "type": "prov:QUALIFIED_NAME"}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(min(max(seconds, 0), _LAST), UTC).isoformat(timespec="milliseconds")
