"""Who signs for a ledger: the key, those before it, the witnesses, and where the last checkpoint is kept elsewhere.

The law of this file: a checkpoint that was kept counts as one only where this key or a former one signed it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from chain.checkpoint import Checkpoint
from chain.errors import StoreError, clip
from chain.key import Signer
from chain.note import Note, NoteKey


class Copy(Protocol):
    """The last checkpoint, where a restored backup of the ledger does not bring it back."""

    @property
    def name(self) -> str:
        """Say where it is."""

    def read(self) -> Note | None:
        """Return it; None where there is none.

        Raises:
            StoreError: it cannot be read.
        """

    def write(self, note: Note) -> None:
        """Put another in its place, whole or not at all.

        Raises:
            StoreError: it cannot be written.
        """


@dataclass(frozen=True, slots=True)
class Notary:
    """Who signs for the ledger, and who must have seen it too.

    Attributes:
        origin: name of the log, and of its key.
        signer: Ed25519; a key of its own.
        witnesses: whose cosignatures are taken.
        copy: is given every new checkpoint, once it is kept.
        former: keys that signed for this ledger before; the first checkpoint of this one continues theirs.
    """

    origin: str
    signer: Signer
    witnesses: tuple[NoteKey, ...] = ()
    copy: Copy | None = None
    former: tuple[NoteKey, ...] = ()

    def read(self, note: Note) -> Checkpoint:
        """Return a checkpoint that was kept, of this key or of one before it.

        Raises:
            StoreError: none of them signed it.
        """
        for key in (self.key, *self.former):
            if note.signed_by(key) is not None:
                return Checkpoint.of(note, key)
        names = ", ".join(f"{name} (key {signature[:4].hex()})" for name, signature in note.signatures)
        detail = f"a checkpoint was kept that neither `{self.key}` signed nor a former key, but {clip(names)}"
        raise StoreError(f"{detail}: give that key back, or name its verifier key in `checkpoints.former`")

    @property
    def key(self) -> NoteKey:
        """What others verify checkpoints with."""
        return NoteKey(self.origin, self.signer.key)
