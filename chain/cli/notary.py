"""Who signs for the record: the key, and the copy of the last checkpoint that lies elsewhere."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from chain.checkpoint import Checkpoint
from chain.errors import ConfigurationError, StoreError
from chain.identity import keyfile, passphrase, sealed
from chain.key import KeySigner, Signer
from chain.notary import Notary
from chain.note import MAX_NOTE, Note, NoteError, NoteKey
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
    copy = None if told.copy_to is None else CopyFile(told.copy_to)
    return Notary(origin, signer, witnesses, copy, former)


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


class CopyFile:
    """The last checkpoint in a file elsewhere (`chain.notary.Copy`); it is replaced whole or not at all.

    A link in its place is refused: it would be replaced by a file, and the copy no longer lie where it points.
    """

    def __init__(self, path: Path) -> None:
        """Keep it in this file."""
        self._path = path

    @property
    def name(self) -> str:
        """Say where it is."""
        return str(self._path)

    def read(self) -> Note | None:
        """Return what was written last; None where there is no such file.

        Raises:
            StoreError: there is no such directory, or something else than a checkpoint in a file.
        """
        try:
            if not self._path.is_symlink():
                return self._read()
        except FileNotFoundError as error:
            if self._path.parent.is_dir():
                return None
            raise self._fault(error.strerror) from None
        except OSError as error:
            raise self._fault(error.strerror) from None
        except NoteError as error:
            raise self._fault(error.detail) from None
        raise self._fault("a symbolic link; name the file itself")

    def _read(self) -> Note:
        handle = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)  # a FIFO must not hang
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise NoteError("not a regular file")
            note = Note.parse(file.read(MAX_NOTE + 1))
        Checkpoint.claimed(note)
        return note

    def write(self, note: Note) -> None:
        """Put another in its place.

        Raises:
            StoreError: it cannot be written; the checkpoint stands, and whoever keeps the schedule hears of it.
        """
        path = self._path
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(bytes(note))
                    file.flush()
                    os.fsync(handle)
                Path(name).replace(path)
            finally:
                Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise self._fault(error.strerror) from None

    def _fault(self, why: str | None) -> StoreError:
        return StoreError(f"the copy of the last checkpoint `{self._path}`: {why}")
