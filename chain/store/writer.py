"""The single writer: group commit in a thread, and appends in the caller's thread while it is idle.

The law of this file: whoever holds the lock is the writer. Revisions are given under it, in the order in
which they become visible, and a future resolves only after its batch is as durable as it asked for. The database's
own write lock is taken before any batch is prepared: what is refused there has changed nothing in memory, so that it
fails alone; what is refused afterwards stops the store.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

import apsw

from chain.errors import StoreError
from chain.ledger import Batch, Durability
from chain.pending import Inline
from chain.store.group import Group
from chain.store.queue import Job, JobQueue
from chain.store.schema import VERSION

if TYPE_CHECKING:
    from chain.store.wal import Wal

WAL_PAGES = 4000  # 16 MiB: a checkpoint takes the disk for some ms, so it comes seldom; a restart reads it in 20 ms
PATIENCE = 2000  # ms that queued batches wait for a foreign writer; a caller's own thread does not wait at all
CLOSED = "the store is closed"

_Done = list[tuple[Future[int], int]]


class Writer:
    """Owns the only connection that writes.

    Attributes:
        head: the last revision written.
        failure: why every later commit fails, or None.
        unsynced: set while a written commit waits for the log to be synced.
        grown: set when the log is long enough for a checkpoint.
    """

    def __init__(self, connection: apsw.Connection, wal: Wal, head: int, *, all_synced: bool) -> None:
        """Start the writer's thread. All up to `head` must survive power loss already."""
        self.head = head
        self.failure: str | None = None
        self.unsynced = threading.Event()
        self.grown = threading.Event()
        self._committed = self._flushed = head  # one thread writes each, so neither needs a lock
        self._connection = connection
        self._wal = wal
        self._all_synced = all_synced
        self._full = True
        self._patience = -1
        self._queue = JobQueue()
        self._lock = threading.Lock()
        connection.set_wal_hook(self._measure)
        self._thread = threading.Thread(target=self._run, name="chain-ledger-writer", daemon=True)
        self._thread.start()

    @property
    def synced(self) -> int:
        """The last revision known to survive power loss."""
        return max(self._committed, self._flushed)

    def commit(self, batch: Batch) -> Future[int]:
        """Write a batch; see `chain.ledger.Store.commit`."""
        inline = batch.durability is Durability.WRITTEN and not self._all_synced
        if inline and self._lock.acquire(blocking=False):
            try:
                if not self._queue and not self._queue.closed and self._begin(full=False, patience=0) is None:
                    settled: Inline[int] = Inline()
                    for _, revision in self._write([(batch, settled)], full=False):
                        settled.set_result(revision)
                    return settled
            finally:
                self._lock.release()
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()  # from here on it cannot be cancelled
        if self.failure is not None or not self._queue.put((batch, future)):
            future.set_exception(StoreError(self.failure or CLOSED))
        return future

    def sync(self) -> None:
        """Sync the log beside the writer, without its lock. A refusal of the disk stops the store."""
        target = self.head
        try:
            self._wal.sync()
        except OSError as error:
            self._fail(error)
        else:
            self._flushed = target

    def delete(self, statement: str, bindings: tuple[int, int]) -> int:
        """Run a DELETE between two groups; return how many rows it took.

        Raises:
            StoreError: the store is closed or stopped, or the disk refused; nothing was deleted.
        """
        with self._lock:
            if self.failure is not None or self._queue.closed:
                raise StoreError(self.failure or CLOSED)
            try:
                self._synchronous(full=False)
                self._connection.execute(statement, bindings)
                return self._connection.changes()
            except apsw.Error as error:
                raise StoreError("expired rows could not be deleted") from error

    def restart_log(self, checkpoint: apsw.Connection) -> None:
        """Move the rest of the log into the database and begin the log anew.

        SQLite starts over only when a writer finds the whole log moved, which a busy ledger never shows
        to a checkpoint beside it. The first write of a new log waits for the disk, so it is made here and
        not in a caller's thread: callers that come meanwhile are queued.

        Raises:
            apsw.Error: the log stays as it is and goes on growing.
        """
        with self._lock:
            if self.failure is None:
                pages, moved = checkpoint.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                if pages == moved:
                    self._connection.execute(f"PRAGMA user_version={VERSION}")

    def close(self) -> None:
        """Write what is queued and stop the thread."""
        self._queue.close()
        self._thread.join()
        with self._lock:  # an append in a caller's thread may have begun before
            self._connection.set_wal_hook(None)

    def _run(self) -> None:
        while self._queue.wait():
            with self._lock:
                done = self._write_group(self._queue.take())
            for future, revision in done:
                future.set_result(revision)

    def _write_group(self, jobs: list[Job]) -> _Done:
        full = self._all_synced or any(batch.durability is Durability.SYNCED for batch, _ in jobs)
        refused = self._begin(full=full, patience=PATIENCE)
        return self._write(jobs, full=full) if refused is None else self._reject(jobs, refused)

    def _begin(self, *, full: bool, patience: int) -> str | None:
        """Take the database's write lock, under ours; return why it was refused, or None.

        Args:
            full: whether the commit has to survive power loss.
            patience: ms to wait for a foreign writer.
        """
        if self.failure is not None:
            return self.failure
        try:
            if patience != self._patience:
                self._connection.set_busy_timeout(patience)
                self._patience = patience
            self._synchronous(full=full)
            self._connection.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            if self._connection.in_transaction:  # left open by an interrupt: memory may have run ahead
                self._fail(error)
            return f"the ledger cannot be written now: {error}"
        return None

    def _write(self, jobs: list[Job], *, full: bool) -> _Done:
        """Write a group in the transaction begun; return the futures to resolve, with their revisions.

        An interrupt that breaks through here leaves the head behind the log or a transaction open; either
        makes the next group fail, which stops the store.
        """
        group = Group(self.head + 1)
        done: _Done = []
        try:
            for batch, future in jobs:
                try:
                    write = batch.prepare(group.next)
                except Exception as error:  # noqa: BLE001 - the batch's own refusal, of any kind, is its caller's
                    future.set_exception(error)
                    continue
                group.add(write)
                done.append((future, group.next - 1))
            self._transact(group, full=full)
        except Exception as error:  # noqa: BLE001 - whatever it was, memory has run ahead of the disk
            self._fail(error)
            with contextlib.suppress(apsw.Error):  # the broken transaction, if SQLite has not ended it
                self._connection.execute("ROLLBACK")
            return self._reject(jobs, CLOSED)
        return done

    def _reject(self, jobs: list[Job], detail: str) -> _Done:
        for _, future in jobs:
            if not future.done():
                future.set_exception(StoreError(self.failure or detail))
        return []

    def _transact(self, group: Group, *, full: bool) -> None:
        group.insert(self._connection)
        if full and not group.records:
            self._wal.sync()  # a transaction that changed nothing syncs nothing, and earlier ones may wait
        self.head = group.next - 1
        if full:
            self._committed = self.head
        elif not self.unsynced.is_set():
            self.unsynced.set()

    def _synchronous(self, *, full: bool) -> None:
        if full is not self._full:
            self._connection.execute("PRAGMA synchronous=FULL" if full else "PRAGMA synchronous=NORMAL")
            self._full = full

    def _fail(self, error: Exception) -> None:
        """Stop for good: memory and disk no longer agree, and only a restart reads the disk again."""
        if self.failure is None:
            self.failure = f"the ledger stopped and must be opened again: {getattr(error, 'detail', error)}"

    def _measure(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        if pages >= WAL_PAGES and not self.grown.is_set():
            self.grown.set()
        return apsw.SQLITE_OK
