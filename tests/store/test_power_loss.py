"""Power cuts, simulated: what was written and not synced reaches the disk in part, torn and in any order.

A recording VFS keeps two views of every file: what is on disk, and the writes that wait in the cache. A cut
keeps what is on disk and any subset of the sectors that wait; the ledger is then opened from that image.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from chain.ledger import Durability, StandingRow, Write, decode
from chain.store import background, wal, writer
from chain.store.sqlite import SqliteStore
from tests.store.samples import Batch, delegation, record

SECTOR = 512
CUTS = 60


class Disk:
    """Files as they are on disk, and the sectors that wait in the cache."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, bytearray] = {}
        self._waiting: dict[str, list[tuple[int, bytes]]] = {}

    def open(self, name: str) -> None:
        with self._lock:
            self._files.setdefault(name, bytearray())
            self._waiting.setdefault(name, [])

    def write(self, name: str, data: bytes, offset: int) -> None:
        step = SECTOR - offset % SECTOR
        edges = [0, *range(step, len(data), SECTOR), len(data)]
        with self._lock:
            self._waiting[name] += [(offset + at, data[at:end]) for at, end in itertools.pairwise(edges)]

    def truncate(self, name: str, size: int) -> None:
        self.sync(name)
        with self._lock:
            del self._files[name][size:]

    def delete(self, name: str) -> None:
        with self._lock:
            del self._files[name], self._waiting[name]

    def sync(self, name: str) -> None:
        with self._lock:
            _apply(self._files[name], self._waiting[name])
            self._waiting[name] = []

    def cut(self, choose: random.Random) -> dict[str, bytes]:
        keep = choose.random()
        with self._lock:
            image = {name: bytearray(data) for name, data in self._files.items()}
            for name, waiting in self._waiting.items():
                _apply(image[name], [each for each in waiting if choose.random() < keep])
        return {name: bytes(data) for name, data in image.items()}


def _apply(file: bytearray, writes: list[tuple[int, bytes]]) -> None:
    for offset, data in writes:
        file.extend(bytes(max(0, offset - len(file))))
        file[offset : offset + len(data)] = data


class RecordingVFS(apsw.VFS):
    def __init__(self, name: str, disk: Disk) -> None:
        self._disk = disk
        super().__init__(name, base="")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> RecordingFile:  # noqa: N802 - SQLite's name
        return RecordingFile(name, flags, self._disk)

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        super().xDelete(name, syncdir)
        self._disk.delete(Path(name).name)


class RecordingFile(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], disk: Disk) -> None:
        assert name is not None, "a ledger opens no temporary file"
        self._name = Path(name.filename() if isinstance(name, apsw.URIFilename) else name).name
        self._disk = disk
        disk.open(self._name)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        super().xWrite(data, offset)
        self._disk.write(self._name, bytes(data), offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802 - SQLite's name
        super().xTruncate(size)
        self._disk.truncate(self._name, size)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        self._disk.sync(self._name)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    vfs = RecordingVFS("recording", disk)
    monkeypatch.setattr(wal, "flush", lambda _: disk.sync("ledger.db-wal"))
    yield disk
    vfs.unregister()


def recovered(image: dict[str, bytes], directory: Path) -> int:
    """Open the ledger that a cut left, check it whole, and return its head."""
    directory.mkdir(mode=0o700)
    for name, data in image.items():
        (directory / name).write_bytes(data)
    store = SqliteStore(directory)
    assert store._connections[0].pragma("integrity_check") == "ok"
    assert [decode(data).revision for data, _ in store.records(limit=100_000)] == list(range(1, store.head + 1))
    assert [row.revision for row in store.live(0)] == list(range(1, store.head + 1))
    assert [row.revision for row in store.standing("last")] == ([store.head] if store.head else [])
    store.close()
    return store.head


def write(store: SqliteStore, durability: Durability) -> int:
    """Write a record with its delegation, so that half a transaction would show."""

    def make(first: int) -> Write:
        stands = StandingRow("last", "record", b"x", 0, first)
        return Write([record(first, note="x" * 900)], [delegation(first, first)], standing=[stands])

    return store.commit(Batch(make, durability)).result(10)


def test_a_power_cut_takes_only_what_was_not_synced(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WAL_PAGES", 30)
    monkeypatch.setattr(background, "CHECKPOINT_PAUSE", 0.001)
    monkeypatch.setattr(background, "SYNC_DELAY", 0.003)
    choose = random.Random(11)
    store = SqliteStore(tmp_path / "ledger", vfs="recording")
    acknowledged, lost = 0, 0
    for number in range(CUTS):
        for _ in range(choose.randrange(1, 40)):
            durability = choose.choice([Durability.SYNCED, *[Durability.WRITTEN] * 4])
            revision = write(store, durability)
            if durability is Durability.SYNCED:
                acknowledged = revision
        safe = max(acknowledged, store.synced)
        head = recovered(disk.cut(choose), tmp_path / str(number))
        assert safe <= head <= store.head
        lost += store.head - head
    assert lost > 0  # the cuts do take what waits
    store.close()


def test_the_simulated_cut_takes_commits_that_nobody_synced(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "SYNC_DELAY", 3600)
    store = SqliteStore(tmp_path / "ledger", vfs="recording")
    assert write(store, Durability.SYNCED) == 1
    for _ in range(20):
        write(store, Durability.WRITTEN)
    heads = [recovered(disk.cut(random.Random(seed)), tmp_path / str(seed)) for seed in range(10)]
    assert min(heads) < 21
    assert min(heads) >= 1
    store._writer.sync()
    assert recovered(disk.cut(random.Random(0)), tmp_path / "synced") == 21 == store.synced
    store.close()


@pytest.mark.parametrize("rows", [Write([]), Write([], [delegation(1, 1)])], ids=["nothing", "what is known"])
def test_a_synced_batch_that_changes_nothing_saves_what_was_written_before(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, rows: Write
) -> None:
    monkeypatch.setattr(background, "SYNC_DELAY", 3600)
    store = SqliteStore(tmp_path / "ledger", vfs="recording")
    for _ in range(20):
        write(store, Durability.WRITTEN)
    assert store.commit(Batch(lambda _: rows)).result(10) == 20
    assert {recovered(disk.cut(random.Random(seed)), tmp_path / str(seed)) for seed in range(5)} == {20}
    store.close()
