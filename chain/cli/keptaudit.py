"""Checkpoints and proofs of a ledger at hand, with the calls of a client."""

from __future__ import annotations

from collections.abc import Iterator

from chain.auditing import Auditing, Proven
from chain.caller import Caller
from chain.note import Note


class KeptAudit:
    """The record, asked by the ledger's owner."""

    def __init__(self, audit: Auditing, caller: Caller) -> None:
        """Ask as the ledger's owner."""
        self._audit = audit
        self._caller = caller

    def checkpoint(self) -> tuple[Note, str]:
        """Return the last checkpoint, and the key that signed it."""
        return self._audit.checkpoint(self._caller), str(self._audit.key)

    def checkpoints(self) -> list[Note]:
        """Return every checkpoint, the smallest first."""
        return self._audit.checkpoints(self._caller)

    def prove(self, revision: int) -> Proven:
        """Return a record and its proof."""
        return self._audit.prove(self._caller, revision)

    def consistency(self, first: int, second: int) -> list[bytes]:
        """Return the proof that the log of `first` records is the beginning of that of `second`."""
        return self._audit.consistency(self._caller, first, second)

    def cosign(self, note: bytes) -> Note:
        """Take a witness's cosignature in; return the checkpoint with all that it has."""
        return self._audit.cosign(self._caller, note)

    def export(self) -> Iterator[bytes]:
        """Yield the lines of an export."""
        return self._audit.export(self._caller)
