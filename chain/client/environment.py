"""A session that lies ready in the environment, as `chain run` leaves it for the program that it starts.

The law of this file: what is not there, or is not as it should be, is an error, and never a session with less. The
environment names files and a socket; no secret stands in it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from chain import privatekey
from chain.client.session import AsyncSession, Session
from chain.errors import ConfigurationError
from chain.key import KeySigner

SERVER, KEY, CHAIN, AUDIENCE, PURPOSE = "CHAIN_SERVER", "CHAIN_KEY", "CHAIN_CHAIN", "CHAIN_AUDIENCE", "CHAIN_PURPOSE"
"""Variables: the service; files with the holder's key and its chain; the enforcement point; what calls are for."""

MAX_FILE = 512 * 1024
"""Bytes of a file: twice the largest chain."""


class Left(NamedTuple):
    """What the environment names.

    Attributes:
        server: the service.
        signer: the holder's key.
        tokens: its chain.
        audience: the enforcement point that asks.
        purpose: what calls are for, if that is said.
    """

    server: str
    signer: KeySigner
    tokens: tuple[str, ...]
    audience: str
    purpose: str | None

    @property
    def facts(self) -> dict[str, Any]:
        """What a session is made of, beside its door."""
        return {name: value for name, value in self._asdict().items() if name != "server"}


def inherited(**more: Any) -> Session:
    """Return the session that this process was started with; its connection lives as long as the process.

    Args:
        more: attributes of `Session` beside those that the environment gives, for example `keepers` or `watch`.

    Raises:
        ConfigurationError: there is none, or a part of it is no good.
        InvalidRequestError: the key is not that of the chain's holder.
    """
    from chain.client.sync import Client  # noqa: PLC0415 - gRPC is loaded only where it is used

    found = left()
    return Session(door=Client(found.server), **found.facts | more)


def ainherited(**more: Any) -> AsyncSession:
    """As `inherited`, for asyncio: called inside the loop that uses it."""
    from chain.client.aio import AsyncClient  # noqa: PLC0415 - as above

    found = left()
    return AsyncSession(door=AsyncClient(found.server), **found.facts | more)


def left(environ: Mapping[str, str] | None = None) -> Left:
    """Return what lies ready.

    Args:
        environ: variables; None for the process's own.

    Raises:
        ConfigurationError: a variable is missing, or a file of theirs is no good.
    """
    found = os.environ if environ is None else environ
    missing = [name for name in (SERVER, KEY, CHAIN, AUDIENCE) if not found.get(name)]
    if missing:
        raise ConfigurationError(f"no session lies ready: {', '.join(missing)} not set; `chain run` sets them")
    tokens = tuple(_read(Path(found[CHAIN]), stat.S_IWGRP | stat.S_IWOTH).decode("latin-1").split())
    try:
        _, signer = privatekey.read(_read(Path(found[KEY]), stat.S_IRWXG | stat.S_IRWXO))
    except ValueError as error:
        raise ConfigurationError(f"`{found[KEY]}`: not a private key that is accepted: {error}") from None
    return Left(found[SERVER], signer, tokens, found[AUDIENCE], found.get(PURPOSE) or None)


def _read(path: Path, others: int) -> bytes:
    """Return the bytes of a file, of whose mode none of the bits `others` may be set."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # a FIFO in its place must not hang
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_mode & others:
                raise ConfigurationError(f"`{path}`: not a file that is closed to others")
            return file.read(MAX_FILE)
    except OSError as error:
        raise ConfigurationError(f"`{path}`: {error.strerror or type(error).__name__}") from None
