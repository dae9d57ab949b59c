"""Following an authority: pages of its ledger, and how a chain stands now.

The law of this file: it reads. Only what survives power loss is told of the ledger, because whoever saw a record must
never meet a ledger without it. How a chain stands is told at once, and where nobody can tell, it does not stand.
"""

from __future__ import annotations

from collections.abc import Iterable

from chain import introspection, watch
from chain.caller import Caller
from chain.delegation import Chain
from chain.desk import Desk, Presented
from chain.errors import InvalidRequestError, InvalidTokenError, NotFoundError
from chain.introspection import Introspected
from chain.reason import Reason
from chain.watch import Line, Page, Stand


class Watching:
    """What can be followed. A part of `chain.authority.Authority`."""

    def __init__(self, desk: Desk) -> None:
        """Follow what a desk decides."""
        self._desk = desk

    @property
    def head(self) -> int:
        """The last revision written."""
        return self._desk.store.head

    @property
    def synced(self) -> int:
        """The last revision that survives power loss."""
        return self._desk.store.synced

    def revision(self, caller: Caller) -> int:
        """Return the last revision that survives power loss.

        Raises:
            ForbiddenError: the caller may not ask.
        """
        caller.require("GetRevision")
        return self.synced

    def records(self, caller: Caller, after: int, kinds: Iterable[str] = (), limit: int = watch.PAGE) -> Page:
        """Return the records after a revision, as this caller may see them.

        Args:
            caller: an issuer, enforcement point, auditor or operator; an approver, of what people are asked.
            after: the last revision that was seen; 0 for the beginning.
            kinds: which (`chain.watch.KINDS`); none named means all that the caller may follow.
            limit: revisions to look at, 1 to `chain.watch.PAGE`; a page may hold fewer records, and none.

        Raises:
            ForbiddenError: the caller may not read the ledger, or not these kinds.
            InvalidRequestError: an unknown kind, or a limit out of bounds.
            CursorError: nothing can go on from there.
            StoreError: the ledger could not be read.
        """
        caller.require("Watch")
        named = watch.readable(caller, kinds)
        if not 0 < limit <= watch.PAGE:
            raise InvalidRequestError(f"a page is of 1 to {watch.PAGE} revisions")
        watch.require_cursor(after, self.head)
        lines, revision = self.lines(after, limit)
        return Page(tuple(watch.told(line, caller) for line in lines if line.kind in named), revision)

    def lines(self, after: int, limit: int = watch.PAGE) -> tuple[list[Line], int]:
        """Return the records after a revision that survive power loss, and the revision up to which they were read.

        For servers, which decide for each reader what it is told.
        """
        synced = self.synced
        if after >= synced:
            return [], after
        found = self._desk.store.records(after + 1, min(limit, synced - after))
        lines = [watch.read(data) for data, _ in found]
        return lines, lines[-1].revision if lines else after

    def chain(self, caller: Caller, presented: Presented) -> Chain:
        """Return a trusted chain that a caller may watch.

        Raises:
            ForbiddenError: it may not.
            InvalidTokenError: not authentic, or a digest that was never registered.
        """
        caller.require("Watch")
        chain, _ = self._desk.resolve(presented)
        watch.require_own(caller, self._desk.live.names_of(caller), chain, named=isinstance(presented, bytes))
        return chain

    def stand(self, chain: Chain) -> Stand:
        """Return how a trusted chain stands now."""
        desk = self._desk
        if desk.store.failure is not None:
            return watch.fallen(Reason.STORE_UNAVAILABLE, "the ledger stopped, and nothing is permitted")
        now = desk.clock()
        if desk.late(now):
            return watch.fallen(Reason.CLOCK_BEHIND, "the clock is behind the ledger")
        return watch.standing(chain, desk.live, now)

    def left(self, chain: Chain) -> float:
        """Return the seconds until a chain stops to stand by itself."""
        return watch.expires(chain) - self._desk.clock()

    def standing(self, caller: Caller, presented: Presented) -> Stand:
        """Tell whether a chain stands now, whatever may be called under it.

        Args:
            caller: whoever has its tokens, holds one of its hops, or checks calls.
            presented: the chain.

        Raises:
            ForbiddenError: the caller may not know.
            InvalidTokenError: not authentic, or a digest that was never registered.
        """
        return self.stand(self.chain(caller, presented))

    def introspect(self, caller: Caller, token: str) -> Introspected | None:
        """Tell of a registered token that stands now, whatever may be called under it (RFC 7662).

        Args:
            caller: whoever may see the delegation (`Authority.get`).
            token: a leaf, exactly as it was registered; or its id.

        Returns:
            None where it is unknown, changed, not this caller's to see, or does not stand: which, is not told.

        Raises:
            ForbiddenError: the caller may ask of no delegation.
            StoreError: the ledger could not be read.
        """
        caller.require("GetDelegation")
        digest = introspection.named(token)
        if digest is None:
            return None
        try:
            found = self._desk.lineage.get(caller, digest, self._desk.clock())
            chain, _ = self._desk.resolve(digest)
        except (NotFoundError, InvalidTokenError):
            return None
        if "." in token and token != found.token:  # the same statement under another signature, or a broken one
            return None
        return introspection.told(chain) if self.stand(chain).stands else None
