"""Records of the append-only ledger, and what a store owes.

The law of this file: pure. A record is hashed as the exact bytes that were written, and those bytes have
one spelling; a store keeps bytes and never makes a record of its own.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, Protocol

import msgspec

from chain.errors import StoreError
from chain.row import DelegationRow, EnrolmentRow, NonceRow, ReplyRow, RevocationRow, StandingRow, Write

__all__ = [
    "Batch",
    "DelegationRow",
    "Durability",
    "EnrolmentRow",
    "NonceRow",
    "Record",
    "ReplyRow",
    "RevocationRow",
    "StandingRow",
    "Store",
    "Write",
    "decode",
    "encode",
    "envelope",
]


class Durability(enum.Enum):
    """What a commit has survived by the time it resolves."""

    WRITTEN = 1  # the end of the process; power loss within 50 ms
    SYNCED = 2  # power loss


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the ledger.

    Attributes:
        revision: 1, 2, 3 … without gaps; the one global number.
        kind: issued, delegated, admitted, refused, revoked, decided, enrolled, approval_requested, approval_resolved,
            approval_consumed, policy_activated, suspended, lifted, signalled, resumed,
            key_changed or ledger_accepted.
        time: milliseconds since the epoch, by the authority's clock.
        body: JSON values only.
    """

    revision: int
    kind: str
    time: int
    body: dict[str, Any]


class Envelope(msgspec.Struct, frozen=True):
    """The members of a record that a store reads; the body is skipped, not built."""

    revision: int
    kind: str


_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Record)
_envelope = msgspec.json.Decoder(Envelope)


def encode(record: Record) -> bytes:
    """Return the canonical bytes of a record: JSON, members of the body sorted."""
    return _encoder.encode(record)


def decode(data: bytes) -> Record:
    """Read a record back.

    Raises:
        StoreError: the bytes are no record, or not the one spelling that `encode` gives.
    """
    try:
        record = _decoder.decode(data)
        spelled = _encoder.encode(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StoreError("a stored record cannot be read") from error
    if spelled != data:
        raise StoreError(f"record {record.revision} is not in canonical form")
    return record


def envelope(data: bytes, revision: int) -> Envelope:
    """Read revision and kind of an encoded record that must stand at `revision`.

    Raises:
        StoreError: the bytes are no record, or the record bears another revision.
    """
    try:
        found = _envelope.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError("a record to be written cannot be read") from error
    if found.revision != revision:
        raise StoreError(f"record bears revision {found.revision} where {revision} is next")
    return found


class Batch(Protocol):
    """What `Store.commit` is given. A true attribute `urgent` puts it before all that are not."""

    @property
    def durability(self) -> Durability:
        """What the commit has to survive before it resolves."""

    def prepare(self, first: int) -> Write:
        """Say what to write, given the revision of the first record.

        Called once, by the store's single writer, in commit order; it must not commit and wait. It reads
        the store without the batches prepared just before it, which may share its transaction. What it
        raises fails this batch alone, and nothing of it is written.
        """


class Store(Protocol):
    """The ledger and its projections. Safe to call from any thread."""

    @property
    def head(self) -> int:
        """The last revision written, or 0."""

    @property
    def synced(self) -> int:
        """The last revision known to survive power loss."""

    @property
    def failure(self) -> str | None:
        """Why every later commit fails until the ledger is opened again; None while it works."""

    def commit(self, batch: Batch) -> Future[int]:
        """Write a batch; resolves to the revision of its last record, or the head, once durable as asked.

        It cannot be cancelled. The future fails with what `prepare` raised, or with `StoreError`: where
        `prepare` was not called yet, this batch alone; else all later commits fail at once (`failure`), because
        what `prepare` changed in memory has run ahead of the disk.
        """

    def delegation(self, digest: bytes) -> DelegationRow | None:
        """Return the delegation of that digest."""

    def named(self, issuer: str, jti: str) -> bytes | None:
        """Return the digest of the first delegation that bears this `iss` and `jti`."""

    def children(self, digest: bytes) -> list[bytes]:
        """Return the digests of the delegations right under that one, ordered by revision, digest."""

    def descendants(self, digest: bytes, *, now: int, until: int, limit: int) -> list[bytes]:
        """Return the digests of what lives beneath a delegation, parents before children, at most `limit`.

        The work is bounded by `limit`, not by how much there is.

        Args:
            digest: theirs, itself left out.
            now: seconds; only those with `exp` > now, and beneath such. No child outlives its parent.
            until: only those of this revision or an earlier one.
            limit: rows to return.
        """

    def delegations(
        self,
        *,
        now: int | None = None,
        holder: str | None = None,
        task: str | None = None,
        issuer: str | None = None,
        under: bytes | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> list[DelegationRow]:
        """Return a page of delegations, ordered by revision, digest.

        Args:
            now: seconds; only those with `exp` > now.
            holder: only those of this thumbprint.
            task: only those of this task.
            issuer: only roots with this `iss`.
            under: only descendants of this digest, at any distance.
            after: only those of a later revision; the cursor for the next page.
            limit: rows to return; exceeded only to finish a revision, which a page never splits.
        """

    def live(self, now: int) -> Iterator[DelegationRow]:
        """Stream all with `exp` > now (seconds), parents before children."""

    def revocations(self) -> Iterator[RevocationRow]:
        """Stream all revocations, in the order they were written."""

    def nonces(self, now: int) -> Iterator[NonceRow]:
        """Stream the nonces with `expires` > now (seconds)."""

    def enrolments(self) -> Iterator[EnrolmentRow]:
        """Stream the enrolments, ordered by thumbprint."""

    def reply(self, caller: str, method: str, key: str) -> ReplyRow | None:
        """Return the answer kept under an idempotency key, expired or not."""

    def standing(self, kind: str) -> Iterator[StandingRow]:
        """Stream what stands of one kind, ordered by name; what expired may be among it."""

    def stands(self, kind: str, name: str) -> StandingRow | None:
        """Return what stands of one name; it may have expired."""

    def records(self, start: int = 1, limit: int = 1000, kind: str | None = None) -> list[tuple[bytes, bytes]]:
        """Return (encoded record, leaf hash) from revision `start` on, in order, of one kind if given."""

    def leaves(self, start: int, count: int) -> list[bytes]:
        """Return the leaf hashes (`chain.merkle`) of so many records behind revision `start`, in order."""

    def sweep(self, now: int) -> int:
        """Delete nonces, replies and what stood until now (seconds); return how many."""

    def expire(self, now: int) -> None:
        """Have `sweep` done soon, beside the caller. Cheap; may be called from `prepare`."""

    def close(self) -> None:
        """Write what is queued, sync, and release the ledger. Later commits fail."""
