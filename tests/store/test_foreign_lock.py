"""Another program holds the database's write lock for a while: nobody freezes, and nothing stops for good."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from chain.errors import StoreError
from chain.ledger import Durability, Write
from chain.store import writer
from chain.store.sqlite import SqliteStore
from tests.store.samples import Batch, record

WRITTEN = Durability.WRITTEN


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "ledger")
    yield opened
    opened.close()


@pytest.fixture
def foreign(tmp_path: Path, store: SqliteStore) -> Iterator[apsw.Connection]:
    assert store.commit(Batch()).result(10) == 1
    opened = apsw.Connection(str(tmp_path / "ledger" / "ledger.db"))
    opened.execute("BEGIN IMMEDIATE")
    yield opened
    opened.close()


@pytest.mark.parametrize("durability", Durability)
def test_a_batch_that_was_not_begun_fails_alone(
    store: SqliteStore, foreign: apsw.Connection, monkeypatch: pytest.MonkeyPatch, durability: Durability
) -> None:
    monkeypatch.setattr(writer, "PATIENCE", 20)
    refused = [Batch(durability=durability) for _ in range(3)]
    for batch in refused:
        with pytest.raises(StoreError, match="cannot be written now"):
            store.commit(batch).result(10)
    assert [batch.calls for batch in refused] == [[], [], []]  # memory has not run ahead
    with pytest.raises(StoreError, match="could not be deleted"):
        store.sweep(0)
    assert (store.failure, store.head) == (None, 1)
    foreign.execute("ROLLBACK")
    assert store.commit(Batch(durability=durability)).result(10) == 2
    assert store.sweep(0) == 0


def test_a_callers_thread_does_not_wait_for_a_foreign_lock(store: SqliteStore, foreign: apsw.Connection) -> None:
    threads: list[int] = []

    def note(first: int) -> Write:
        threads.append(threading.get_ident())
        return Write([record(first)])

    waiting = [store.commit(Batch(note, WRITTEN)) for _ in range(3)]
    assert not any(future.done() for future in waiting)
    foreign.execute("ROLLBACK")
    assert [future.result(10) for future in waiting] == [2, 3, 4]
    assert threading.get_ident() not in threads


def test_the_checkpoint_survives_a_foreign_lock(
    store: SqliteStore, foreign: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign.execute("ROLLBACK")
    monkeypatch.setattr(writer, "WAL_PAGES", 1)
    big = Batch(lambda first: Write([record(first, note="x" * 50_000)]))
    store.commit(big).result(10)
    foreign.execute("BEGIN IMMEDIATE")
    store._writer.grown.set()
    time.sleep(0.05)
    foreign.execute("ROLLBACK")
    assert store.commit(Batch(durability=WRITTEN)).result(10) == 3
    assert store.failure is None


def test_a_transaction_left_open_stops_the_store(store: SqliteStore) -> None:
    """An interrupt broke through a commit in the caller's thread: what memory knows, nobody can tell."""

    def interrupted(_: int) -> Write:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.commit(Batch(interrupted, WRITTEN))
    with pytest.raises(StoreError, match="opened again"):
        store.commit(Batch()).result(10)
    assert store.failure is not None
