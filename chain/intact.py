"""Whether an exported ledger is what was signed: a verdict from the file and from keys, and from nothing else.

The law of this file: nothing in an export is believed but what a signed checkpoint covers. The hashes beside the
records serve to name the record that is wrong, and are held to the signed root before they do.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby, pairwise

import msgspec

from chain import ledger, merkle
from chain.checkpoint import ACCEPTED, Checkpoint
from chain.errors import StoreError
from chain.export import FORMAT, TILE, End, Head, Signed, Tile, encode, tail, tile_root, tiles
from chain.ledger import Record
from chain.merkle import Frontier
from chain.note import Note, NoteError, NoteKey

MAX_FLAWS = 1000
"""Flaws that are named: of a file that is no export at all, every line is one."""

ABSENT = bytes(32)
"""Stands for the hash of a record that is not there."""

_tile = msgspec.json.Decoder(Tile).decode
_signed = msgspec.json.Decoder(Signed).decode


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something that is wrong with an export.

    Attributes:
        what: in words.
        first, last: revisions of the records that it concerns; 0 where it concerns none.
    """

    what: str
    first: int = 0
    last: int = 0


@dataclass(slots=True)
class Verdict:
    """What is known of an export.

    Attributes:
        records: how many it holds.
        checkpoints: that hold, the smallest first.
        flaws: what is wrong.
        accepted: records that say that this log went on beside a checkpoint that it does not continue, or cannot be
            known to: what was signed before that one is another line.
    """

    records: int = 0
    checkpoints: list[Checkpoint] = field(default_factory=list)
    flaws: list[Flaw] = field(default_factory=list)
    accepted: list[Record] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """Whether a signed checkpoint covers every record, and nothing contradicts it."""
        return bool(self.checkpoints) and not self.flaws

    def find(self, what: str, first: int = 0, last: int = 0) -> None:
        """Note a flaw; one revision is its own last."""
        if len(self.flaws) < MAX_FLAWS:
            self.flaws.append(Flaw(what, first, last or first))


def verify(
    lines: Iterable[bytes],
    key: NoteKey,
    witnesses: Sequence[NoteKey] = (),
    known: Sequence[Note] = (),
    former: Sequence[NoteKey] = (),
) -> Verdict:
    """Return the verdict on an export.

    Args:
        lines: of the file, each with its newline.
        key: the log's; its name is the origin.
        witnesses: who must have cosigned the last checkpoint.
        known: checkpoints that the reader has from elsewhere: the log must be a continuation of each.
        former: keys that may have signed these, before the log had this one.
    """
    verdict = Verdict()
    file = _File(verdict)
    for line in lines:
        file.take(line)
    file.end()
    signed = _checkpoints(file.notes, key, witnesses, verdict)
    size = signed[-1].size if signed else 0
    verdict.records = len(file.placed)
    _require_all(file.placed, size, verdict)
    if size > 2 * len(file.placed) + TILE:  # whoever has the key can sign any number, and it costs them nothing
        return verdict
    leaves = [file.placed.get(revision, ABSENT) for revision in range(1, size + 1)]
    if file.head != encode(Head(FORMAT, key.name, size)) + b"\n":
        verdict.find("the first line does not say what the checkpoint says")
    wrong = _roots(leaves, signed, _held(known, (key, *former), size, verdict), verdict)
    if wrong is not None:
        _locate(leaves, file, signed, wrong, verdict)
    elif file.tail != list(tail(leaves, file.notes)):
        verdict.find("the hashes beside the records are not theirs, or the lines behind them not in order")
    return verdict


class _File:
    """What stands in the lines, before anything of it is believed.

    Attributes:
        head: the first line; like every other it has one spelling.
        placed: revision -> leaf hash of the record that stands, or seems to stand, there.
        tiles: number -> hashes.
        notes: checkpoints.
        tail: the lines behind the records.
    """

    def __init__(self, verdict: Verdict) -> None:
        self.head = b""
        self.placed: dict[int, bytes] = {}
        self.tiles: dict[int | str, list[bytes]] = {}
        self.notes: list[Note] = []
        self.tail: list[bytes] = []
        self._verdict, self._next, self._number = verdict, 1, 0
        self._whole, self._last = sha256(), b""

    def take(self, line: bytes) -> None:
        """Take a line; the last one is the hash of all before it."""
        if self._last:
            self._whole.update(self._last)
            self._read(self._last)
        self._last = line

    def end(self) -> None:
        """No more lines come."""
        if self._last != encode(End(self._whole.hexdigest())) + b"\n":
            self._verdict.find("the last line is not the hash of the lines before it")
            if not self._last.startswith(b'{"sha256":'):
                self._read(self._last)

    def _read(self, line: bytes) -> None:
        self._number += 1
        try:
            if self._number == 1:
                self.head = line
            elif line.startswith(b'{"tile":'):
                self.tail.append(line)
                found = _tile(line)
                self.tiles[found.tile] = _hashes(found)
            elif line.startswith(b'{"checkpoint":'):
                self.tail.append(line)
                self.notes.append(Note.parse(_signed(line).checkpoint.encode()))
            elif self.tail:
                self._verdict.find(f"line {self._number} cannot be read")
            else:
                self._record(line.removesuffix(b"\n"))
        except (ValueError, NoteError):
            self._verdict.find(f"line {self._number} cannot be read")

    def _record(self, data: bytes) -> None:
        revision = self._next
        try:
            record = ledger.decode(data)
            revision = record.revision
            if record.kind == ACCEPTED and len(self._verdict.accepted) < MAX_FLAWS:
                self._verdict.accepted.append(record)
        except StoreError:
            self._verdict.find("cannot be read", revision)
        if revision in self.placed:
            self._verdict.find("stands twice", revision)
            return
        if revision < self._next:
            self._verdict.find("stands behind later ones", revision)
        self.placed[revision] = merkle.leaf_hash(data)
        self._next = max(self._next, revision + 1)


