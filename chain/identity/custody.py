"""The keys that a service keeps for its agents, in a directory: a sealed file for each, and one for their data key.

The law of this file: a key is durable before anybody learns that it is there, and never made anew while its file
stands. What cannot be opened stops the start: a file that is passed over would be an agent with a second key. The
directory is its owner's alone (mode 0700); the private half of a key leaves it as signatures only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from threading import Lock

from chain.base64url import b64encode
from chain.errors import ConfigurationError, ResourceExhaustedError, StoreError
from chain.identity import custodyfile, keyfile
from chain.identity.folder import create, place, require_own, write_new
from chain.identity.sealed import Cost
from chain.key import KeySigner, PublicKey

DATA_KEY = "data.key"
"""The file of the data key."""

SUFFIX = ".agent"
"""Of an agent's file; before it stands the SHA-256 of the agent's id, which may have any length and slashes."""

MAX_KEYS = 10_000
"""Agents whose keys one directory keeps: a pattern of ids must not fill a disk. They open in about a second."""

WHAT = "custody"


class CustodyFolder:
    """A directory of agents' keys, opened (`chain.custody.Custodian`). Usable from many threads."""

    def __init__(self, folder: Path, key: bytes, held: Mapping[str, KeySigner]) -> None:
        """Take over what `open_folder` found.

        Args:
            folder: the directory.
            key: the data key.
            held: the agents' signers, by id.
        """
        self._folder = folder
        self._key = key
        self._held = dict(held)
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"CustodyFolder({str(self._folder)!r}, {len(self._held)} keys)"

    @property
    def keys(self) -> dict[str, PublicKey]:
        """The public half of each key, by the agent's id."""
        with self._lock:
            return {agent: self._held[agent].key for agent in sorted(self._held)}

    def find(self, agent: str) -> KeySigner | None:
        """Return what signs with an agent's key; None where none is kept."""
        return self._held.get(agent)

    def make(self, agent: str) -> KeySigner:
        """Return what signs with an agent's key, made and durable where there was none.

        Raises:
            ResourceExhaustedError: `MAX_KEYS` are kept.
            StoreError: its file cannot be written. An agent is told of it, and so it names no path.
        """
        with self._lock:
            found = self._held.get(agent)
            if found is not None:
                return found
            if len(self._held) >= MAX_KEYS:
                raise ResourceExhaustedError(f"{MAX_KEYS} keys are kept here, and there may be no more")
            self._held[agent] = signer = self._made(agent)
            return signer

    def _made(self, agent: str) -> KeySigner:
        private, path = keyfile.generate(), path_of(self._folder, agent)
        try:
            place(path, custodyfile.keep(agent, private, self._key))
        except FileExistsError:  # another process was faster, and its key is the agent's
            try:
                return _read(path, self._key)[1]
            except ConfigurationError:
                raise StoreError("an agent's key is kept already, and does not open") from None
        except OSError as error:
            raise StoreError(f"an agent's key could not be written: {error.strerror}") from None
        return private.signer()


def path_of(folder: Path, agent: str) -> Path:
    """Return where the key of an agent lies."""
    return folder / f"{b64encode(sha256(agent.encode()).digest())}{SUFFIX}"


def open_folder(folder: Path, passphrase: bytes, cost: Cost | None = None, *, new: bool = True) -> CustodyFolder:
    """Return the custody in a directory.

    Args:
        folder: made with mode 0700 where there is none.
        passphrase: of its data key.
        cost: of each guess, for a data key that is made; None for libsodium's MODERATE (256 MiB, 3 passes).
        new: make the directory and its data key where they are missing.

    Raises:
        ConfigurationError: others may enter it, a file cannot be read, a seal does not hold, keys are there without
            their data key, or the passphrase is too short to seal one.
    """
    if new:
        create(folder, WHAT)
    require_own(folder, WHAT)
    files = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    key = _data_key(folder / DATA_KEY, passphrase, cost or Cost(), new=new and not files)
    held: dict[str, KeySigner] = {}
    for path in files:
        agent, signer = _read(path, key)
        held[agent] = signer
    return CustodyFolder(folder, key, held)


def _read(path: Path, key: bytes) -> tuple[str, KeySigner]:
    try:
        agent, signer = custodyfile.take(keyfile.read_private(path, WHAT), key)
    except ValueError as error:
        raise ConfigurationError(f"{WHAT} `{path}`: {error}") from None
    if path != path_of(path.parent, agent):
        raise ConfigurationError(f"{WHAT} `{path}`: the key of another agent than its name says")
    return agent, signer


def _data_key(path: Path, passphrase: bytes, cost: Cost, *, new: bool) -> bytes:
    try:
        if new and not os.path.lexists(path):
            key, data = custodyfile.new_data_key(passphrase, cost)
            write_new(path, data, WHAT)
            return key
        return custodyfile.open_data_key(keyfile.read_private(path, WHAT), passphrase)
    except ValueError as error:
        raise ConfigurationError(f"{WHAT} `{path}`: {error}") from None
