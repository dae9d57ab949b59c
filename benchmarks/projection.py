"""What the service's process for the graph costs: its first answer, later ones, and the memory that it takes.

`python -m benchmarks.projection --json` starts that process (`chain.service.projector`) as a server does, beside the
records of `benchmarks.graph`, and asks as an auditor would who can call one tool: the first time, which hands the whole
record over in parts with pauses; again; again after a hundred records more; for the next page; and as of the past.

Seconds are those that whoever asks waits, so they depend on what else the machine does: the process is last in line.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import cast

import msgspec

from benchmarks.graph import COMMON, NOW, records
from chain.inquiry import Answer, Page, WhoCan
from chain.service.projector import Projector
from chain.watch import Line
from chain.watching import Watching

MEMORY, ROOM = 8 << 30, 4 << 20
"""Bytes of the process, and of an answer (a server's `max_message_bytes`)."""

MORE = 100


class Ledger:
    """What a projector reads: so many records of all that there are."""

    def __init__(self, size: int) -> None:
        """Hold the records of that many live delegations, the last hundred not told yet."""
        self._lines = [
            Line(one.revision, one.kind, one.time, msgspec.Raw(msgspec.json.encode(one.body))) for one in records(size)
        ]
        self.synced = len(self._lines) - MORE

    def lines(self, after: int, limit: int) -> tuple[list[Line], int]:
        """Return the records after a revision."""
        found = self._lines[after : min(after + limit, self.synced)]
        return found, after + len(found)


def measure(size: int) -> list[dict[str, float | int | str]]:
    """Return the rows of one size."""
    ledger = Ledger(size)
    projector = Projector(cast("Watching", ledger), MEMORY, ROOM)
    rows: list[dict[str, float | int | str]] = []

    def ask(what: str, now: float = NOW, **page: float | str) -> Answer:
        begin = time.perf_counter()
        found = projector.ask(WhoCan(COMMON), msgspec.convert(page, Page), now)
        rows.append({"live": size, "asked": what, "rows": found.total, "s": round(time.perf_counter() - begin, 3)})
        return found

    try:
        ask("the first time")
        ask("again", NOW + 1)
        ledger.synced += MORE
        found = ask(f"after {MORE} records more", NOW + 2)
        ask("for the next page", token=found.next)
        ask("as of the past", at=NOW - 5_000 + 50.0)
        rows.append({"live": size, "asked": "MB of memory", "rows": ledger.synced, "s": _taken(projector)})
    finally:
        projector.close()
        projector.end()
    return rows


def _taken(projector: Projector) -> int:
    """Return the megabytes of the process, as Linux tells them."""
    process = projector._process  # noqa: SLF001 - it has no other name
    if process is None:
        return 0
    told = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) // 1024 for line in told if line.startswith("VmRSS"))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="rows as one JSON array")
    parser.add_argument("--live", type=int, default=100_000, help="live delegations (1e5)")
    options = parser.parse_args()
    rows = measure(options.live)
    if options.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print(f"{row['live']:>8}  {row['asked']:<24} {row['rows']:>8}  {row['s']:>8}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