def _hashes(tile: Tile) -> list[bytes]:
    data = b64decode(tile.hashes, validate=True)
    return [data[start : start + 32] for start in range(0, len(data), 32)]


def _checkpoints(
    notes: Iterable[Note], key: NoteKey, witnesses: Sequence[NoteKey], verdict: Verdict
) -> list[Checkpoint]:
    """Return the checkpoints that the log signed, the smallest first; the last must be cosigned."""
    found: list[tuple[Checkpoint, Note]] = []
    for number, note in enumerate(notes, 1):
        try:
            found.append((Checkpoint.of(note, key), note))
        except NoteError as error:
            verdict.find(f"checkpoint {number}: {error}")
    found.sort(key=lambda one: one[0].size)
    if not found:
        verdict.find("no checkpoint of this log")
        return []
    try:
        Checkpoint.of(found[-1][1], key, witnesses)
    except NoteError as error:
        verdict.find(f"the last checkpoint: {error}")
    return [one for one, _ in found]


def _held(known: Iterable[Note], keys: Sequence[NoteKey], size: int, verdict: Verdict) -> list[Checkpoint]:
    """Return the reader's own checkpoints of this log."""
    found = []
    for number, note in enumerate(known, 1):
        try:
            signed = next((key for key in keys if note.signed_by(key) is not None), keys[0])
            one = Checkpoint.of(note, signed)
        except NoteError as error:
            verdict.find(f"your checkpoint {number}: {error}")
            continue
        if one.size > size:
            verdict.find(f"your checkpoint {number} covers more records: they were cut off", size + 1, one.size)
        else:
            found.append(one)
    return found


def _require_all(placed: Mapping[int, bytes], size: int, verdict: Verdict) -> None:
    """Name the records that are missing, and those that nobody signed for."""
    inside = sorted(one for one in placed if 0 < one <= size)
    for before, after in pairwise((0, *inside, size + 1)):
        if before + 1 < after:
            verdict.find("missing", before + 1, after - 1)
    for first, last in _runs(sorted(placed.keys() - inside)):
        verdict.find("no checkpoint covers this", first, last)


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of each run of ascending numbers without a gap."""
    for _, run in groupby(enumerate(numbers), lambda one: one[1] - one[0]):
        members = [number for _, number in run]
        yield members[0], members[-1]


def _roots(
    leaves: Sequence[bytes], signed: Sequence[Checkpoint], held: Sequence[Checkpoint], verdict: Verdict
) -> Checkpoint | None:
    """Hold every checkpoint to the records; return the first of the log's own that does not fit them."""
    frontier, wrong = Frontier(), None
    known, own = set(held), set(signed)  # one a minute: of a year, there are half a million
    for one in sorted(known | own, key=lambda one: one.size):
        for leaf in leaves[frontier.size : one.size]:
            frontier.add(leaf)
        if frontier.root == one.root:
            if one in own:
                verdict.checkpoints.append(one)
            continue
        if one in known:
            verdict.find("a fork: your checkpoint is of other records", 1, one.size)
        if one in own and wrong is None:
            wrong = one
    return wrong


def _locate(
    leaves: Sequence[bytes], file: _File, signed: Sequence[Checkpoint], wrong: Checkpoint, verdict: Verdict
) -> None:
    """Name the records that do not fit a checkpoint, as exactly as the hashes beside them allow."""
    before = max((one.size for one in verdict.checkpoints if one.size < wrong.size), default=0)
    spine, found = file.tiles.get("spine", []), False
    if tile_root(spine) == signed[-1].root:
        for number, (ours, root) in enumerate(zip(tiles(leaves), spine, strict=False)):
            if tile_root(ours) != root:
                found = True
                _locate_in(number * TILE, ours, file.tiles.get(number, []), root, verdict)
    if not found:
        what = f"the records up to {wrong.size} do not give the root that was signed; the fault lies among these"
        verdict.find(what, before + 1, wrong.size)


def _locate_in(start: int, ours: Sequence[bytes], theirs: Sequence[bytes], root: bytes, verdict: Verdict) -> None:
    """Name the records of one tile that are wrong; `root` is signed for."""
    if tile_root(theirs) != root or len(ours) != len(theirs):
        verdict.find(
            "one of these is not what was signed, and their hashes are not either", start + 1, start + len(ours)
        )
        return
    for place, (mine, signed) in enumerate(zip(ours, theirs, strict=True), start + 1):
        if mine not in {signed, ABSENT}:
            verdict.find("is not the record that was signed", place)
