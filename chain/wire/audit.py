"""Checkpoints and proofs, to the wire and back.

The law of this file: bytes are handed through as they are; what they prove is asked where they arrive, with keys that
the reader has from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from chain.auditing import Proven
from chain.checkpoint import Checkpoint, InclusionProof
from chain.note import Note, NoteKey
from chain.v1 import audit_pb2 as pb

PAGE, MOST = 100, 1_000
"""Checkpoints of one page, where nothing is asked, and at most."""


def checkpoint_to(note: Note, key: NoteKey | None) -> pb.GetCheckpointResponse:
    """Return the message of the last checkpoint."""
    return pb.GetCheckpointResponse(note=bytes(note), key="" if key is None else str(key))


def checkpoint_from(message: pb.GetCheckpointResponse) -> tuple[Note, str]:
    """Return the last checkpoint, and the key that the service says it is of.

    Raises:
        NoteError: it is no note.
    """
    return Note.parse(message.note), message.key


def most(message: pb.ListCheckpointsRequest) -> int:
    """Return how many checkpoints one page has at most."""
    return min(message.page_size or PAGE, MOST)


def page_to(notes: Sequence[Note], key: NoteKey, most: int) -> pb.ListCheckpointsResponse:
    """Return one page of checkpoints that come the smallest first; one note more says that there is another page."""
    more = Checkpoint.of(notes[most - 1], key).size if len(notes) > most else 0
    return pb.ListCheckpointsResponse(notes=[bytes(note) for note in notes[:most]], next_after=more)


def proven_to(proven: Proven) -> pb.ProveRecordResponse:
    """Return the message of a record and its proof."""
    return pb.ProveRecordResponse(record=proven.record, proof=bytes(proven.proof))


def proven_from(message: pb.ProveRecordResponse) -> Proven:
    """Return a record and its proof; neither is believed yet.

    Raises:
        NoteError: it is no proof.
    """
    return Proven(message.record, InclusionProof.parse(message.proof))
