"""One change of state, made once however often it is asked for.

The law of this file: a change under an idempotency key is made once, bound to the request's digest; it is power-safe
before it is acknowledged, and one that is refused leaves the record of its refusal and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import msgspec

from chain.caller import Caller
from chain.errors import ChainError, ConflictError
from chain.ledger import Durability, Store
from chain.live import Live
from chain.row import ReplyRow, Write
from chain.writing import Moment, Writing

REPLY_LIFETIME = 24 * 3600
"""Seconds an idempotency key is remembered."""


@dataclass(frozen=True, slots=True)
class Once:
    """An idempotency key: scoped to caller and method, bound to one request."""

    caller: str
    method: str
    key: str
    request: bytes

    @classmethod
    def of(cls, caller: Caller, method: str, key: str | None, *asked: object) -> Once | None:
        """Return the key that a caller gave, bound to everything that it asked for; None where it gave none."""
        return None if key is None else cls(caller.name, method, key, sha256(msgspec.json.encode(asked)).digest())

    def prior(self, live: Live, store: Store, now: float) -> bytes | None:
        """Return the reply that was given before, or None.

        Raises:
            ConflictError: to another request.
        """
        name = (self.caller, self.method, self.key)
        row = live.replies.get(name) or store.reply(*name)
        return None if row is None or row.expires <= now else self.answer(row)

    def answer(self, row: ReplyRow) -> bytes:
        """Return the reply that was given.

        Raises:
            ConflictError: to another request.
        """
        if row.request != self.request:
            raise ConflictError(f"the idempotency key was used for another {self.method}")
        return row.reply


class AnsweredError(Exception):
    """The change was made before, under the same idempotency key."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply
        super().__init__()


class Changing:
    """One change of state. It is power-safe before it is acknowledged; a revocation waits for nothing else."""

    __slots__ = ("_compose", "_live", "_moment", "_once", "_store", "durability", "outcome", "urgent")

    def __init__(
        self,
        compose: Callable[[Writing], bytes | ChainError],
        once: Once | None,
        live: Live,
        store: Store,
        moment: Callable[[], Moment],
        *,
        urgent: bool = False,
    ) -> None:
        """Prepare a change.

        Args:
            compose: makes the change, writes its records, and returns the reply; or the error to raise once the
                record of the refusal is down.
            once: the idempotency key, if the caller gave one.
            live, store, moment: the authority's.
            urgent: goes before everything that waits.
        """
        self._compose = compose
        self._once = once
        self._live = live
        self._store = store
        self._moment = moment
        self.urgent = urgent
        self.durability = Durability.SYNCED
        self.outcome: bytes | ChainError = b""

    def prepare(self, first: int) -> Write:
        """Make the change, unless its key was used."""
        once, at = self._once, self._moment()
        if once is not None:
            prior = once.prior(self._live, self._store, at.now)
            if prior is not None:
                raise AnsweredError(prior)
        with Writing(first, at, self._live, self._store) as writing:
            self.outcome = self._compose(writing)
        if once is not None and isinstance(self.outcome, bytes):
            expires = int(writing.at.now) + REPLY_LIFETIME
            row = ReplyRow(
                once.caller, once.method, once.key, once.request, self.outcome, writing.revision - 1, expires
            )
            writing.write.replies.append(row)
            self._live.replies.put((once.caller, once.method, once.key), row)
        return writing.write
