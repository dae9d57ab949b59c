"""What a store does beside its callers: sync the log soon after it was written, keep it short, forget what expired."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import apsw

from chain.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from chain.store.writer import Writer

SYNC_DELAY = 0.020  # s from a written commit to its sync; the promise is 50 ms, the rest is the disk's
CHECKPOINT_PAUSE = 0.1  # s between checkpoints, so that a long read cannot make them spin

_log = logging.getLogger(__name__)


class Syncer:
    """Syncs the log within 50 ms of the oldest written commit."""

    def __init__(self, writer: Writer) -> None:
        """Start the thread."""
        self._writer = writer
        self._stop = threading.Event()
        self._thread = _start(self._run, "chain-ledger-syncer")

    def stop(self) -> None:
        """Stop the thread; commits that were not synced stay so."""
        self._stop.set()
        self._writer.unsynced.set()
        self._thread.join()

    def _run(self) -> None:
        unsynced = self._writer.unsynced
        while not self._stop.is_set():  # asked after the clear, which may have wiped out the call to stop
            unsynced.wait()
            if not self._stop.wait(SYNC_DELAY):
                unsynced.clear()  # before the sync: a commit during it sets it again
                self._writer.sync()


class Checkpointer:
    """Moves the log into the database on a connection of its own.

    The bulk moves while others write; only what they wrote meanwhile is moved under the writer's lock.
    """

    def __init__(self, writer: Writer, connection: apsw.Connection) -> None:
        """Start the thread; it owns the connection until `stop`."""
        self._writer = writer
        self._connection = connection
        self._stop = threading.Event()
        self._thread = _start(self._run, "chain-ledger-checkpointer")

    def stop(self) -> None:
        """Finish a running checkpoint and stop the thread."""
        self._stop.set()
        self._writer.grown.set()
        self._thread.join()

    def _run(self) -> None:
        grown = self._writer.grown
        while not self._stop.is_set():  # asked after the clear, which may have wiped out the call to stop
            grown.wait()
            if self._stop.is_set():
                break
            try:
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                self._writer.restart_log(self._connection)
            except apsw.Error as error:
                # Nothing is lost, the log holds it all; a full disk stops the store at its next commit.
                _log.warning("checkpoint failed: %s", error)
            grown.clear()
            self._stop.wait(CHECKPOINT_PAUSE)


class Sweeper:
    """Deletes what expired, a little between groups of commits."""

    def __init__(self, step: Callable[[int], int]) -> None:
        """Start the thread.

        Args:
            step: deletes some of what expired by a time in seconds, and returns how much: 0 when all is gone.
        """
        self._step = step
        self._now = 0
        self._due = threading.Event()
        self._stop = threading.Event()
        self._thread = _start(self._run, "chain-ledger-sweeper")

    def ask(self, now: int) -> None:
        """Have it done for this time (seconds)."""
        self._now = now
        self._due.set()

    def stop(self) -> None:
        """Stop the thread after the step that is running; the rest waits for the next start."""
        self._stop.set()
        self._due.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():  # asked after the clear, which may have wiped out the call to stop
            self._due.wait()
            if self._stop.is_set():
                break
            self._due.clear()
            try:
                while not self._stop.is_set() and self._step(self._now):
                    pass
            except StoreError as error:
                _log.warning("sweep failed: %s", error)  # what expired is only in the way; the next sweep takes it


def _start(run: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
