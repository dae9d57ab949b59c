"""What an auditor asks of the record: `client.audit`, as `Authority.audit`.

The law of this file: nothing that comes back is believed. Whoever asks checks it with a key that came another way
(`chain.checkpoint`, `chain.intact`).
"""

from __future__ import annotations

from chain.auditing import Proven
from chain.client.call import PAUSES, Call
from chain.client.steering import AsyncRun, Run
from chain.note import Note
from chain.v1 import audit_pb2 as pb
from chain.wire import audit as wire

PATIENCE = 60.0
"""Seconds that an answer may take: the first one after a start reads the whole ledger."""


def checkpoint() -> Call[tuple[Note, str]]:
    """Ask for the last checkpoint."""
    return Call("GetCheckpoint", pb.GetCheckpointRequest(), wire.checkpoint_from, PAUSES, PATIENCE)


def checkpoints(after: int) -> Call[tuple[list[Note], int]]:
    """Ask for a page of checkpoints."""
    message = pb.ListCheckpointsRequest(after=after, page_size=wire.MOST)
    return Call("ListCheckpoints", message, _page, PAUSES, PATIENCE)


def prove(revision: int) -> Call[Proven]:
    """Ask for the proof of a record."""
    return Call("ProveRecord", pb.ProveRecordRequest(revision=revision), wire.proven_from, PAUSES, PATIENCE)


def consistency(first: int, second: int) -> Call[list[bytes]]:
    """Ask for the proof that a log continues another."""
    message = pb.ProveConsistencyRequest(first=first, second=second)
    return Call("ProveConsistency", message, _path, PAUSES, PATIENCE)


def cosign(note: bytes) -> Call[Note]:
    """Hand a cosignature in."""
    return Call("AddCosignature", pb.AddCosignatureRequest(note=note), _note, PAUSES, PATIENCE)


def _page(message: pb.ListCheckpointsResponse) -> tuple[list[Note], int]:
    return [Note.parse(note) for note in message.notes], message.next_after


def _path(message: pb.ProveConsistencyResponse) -> list[bytes]:
    return list(message.path)


def _note(message: pb.AddCosignatureResponse) -> Note:
    return Note.parse(message.note)


class Audit:
    """Checkpoints and proofs. Results and errors are those of `chain.auditing.Auditing`."""

    def __init__(self, run: Run) -> None:
        """Send by `run`, the client's."""
        self._run = run

    def checkpoint(self) -> tuple[Note, str]:
        """Return the last checkpoint, and the key that the service says it is of."""
        return self._run(checkpoint())

    def checkpoints(self) -> list[Note]:
        """Return every checkpoint, the smallest first."""
        found, after = self._run(checkpoints(0))
        while after:
            more, after = self._run(checkpoints(after))
            found += more
        return found

    def prove(self, revision: int) -> Proven:
        """Return a record and its proof."""
        return self._run(prove(revision))

    def consistency(self, first: int, second: int) -> list[bytes]:
        """Return the proof that the log of `first` records is the beginning of that of `second`."""
        return self._run(consistency(first, second))

    def cosign(self, note: bytes) -> Note:
        """Hand in a witness's cosignature; return the checkpoint with all that it has."""
        return self._run(cosign(note))


class AsyncAudit:
    """`Audit` with `await`."""

    def __init__(self, run: AsyncRun) -> None:
        """Send by `run`, the client's."""
        self._run = run

    async def checkpoint(self) -> tuple[Note, str]:
        """Return the last checkpoint, and the key that the service says it is of."""
        return await self._run(checkpoint())

    async def checkpoints(self) -> list[Note]:
        """Return every checkpoint, the smallest first."""
        found, after = await self._run(checkpoints(0))
        while after:
            more, after = await self._run(checkpoints(after))
            found += more
        return found

    async def prove(self, revision: int) -> Proven:
        """Return a record and its proof."""
        return await self._run(prove(revision))

    async def consistency(self, first: int, second: int) -> list[bytes]:
        """Return the proof that the log of `first` records is the beginning of that of `second`."""
        return await self._run(consistency(first, second))

    async def cosign(self, note: bytes) -> Note:
        """Hand in a witness's cosignature; return the checkpoint with all that it has."""
        return await self._run(cosign(note))
