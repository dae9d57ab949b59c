"""What proves the records of a page to whoever has the log's key.

The law of this file: the page is given hashes to work the root out from, never a verdict. A record that the page does
not hold is there as its hash, so that the whole tree is worked out and not a part of it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from chain.checkpoint import Checkpoint
from chain.export import tile_root, tiles
from chain.note import Note, NoteKey


def log(note: Note, key: NoteKey, leaves: Sequence[bytes], held: Collection[int]) -> dict[str, Any]:
    """Return what the page verifies itself by.

    Args:
        note: a checkpoint, signed.
        key: the log's.
        leaves: hashes of the records, from the first on; at least as many as the checkpoint covers.
        held: revisions of the records that the page holds.

    Raises:
        NoteError: the note is no checkpoint of that log.
    """
    size = Checkpoint.of(note, key).size
    others = {place: leaf for place, leaf in enumerate(leaves[:size], 1) if place not in held}
    return {
        "note": bytes(note).decode(),
        "key": str(key),
        "tiles": _text(map(tile_root, tiles(leaves[:size]))),
        "others": {"records": list(others), "hashes": _text(others.values())},
    }


def _text(hashes: Iterable[bytes]) -> str:
    return b64encode(b"".join(hashes)).decode()
