"""What the SQLite store owes beyond the contract: one owner, closed files, and the disk told the truth."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import apsw
import pytest

from chain.errors import LedgerLockedError, StoreError
from chain.ledger import Durability, RevocationRow, StandingRow, Write, decode
from chain.merkle import leaf_hash
from chain.store import background, queue, reader, wal, writer
from chain.store.sqlite import SqliteStore
from tests.store.samples import Batch, delegation, digest, record

WRITTEN = Durability.WRITTEN


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


@pytest.fixture
def store(ledger: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(ledger)
    yield opened
    opened.close()


def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_one_process_owns_a_ledger(store: SqliteStore, ledger: Path) -> None:
    with pytest.raises(LedgerLockedError):
        SqliteStore(ledger)
    script = f"from chain.store.sqlite import SqliteStore; SqliteStore({str(ledger)!r})"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert "LedgerLockedError" in other.stderr
    assert store.commit(Batch()).result(10) == 1
    store.close()
    SqliteStore(ledger).close()


def test_nobody_gets_in_by_removing_what_looks_like_a_stale_lock(store: SqliteStore, ledger: Path) -> None:
    assert store.commit(Batch()).result(10) == 1
    for path in ledger.iterdir():
        if not path.name.startswith("ledger.db"):
            path.unlink()
    with pytest.raises(LedgerLockedError):
        SqliteStore(ledger)
    assert store.commit(Batch()).result(10) == 2
    store.close()
    SqliteStore(ledger).close()


@pytest.mark.parametrize("mask", [0o000, 0o777])
def test_files_are_closed_to_others_whatever_the_umask(ledger: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        store = SqliteStore(ledger)
        store.commit(Batch()).result(10)
    finally:
        os.umask(before)
    assert ledger.stat().st_mode & 0o777 == 0o700
    files = {path.name: path.stat().st_mode & 0o777 for path in ledger.iterdir()}
    assert files == dict.fromkeys(("ledger.db", "ledger.db-wal", "ledger.db-shm"), 0o600)
    store.close()


def test_a_directory_left_open_is_closed(ledger: Path) -> None:
    ledger.mkdir()
    for _ in ("empty", "a ledger"):
        ledger.chmod(0o755)
        SqliteStore(ledger).close()
        assert ledger.stat().st_mode & 0o777 == 0o700


def test_an_open_directory_of_other_things_is_left_alone(ledger: Path) -> None:
    ledger.mkdir()
    (ledger / "thesis.tex").touch()
    ledger.chmod(0o755)
    with pytest.raises(StoreError, match="holds no ledger"):
        SqliteStore(ledger)
    assert ledger.stat().st_mode & 0o777 == 0o755
    ledger.chmod(0o700)
    SqliteStore(ledger).close()


@pytest.mark.parametrize(
    ("pragma", "message"), [("user_version=1", "schema version 1"), ("application_id=7", "is not a ledger")]
)
def test_a_ledger_of_another_version_is_refused(ledger: Path, pragma: str, message: str) -> None:
    SqliteStore(ledger).close()
    database = apsw.Connection(str(ledger / "ledger.db"))
    database.execute(f"PRAGMA {pragma}")
    database.close()
    for _ in range(2):  # refused, and the lock let go
        with pytest.raises(StoreError, match=message):
            SqliteStore(ledger)


def test_a_strange_database_is_refused(ledger: Path) -> None:
    ledger.mkdir(mode=0o700)
    (ledger / "ledger.db").write_bytes(b"not a database, but long enough to look at" * 20)
    with pytest.raises(StoreError, match="could not be opened"):
        SqliteStore(ledger)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM records",
        "UPDATE records SET kind = 'issued'",
        "INSERT OR REPLACE INTO records VALUES (1, 'x', x'', zeroblob(32))",
        "INSERT INTO records VALUES (5, 'x', x'', zeroblob(32))",
        "DELETE FROM revocations",
        "UPDATE revocations SET time = 0",
        "INSERT OR REPLACE INTO revocations VALUES (1, x'00', 1, 1)",
    ],
)
def test_the_schema_refuses_to_change_what_was_written(store: SqliteStore, statement: str) -> None:
    revoked = [RevocationRow(digest("a"), 1, 1)]
    store.commit(Batch(lambda first: Write([record(first)], revocations=revoked))).result(10)
    connection = store._connections[0]
    with pytest.raises(apsw.ConstraintError):
        connection.execute(statement)
    connection.execute("INSERT INTO records VALUES (2, 'x', x'', zeroblob(32))")


def test_everything_is_there_after_reopening(store: SqliteStore, ledger: Path) -> None:
    row, stands = delegation("a", 1), StandingRow("kind", "name", b"body", 0, 1)
    store.commit(Batch(lambda first: Write([record(first)], [row], standing=[stands]))).result(10)
    store.commit(Batch(durability=WRITTEN)).result(10)
    store.close()
    with pytest.raises(StoreError):
        store.delegation(digest("a"))
    again = SqliteStore(ledger)
    assert (again.head, again.synced, again.delegation(digest("a"))) == (2, 2, row)
    assert (again.stands("kind", "name"), list(again.standing("kind"))) == (stands, [stands])
    again.close()


def test_a_written_batch_is_appended_in_the_callers_thread_and_a_synced_one_is_not(store: SqliteStore) -> None:
    threads: list[int] = []

    def note(first: int) -> Write:
        threads.append(threading.get_ident())
        return Write([record(first)])

    assert store.commit(Batch(note, WRITTEN)).done()
    store.commit(Batch(note)).result(10)
    assert threads[0] == threading.get_ident() != threads[1]


def test_all_synced_syncs_a_written_batch(ledger: Path) -> None:
    store = SqliteStore(ledger, all_synced=True)
    assert store.commit(Batch(durability=WRITTEN)).result(10) == store.synced == 1
    store.close()


def test_a_written_commit_is_synced_soon_after(store: SqliteStore) -> None:
    revision = store.commit(Batch(durability=WRITTEN)).result(10)
    eventually(lambda: store.synced == revision)


def test_without_its_sync_a_written_commit_does_not_count_as_synced(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "SYNC_DELAY", 3600)
    store = SqliteStore(ledger)
    store.commit(Batch(durability=WRITTEN)).result(10)
    assert (store.head, store.synced) == (1, 0)
    store.commit(Batch()).result(10)
    assert (store.head, store.synced) == (2, 2)
    store.close()


class Gate(Batch):
    """Holds the writer's thread inside `prepare` until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.opened = threading.Event(), threading.Event()

    def prepare(self, first: int) -> Write:
        self.entered.set()
        assert self.opened.wait(10)
        return super().prepare(first)


