"""The write-ahead log as a file: what makes it survive power loss."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FULL_FSYNC = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync alone stops at the drive's cache
_data_sync = getattr(os, "fdatasync", os.fsync)


def flush(descriptor: int) -> None:
    """Make what was written to a file survive power loss.

    Raises:
        OSError: it may not; the kernel can have dropped the pages, so trying again proves nothing.
    """
    if _FULL_FSYNC is not None:
        fcntl.fcntl(descriptor, _FULL_FSYNC)
    else:
        _data_sync(descriptor)


class Wal:
    """The open log of a database that stays open as long as this object.

    A descriptor of our own syncs it beside SQLite's, without a transaction. SQLite's locks are on the
    other two files, so closing this descriptor drops none of them.
    """

    def __init__(self, database: Path) -> None:
        """Open the log of a database that has one."""
        self._descriptor = os.open(f"{database}-wal", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)

    def sync(self) -> None:
        """Make every commit that returned survive power loss.

        Raises:
            OSError: the disk refused.
        """
        flush(self._descriptor)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)
