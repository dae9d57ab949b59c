"""The latest of the record: a history that stays small, however long the ledger.

The law of this file: pure. What is let go of is counted, and it is never a delegation of a tree of which one still
stands: the oldest calls go, allowed ones and others apart, so that no flood of the one hides the other; then the trees
that were over first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chain.errors import InvalidRequestError
from chain.given import Entry, Given
from chain.history import History

MAX_DELEGATIONS = 50_000
"""That are held at once: as many as a page shows, in some hundred megabytes of memory."""

MAX_CALLS = 20_000
"""Of each sort that are held at once: calls allowed, other calls, and changes that were not made."""


class LetGo(NamedTuple):
    """What a window holds no longer.

    Attributes:
        delegations: how many.
        allowed: id of a delegation -> calls under it that were allowed.
        others: calls that were not allowed and changes that were not made.
    """

    delegations: int = 0
    allowed: Mapping[str, int] = {}
    others: int = 0


NOTHING = LetGo()


class Window(History):
    """The ledger, folded, without what is long over."""

    def __init__(self, delegations: int = MAX_DELEGATIONS, calls: int = MAX_CALLS) -> None:
        """Begin with nothing.

        Args:
            delegations: that are held at the most.
            calls: of each sort that are held at the most.
        """
        super().__init__()
        self._delegations, self._calls = delegations, calls
        self._allowed = 0
        self._gone = NOTHING
        self._counted: Counter[str] = Counter()

    @property
    def gone(self) -> LetGo:
        """What it holds no longer."""
        return self._gone._replace(allowed=self._counted)

    def take(self, entry: Entry) -> None:
        """Take in the next record, and let go of what is too much.

        Raises:
            InvalidRequestError: more delegations stand than are held; nothing more can be taken in.
        """
        super().take(entry)
        if len(self.given) > self._delegations:
            self._shed(entry.seconds)
        if entry.kind == "decided":
            self._allowed += _allowed(entry)
            if max(self._allowed, len(self.decided) - self._allowed) > self._calls:
                self._thin()
        elif len(self.refused) > self._calls:
            kept = self._calls // 2
            self._count(others=len(_older(self.refused, kept)))
            self.refused = self.refused[-kept:]

    def _thin(self) -> None:
        """Keep half of each, so that the next time is far off."""
        allowed = [one for one in self.decided if _allowed(one)]
        others = [one for one in self.decided if not _allowed(one)]
        kept = self._calls // 2
        self._counted.update(str(one.body.get("leaf", "")) for one in _older(allowed, kept))
        self._count(others=len(_older(others, kept)))
        self.decided = sorted([*allowed[-kept:], *others[-kept:]], key=lambda one: one.revision)
        self._allowed = len(allowed[-kept:])

    def _count(self, delegations: int = 0, others: int = 0) -> None:
        gone = self._gone
        self._gone = gone._replace(delegations=gone.delegations + delegations, others=gone.others + others)

    def _shed(self, now: float) -> None:
        """Let the trees go that were over first, a quarter of all where so many are."""
        enough = self._delegations * 3 // 4
        roots = [one for one in self.given.values() if one.above is None]
        over = sorted((end, root.id) for root in roots if (end := _end(root)) <= now)
        held = set[str]()
        for _, root in over:
            if len(self.given) <= enough:
                break
            for one in (self.given[root], *self.given[root].beneath):
                del self.given[one.id]
                held.add(one.holder)
                self.revoked.pop(one.id, None)
                if calls := self._counted.pop(one.id, 0):
                    self._counted[""] += calls
                self._count(delegations=1)
        self._forget(held)
        if len(self.given) > self._delegations * 15 // 16:
            raise InvalidRequestError(
                f"about {self._delegations} delegations stand, more than one page holds; `chain report --task` writes "
                "the page of one task"
            )

    def _forget(self, held: set[str]) -> None:
        """Let go of who holds nothing any more, and under whom nobody works who does."""
        needed = {one.holder for one in self.given.values()}
        for holder in list(needed):
            above = str(self.principal(holder).get("under") or "")
            while above and above not in needed:
                needed.add(above)
                above = str(self.principal(above).get("under") or "")
        for holder in held - needed:
            self.enrolled.pop(holder, None)


def _allowed(entry: Entry) -> bool:
    return bool(entry.body["effect"] == "ALLOW")


def _older(entries: Sequence[Entry], kept: int) -> Sequence[Entry]:
    return entries[: max(0, len(entries) - kept)]


def _end(root: Given) -> int:
    """Return when the last of a tree is over."""
    return max(one.exp for one in (root, *root.beneath))
