"""Checkpoints: what the ledger was when somebody signed for it, and the proof of one record (C2SP tlog-checkpoint).

The law of this file: a checkpoint is believed of a note that its log's own key has signed, and of no other. A proof
carries its checkpoint with it and needs nothing but keys to be checked.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chain import merkle
from chain.note import Note, NoteError, NoteKey

PROOF = "c2sp.org/tlog-proof@v1"
"""First line of a proof."""

MAX_PATH = 64
"""Hashes of a proof: one for each level of a tree of 2**63 records."""

ACCEPTED = "ledger_accepted"
"""Kind of the record with which an operator goes on with a ledger that does not continue a checkpoint."""

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log.

    Attributes:
        origin: which log.
        size: how many records.
        root: their Merkle root hash.
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text of its note."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def of(cls, note: Note, key: NoteKey, witnesses: Iterable[NoteKey] = ()) -> Checkpoint:
        """Return the checkpoint that a note holds.

        Args:
            note: signed by the log.
            key: the log's; its name is the origin.
            witnesses: who must have cosigned it.

        Raises:
            NoteError: it holds none of that log, or one of them did not sign.
        """
        note.require((key, *witnesses))
        found = cls.claimed(note)
        if found.origin != key.name:
            raise NoteError(f"a checkpoint of another log than `{key.name}`")
        return found

    @classmethod
    def claimed(cls, note: Note) -> Checkpoint:
        """Return the checkpoint that a note claims to hold, whoever signed it: to be held to records, not believed.

        Raises:
            NoteError: it claims none.
        """
        lines = note.text.split("\n")
        if len(lines) != 4:  # what a log does not say, a witness cannot judge: no further lines
            raise NoteError("a checkpoint is three lines: origin, size and root hash")
        origin, size, root, _ = lines
        if _SIZE.fullmatch(size) is None:
            raise NoteError("the size of a checkpoint is a decimal number")
        return cls(origin, int(size), _hash(root))


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That a record stands in a log, with all that is needed to see it (C2SP tlog-proof).

    Attributes:
        index: the record's place, from 0.
        path: hashes from the leaf's sibling up.
        note: the checkpoint, signed.
    """

    index: int
    path: tuple[bytes, ...]
    note: Note

    def __bytes__(self) -> bytes:
        """Return the proof as it is written."""
        head = [PROOF, f"index {self.index}", *(b64encode(one).decode() for one in self.path)]
        return "\n".join([*head, "", ""]).encode() + bytes(self.note)

    @classmethod
    def parse(cls, data: bytes) -> InclusionProof:
        """Read a proof.

        Raises:
            NoteError: it is none.
        """
        head, gap, note = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise NoteError("not a proof") from None
        if not gap or lines[0] != PROOF:
            raise NoteError(f"not a proof: its first line is not `{PROOF}`")
        if len(lines) > 1 and lines[1].startswith("extra "):  # nobody signed it, so nobody reads it
            del lines[1]
        index = lines[1].removeprefix("index ") if len(lines) > 1 and lines[1].startswith("index ") else ""
        if _SIZE.fullmatch(index) is None or len(lines) > MAX_PATH + 2:
            raise NoteError("not a proof: `index` is missing, or the path too long")
        return cls(int(index), tuple(map(_hash, lines[2:])), Note.parse(note))

    def require(self, record: bytes, key: NoteKey, witnesses: Sequence[NoteKey] = ()) -> Checkpoint:
        """Return the checkpoint of the log that this record stands in.

        Args:
            record: its exact bytes.
            key: the log's.
            witnesses: who must have cosigned the checkpoint.

        Raises:
            NoteError: it does not stand there, or one of them did not sign.
        """
        found = Checkpoint.of(self.note, key, witnesses)
        leaf = merkle.leaf_hash(record)
        if not merkle.proves_inclusion(leaf, self.index, found.size, self.path, found.root):
            raise NoteError(f"the record does not stand at {self.index} of that log")
        return found


def _hash(text: str) -> bytes:
    try:
        found = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        found = b""
    if len(found) != 32 or b64encode(found).decode() != text:
        raise NoteError("not the base64 of a SHA-256 hash")
    return found
