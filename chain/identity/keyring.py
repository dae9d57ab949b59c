"""A key ring in a directory: a sealed file for each key, and an index that says where each stands.

The law of this file: the index is replaced whole or not at all, by one process at a time. A key's file is durable
before the index names it. The index is no secret and bears no seal: the directory is its owner's alone (mode 0700).
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from chain import jcs
from chain.errors import ConfigurationError
from chain.identity import keyfile, sealed
from chain.identity.sealed import Sealed
from chain.key import KeySigner, PublicKey
from chain.keyring import Held, Ring

INDEX = "ring.json"


class _Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ring: Literal[1]
    keys: tuple[Held, ...]


_decode = msgspec.json.Decoder(_Index).decode


def create(folder: Path) -> None:
    """Make the directory of a ring where there is none; one that is there must be its owner's alone.

    Raises:
        ConfigurationError: it cannot be made, or others may enter it.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"key ring `{folder}`: {error.strerror}") from None
    _require_own(folder)


def load(folder: Path) -> Ring:
    """Return the ring as its index tells it; an empty one where there is no index yet.

    Raises:
        ConfigurationError: others may enter the directory, or the index is not one.
    """
    _require_own(folder)
    path = folder / INDEX
    if not path.exists():
        return Ring()
    data = keyfile.read_private(path, "key ring")
    try:
        index = _decode(data)
        jcs.refuse_duplicates(data)
        return Ring(index.keys)
    except ValueError as error:
        raise ConfigurationError(f"key ring `{path}`: {error}") from None


def signer(folder: Path, passphrase: Callable[[], bytes]) -> KeySigner:
    """Return what signs with the ring's active key.

    Raises:
        ConfigurationError: no key is active, or its file does not open or holds another key.
    """
    name = load(folder).signing
    if name is None:
        raise ConfigurationError(f"key ring `{folder}`: no key is active")
    found = sealed.load(folder / f"{name}.key", passphrase)
    if found.key.thumbprint != name:
        raise ConfigurationError(f"key ring `{folder}`: the file of the active key holds another")
    return found


def add(folder: Path, made: Sealed, now: int) -> PublicKey:
    """Put a sealed key into the ring, pending.

    Raises:
        ConfigurationError: it is there already, or cannot be written.
    """
    key = PublicKey.from_jwk(made.jwk)
    with _locked(folder):
        ring = load(folder)
        sealed.save(folder / f"{key.thumbprint}.key", made)
        _replace(folder, ring.add(key, now))
    return key


def change(folder: Path, rule: Callable[[Ring], Ring]) -> Ring:
    """Let a rule change the ring, and return it as it then stands.

    Raises:
        ConfigurationError: the ring cannot be read or written; and whatever the rule raises.
    """
    with _locked(folder):
        changed = rule(load(folder))
        _replace(folder, changed)
    return changed


def _replace(folder: Path, ring: Ring) -> None:
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".ring-")  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(_Index(1, tuple(ring.held.values()))) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(folder / INDEX)
        finally:
            Path(name).unlink(missing_ok=True)
        sealed.sync_folder(folder)
    except OSError as error:
        raise ConfigurationError(f"key ring `{folder}`: {error.strerror or type(error).__name__}") from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    _require_own(folder)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _require_own(folder: Path) -> None:
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        raise ConfigurationError(f"key ring `{folder}`: {error.strerror}") from None
    if not stat.S_ISDIR(mode) or mode & 0o077:
        raise ConfigurationError(f"key ring `{folder}`: not a directory of its owner's alone; make it 0700")