def hold(store: SqliteStore) -> tuple[Gate, Future[int]]:
    gate = Gate()
    held = store.commit(gate)
    assert gate.entered.wait(10)
    return gate, held


def test_an_urgent_batch_goes_before_a_long_queue(store: SqliteStore) -> None:
    gate, _ = hold(store)
    ordinary = [store.commit(Batch()) for _ in range(queue.GROUP_LIMIT * 2)]
    urgent = [store.commit(Batch(urgent=True)) for _ in range(2)]
    gate.opened.set()
    assert [future.result(10) for future in urgent] == [2, 3]
    assert [future.result(10) for future in ordinary] == list(range(4, 4 + len(ordinary)))


def test_a_written_batch_does_not_overtake_the_queue_nor_wait_for_it(store: SqliteStore) -> None:
    gate, held = hold(store)
    queued = [store.commit(Batch()), store.commit(Batch(durability=WRITTEN))]
    assert not any(future.done() for future in queued)
    gate.opened.set()
    assert [future.result(10) for future in (held, *queued)] == [1, 2, 3]


def test_close_writes_what_is_queued(store: SqliteStore, ledger: Path) -> None:
    gate, _ = hold(store)
    queued = [store.commit(Batch()) for _ in range(600)]
    threading.Timer(0.05, gate.opened.set).start()
    store.close()
    assert [future.result(0) for future in queued] == list(range(2, 602))
    again = SqliteStore(ledger)
    assert again.head == 601
    again.close()


@pytest.mark.parametrize("part", ["_syncer", "_checkpointer"])
def test_close_is_heard_also_in_the_middle_of_background_work(store: SqliteStore, part: str) -> None:
    thread = getattr(store, part)
    event = store._writer.unsynced if part == "_syncer" else store._writer.grown
    clear, reached = event.clear, threading.Event()

    def clear_after_the_call_to_stop() -> None:
        reached.set()
        assert thread._stop.wait(10)
        eventually(event.is_set)
        time.sleep(0.01)  # the call to stop has set both by now
        clear()

    event.clear = clear_after_the_call_to_stop  # type: ignore[method-assign]
    event.set()
    assert reached.wait(10)
    closing = threading.Thread(target=store.close, daemon=True)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()


def fill(store: SqliteStore) -> None:
    """Let the database grow no further: what a full disk says to SQLite."""
    connection = store._connections[0]
    connection.execute(f"PRAGMA max_page_count={connection.pragma('page_count')}")


