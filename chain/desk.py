"""What every call of an authority needs: trusted chains, one reading of the clock, one way to commit.

The law of this file: stored tokens are verified like any others, because a row is no proof; a clock that is behind
the ledger decides nothing; a change under an idempotency key is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import count
from typing import TypeAlias, TypeVar

import msgspec

from chain import records
from chain.base64url import b64encode
from chain.batch import AnsweredError, Asked, Changing, Deciding, Moment, Once
from chain.caller import Caller
from chain.catalog import Catalogue
from chain.change import Compose
from chain.decision import Decision, Effect, Finding, denied, refused
from chain.delegation import Chain
from chain.errors import ChainError, InvalidTokenError, StoreError
from chain.ledger import Store
from chain.lineage import Lineage
from chain.live import Live
from chain.pending import then
from chain.reason import Reason
from chain.request import Request
from chain.state import Settings
from chain.token import Verifier

Presented: TypeAlias = Sequence[str] | bytes
"""A chain: its tokens, root first; or the digest of a leaf that this authority has registered."""

Clock: TypeAlias = Callable[[], float]
"""Seconds since the epoch."""

Entropy: TypeAlias = Callable[[int], bytes]
"""That many unguessable bytes."""

R = TypeVar("R")

MAX_BACKSTEP_MS = 1_000
"""How far the clock may lie behind the ledger: time services step by less, a restored machine by more."""


class Desk:
    """The authority's own tools.

    Attributes:
        store, verifier, clock, entropy: as given.
        live: the facts, rebuilt from the store.
        lineage: questions about stored delegations.
        garbage: presented chains of which not even the root was authentic; counted, not recorded.
    """

    def __init__(
        self,
        store: Store,
        verifier: Verifier,
        clock: Clock,
        entropy: Entropy,
        settings: Settings,
        catalogue: Catalogue,
    ) -> None:
        """Rebuild the live facts."""
        self.store = store
        self.verifier = verifier
        self.clock = clock
        self.entropy = entropy
        self.live = Live(store, settings, catalogue, clock())
        self.lineage = Lineage(store, self.live)
        self.garbage = 0
        newest = store.records(store.head, 1)
        self._last_ms = records.time_of(newest[0][0]) if newest else 0
        self._prefix, self._numbers = b64encode(entropy(9)), count(1)

    def resolve(self, presented: Presented) -> tuple[Chain, Sequence[str]]:
        """Return a trusted chain with its tokens; stored tokens are verified like any others.

        Raises:
            InvalidTokenError: not authentic, or a digest that was never registered.
        """
        if not isinstance(presented, bytes):
            return self.verifier.verify(presented), presented
        known = self.verifier.recall(presented)
        if known is not None and self.live.registered.get(presented) is not None:
            return known[1], known[0]  # what was only ever presented is remembered too, and is not registered
        tokens = self.lineage.tokens(presented)
        if tokens is None:
            raise InvalidTokenError(Reason.DIGEST_UNKNOWN, None, "no chain with this digest is registered here")
        return self.verifier.verify(tokens), tokens

    def asked(self, presented: Presented, request: Request, now: float) -> Asked:
        """Return a check ready to be decided: with its chain, or with the reason why there is none."""
        tool = self.live.catalogue.tool(request.tool)
        try:
            chain, tokens = self.resolve(presented)
        except InvalidTokenError as error:
            item = Asked(request, tool, fault=refused(error, now))
            self.garbage += item.garbage
            return item
        return Asked(request, tool, tokens, chain, named=isinstance(presented, bytes))

    def moment(self) -> Moment:
        """Read the clock for a commit.

        Raises:
            StoreError: it is behind the ledger; nothing is decided until somebody has looked.
        """
        now = self.clock()
        ms = int(now * 1000)
        if ms < self._last_ms - MAX_BACKSTEP_MS:
            raise StoreError("the clock is behind the ledger", Reason.CLOCK_BEHIND)
        self._last_ms = max(ms, self._last_ms)
        return Moment(now, self._last_ms)

    def _new_id(self) -> str:
        return f"{self._prefix}-{next(self._numbers):x}"

    def decide(self, asked: Sequence[Asked], caller: Caller, now: float, stop: Effect | None) -> Future[list[Decision]]:
        """Decide in one commit, in order; where nothing could be recorded, nothing is permitted."""
        batch = Deciding(asked, caller.name, self.live, self.store, self.moment, self._new_id, stop)

        def answer(_revision: int) -> list[Decision]:
            return [told for item in asked if (told := item.told(caller)) is not None]

        def fail(error: Exception) -> list[Decision]:
            reason = error.reason if isinstance(error, ChainError) else Reason.INTERNAL
            return [unanswered(reason, "nothing could be recorded, so nothing is permitted", now)] * len(asked)

        return then(self.store.commit(batch), answer, fail)

    def change(self, compose: Compose, once: Once | None, reply: type[R], *, urgent: bool = False) -> Future[R]:
        """Make a change once, and return its reply or raise why it was refused."""
        batch = Changing(compose, once, self.live, self.store, self.moment, urgent=urgent)

        def answer(_revision: int) -> R:
            if isinstance(batch.outcome, ChainError):
                raise batch.outcome
            return msgspec.json.decode(batch.outcome, type=reply)

        def repeat(error: Exception) -> R:
            if isinstance(error, AnsweredError):
                return msgspec.json.decode(error.reply, type=reply)
            raise error if isinstance(error, ChainError) else StoreError("the change was not made")

        return then(self.store.commit(batch), answer, repeat)


def unanswered(reason: Reason, detail: str, now: float) -> Decision:
    """Return the denial for a call that could not be decided."""
    return denied(Finding(reason=reason, hop=None, detail=detail), at=now)
