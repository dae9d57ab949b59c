"""The store alone: what a durable answer costs, and what it costs the caller's thread.

`python -m benchmarks.store [--json] [--seconds S] [--rows N…] [--directory DIR]`

Every batch is what a `Delegate` writes (a record, a delegation with a token of 900 bytes, a nonce) or, where
it says `record`, the record of one decision. Rates are medians of five runs. The longest pause is shown for
calls that met a checkpoint and for those that did not, beside the longest gap that a bare loop saw on the
same machine just before: below that gap a pause says nothing about the store.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.measure import timing
from chain.ledger import Batch, DelegationRow, Durability, NonceRow, Record, Write, encode
from chain.store.sqlite import SqliteStore

PRODUCERS = 10
RUNS = 5
TOKEN = b"t" * 900
ISSUER = "urn:ietf:params:oauth:jwk-thumbprint:sha-256:" + "i" * 43
FILL = 2000  # rows of one batch where the store is only filled
FOREVER = 1 << 40
FACTS = {"tool": "mail.read", "caller": "spiffe://example.org/agent/reader", "digest": "d" * 43, "effect": "ALLOW"}

Row = dict[str, Any]


class Decided:
    """The record of a decision."""

    def __init__(self, durability: Durability) -> None:
        self.durability = durability

    def prepare(self, first: int) -> Write:
        """One record."""
        return Write([encode(Record(first, "decided", 1_700_000_000_000, FACTS))])


class Delegated:
    """What delegating `count` times writes."""

    durability = Durability.SYNCED

    def __init__(self, count: int = 1) -> None:
        self.count = count

    def prepare(self, first: int) -> Write:
        """Records, delegations and nonces, with digests that no run meets twice."""
        write = Write([])
        for revision in range(first, first + self.count):
            digest, parent = os.urandom(32), os.urandom(32)
            write.records.append(encode(Record(revision, "delegated", 1_700_000_000_000, FACTS)))
            write.delegations.append(
                DelegationRow(
                    digest, parent, TOKEN, ISSUER, f"{revision:036}", "h" * 43, "task", 1, 1, FOREVER, revision
                )
            )
            write.nonces.append(NonceRow(parent, f"proof-{revision}", FOREVER))
        return write


def fill(store: SqliteStore, rows: int) -> None:
    """Put delegations into a store, in large batches."""
    for start in range(0, rows, FILL):
        store.commit(Delegated(min(FILL, rows - start))).result()


def latency(store: SqliteStore, batch: Batch, seconds: float) -> Row:
    """Commit and wait, one caller."""
    samples: list[int] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter_ns()
        store.commit(batch).result()
        samples.append(time.perf_counter_ns() - start)
    found = timing(samples[len(samples) // 10 :])
    return {"p50_us": round(found.p50_us, 1), "p99_us": round(found.p99_us, 1), "calls": found.calls}


def rate(store: SqliteStore, batch: Batch, seconds: float, window: int) -> float:
    """Durable batches a second by ten threads, each with `window` of them in flight."""
    counts: list[int] = []
    end = time.perf_counter() + seconds

    def produce() -> None:
        count = 0
        while time.perf_counter() < end:
            for future in [store.commit(batch) for _ in range(window)]:
                future.result()
            count += window
        counts.append(count)

    threads = [threading.Thread(target=produce) for _ in range(PRODUCERS)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


def rates(store: SqliteStore, batch: Batch, seconds: float, window: int) -> Row:
    """The median rate of five runs."""
    runs = [rate(store, batch, seconds / RUNS, window) for _ in range(RUNS)]
    return {"per_s": round(statistics.median(runs)), "lowest_per_s": round(min(runs)), "in_flight_each": window}


def bare_gap(seconds: float) -> float:
    """The longest time in µs that a loop which does nothing was kept from running."""
    longest, last = 0, time.perf_counter_ns()
    end = last + int(seconds * 1e9)
    while last < end:
        now = time.perf_counter_ns()
        longest, last = max(longest, now - last), now
    return longest / 1000


def pauses(store: SqliteStore, seconds: float, per_second: int) -> Row:
    """How long `commit` keeps a caller that writes decisions at a steady rate, checkpoints and all."""
    gap = bare_gap(seconds / 4)
    grown = store._writer.grown  # noqa: SLF001 - set from the moment a checkpoint is due until it is done
    batch = Decided(Durability.WRITTEN)
    calls: dict[bool, list[int]] = {False: [], True: []}
    checkpoints, running = 0, False
    start = time.perf_counter_ns()
    due = start
    while due < start + seconds * 1e9:
        due += 1_000_000_000 // per_second
        before = grown.is_set()
        begun = time.perf_counter_ns()
        future = store.commit(batch)
        ended = time.perf_counter_ns()
        met = before or grown.is_set()
        calls[met].append(ended - begun)
        checkpoints += met and not running
        running = met
        future.result()
        while time.perf_counter_ns() < due:
            time.sleep(0)
    return {
        "checkpoints": checkpoints,
        "calls": len(calls[False]) + len(calls[True]),
        "longest_with_checkpoint_us": round(max(calls[True], default=0) / 1000),
        "longest_without_us": round(max(calls[False], default=0) / 1000),
        "bare_loop_longest_us": round(gap),
    }


def load(directory: Path, rows: int) -> Row:
    """Open a ledger of `rows` delegations and stream all that live, median of three."""
    store = SqliteStore(directory)
    fill(store, rows - sum(1 for _ in store.live(0)))
    store.close()
    times: list[float] = []
    for _ in range(3):
        start = time.perf_counter()
        store = SqliteStore(directory)
        assert sum(1 for _ in store.live(0)) == rows
        times.append(time.perf_counter() - start)
        store.close()
    return {"rows": rows, "seconds": round(statistics.median(times), 3)}


def measure(root: Path, seconds: float, rows: Iterable[int]) -> Iterable[Row]:
    """Yield one row of figures a question, each on a ledger of its own."""
    decided, written = Decided(Durability.SYNCED), Decided(Durability.WRITTEN)
    questions: list[tuple[str, Callable[[SqliteStore], Row]]] = [
        ("synced record, one caller", lambda store: latency(store, decided, seconds)),
        ("synced delegation, one caller", lambda store: latency(store, Delegated(), seconds)),
        ("written record, one caller", lambda store: latency(store, written, seconds)),
        ("synced record, ten callers", lambda store: rates(store, decided, seconds, 1)),
        ("synced delegation, ten callers", lambda store: rates(store, Delegated(), seconds, 1)),
        ("synced delegation, ten callers, pipelined", lambda store: rates(store, Delegated(), seconds, 16)),
        ("pauses at 5,000 decisions/s", lambda store: pauses(store, 4 * seconds, 5_000)),
        ("pauses at 20,000 decisions/s", lambda store: pauses(store, 4 * seconds, 20_000)),
    ]
    for number, (name, ask) in enumerate(questions):
        store = SqliteStore(root / str(number))
        yield {"question": name, **ask(store)}
        store.close()
        shutil.rmtree(root / str(number))
    for count in sorted(rows):
        yield {"question": "load", **load(root / "load", count)}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store", description="The store alone.")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each question")
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000], help="live delegations to load")
    parser.add_argument("--directory", help="where ledgers are made; its disk is the one that is measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as root:
        for row in measure(Path(root), options.seconds, options.rows):
            if options.json:
                print(json.dumps(row), flush=True)
            else:
                figures = "  ".join(f"{name} {value:,}" for name, value in row.items() if name != "question")
                print(f"{row['question']:<44}{figures}", flush=True)


if __name__ == "__main__":
    main()
