"""What the ledger tells, up to an instant: a projection of its records, for questions.

The law of this file: pure, and from the records alone, so that a running service, a ledger at hand and an exported
file give the same answers. Every fact names the record that brought it. A record of a kind that is not known here is
counted and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from chain.control import EVERYTHING, stops
from chain.given import Asked, End, Entry, Given
from chain.principal import Principal
from chain.roster import Roster

GIVEN = frozenset({"issued", "delegated", "admitted"})
"""Kinds of records that bring a delegation."""


class History:
    """The ledger, folded.

    Attributes:
        given: id -> delegation.
        decided: decisions, in order.
        refused: changes that were not made.
        asked: id -> request for approval.
        enrolled: name of a holder -> the latest record of whose it is.
        borne: name of a holder -> every principal's id that it was enrolled for -> the first record that says so.
        roster: who works under whom, as the authority itself knows it.
        tools: name of a tool -> the latest decision about it, which says its class and target.
        policies: bundles that came into force.
        suspended: (scope, name) -> the record that stands.
        controls: every record that suspended something or lifted it, in order.
        struck: (kind, name) -> the first record that revoked all that bears it.
        revoked: id -> the first record that revoked it.
        last: the last record; None of an empty ledger.
        kinds: every kind, with how many records of it there are.
    """

    def __init__(self, entries: Iterable[Entry] = (), until: float | None = None) -> None:
        """Fold records.

        Args:
            entries: in order.
            until: seconds; later ones are not looked at.
        """
        self.given: dict[str, Given] = {}
        self.decided: list[Entry] = []
        self.refused: list[Entry] = []
        self.asked: dict[str, Asked] = {}
        self.enrolled: dict[str, Entry] = {}
        self.borne: dict[str, dict[str, Entry]] = {}
        self.roster = Roster()
        self.tools: dict[str, Entry] = {}
        self.policies: list[Entry] = []
        self.suspended: dict[tuple[str, str], Entry] = {}
        self.controls: list[Entry] = []
        self.struck: dict[tuple[str, str], Entry] = {}
        self.revoked: dict[str, Entry] = {}
        self.last: Entry | None = None
        self.kinds: dict[str, int] = {}
        for entry in entries:
            if until is not None and entry.seconds > until:
                break
            self.take(entry)

    def take(self, entry: Entry) -> None:
        """Take in the next record."""
        self.last = entry
        self.kinds[entry.kind] = self.kinds.get(entry.kind, 0) + 1
        take = _TAKERS.get(entry.kind)
        if take is not None:
            take(self, entry)

    @property
    def revision(self) -> int:
        """The last record's; 0 of an empty ledger."""
        return 0 if self.last is None else self.last.revision

    @property
    def unknown(self) -> dict[str, int]:
        """Kinds that are not known here, with how many."""
        return {kind: count for kind, count in self.kinds.items() if kind not in _TAKERS}

    def principal(self, holder: str) -> Mapping[str, Any]:
        """Return who a holder is: `id`, `kind`, `owner`, `under`; nothing of one that nobody enrolled."""
        entry = self.enrolled.get(holder)
        found: Mapping[str, Any] = {} if entry is None else entry.body["principal"]
        return found

    def called(self, holder: str) -> str:
        """Return a holder's name for people: its principal's id, or what it is called itself."""
        return str(self.principal(holder).get("id", holder))

    def parties(self, holder: str) -> list[str]:
        """Return the principals that a holder stands for: its own, and those that it works under."""
        found: list[str] = []
        at, seen = holder, set[str]()
        while at and at not in seen:
            seen.add(at)
            one = self.principal(at)
            found.append(str(one.get("id", at)))
            at = str(one.get("under") or "")
        return found

    def end(self, one: Given, now: float) -> End | None:
        """Return why a delegation does not stand at an instant, or None where it does.

        Args:
            one: which; what ends an ancestor ends it too.
            now: seconds.
        """
        for hop in one.chain:
            if (entry := self.revoked.get(hop.id)) is not None:
                return _ended("revoked", entry, hop.id)
        for hop in one.chain:
            for name in self.names(hop):
                if (entry := self.struck.get(name)) is not None:
                    return _ended("revoked", entry)
        first = min(one.chain, key=lambda hop: hop.exp)
        if first.exp <= now:
            return End("expired", 0, first.exp, "its time was over", first.id)
        return self._stopped(one, now)

    def live(self, now: float) -> dict[str, Given]:
        """Return the delegations that stand at an instant by their ids, in the order of their records.

        Each is asked about itself alone, since its parent was asked before: what `end` says of each by its whole chain.
        """
        standing: dict[str, Given] = {}
        revoked, barred = self.revoked, self._bars(now, "suspended", self.struck)
        for name, one in self.given.items():
            if one.exp <= now or (one.above is not None and one.above.id not in standing):
                continue
            if name not in revoked and not barred(one):
                standing[name] = one
        return standing

    def halts(self, now: float, mode: str = "suspended") -> Callable[[Given], bool]:
        """Return what tells of one hop after the other whether `stop` finds anything against it."""
        return self._bars(now, mode, ())

    def _bars(self, now: float, mode: str, struck: Collection[tuple[str, str]]) -> Callable[[Given], bool]:
        """Return what tells of one hop after the other whether it is stopped in a mode, or bears one of these names.

        A question asks a hundred thousand, so both are told in one call, and a holder is looked up once for all that
        it holds: what stands took `benchmarks.graph` a third longer when each was asked by itself.
        """
        active = {scope for scope in self.suspended if self.suspension(scope, now, mode) is not None}
        if not active and not struck:
            return _never
        everything = ("everything", EVERYTHING) in active
        holders, keys, tasks, issuers = (
            {name for of, name in struck if of == kind} for kind in ("holder", "key", "task", "issuer")
        )
        tasks |= {name for scope, name in active if scope == "task"}
        known: dict[tuple[str, ...], bool] = {}

        def barred(hop: Given) -> bool:
            found = known.get(hop.names)
            if found is None:
                stopped = everything or not active.isdisjoint(self._over(hop))
                found = known[hop.names] = stopped or not holders.isdisjoint(hop.names)
            if found or hop.task in tasks or (keys and not keys.isdisjoint(hop.signers)):
                return True
            return hop.above is None and hop.issuer in issuers

        return barred

    def stop(self, one: Given, now: float, mode: str = "suspended") -> Entry | None:
        """Return the record that suspends, or with that mode quarantines, the holder of one hop or its task."""
        found = (self.suspension(scope, now, mode) for scope in self.scopes(one))
        return next((entry for entry in found if entry is not None), None)

    def suspension(self, scope: tuple[str, str], now: float, mode: str = "suspended") -> Entry | None:
        """Return the record by which something is stopped at an instant, in a mode."""
        entry = self.suspended.get(scope)
        if entry is None or entry.body.get("mode") != mode or 0 < entry.body.get("until", 0) <= now:
            return None
        return entry

    def policy_at(self, revision: int) -> Entry | None:
        """Return the record that put the policy in force which a later record was decided under."""
        return next((entry for entry in reversed(self.policies) if entry.revision < revision), None)

    def names(self, hop: Given) -> Iterator[tuple[str, str]]:
        """Yield the (kind, name) under which a hop can be revoked together with all that bears it."""
        yield "holder", hop.holder
        if hop.bound:
            yield "holder", hop.bound
        for key in hop.signers:
            yield "key", key
        if hop.above is None:
            yield "issuer", hop.issuer
        yield "task", hop.task

    def scopes(self, hop: Given) -> Iterator[tuple[str, str]]:
        """Yield the (scope, name) under which a hop can be suspended, as the authority itself asks (`chain.control`).

        Every hop of a chain counts.
        """
        yield "everything", EVERYTHING
        yield "task", hop.task
        yield from self._over(hop)

    def _over(self, hop: Given) -> Iterator[tuple[str, str]]:
        for name in hop.names:
            yield from stops(name, self.roster.line(name))

    def _stopped(self, one: Given, now: float) -> End | None:
        for hop in one.chain:
            if (entry := self.stop(hop, now)) is not None:
                return _ended("suspended", entry, hop.id)
        return None


