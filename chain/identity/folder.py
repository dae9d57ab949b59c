"""Directories of key files: their owner's alone, and each file in them whole or not there.

The law of this file: a directory that others may enter holds no keys; a file is never written over another, and is
durable before its maker goes on.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from chain.errors import ConfigurationError


def create(folder: Path, what: str) -> None:
    """Make a directory where there is none; one that is there must be its owner's alone.

    Args:
        folder: with mode 0700.
        what: it is, for the message.

    Raises:
        ConfigurationError: it cannot be made, or others may enter it.
    """
    try:
        if not folder.exists():
            folder.mkdir(mode=0o700)
            sync_folder(folder.parent)
    except OSError as error:
        raise ConfigurationError(f"{what} `{folder}`: {_why(error)}") from None
    require_own(folder, what)


def require_own(folder: Path, what: str) -> None:
    """Return where only its owner may enter a directory.

    Raises:
        ConfigurationError: others may, or it is none.
    """
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        raise ConfigurationError(f"{what} `{folder}`: {_why(error)}") from None
    if not stat.S_ISDIR(mode) or mode & 0o077:
        raise ConfigurationError(f"{what} `{folder}`: not a directory of its owner's alone; make it 0700")


def write_new(path: Path, data: bytes, what: str) -> None:
    """Write a file that did not exist, whole or not at all, mode 0600, and make it durable.

    Args:
        path: of the file.
        data: its bytes.
        what: it is, for the message.

    Raises:
        ConfigurationError: the file exists, or cannot be written.
    """
    try:
        place(path, data)
    except OSError as error:
        raise ConfigurationError(f"{what} `{path}`: {_why(error)}") from None


def place(path: Path, data: bytes) -> None:
    """Do what `write_new` does, for whoever tells of it in other words.

    Raises:
        OSError: it cannot be done; `FileExistsError` where the file exists.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".sealing-")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o600)  # the umask may have taken the owner's own bits
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)  # unlike a rename, never over another
    finally:
        Path(name).unlink()
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make durable which files a directory names.

    Raises:
        OSError: it cannot.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
