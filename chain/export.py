"""The whole ledger in one file.

The law of this file: it writes; what such a file is worth, `chain.intact` says. An export is lines: a head, the records
in their exact bytes, the hashes of the leaves in tiles of 256, the roots of the tiles, the checkpoints with the
smallest first, of which the last covers every record, and the hash of all this.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Literal

import msgspec

from chain import merkle
from chain.merkle import Frontier
from chain.note import Note

FORMAT: Literal["chain-audit-export/1"] = "chain-audit-export/1"

TILE = 256
"""Leaves of a tile, as in C2SP tlog-tiles."""


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """First line: what is promised.

    Attributes:
        format: `FORMAT`.
        origin: of the log.
        records: how many follow.
    """

    format: Literal["chain-audit-export/1"]
    origin: str
    records: int


class Tile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hashes of up to 256 leaves, base64; `spine` has the root of every tile."""

    tile: int | Literal["spine"]
    hashes: str


class Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A checkpoint, as a signed note."""

    checkpoint: str


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hash of every line before it: it finds accidents, as anybody can make it anew."""

    sha256: str


encode = msgspec.json.Encoder().encode


def write(origin: str, records: Iterable[bytes], size: int, checkpoints: Sequence[Note]) -> Iterator[bytes]:
    """Yield the lines of an export, each with its newline.

    Args:
        origin: of the log.
        records: all of them, in order, in their exact bytes.
        size: how many.
        checkpoints: signed, the smallest first; the last covers all.
    """
    whole, leaves = sha256(), list[bytes]()
    for line in _lines(origin, records, size, checkpoints, leaves):
        whole.update(line)
        yield line
    yield encode(End(whole.hexdigest())) + b"\n"


def tail(leaves: Sequence[bytes], checkpoints: Iterable[Note]) -> Iterator[bytes]:
    """Yield the lines between the records and the end."""
    for number, tile in enumerate(tiles(leaves)):
        yield encode(Tile(number, _text(tile))) + b"\n"
    yield encode(Tile("spine", _text(map(tile_root, tiles(leaves))))) + b"\n"
    for note in checkpoints:
        yield encode(Signed(bytes(note).decode())) + b"\n"


def tiles(leaves: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Yield the leaves by tiles."""
    return (leaves[start : start + TILE] for start in range(0, len(leaves), TILE))


def tile_root(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaves; over the roots of tiles it is the root of the whole tree."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.add(leaf)
    return frontier.root


def _lines(
    origin: str, records: Iterable[bytes], size: int, checkpoints: Sequence[Note], leaves: list[bytes]
) -> Iterator[bytes]:
    yield encode(Head(FORMAT, origin, size)) + b"\n"
    for record in records:
        leaves.append(merkle.leaf_hash(record))
        yield record + b"\n"
    yield from tail(leaves, checkpoints)


def _text(hashes: Iterable[bytes]) -> str:
    return b64encode(b"".join(hashes)).decode()