def _never(_hop: Given) -> bool:
    return False


def _ended(reason: str, entry: Entry, of: str = "") -> End:
    return End(reason, entry.revision, entry.seconds, str(entry.body.get("cause", "")), of)


def _given(history: History, entry: Entry) -> None:
    above = history.given.get(entry.body.get("parent") or "")
    one = Given(entry, above)
    history.given[one.id] = one
    if above is not None:
        above.below.append(one)


def _revoked(history: History, entry: Entry) -> None:
    body = entry.body
    if "id" in body:
        history.revoked.setdefault(body["id"], entry)
    for name in body.get("names", [body["name"]] if "name" in body else []):
        history.struck.setdefault((body["kind"], name), entry)


def _requested(history: History, entry: Entry) -> None:
    known = history.asked.get(entry.body["id"])
    if known is None:
        history.asked[entry.body["id"]] = Asked(entry)
    else:
        known.entry = entry


def _resolved(history: History, entry: Entry) -> None:
    if (known := history.asked.get(entry.body["id"])) is not None:
        known.words.append(entry)


def _consumed(history: History, entry: Entry) -> None:
    if (known := history.asked.get(entry.body["id"])) is not None:
        known.uses.append(entry)


def _suspended(history: History, entry: Entry) -> None:
    history.suspended[entry.body["scope"], entry.body["name"]] = entry
    history.controls.append(entry)


def _lifted(history: History, entry: Entry) -> None:
    history.suspended.pop((entry.body["scope"], entry.body["name"]), None)
    history.controls.append(entry)


def _signalled(history: History, entry: Entry) -> None:
    for name in entry.body.get("keys", ()):
        history.struck.setdefault(("holder", name), entry)


def _enrolled(history: History, entry: Entry) -> None:
    holder, said = entry.body["holder"], entry.body["principal"]
    history.enrolled[holder] = entry
    history.borne.setdefault(holder, {}).setdefault(str(said.get("id")), entry)
    try:
        history.roster.enrol(holder, Principal.model_validate(said))
    except ValidationError:
        return  # a stranger's file: such a holder is nobody


def _decided(history: History, entry: Entry) -> None:
    history.decided.append(entry)
    if "class" in entry.body:
        history.tools[entry.body["tool"]] = entry


def _refused(history: History, entry: Entry) -> None:
    history.refused.append(entry)


def _activated(history: History, entry: Entry) -> None:
    history.policies.append(entry)


def _nothing(_history: History, _entry: Entry) -> None:
    """Such a record changes no fact here: what a compromised key signed is struck by another one."""


_TAKERS: dict[str, Callable[[History, Entry], None]] = {
    **dict.fromkeys(GIVEN, _given),
    "decided": _decided,
    "refused": _refused,
    "revoked": _revoked,
    "enrolled": _enrolled,
    "approval_requested": _requested,
    "approval_resolved": _resolved,
    "approval_consumed": _consumed,
    "policy_activated": _activated,
    "suspended": _suspended,
    "lifted": _lifted,
    "signalled": _signalled,
    "key_changed": _nothing,
    "ledger_accepted": _nothing,
    "resumed": _nothing,
}
"""Kind of a record -> how it is taken in."""
