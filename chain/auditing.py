"""What makes the record checkable by others: checkpoints, proofs, and the whole of it in one file.

The law of this file: a checkpoint is signed for what survives power loss, and never one that does not continue those
before it: before the first signature, the last one that was kept is held to the ledger. Its key signs nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from threading import Lock

from chain import export
from chain.caller import ALLOWED, Caller
from chain.checkpoint import Checkpoint, InclusionProof
from chain.continuing import CHECKPOINT, Continuing, Keeping
from chain.desk import Desk
from chain.errors import InvalidRequestError, NotFoundError
from chain.ledger import StandingRow
from chain.log import Log
from chain.notary import Notary
from chain.note import Note, NoteKey

PAGE = 4096
"""Records that an export reads at once."""


@dataclass(frozen=True, slots=True)
class Proven:
    """A record, and that it stands in the log.

    Attributes:
        record: its exact bytes.
        proof: with the checkpoint that it holds for.
    """

    record: bytes
    proof: InclusionProof


class Auditing:
    """Checkpoints and proofs. A part of `chain.authority.Authority`."""

    def __init__(self, desk: Desk, notary: Notary | None) -> None:
        """Answer for the ledger of a desk; without a notary nothing is signed."""
        self._desk = desk
        self._notary = notary
        self._log = Log(desk.store.leaves)
        self._continuing = Continuing(desk, self._log)
        self._last: tuple[Checkpoint, Note] | None = None
        self._untold: Note | None = None
        self._lock = Lock()

    @property
    def key(self) -> NoteKey | None:
        """What verifies the checkpoints; None where none are signed."""
        return None if self._notary is None else self._notary.key

    @property
    def due(self) -> bool:
        """Whether there are records that no checkpoint covers yet and somebody to sign, or one that was not told."""
        return self._notary is not None and (self._untold is not None or self._desk.store.synced > self.covered)

    @property
    def covered(self) -> int:
        """The last revision that this process signed a checkpoint for; 0 before it signs its first."""
        last = self._last
        return 0 if last is None else last[0].size

    def checkpoint(self, caller: Caller) -> Note:
        """Return the checkpoint of all records that survive power loss; sign it where there is none yet.

        Whoever may not read the record is told the last one that is kept: nobody who only asks makes the ledger grow.

        Raises:
            ForbiddenError: the caller may not ask.
            InvalidRequestError: nobody signs here.
            StoreError: the ledger cannot be read, or is not what was signed before.
        """
        caller.require("GetCheckpoint")
        if caller.roles.isdisjoint(ALLOWED["ListCheckpoints"]):
            notary = self._required()
            with self._lock:
                last = self._resumed(notary)
            if last is not None:
                return last[1]
        return self.sign()

    def sign(self) -> Note:
        """Return it as `checkpoint` does, for the authority itself, on its own schedule."""
        notary = self._required()
        with self._lock:
            last = self._resumed(notary)
            size = self._desk.store.synced
            if last is not None and last[0].size >= size:
                self._tell(notary)
                return last[1]
            self._continuing.require_copy(notary)
            self._log.grow(size)
            found = Checkpoint(notary.origin, size, self._log.root(size))
            row = self._desk.store.stands(CHECKPOINT, _name(size))
            prior = Note(found.text) if row is None else Note.parse(row.body)  # of a former key, and of witnesses
            note = (prior if prior.text == found.text else Note(found.text)).sign(notary.origin, notary.signer)
            self._keep(notary, found, note)
            return note

    def start(self, accepted: Collection[str] = ()) -> None:
        """Hold the ledger to its last checkpoint and to the copy, once, before anything is answered.

        Args:
            accepted: checkpoints that need not be continued, each by its name (`chain.continuing.Break`). That it goes
                on beside one is recorded and signed at once.

        Raises:
            StoreError: the ledger does not continue one that is not accepted.
        """
        if self._notary is not None and self._continuing.accept(self._notary, accepted):
            self.sign()

    def checkpoints(self, caller: Caller, after: int = 0, limit: int | None = None) -> list[Note]:
        """Return the checkpoints that were kept and that the key of today signed, the smallest first.

        Args:
            caller: an auditor or operator.
            after: only of more records.
            limit: at most so many.

        Raises:
            ForbiddenError: the caller may not ask.
        """
        caller.require("ListCheckpoints")
        key = self.key
        kept = (Note.parse(row.body) for row in self._desk.store.standing(CHECKPOINT) if int(row.name) > after)
        return list(islice((note for note in kept if key is None or note.signed_by(key) is not None), limit))

    def prove(self, caller: Caller, revision: int) -> Proven:
        """Return a record and the proof that it stands in the log.

        Args:
            caller: an auditor or operator.
            revision: the record's.

        Raises:
            ForbiddenError: the caller may not ask.
            NotFoundError: no such record survives power loss yet.
            InvalidRequestError: nobody signs here.
        """
        caller.require("ProveRecord")
        notary, last = self._required(), self._last
        note = self.sign() if last is None or last[0].size < revision else last[1]
        size = Checkpoint.of(note, notary.key).size
        if not 0 < revision <= size:
            raise NotFoundError(f"record {revision} is not among the first {size}")
        self._log.grow(size)
        ((data, _),) = self._desk.store.records(revision, 1)
        return Proven(data, InclusionProof(revision - 1, tuple(self._log.inclusion(revision - 1, size)), note))

    def consistency(self, caller: Caller, first: int, second: int) -> list[bytes]:
        """Return the proof that the ledger of `first` records is the beginning of that of `second` (RFC 9162 s2.1.4).

        Raises:
            ForbiddenError: the caller may not ask.
            InvalidRequestError: they are not in order, or there are fewer.
        """
        caller.require("ProveConsistency")
        self._log.grow(min(second, self._desk.store.synced))
        return self._log.consistency(first, second)

    def cosign(self, caller: Caller, data: bytes) -> Note:
        """Take a witness's cosignature of a checkpoint that was kept, and return that with all that it has.

        Args:
            caller: an operator, or an auditor.
            data: the checkpoint as a note, cosigned; signatures of others than the witnesses are left out.

        Raises:
            ForbiddenError: the caller may not.
            InvalidRequestError: no cosignature of a witness, or one that does not hold (`chain.note.NoteError`).
            NotFoundError: no such checkpoint was signed here.
        """
        caller.require("AddCosignature")
        notary, told = self._required(), Note.parse(data)
        found = Checkpoint.of(told, notary.key)
        with self._lock:
            row = self._desk.store.stands(CHECKPOINT, _name(found.size))
            kept = None if row is None else Note.parse(row.body)
            if kept is None or kept.text != told.text:
                raise NotFoundError("no such checkpoint was signed here")
            seen = [witness for witness in notary.witnesses if told.signed_by(witness) is not None]
            if not seen:
                raise InvalidRequestError("no cosignature of a witness that is configured here")
            names = {(witness.name, witness.id) for witness in seen}
            others = [one for one in kept.signatures if (one[0], one[1][:4]) not in names]
            news = {(one[0], one[1][:4]): one for one in told.signatures if (one[0], one[1][:4]) in names}
            whole = Note(kept.text, (*others, *news.values()))  # one of each: more than a note holds, nobody could read
            self._keep(notary, found, whole)
            return whole

    def export(self, caller: Caller) -> Iterator[bytes]:
        """Yield the lines of a file with every record and checkpoint (`chain.export`), the last one signed now.

        Raises:
            ForbiddenError: the caller may not read the whole ledger.
            InvalidRequestError: nobody signs here.
            StoreError: the ledger cannot be read.
        """
        caller.require("ListCheckpoints")
        notary = self._required()
        size = Checkpoint.of(self.checkpoint(caller), notary.key).size
        notes = [note for note in self.checkpoints(caller) if Checkpoint.of(note, notary.key).size <= size]
        return export.write(notary.origin, self._records(size), size, notes)

    def _records(self, size: int) -> Iterator[bytes]:
        for start in range(1, size + 1, PAGE):
            page = self._desk.store.records(start, min(PAGE, size - start + 1))
            yield from (data for data, _ in page)

    def _required(self) -> Notary:
        if self._notary is None:
            raise InvalidRequestError("no checkpoint is signed here; `checkpoint_key` names the key")
        return self._notary

    def _resumed(self, notary: Notary) -> tuple[Checkpoint, Note] | None:
        """Return the last checkpoint; once after the start, hold the ledger to it."""
        if self._last is None:
            note = self._continuing.require_last(notary)
            if note is not None and note.signed_by(notary.key) is not None:  # a former key's is signed anew
                self._last = Checkpoint.of(note, notary.key), note
                self._untold = note  # whoever was stopped in between has not told it
        return self._last

    def _keep(self, notary: Notary, found: Checkpoint, note: Note) -> None:
        row = StandingRow(CHECKPOINT, _name(found.size), bytes(note), 0, found.size)
        self._desk.store.commit(Keeping(row)).result()
        if self._last is None or self._last[0].size <= found.size:
            self._last, self._untold = (found, note), note
            self._tell(notary)

    def _tell(self, notary: Notary) -> None:
        """Give the last checkpoint to the copy; where that fails, it is given at the next occasion."""
        if self._untold is not None and notary.copy is not None:
            notary.copy.write(self._untold)
            self._continuing.note_copied(notary.copy.name)
        self._untold = None


def _name(size: int) -> str:
    return f"{size:020d}"
