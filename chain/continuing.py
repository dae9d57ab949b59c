"""Whether a ledger continues what was signed for it before: its own last checkpoint, and the copy elsewhere.

The law of this file: nothing is signed beside a checkpoint that the ledger does not continue. Whoever goes on
nevertheless names that very checkpoint, and the ledger says so for good. Records that are not those of the ledger's
own last checkpoint are accepted by nobody.
"""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from chain.checkpoint import ACCEPTED, Checkpoint
from chain.desk import Desk
from chain.errors import ChainError, StoreError
from chain.ledger import Durability, StandingRow, Write
from chain.log import Log
from chain.notary import Notary
from chain.note import Note, NoteError
from chain.writing import Writing

CHECKPOINT = "checkpoint"
"""Kind of what stands (`chain.row.StandingRow`), by the number of records."""

COPIED = "copied"
"""Kind of what stands: that there is a copy of the last checkpoint, by where it is."""

MISSING = "missing"
"""Names the copy that is not there, where one was."""


@dataclass(frozen=True, slots=True)
class Break:
    """A checkpoint that the ledger does not continue, or cannot be known to.

    Attributes:
        name: by which an operator accepts it: size and root hash, or `MISSING`.
        why: in words.
        note: the checkpoint as it was kept; "" where it is missing.
    """

    name: str
    why: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Keeping:
    """Keeps what stands beside the records. It is no record: what a checkpoint says follows from them."""

    row: StandingRow
    durability: Durability = Durability.SYNCED

    def prepare(self, _first: int) -> Write:
        """Say what to write."""
        return Write([], standing=[self.row])


class Continuing:
    """Holds a ledger to the checkpoints before it. A part of `chain.auditing.Auditing`."""

    def __init__(self, desk: Desk, log: Log) -> None:
        """Answer for the ledger of a desk."""
        self._desk = desk
        self._log = log
        self._accepted: frozenset[str] = frozenset()

    def last(self) -> Note | None:
        """Return the last checkpoint in the ledger, whoever signed it; None where there is none."""
        for row in deque(self._desk.store.standing(CHECKPOINT), maxlen=1):
            return Note.parse(row.body)
        return None

    def require(self, known: Checkpoint) -> None:
        """Return where the ledger continues a checkpoint.

        Raises:
            StoreError: it lost records since, or has others.
        """
        store = self._desk.store
        if known.size > store.head:
            raise StoreError(f"the ledger ends at record {store.head}; a checkpoint was signed for {known.size}")
        self._log.grow(known.size)
        if self._log.root(known.size) != known.root:
            raise StoreError(f"the first {known.size} records are not those that a checkpoint was signed for")

    def require_last(self, notary: Notary) -> Note | None:
        """Return the last checkpoint in the ledger, which continues it.

        Raises:
            StoreError: it does not, or nobody who signs or signed here has signed that, and nobody accepted it.
        """
        note = self.last()
        if note is not None:
            found = self._unsigned(notary, note)
            if found is not None and found.name not in self._accepted:
                raise StoreError(found.why)
            self.require(Checkpoint.claimed(note))
        return note

    def require_copy(self, notary: Notary) -> None:
        """Return where the ledger continues the copy, or there is none: nobody else went on with it meanwhile.

        Raises:
            StoreError: it does not, nor did anybody accept that; or the copy cannot be read.
        """
        found = self._fork(notary)
        if found is not None and found.name not in self._accepted:
            raise StoreError(found.why)

    def accept(self, notary: Notary, names: Collection[str]) -> bool:
        """Return whether the ledger goes on with something broken, which is recorded now.

        Args:
            notary: who signs from here on.
            names: what an operator accepts, each by its name (`Break`).

        Raises:
            StoreError: something is broken that is not named, or that nobody may accept.
        """
        broken = self._breaks(notary)
        for one in broken:
            if one.name not in names:
                how = f'`accept_ledger = ["{one.name}"]` goes on nevertheless, and the record says so'
                raise StoreError(f"{one.why}; once somebody has looked, {how}")
        self._accepted = frozenset(one.name for one in broken)
        for one in broken:
            self._record(one)
        return bool(broken)

    def note_copied(self, where: str) -> None:
        """Remember that a copy is there, so that it is missed."""
        if self._desk.store.stands(COPIED, where) is None:
            self._desk.store.commit(Keeping(StandingRow(COPIED, where, b"1", 0, 0))).result()

    def _breaks(self, notary: Notary) -> list[Break]:
        """Return what the ledger does not continue, the same checkpoint once."""
        found: dict[str, Break] = {}
        note = self.last()
        if note is not None and (one := self._unsigned(notary, note)) is not None:
            self.require(Checkpoint.claimed(note))
            found[one.name] = one
        if (other := self._gone(notary) or self._fork(notary)) is not None:
            found.setdefault(other.name, other)
        return list(found.values())

    def _unsigned(self, notary: Notary, note: Note) -> Break | None:
        """Return what is broken where no key that is known signed a checkpoint."""
        try:
            notary.read(note)
        except StoreError as error:
            return _broken(note, error.detail)
        return None

    def _gone(self, notary: Notary) -> Break | None:
        """Return what is broken where there was a copy, and is none."""
        copy = notary.copy
        if copy is None or self._desk.store.stands(COPIED, copy.name) is None or copy.read() is not None:
            return None
        return Break(MISSING, f"`{copy.name}` is not there, and held the last checkpoint")

    def _fork(self, notary: Notary) -> Break | None:
        """Return what is broken where the ledger does not continue the copy."""
        note = None if notary.copy is None else notary.copy.read()
        if notary.copy is None or note is None:
            return None
        try:
            self.require(notary.read(note))
        except (NoteError, StoreError) as error:
            return _broken(note, f"`{notary.copy.name}`: {error.detail}")
        return None

    def _record(self, broken: Break) -> None:
        body = {"checkpoint": broken.name, "why": broken.why, "caller": "configuration"}
        if broken.note:
            body["note"] = broken.note

        def compose(writing: Writing) -> bytes | ChainError:
            writing.record(ACCEPTED, body)
            return b"null"

        self._desk.change(compose, None, type(None), urgent=True).result()


def _broken(note: Note, why: str) -> Break:
    found = Checkpoint.claimed(note)
    return Break(f"{found.size} {b64encode(found.root).decode()}", why, bytes(note).decode())
