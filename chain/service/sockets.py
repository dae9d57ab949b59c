"""Unix sockets: one for each caller that has its own, in a directory that nobody else may enter.

The law of this file: the channel is the caller's proof, so only who may enter its directory may speak on it. The
kernel tells users apart and not processes: callers of one uid can open each other's sockets, and only a `uid` of its
own separates a caller from the others. A socket that somebody answers on is never taken over.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from chain.errors import ConfigurationError
from chain.service.safety import ROOT, socket_path
from chain.service.settings import ServeSettings

PROBE = 0.5
"""Seconds to find out whether somebody answers on a socket that lies in the way."""

PRIVATE, PASSABLE = 0o700, 0o711
"""Modes of directories: for their owner only; and for others to go through, where callers have a uid of their own."""


def open_socket(settings: ServeSettings, name: str, bind: Callable[[str], int]) -> Path:
    """Bind the socket of a caller, and give it to the caller's uid if it has one.

    Args:
        settings: the callers, and the directory of all sockets.
        name: the caller.
        bind: gRPC's.

    Raises:
        ConfigurationError: the directory is somebody else's, the socket is in use, or it cannot be given away.
    """
    uid = next(caller.uid for caller in settings.callers if caller.name == name)
    path = socket_path(settings, name)
    top = path.parent.parent
    passable = any(caller.uid is not None for caller in settings.callers)
    try:
        if not top.exists():
            top.mkdir(mode=PRIVATE, parents=True)
            top.chmod(PASSABLE if passable else PRIVATE)  # the umask does not decide this
        _own(path.parent, uid)
        _clear(path, foreign=uid not in (None, os.geteuid()))
        _bind(path, bind)
        path.chmod(0o600)
        if uid is not None:
            os.chown(path, uid, -1, follow_symlinks=False)
            os.chown(path.parent, uid, -1, follow_symlinks=False)  # last: until here nobody else can change its files
    except OSError as error:
        raise ConfigurationError(f"socket `{path}`: {error.strerror}") from None
    return path


def close_socket(path: Path) -> None:
    """Remove a socket; its directory stays. Whatever its caller put in its place does not hold up a stop."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _own(directory: Path, uid: int | None) -> None:
    """Make the caller's directory, or take it back from the caller while its socket is made."""
    try:
        directory.mkdir(mode=PRIVATE)
    except FileExistsError:
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise ConfigurationError(f"`{directory}` lies in the way and is no directory") from None
        if found.st_uid not in {os.geteuid(), ROOT, uid}:
            raise ConfigurationError(f"`{directory}` belongs to somebody else: uid {found.st_uid}") from None
        if stat.S_IMODE(found.st_mode) & 0o077 and found.st_uid != uid:  # what a caller did to its own is undone
            mode = stat.S_IMODE(found.st_mode)
            raise ConfigurationError(f"`{directory}` is open to others: its mode is {mode:04o}") from None
        if found.st_uid != os.geteuid():
            os.chown(directory, os.geteuid(), -1, follow_symlinks=False)
    directory.chmod(PRIVATE)


def _bind(path: Path, bind: Callable[[str], int]) -> None:
    try:
        bind(f"unix:{path}")
    except RuntimeError:  # all that grpc says
        raise ConfigurationError(f"socket `{path}` cannot be bound") from None


def _clear(path: Path, *, foreign: bool) -> None:
    """Remove a socket that a server which is gone left behind; gRPC would take over a live one silently.

    Args:
        path: of the socket.
        foreign: the directory was another uid's meanwhile, who may have left anything there.

    Raises:
        ConfigurationError: somebody answers there, or it is no socket.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode) and foreign:
        shutil.rmtree(path) if stat.S_ISDIR(mode) else path.unlink()
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigurationError(f"`{path}` lies in the way and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PROBE)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            raise ConfigurationError(f"socket `{path}`: {error}") from None
    raise ConfigurationError(f"socket `{path}` is in use")
