"""A small ledger, exported; and a second reader of such files, which shares nothing with the first."""

from __future__ import annotations

import base64
import hashlib
import json

from chain import ledger, merkle
from chain.checkpoint import Checkpoint
from chain.errors import StoreError
from chain.export import write
from chain.key import KeySigner
from chain.note import Kind, Note, NoteKey

LOG, WITNESS = KeySigner.from_seed(b"l" * 32), KeySigner.from_seed(b"w" * 32)
KEY = NoteKey("ledger.example", LOG.key)
SEEN = NoteKey("witness.example", WITNESS.key, Kind.COSIGNATURE)


def records(count: int) -> list[bytes]:
    kinds = ("issued", "delegated", "decided", "refused", "revoked")
    made = []
    for number in range(1, count + 1):
        body = {
            "id": hashlib.sha256(b"%d" % number).hexdigest()[:20],
            "caller": "pep",
            "effect": "ALLOW",
            "hop": number % 4,
        }
        made.append(ledger.encode(ledger.Record(number, kinds[number % 5], 1_700_000_000_000 + number, body)))
    return made


def root(data: list[bytes]) -> bytes:
    frontier = merkle.Frontier()
    for record in data:
        frontier.add(merkle.leaf_hash(record))
    return frontier.root


def checkpoint(data: list[bytes], signer: KeySigner = LOG, origin: str = KEY.name) -> Note:
    note = Note(Checkpoint(origin, len(data), root(data)).text).sign(origin, signer)
    return note.cosign(SEEN.name, WITNESS, 1_700_000_100)


def lines(data: list[bytes], sizes: tuple[int, ...]) -> list[bytes]:
    return list(write(KEY.name, data, len(data), [checkpoint(data[:size]) for size in sizes]))


class Held:
    """A copy of the last checkpoint (`chain.notary.Copy`) that can be full."""

    name = "elsewhere"

    def __init__(self, note: Note | None = None, *, full: bool = False) -> None:
        self.note, self.full = note, full

    def read(self) -> Note | None:
        return self.note

    def write(self, note: Note) -> None:
        if self.full:
            raise StoreError("the disk is full")
        self.note = note


def second_opinion(file: bytes) -> bool:
    """Whether a file is intact, by the words of docs/audit.md and RFC 9162 alone."""
    ed25519 = LOG._private.public_key()

    def tree(hashes: list[bytes]) -> bytes:
        if len(hashes) < 2:
            return hashes[0] if hashes else hashlib.sha256(b"").digest()
        left = 1
        while left * 2 < len(hashes):
            left *= 2
        return hashlib.sha256(b"\x01" + tree(hashes[:left]) + tree(hashes[left:])).digest()

    try:
        whole, _, end = file.rstrip(b"\n").rpartition(b"\n")
        if json.loads(end) != {"sha256": hashlib.sha256(whole + b"\n").hexdigest()} or file[-1:] != b"\n":
            return False
        rows = whole.split(b"\n")
        plain = [row for row in rows[1:] if row.startswith(b'{"revision":')]
        notes = [json.loads(row)["checkpoint"] for row in rows if row.startswith(b'{"checkpoint":')]
        leaves = [hashlib.sha256(b"\x00" + row).digest() for row in plain]
        covered = 0
        for note in notes:
            text, _, signatures = note.rpartition("\n\n")
            origin, size, head = text.split("\n")
            line = next(one for one in signatures.split("\n") if one.startswith(f"— {KEY.name} "))
            ed25519.verify(base64.b64decode(line.split(" ")[2])[4:], text.encode() + b"\n")
            covered = int(size)
            if origin != KEY.name or covered > len(leaves) or tree(leaves[:covered]) != base64.b64decode(head):
                return False
    except Exception:  # noqa: BLE001 - whatever goes wrong, it is not intact
        return False
    return covered == len(leaves) > 0
