"""The latest of the record: a history that stays small, however long the ledger.

The law of this file: pure. What is let go of is counted, and it is never a delegation of a tree of which one still
stands: the oldest calls go, allowed ones and others apart, so that no flood of the one hides the other; then the trees
that were over first. Of all else goes first what nothing rests on that is held (`chain.needed`). What it held once and
would have to tell of now it knows to be missing (`Window.lapsed`), and never takes for what never was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from typing import Any

from chain import needed
from chain.errors import InvalidRequestError
from chain.given import Entry, Given
from chain.history import GIVEN, History
from chain.lapsed import NOTHING, Key, LetGo, Names
from chain.needed import ASKED, ENROLLED, REVOKED, TOOL
from chain.roster import Roster

MAX_DELEGATIONS = 50_000
"""That are held at once: as many as a page shows, in some hundred megabytes of memory."""

MAX_CALLS = 20_000
"""Of each sort that are held at once: calls allowed, other calls, changes that were not made, records of approvals,
policies, and suspensions with what lifted them."""

MAX_NAMES = 100_000
"""Of each sort that are held at once: identities enrolled, names and delegations revoked, tools, and what is stopped:
twice as many as delegations, so that whoever holds one, and whom it works under, has a place."""

MAX_UNKNOWN = 64
"""Kinds of records that are not known here and are told apart."""


class Window(History):
    """The ledger, folded, without what is long over."""

    def __init__(
        self,
        delegations: int = MAX_DELEGATIONS,
        calls: int = MAX_CALLS,
        names: int = MAX_NAMES,
        pinned: frozenset[Key] = frozenset(),
    ) -> None:
        """Begin with nothing.

        Args:
            delegations: that are held at the most.
            calls: of each sort that are held at the most.
            names: of each sort that are held at the most.
            pinned: facts that are not let go of.
        """
        super().__init__()
        self._delegations, self._calls, self._names, self._pinned = delegations, calls, names, pinned
        self._allowed = 0
        self._rooms = {"enrolled": names, "asked": calls, "controls": calls}
        self._gone = NOTHING
        self._counted: Counter[str] = Counter()
        self._missing, self._unasked = Names(), Names()
        self._near = set[str]()
        self._heard: dict[str, int] = {}
        self._lapsed = set[Key]()
        self._fitters: dict[str, Callable[[Entry], None]] = {
            **dict.fromkeys(GIVEN, self._given),
            **dict.fromkeys(_APPROVALS, self._approval),
            **dict.fromkeys(("revoked", "signalled"), self._revoked),
            **dict.fromkeys(("suspended", "lifted"), self._controlled),
            "decided": self._decided,
            "refused": self._refused,
            "enrolled": self._enrolled,
            "policy_activated": self._activated,
        }

    @property
    def gone(self) -> LetGo:
        """What it holds no longer."""
        return self._gone._replace(allowed=self._counted)

    @property
    def lapsed(self) -> bool:
        """Whether it would have to tell of what it may have let go of: it tells nothing that is true any more."""
        return bool(self._lapsed)

    def again(self) -> Window:
        """Return one of the same size that begins with nothing, and will hold on to what this one misses.

        Raises:
            InvalidRequestError: that is too much.
        """
        pinned = self._pinned | self._lapsed
        self._require(len(pinned), "facts of before are told of again")
        return Window(self._delegations, self._calls, self._names, pinned)

    def take(self, entry: Entry) -> None:
        """Take in the next record, and let go of what is too much.

        Raises:
            InvalidRequestError: more delegations stand, or more rests on what is told of them, than is held; nothing
                more can be taken in.
        """
        if self._unasked and entry.kind in _APPROVALS and entry.body["id"] not in self.asked:
            self._miss({(ASKED, entry.body["id"])}, self._unasked)
        super().take(entry)
        fit = self._fitters.get(entry.kind)
        if fit is not None:
            fit(entry)
        elif len(self.unknown) > MAX_UNKNOWN:
            self._count(unknown=self.kinds.pop(entry.kind))

    def _miss(self, keys: set[Key], names: Names) -> None:
        """Note what is told of now and may have been let go of."""
        self._lapsed.update(key for key in keys if key in names and key not in self._pinned)

    def _count(self, **more: int) -> None:
        gone = self._gone
        self._gone = gone._replace(**{name: getattr(gone, name) + count for name, count in more.items()})

    def _given(self, entry: Entry) -> None:
        one = self.given[entry.body["id"]]
        if one.above is None and one.exp <= entry.seconds and entry.body.get("parent") and self._gone.delegations:
            del self.given[one.id]  # what it was made from was over and is gone, and so is it
            self._count(delegations=1)
            return
        self._touch(one.names, entry.revision)
        if self._missing:
            found = needed.facts(self, [one])
            self._miss(found, self._missing)
            self._near.update(name for kind, name in found if kind == ENROLLED)
        if len(self.given) > self._delegations:
            self._shed(entry.seconds)

    def _touch(self, names: Iterable[str], revision: int) -> None:
        """Note that something was heard of those who are enrolled, and of whom they work under."""
        for name in names:
            at, met = name, set[str]()
            while at in self.enrolled and at not in met:
                met.add(at)
                self._heard[at] = revision
                at = str(self.enrolled[at].body["principal"].get("under") or "")

    def _decided(self, entry: Entry) -> None:
        self._allowed += _allowed(entry)
        if max(self._allowed, len(self.decided) - self._allowed) > self._calls:
            self._thin()
        if len(self.tools) > self._names:
            self._count(tools=self._fit(TOOL, self.tools, "tools are granted and were called"))

    def _thin(self) -> None:
        """Keep half of each, so that the next time is far off."""
        allowed = [one for one in self.decided if _allowed(one)]
        others = [one for one in self.decided if not _allowed(one)]
        kept = self._calls // 2
        leaves = (str(one.body.get("leaf", "")) for one in _older(allowed, kept))
        self._counted.update(leaf if leaf in self.given else "" for leaf in leaves)
        self._count(others=len(_older(others, kept)))
        self.decided = sorted([*allowed[-kept:], *others[-kept:]], key=lambda one: one.revision)
        self._allowed = len(allowed[-kept:])

    def _refused(self, _entry: Entry) -> None:
        if len(self.refused) > self._calls:
            self._count(others=_cut(self.refused, self._calls // 2))

    def _activated(self, _entry: Entry) -> None:
        if len(self.policies) > self._calls:
            self._count(policies=_cut(self.policies, self._calls // 2))

    def _shed(self, now: float) -> None:
        """Let the trees go that were over first, a quarter of all where so many are."""
        enough = self._delegations * 3 // 4
        roots = [one for one in self.given.values() if one.above is None]
        over = sorted((end, root.id) for root in roots if (end := _end(root)) <= now)
        before = len(self.given)
        for _, root in over:
            if len(self.given) <= enough:
                break
            for one in (self.given[root], *self.given[root].beneath):
                del self.given[one.id]
                self.revoked.pop(one.id, None)
                if calls := self._counted.pop(one.id, 0):
                    self._counted[""] += calls
        self._count(delegations=before - len(self.given))
        self._near = needed.who(self, self.given.values()) if self._missing else set()
        if len(self.given) > self._delegations * 15 // 16:
            raise InvalidRequestError(
                f"about {self._delegations} delegations stand, more than one page holds; `chain report --task` writes "
                "the page of one task"
            )

    def _revoked(self, _entry: Entry) -> None:
        if len(self.struck) > self._names:
            self._count(revocations=self._fit("", self.struck, "names were revoked that delegations here bear"))
        if len(self.revoked) > self._names:
            self._count(revocations=self._fit(REVOKED, self.revoked, "delegations here were revoked"))

    def _fit(self, kind: str, held: MutableMapping[Any, Entry], words: str) -> int:
        """Keep three quarters of facts, and all that are needed. Return how many went."""
        stay = needed.facts(self, self.given.values()) | self._pinned
        gone = needed.spare(kind, held, stay, self._names * 3 // 4)
        for key in gone:
            del held[key[1] if kind else key]
            self._missing.add(key)
        self._near = {name for kind, name in stay if kind == ENROLLED}
        self._require(len(held), words)
        return len(gone)

    def _require(self, count: int, words: str, most: int = 0) -> None:
        """Refuse where what is needed leaves no room, or so little that each record would look for some anew."""
        most = most or self._names
        if count > most * 15 // 16:
            raise InvalidRequestError(
                f"about {most} {words}, more than one page holds; `chain report --task` writes the page of one task"
            )

    def _enrolled(self, entry: Entry) -> None:
        holder = entry.body["holder"]
        self._touch([holder], entry.revision)
        if self._missing and not self._near.isdisjoint((holder, self.called(holder))):
            who = needed.line(self, [holder])
            self._miss({(kind, name) for name in who for kind in (ENROLLED, "holder")}, self._missing)
            self._near |= who
        if self._full("enrolled"):
            self._forget()
            self._rooms["enrolled"] = self._names - sum(map(len, self.borne.values()))

    def _full(self, sort: str) -> bool:
        """Count a record of a sort that is not as large as the records of it are many."""
        self._rooms[sort] -= 1
        return self._rooms[sort] < 0

    def _forget(self) -> None:
        """Let go of those who hold nothing and under whom nobody works who does, the longest unheard of first.

        Whoever stays is enrolled in a new roster: of ids that nobody bears any more the old one has the names.
        """
        self._near = needed.who(self, self.given.values())
        stay = self._near | needed.line(self, (name for kind, name in self._pinned if kind == ENROLLED))
        room = self._names * 3 // 4 - sum(len(ids) for name, ids in self.borne.items() if name in stay)
        for holder in sorted(self.enrolled, key=self._heard.__getitem__, reverse=True):
            room -= 0 if holder in stay else len(self.borne[holder])
            if room < 0:
                break
            stay.add(holder)
        gone = [holder for holder in self.enrolled if holder not in stay]
        for holder in gone:
            self._missing.add((ENROLLED, holder))
            self._missing.add((ENROLLED, self.called(holder)))
            del self.enrolled[holder], self.borne[holder], self._heard[holder]
        self._count(enrolled=len(gone))
        before, self.roster = self.roster.principals, Roster()
        for holder in self.enrolled.keys() & before.keys():
            self.roster.enrol(holder, before[holder])
        self._require(sum(map(len, self.borne.values())), "identities are enrolled of those who hold delegations here")

    def _approval(self, entry: Entry) -> None:
        if self._full("asked"):
            gone = needed.unasked(self.asked, self._pinned, entry.seconds, self._calls // 2)
            for name in gone:
                del self.asked[name]
                self._unasked.add((ASKED, name))
            self._count(requests=len(gone))
            self._rooms["asked"] = self._calls // 2
            self._require(needed.records(self.asked), "records of approvals are told of again", self._calls)

    def _controlled(self, entry: Entry) -> None:
        if len(self.suspended) > self._names:
            over = [key for key, one in self.suspended.items() if 0 < one.body.get("until", 0) <= entry.seconds]
            for key in over:
                del self.suspended[key]
            self._require(len(self.suspended), "suspensions stand")
        if self._full("controls"):
            self._settle(entry.seconds)
            self._rooms["controls"] = self._calls // 2

    def _settle(self, now: float) -> None:
        """Let go of suspensions that are over, those first that stopped nothing which is held, and ended first."""
        over = needed.over(self.controls, now)
        here = needed.scopes(self) if len(over) > self._calls // 4 else set[Key]()
        over.sort(key=lambda stop: (stop.scope in here, stop.end, stop.places))
        gone = _older(over, self._calls // 4)
        places = {place for stop in gone for place in stop.places}
        since = max((stop.end for stop in gone if stop.scope in here), default=0)
        self.controls = [entry for place, entry in enumerate(self.controls) if place not in places]
        self._count(stops=len(gone))
        self._gone = self._gone._replace(since=max(self._gone.since, since))


def _allowed(entry: Entry) -> bool:
    return bool(entry.body["effect"] == "ALLOW")


def _older(entries: Sequence[Any], kept: int) -> Sequence[Any]:
    return entries[: max(0, len(entries) - kept)]


def _cut(entries: list[Entry], kept: int) -> int:
    """Let go of all but the latest. Return how many went."""
    gone = len(_older(entries, kept))
    del entries[:gone]
    return gone


def _end(root: Given) -> int:
    """Return when the last of a tree is over."""
    return max(one.exp for one in (root, *root.beneath))


_APPROVALS = ("approval_requested", "approval_resolved", "approval_consumed")
