"""A key ring in a directory: a sealed file for each key, and an index that says where each stands.

The law of this file: the index is replaced whole or not at all, by one process at a time; a server that runs is that
one. A key's file is durable before the index names it. The index is no secret and bears no seal: the directory is its
owner's alone (mode 0700).
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from chain import jcs
from chain.errors import ConfigurationError
from chain.identity import keyfile, sealed
from chain.identity.folder import create as make_folder
from chain.identity.folder import require_own, sync_folder
from chain.identity.sealed import Cost, Sealed
from chain.key import Algorithm, KeySigner, PublicKey
from chain.keyring import Held, Ring

INDEX = "ring.json"
WHAT = "key ring"


class _Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ring: Literal[1]
    keys: tuple[Held, ...]


_decode = msgspec.json.Decoder(_Index).decode


def create(folder: Path) -> None:
    """Make the directory of a ring where there is none; one that is there must be its owner's alone.

    Raises:
        ConfigurationError: it cannot be made, or others may enter it.
    """
    make_folder(folder, WHAT)


def load(folder: Path) -> Ring:
    """Return the ring as its index tells it; an empty one where there is no index yet.

    Raises:
        ConfigurationError: others may enter the directory, or the index is not one.
    """
    require_own(folder, WHAT)
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


class Directory:
    """The ring of a server that runs (`chain.keyring.KeyRing`): nobody else changes it until it is closed."""

    def __init__(self, folder: Path, passphrase: Callable[[], bytes], cost: Cost | None = None) -> None:
        """Take the directory.

        Args:
            folder: of the ring.
            passphrase: of its sealed keys; asked anew each time, so that none is kept.
            cost: of the seals of new keys; None for the ordinary one.

        Raises:
            ConfigurationError: others may enter the directory, or another process has it.
        """
        self._folder = folder
        self._passphrase = passphrase
        self._cost = cost
        self._lock = _lock(folder)

    def load(self) -> Ring:
        """Return the ring as its index tells it (`load`)."""
        self._require_held()
        return load(self._folder)

    def save(self, ring: Ring) -> None:
        """Replace the index.

        Raises:
            ConfigurationError: it cannot be written.
        """
        self._require_held()
        _replace(self._folder, ring)

    def make(self, algorithm: Algorithm) -> PublicKey:
        """Make a sealed key in a file that the index does not name yet.

        Raises:
            ConfigurationError: there is no passphrase, or the file cannot be written.
        """
        self._require_held()
        private = keyfile.generate(algorithm)
        made = sealed.seal(private, self._passphrase(), self._cost)
        key = PublicKey.from_jwk(made.jwk)
        sealed.save(self._folder / f"{key.thumbprint}.key", made)
        return key

    def signer(self, name: str) -> KeySigner | None:
        """Return what signs with a key, or None where there is no file of it.

        Raises:
            ConfigurationError: its file does not open, or holds another key.
        """
        self._require_held()
        path = self._folder / f"{name}.key"
        if not path.exists():
            return None
        found = sealed.load(path, self._passphrase)
        if found.key.thumbprint != name:
            raise ConfigurationError(f"key ring `{self._folder}`: the file of a key holds another")
        return found

    def close(self) -> None:
        """Let others have the directory."""
        handle, self._lock = self._lock, -1
        if handle >= 0:
            os.close(handle)

    def _require_held(self) -> None:
        """Return where the directory is still the one that was taken: another in its place is nobody's yet."""
        try:
            same = self._lock >= 0 and os.path.samestat(os.fstat(self._lock), self._folder.stat())
        except OSError:
            same = False
        if not same:
            raise ConfigurationError(f"key ring `{self._folder}`: not the directory that the server took at its start")


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
        sync_folder(folder)
    except OSError as error:
        raise ConfigurationError(f"key ring `{folder}`: {error.strerror or type(error).__name__}") from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    handle = _lock(folder)
    try:
        yield
    finally:
        os.close(handle)


def _lock(folder: Path) -> int:
    """Take the directory, or refuse at once: a server that has it does not let go of it.

    Raises:
        ConfigurationError: others may enter it, or another process has it.
    """
    require_own(folder, WHAT)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise ConfigurationError(
            f"key ring `{folder}`: another process has it; of a server that runs, change it with --server"
        ) from None
    return handle
