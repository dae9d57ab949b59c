"""What the Merkle log costs: taking records in, and proofs, over a million of them in SQLite.

`python -m benchmarks.log [--records 1000000]`
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import apsw

from chain import merkle
from chain.log import Log

PROOFS = 2_000


def median(work: Callable[[], object]) -> float:
    """Microseconds of one, in the median."""
    spent = []
    for _ in range(PROOFS):
        begun = perf_counter()
        work()
        spent.append(perf_counter() - begun)
    return statistics.median(spent) * 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=1_000_000)
    count = parser.parse_args().records
    source = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        database = apsw.Connection(str(Path(folder) / "log.db"))
        database.execute("CREATE TABLE records (revision INTEGER PRIMARY KEY, data BLOB, leaf BLOB)")
        with database:
            rows = ((place + 1, bytes(300), merkle.leaf_hash(b"%d" % place)) for place in range(count))
            database.executemany("INSERT INTO records VALUES (?, ?, ?)", rows)
        query = "SELECT leaf FROM records WHERE revision > ? ORDER BY revision LIMIT ?"
        log = Log(lambda start, number: [leaf for (leaf,) in database.execute(query, (start, number))])
        begun = perf_counter()
        log.grow(count)
        grown = (perf_counter() - begun) / count * 1e6
        root = log.root(count)
        proof = log.inclusion(count // 3, count)
        leaf = merkle.leaf_hash(b"%d" % (count // 3))
        assert merkle.proves_inclusion(leaf, count // 3, count, proof, root)
        print(f"{count} records")
        print(f"taking a record in   {grown:6.1f} us (its hash is read from the store)")
        print(f"inclusion proof      {median(lambda: log.inclusion(source.randrange(count), count)):6.1f} us")
        print(f"consistency proof    {median(lambda: log.consistency(source.randrange(1, count), count)):6.1f} us")


if __name__ == "__main__":
    main()
