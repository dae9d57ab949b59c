"""The directory of a ledger: one owner at a time, closed to everybody else."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from chain.errors import LedgerLockedError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

DATABASE = "ledger.db"
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600  # SQLite gives its -wal and -shm files the mode of the database


class LedgerDirectory:
    """A ledger's directory, held under an exclusive lock until `release`.

    The lock is `flock` and not a POSIX record lock: the latter would let the same process open a ledger
    twice, and is dropped when any descriptor of the file is closed. It is on the directory itself: a lock file that
    somebody takes for a stale one and removes would let two owners in.
    """

    def __init__(self, path: Path) -> None:
        """Create or enter the directory.

        Raises:
            LedgerLockedError: somebody owns it.
            StoreError: it cannot be made, or it is open to others and holds other things than a ledger.
        """
        self.path = path
        self.database = path / DATABASE
        try:
            _close_to_others(path)
            self._lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreError(f"ledger directory `{path}` cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(_create(self.database))
            _sync(path)
        except BlockingIOError as error:
            os.close(self._lock)
            raise LedgerLockedError(f"ledger `{path}` is owned by another process, a server or a command") from error
        except OSError as error:
            os.close(self._lock)
            raise StoreError(f"ledger directory `{path}` cannot be used: {error.strerror}") from error

    def release(self) -> None:
        """Let go of the lock."""
        os.close(self._lock)


def _close_to_others(path: Path) -> None:
    """Make the directory, or take an empty one or a ledger's, with mode 0700 whatever the umask is."""
    if not path.exists():
        path.mkdir(mode=DIRECTORY_MODE, parents=True)
        _sync(path.parent)
    elif path.stat().st_mode & 0o077 and any(path.iterdir()) and not (path / DATABASE).exists():
        raise StoreError(f"`{path}` is open to others and holds no ledger; it is not made one")
    path.chmod(DIRECTORY_MODE)


def _create(path: Path) -> int:
    """Open a file of ours, made if need be, with mode 0600 whatever the umask is."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    os.fchmod(descriptor, FILE_MODE)
    return descriptor


def _sync(path: Path) -> None:
    """Make the entries of a directory survive power loss."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
