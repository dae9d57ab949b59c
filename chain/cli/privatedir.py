"""A directory for what one program is given: key, chain and socket. It goes when the program has ended.

The law of this file: in memory where the system has a place for that, closed to every other user, and never left
behind: who is killed cannot clean up, so whoever comes next does.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chain.errors import ConfigurationError

NAME, UNFINISHED = "chain-run-", "chain-new-"
"""How a directory is called; and before it is locked, so that nobody takes it for one that was left behind."""

LONGEST = 80
"""Bytes of the directory's path: a socket's path has room for 107 (unix(7))."""


@contextmanager
def private_directory() -> Iterator[Path]:
    """Make a directory that only this user may enter, and remove it with all that is in it.

    Raises:
        ConfigurationError: it cannot be made.
    """
    try:
        base = _base()
        _sweep(base)
        made = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=base))  # mode 0700
        handle = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigurationError(f"a directory for the program: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel lets go of it when this process ends
        directory = made.rename(made.with_name(made.name.replace(UNFINISHED, NAME, 1)))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(handle)


def _base() -> Path:
    """Return where: the user's own directory in memory, memory that all share, or where temporary files go."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    for place in map(Path, (own, "/dev/shm")):  # noqa: S108 - what is made there is closed to others
        short = len(os.fsencode(place)) < LONGEST
        if place.is_absolute() and short and place.is_dir() and os.access(place, os.W_OK | os.X_OK):
            return place
    return Path(tempfile.gettempdir())


def _sweep(base: Path) -> None:
    """Remove what launchers left that were killed: their locks are gone."""
    for found in base.glob(f"{NAME}*"):
        with suppress(OSError):
            status = found.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                continue
            handle = os.open(found, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(found)
            finally:
                os.close(handle)
