"""The embedded store: one SQLite file, owned by one process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from chain.errors import StoreError
from chain.store import schema
from chain.store.background import Checkpointer, Sweeper, Syncer
from chain.store.directory import LedgerDirectory
from chain.store.reader import Reader
from chain.store.wal import Wal
from chain.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from chain.ledger import (
        Batch,
        DelegationRow,
        EnrolmentRow,
        NonceRow,
        ReplyRow,
        RevocationRow,
        StandingRow,
    )

SWEEP = 500  # rows deleted between two groups: an append waits a millisecond for them, not for all
_SWEEPS = (
    "DELETE FROM nonces WHERE (digest, jti) IN (SELECT digest, jti FROM nonces WHERE expires <= ? LIMIT ?)",
    "DELETE FROM replies WHERE rowid IN (SELECT rowid FROM replies WHERE expires <= ? LIMIT ?)",
    (
        "DELETE FROM standing WHERE (kind, name) IN "
        "(SELECT kind, name FROM standing WHERE expires > 0 AND expires <= ? LIMIT ?)"
    ),
)


class SqliteStore:
    """A ledger in a directory: `ledger.db` and its log. Implements `chain.ledger.Store`.

    A batch that asks for SYNCED joins the group that the writer's thread commits next with synchronous
    FULL. One that asks for WRITTEN is appended in the caller's thread while the writer is idle, and its
    future is resolved when `commit` returns; the log is synced within 50 ms of it.
    """

    def __init__(self, path: Path | str, *, all_synced: bool = False, vfs: str | None = None) -> None:
        """Open the ledger in directory `path`, made with mode 0700 when it is not there.

        Args:
            path: the directory.
            all_synced: treat every batch as SYNCED.
            vfs: name of a registered SQLite VFS to go through, None for SQLite's own.

        Raises:
            LedgerLockedError: another store, of this process or another, owns the ledger.
            StoreError: it is no ledger, or one of an unknown version, or the disk refused.
        """
        self._directory = LedgerDirectory(Path(path))
        self._connections: list[apsw.Connection] = []
        self._closed = False
        try:
            self._open(all_synced=all_synced, vfs=vfs)
        except (apsw.Error, OSError) as error:
            self._release()
            raise StoreError(f"ledger `{path}` could not be opened: {error}") from error
        except StoreError:
            self._release()
            raise

    def _connect(self, vfs: str | None, *, writable: bool = True) -> apsw.Connection:
        connection = schema.connect(self._directory.database, vfs, writable=writable)
        self._connections.append(connection)
        return connection

    def _open(self, *, all_synced: bool, vfs: str | None) -> None:
        writing = self._connect(vfs)
        head = schema.prepare(writing)
        checkpoint = self._connect(vfs)
        points, scans = self._connect(vfs, writable=False), self._connect(vfs, writable=False)
        self._wal = Wal(self._directory.database)
        self._reader = Reader(points, scans)
        self._writer = Writer(writing, self._wal, head, all_synced=all_synced)
        self._syncer = Syncer(self._writer)
        self._checkpointer = Checkpointer(self._writer, checkpoint)
        self._sweeper = Sweeper(self._sweep_some)

    @property
    def head(self) -> int:
        """The last revision written, 0 when there is none."""
        return self._writer.head

    @property
    def synced(self) -> int:
        """The last revision known to survive power loss."""
        return self._writer.synced

    @property
    def failure(self) -> str | None:
        """Why every later commit fails until the ledger is opened again; None while it works."""
        return self._writer.failure

    def commit(self, batch: Batch) -> Future[int]:
        """Write a batch; see `chain.ledger.Store.commit`."""
        return self._writer.commit(batch)

    def delegation(self, digest: bytes) -> DelegationRow | None:
        """Return the delegation of that digest."""
        return self._reader.delegation(digest)

    def named(self, issuer: str, jti: str) -> bytes | None:
        """Return the digest of the first delegation that bears this `iss` and `jti`."""
        return self._reader.named(issuer, jti)

    def children(self, digest: bytes) -> list[bytes]:
        """Return the digests right under that one, ordered by revision, digest."""
        return self._reader.children(digest)

    def descendants(self, digest: bytes, *, now: int, until: int, limit: int) -> list[bytes]:
        """Return the digests of what lives beneath that one; see `chain.ledger.Store.descendants`."""
        return self._reader.descendants(digest, now=now, until=until, limit=limit)

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
        """Return a page of delegations; see `chain.ledger.Store.delegations`."""
        return self._reader.delegations(
            now=now, holder=holder, task=task, issuer=issuer, under=under, after=after, limit=limit
        )

    def live(self, now: int) -> Iterator[DelegationRow]:
        """Stream all with `exp` > now (seconds), parents before children."""
        return self._reader.live(now)

    def revocations(self) -> Iterator[RevocationRow]:
        """Stream all revocations, in the order they were written."""
        return self._reader.revocations()

    def nonces(self, now: int) -> Iterator[NonceRow]:
        """Stream the nonces with `expires` > now (seconds)."""
        return self._reader.nonces(now)

    def enrolments(self) -> Iterator[EnrolmentRow]:
        """Stream the enrolments, ordered by thumbprint."""
        return self._reader.enrolments()

    def reply(self, caller: str, method: str, key: str) -> ReplyRow | None:
        """Return the answer kept under an idempotency key, expired or not."""
        return self._reader.reply(caller, method, key)

    def standing(self, kind: str) -> Iterator[StandingRow]:
        """Stream what stands of one kind, ordered by name."""
        return self._reader.standing(kind)

    def stands(self, kind: str, name: str) -> StandingRow | None:
        """Return what stands of one name; it may have expired."""
        return self._reader.stands(kind, name)

    def records(self, start: int = 1, limit: int = 1000, kind: str | None = None) -> list[tuple[bytes, bytes]]:
        """Return (encoded record, leaf hash) from revision `start` on, in order, of one kind if given."""
        return self._reader.records(start, limit, kind)

    def leaves(self, start: int, count: int) -> list[bytes]:
        """Return the leaf hashes of so many records behind revision `start`."""
        return self._reader.leaves(start, count)

    def sweep(self, now: int) -> int:
        """Delete nonces, replies and what stood until now (seconds); return how many."""
        total = 0
        while swept := self._sweep_some(now):
            total += swept
        return total

    def _sweep_some(self, now: int) -> int:
        return sum(self._writer.delete(statement, (now, SWEEP)) for statement in _SWEEPS)

    def expire(self, now: int) -> None:
        """Have `sweep` done soon, in the background."""
        self._sweeper.ask(now)

    def close(self) -> None:
        """Write what is queued, sync, and release the ledger. Later commits fail. Safe to call again.

        Raises:
            StoreError: the last sync was refused; what was only written may not survive power loss.
        """
        if self._closed:
            return
        self._closed = True
        self._sweeper.stop()
        self._writer.close()
        self._syncer.stop()
        self._checkpointer.stop()
        stopped = self._writer.failure
        if stopped is None:
            self._writer.sync()
        self._wal.close()
        self._reader.close()
        self._release()
        if self._writer.failure != stopped:
            raise StoreError(f"the last sync failed: {self._writer.failure}")

    def _release(self) -> None:
        """Close what is open; SQLite moves the log into the database when its last connection closes."""
        for connection in self._connections:
            connection.close()
        self._directory.release()
