"""Latency of one check by the length of its chain, beside the peers, in one run.

`python -m benchmarks.hops --json` prints rows `{"engine","mode","depth","p50_us","p99_us","bytes"}`
as one JSON array; without `--json` a table with ratios to tenuo. Depth = tokens presented.

cold: a chain never seen, with a proof · new_hop: its parent is known, its leaf is not, with a proof
· warm: seen before, with a proof · warm_channel: seen before, the holder is proven by the channel.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from benchmarks import measure, peers, scenario
from benchmarks.engine import ChainEngine
from benchmarks.scenario import Engine, Unfit, Workload

CALLS = 300
WARMUP = 30
REFERENCE = "tenuo"

# tenuo has no channel-proven holder; its nearest answer to that mode is its parsed path.
REFERENCE_MODE = {mode: mode for mode in scenario.MODES} | {scenario.WARM_CHANNEL: scenario.WARM}


@dataclass(frozen=True, slots=True)
class Row:
    """One cell: microseconds, and bytes of tokens and proof on the wire."""

    engine: str
    mode: str
    depth: int
    p50_us: float
    p99_us: float
    bytes: int


def engines() -> tuple[list[Engine], list[str]]:
    """What is compared here, and the distributions that are not installed."""
    others, missing = peers.available()
    return [ChainEngine(), *others], missing


def run(compared: Sequence[Engine], *, depths: Iterable[int] = scenario.DEPTHS, calls: int = CALLS) -> list[Row]:
    """Times every mode at every depth, the engines in turns.

    Raises:
        Unfit: an engine allowed what it must refuse, or refused what it must allow.
    """
    rows: list[Row] = []
    for mode in scenario.MODES:
        able = [engine for engine in compared if mode in engine.modes]
        for depth in depths if able else ():
            rows.extend(_cell(able, mode, depth, calls))
    return rows


def _cell(able: Sequence[Engine], mode: str, depth: int, calls: int) -> list[Row]:
    prepared = {engine.name: engine.prepare(mode, depth, calls + WARMUP) for engine in able}
    for name, workload in prepared.items():
        _require_denials(name, workload)
    timings = measure.take_turns(
        {name: workload.call for name, workload in prepared.items()}, rounds=calls, warmup=WARMUP
    )
    return [
        Row(
            engine=name,
            mode=mode,
            depth=depth,
            p50_us=round(timing.p50_us, 1),
            p99_us=round(timing.p99_us, 1),
            bytes=prepared[name].bytes,
        )
        for name, timing in timings.items()
    ]


def _require_denials(name: str, workload: Workload) -> None:
    """An engine that says yes to everything is fast; it is not measured."""
    for twin, refused in workload.denied.items():
        if not refused():
            raise Unfit(f"{name} allowed a call that it must refuse: {twin}")


def table(rows: Sequence[Row]) -> str:
    """The rows for people, with each p50 as a ratio to tenuo's."""
    reference = {(row.mode, row.depth): row.p50_us for row in rows if row.engine == REFERENCE}
    head = f"{'mode':<13}{'depth':>5}  {'engine':<9}{'p50 us':>9}{'p99 us':>9}{'bytes':>8}"
    lines = [f"{head}  x {REFERENCE}"]
    for row in rows:
        base = reference.get((REFERENCE_MODE[row.mode], row.depth))
        ratio = f"{row.p50_us / base:.2f}" if base else "-"
        lines.append(
            f"{row.mode:<13}{row.depth:>5}  {row.engine:<9}{row.p50_us:>9.1f}{row.p99_us:>9.1f}"
            f"{row.bytes:>8}  {ratio:>7}"
        )
    lines.append("warm_channel is set against tenuo's warm; biscuit never proves a holder")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hops", description=__doc__)
    parser.add_argument("--json", action="store_true", help="rows as one JSON array")
    parser.add_argument("--calls", type=int, default=CALLS, help="samples a cell (%(default)s)")
    parser.add_argument("--depth", type=int, action="append", help="tokens presented; may repeat (1 2 4 8 16 32)")
    options = parser.parse_args(arguments)
    compared, missing = engines()
    for distribution in missing:
        print(f"not installed, left out: {distribution} (extra `bench`)", file=sys.stderr)
    rows = run(compared, depths=options.depth or scenario.DEPTHS, calls=options.calls)
    if options.json:
        print("[\n" + ",\n".join(json.dumps(asdict(row)) for row in rows) + "\n]")
    else:
        print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
