"""Who signs for the record: the key, and the copy of the last checkpoint that lies elsewhere."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from chain.auditing import Notary
from chain.authority import Authority
from chain.errors import ConfigurationError, StoreError
from chain.identity import keyfile, passphrase, sealed
from chain.key import KeySigner, Signer
from chain.note import Note, NoteError, NoteKey
from chain.service.settings import ServeSettings

BESIDE = "checkpoint.key"
"""File of the key that is made where none is configured: it lies with the ledger, and proves nothing against whoever
may write there."""


def notary(settings: ServeSettings) -> Notary:
    """Return who signs for the record; the directory of the ledger must be there.

    Raises:
        ConfigurationError: a key that cannot be used, a name that no log can have, or no verifier key.
    """
    told = settings.checkpoints
    origin = told.origin or settings.audience.partition("://")[2] or settings.audience
    signer = _signer(settings)
    try:
        NoteKey(origin, signer.key)
        witnesses, former = (tuple(map(NoteKey.parse, keys)) for keys in (told.witnesses, told.former))
    except NoteError as error:
        raise ConfigurationError(f"`checkpoints`: {error.detail}") from None
    tell = None if told.copy_to is None else _copier(told.copy_to)
    return Notary(origin, signer, witnesses, tell, former)


def require_continued(authority: Authority, settings: ServeSettings) -> None:
    """Return where the ledger continues the checkpoint that was kept elsewhere, or somebody accepted that it does not.

    Raises:
        ConfigurationError: it does not, as after a restored backup; the copy cannot be read; or another key signed
            before, and is not named.
    """
    told, key = settings.checkpoints, authority.audit.key
    try:
        authority.audit.require_key()
    except StoreError as error:
        raise ConfigurationError(f"`checkpoints`: {error.detail}") from None
    if told.copy_to is None or told.accept_ledger or key is None or not told.copy_to.exists():
        return
    try:
        authority.audit.require_kept(Note.parse(told.copy_to.read_bytes()))
    except OSError as error:
        raise ConfigurationError(f"`{told.copy_to}`: {error.strerror}") from None
    except (NoteError, StoreError) as error:
        raise ConfigurationError(f"`{told.copy_to}`: {error.detail}; `accept_ledger` goes on nevertheless") from None


def _signer(settings: ServeSettings) -> Signer:
    told = settings.checkpoints
    if told.key_file is not None:
        return sealed.load(told.key_file, lambda: passphrase.need(settings.passphrase_file))
    if settings.ledger == "memory":
        return KeySigner.from_seed(os.urandom(32))
    path = Path(settings.ledger) / BESIDE
    if not path.exists():
        keyfile.save(path, keyfile.generate())
    return keyfile.load(path)


def _copier(path: Path) -> Callable[[Note], None]:
    """Return what replaces the copy, whole or not at all.

    A copy that cannot be written is a `StoreError`: the checkpoint stands, and whoever keeps the schedule hears of it.
    """

    def copy(note: Note) -> None:
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(bytes(note))
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(path)
            finally:
                Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"the copy of the checkpoint `{path}`: {error.strerror}") from None

    return copy
