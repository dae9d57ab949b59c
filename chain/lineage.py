"""Who descends from whom, as the ledger holds it, and who may see it.

The law of this file: an agent sees its own lineage and nothing else: what it holds, what lies above that, and what
lies beneath. What it may not see does not exist for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from chain.anchor import TrustAnchor
from chain.base64url import b64encode
from chain.caller import Caller
from chain.errors import NotFoundError
from chain.fall import Fall
from chain.ledger import Store
from chain.live import Live
from chain.row import DelegationRow
from chain.view import Delegated, Page, Query, Status

MAX_LIMIT = 1_000
"""Delegations on one page."""


class Lineage:
    """Questions about stored delegations.

    Attributes:
        fall: what a revocation fells.
    """

    def __init__(self, store: Store, live: Live, anchors: Callable[[], Iterable[TrustAnchor]]) -> None:
        self._store = store
        self._live = live
        self.fall = Fall(store, anchors)

    def tokens(self, digest: bytes) -> list[str] | None:
        """Return the stored tokens from the root to this leaf, or None where it was never registered."""
        path = self.path(digest)
        return [row.token.decode() for row in path] if path else None

    def path(self, digest: bytes) -> list[DelegationRow]:
        """Return the rows from the root to this one; empty where it is not registered."""
        path: list[DelegationRow] = []
        step: bytes | None = digest
        while step is not None:
            row = self._store.delegation(step)
            if row is None:
                return []
            path.append(row)
            step = row.parent
        return path[::-1]

    def beneath(self, upper: bytes, lower: bytes) -> bool:
        """Tell whether `lower` is `upper` or descends from it."""
        return any(row.digest == upper for row in self.path(lower))

    def require(self, digest: bytes) -> None:
        """Return where the delegation is registered.

        Raises:
            NotFoundError: it is not.
        """
        if self._store.delegation(digest) is None:
            raise NotFoundError(f"no delegation `{b64encode(digest)}`")

    def get(self, caller: Caller, digest: bytes, now: float) -> Delegated:
        """Return one delegation (`Authority.get`)."""
        path = self.path(digest)
        if not path or not self._visible(caller, path):
            raise NotFoundError(f"no delegation `{b64encode(digest)}`")
        return Delegated.stored(path[-1], self._status(path, now))

    def find(self, caller: Caller, query: Query, now: float) -> Page:
        """Return a page (`Authority.find`)."""
        limit = max(1, min(query.limit, MAX_LIMIT))
        if query.up is not None:
            rows = self._start(caller, query.up)[:-1]
            after = 0
        else:
            holders: tuple[str | None, ...] = (query.holder,)
            if query.down is not None:
                self._start(caller, query.down)
            elif not caller.sees_all:
                holders = tuple(self._live.names_of(caller)) or ("",)
            rows = self._page(holders, query, int(now) if query.status == "active" else None, limit)
            after = rows[-1].revision if len(rows) >= limit else 0
        paths = [path for row in rows if self._visible(caller, path := self.path(row.digest))]
        found = (Delegated.stored(path[-1], self._status(path, now)) for path in paths)
        return Page(tuple(item for item in found if query.status in (None, item.status)), after)

    def _page(self, holders: Sequence[str | None], query: Query, active: int | None, limit: int) -> list[DelegationRow]:
        """Return the next rows of all these holders as one page: in order, and no revision is split."""
        pages = [
            self._store.delegations(
                now=active, holder=holder, task=query.task, under=query.down, after=query.after, limit=limit
            )
            for holder in holders
        ]
        if len(pages) == 1:
            return pages[0]
        rows = sorted((row for page in pages for row in page), key=lambda row: (row.revision, row.digest))
        last = rows[limit - 1].revision if len(rows) >= limit else None
        return [row for row in rows if last is None or row.revision <= last]

    def _start(self, caller: Caller, digest: bytes) -> list[DelegationRow]:
        path = self.path(digest)
        if not path or not self._visible(caller, path):
            raise NotFoundError(f"no delegation `{b64encode(digest)}`")
        return path

    def _visible(self, caller: Caller, path: list[DelegationRow]) -> bool:
        """Whether this row is the caller's lineage: held by it, beneath what it holds, or above it."""
        if caller.sees_all:
            return True
        names = self._live.names_of(caller)
        if any(row.holder in names for row in path):
            return True
        return any(self._store.delegations(holder=name, under=path[-1].digest, limit=1) for name in names)

    def _status(self, path: list[DelegationRow], now: float) -> Status:
        if any(row.digest in self._live.revoked for row in path) or self.fall.struck(path, self._live.controls.struck):
            return "revoked"
        return "expired" if any(row.exp <= now for row in path) else "active"