@pytest.mark.parametrize("durability", Durability)
def test_a_full_disk_stops_the_store_and_a_restart_heals_it(
    store: SqliteStore, ledger: Path, durability: Durability
) -> None:
    assert store.commit(Batch()).result(10) == 1
    fill(store)
    big = Batch(lambda first: Write([record(first, note="x" * 100_000)]), durability)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"opened again: .*full"):
            store.commit(big).result(10)
    assert big.calls == [2]
    with pytest.raises(StoreError, match="full"):
        store.commit(Batch()).result(10)
    with pytest.raises(StoreError, match="full"):
        store.sweep(0)
    assert (store.head, len(store.records())) == (1, 1)
    store.close()
    again = SqliteStore(ledger)
    assert again.commit(big).result(10) == 2
    again.close()


def test_a_failed_commit_fails_its_whole_group_and_what_is_queued(store: SqliteStore) -> None:
    gate, held = hold(store)
    fill(store)
    big = Write([record(2, note="x" * 100_000)])
    group = [store.commit(Batch(lambda _: big)), *(store.commit(Batch()) for _ in range(300))]
    gate.opened.set()
    assert held.result(10) == 1
    for future in group:
        with pytest.raises(StoreError, match="opened again"):
            future.result(10)
    assert len(store.records()) == 1


def test_a_refused_sync_stops_the_store(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(ledger)

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(wal, "flush", refuse)
    assert store.commit(Batch(durability=WRITTEN)).result(10) == 1
    eventually(lambda: store.commit(Batch(durability=WRITTEN)).exception(10) is not None)
    with pytest.raises(StoreError, match="input/output error"):
        store.commit(Batch()).result(10)
    assert store.synced == 0
    store.close()


def test_close_says_when_the_last_sync_was_refused(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "SYNC_DELAY", 3600)
    store = SqliteStore(ledger)
    store.commit(Batch(durability=WRITTEN)).result(10)
    monkeypatch.setattr(wal, "flush", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "input/output error")))
    with pytest.raises(StoreError, match="last sync failed"):
        store.close()
    monkeypatch.undo()
    SqliteStore(ledger).close()


def test_the_log_starts_over_under_load_also_beside_a_slow_stream(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WAL_PAGES", 50)
    monkeypatch.setattr(background, "CHECKPOINT_PAUSE", 0.01)
    monkeypatch.setattr(reader, "PAGE", 10)
    store = SqliteStore(ledger)
    rows = [delegation(i, 1 + i) for i in range(25)]
    store.commit(Batch(lambda first: Write([record(first + i) for i in range(25)], rows))).result(10)
    stream = store.live(0)
    seen = [next(stream)]
    while restarts(ledger) < 3:
        store.commit(Batch(lambda first: Write([record(first, note="x" * 3000)]), WRITTEN)).result(10)
        assert store.head < 200_000
    assert [*seen, *stream] == rows
    store.close()
    again = SqliteStore(ledger)
    assert again.head == store.head
    assert [decode(data).revision for data, _ in again.records(limit=200_000)] == list(range(1, again.head + 1))
    again.close()


def restarts(ledger: Path) -> int:
    """How often the log began anew: the checkpoint sequence number in its header."""
    with (ledger / "ledger.db-wal").open("rb") as log:
        return int.from_bytes(log.read(16)[12:], "big")


WORKER = """
import sys
from chain.ledger import Durability
from chain.store import writer
from chain.store.sqlite import SqliteStore
from tests.store.samples import Batch

writer.WAL_PAGES = 40  # checkpoints all the time
store = SqliteStore(sys.argv[1])
kinds = [Durability.SYNCED, Durability.WRITTEN, Durability.WRITTEN]
while True:
    futures = [store.commit(Batch(durability=kind)) for kind in kinds]
    print(*(future.result() for future in futures), flush=True)
"""


def test_a_killed_process_loses_nothing_that_it_acknowledged(ledger: Path) -> None:
    choose = random.Random(7)
    acknowledged = 0
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", WORKER, str(ledger)], stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            lines = [worker.stdout.readline() for _ in range(choose.randrange(1, 400))]
            time.sleep(choose.random() / 100)
            worker.kill()
            lines += worker.stdout.readlines()
        acknowledged = max(
            acknowledged, *(int(number) for line in lines if line[-1:] == "\n" for number in line.split())
        )
        store = SqliteStore(ledger)
        records = store.records(limit=1_000_000)
        assert store.head == len(records) >= acknowledged
        assert [decode(data).revision for data, _ in records] == list(range(1, store.head + 1))
        assert all(leaf == leaf_hash(data) for data, leaf in records)
        assert store._connections[0].pragma("integrity_check") == "ok"
        store.close()
    assert acknowledged > 500
