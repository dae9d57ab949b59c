"""What a question of the graph costs: seconds for each, beside that many live delegations.

`python -m benchmarks.graph --json` folds records of delegations (trees as deep as eight hops, five percent of the
agents hold half of them, every second one has been used) and asks each question of `chain.graph` as an auditor would.

In the time of a question: what stands at its instant (`Forest`), all that it works out for itself, how many rows it
has, and the making of the first 200 of them as Python values, which is as many as `chain graph` prints; of an export,
its whole text. Not in it: starting Python, fetching and decoding the record, folding it (told apart as `fold`), and
printing rows as a table or as JSON. Every time is the median of some rounds, and in each the record is folded anew, so
that nothing is known from before. Seconds are those of the processor, as the machine may be shared, without
collections of garbage, which depend on what else a program holds.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from chain.auditor import Row
from chain.given import Entry
from chain.graph import choke, cut, difference, export, lineage, project, prov, reach, review
from chain.graph.forest import Forest
from chain.history import History
from chain.inquiry import Work

SIZES = (10_000, 100_000)
NOW = 1_000_000
DEEPEST = 8
TOOLS = 40
SHOWN = 200
COMMON = "tool-0"
"""A tool that every delegation grants: the most that a question about one tool can meet."""


def records(size: int, seed: int = 7) -> Iterator[Entry]:
    """Yield the records of that many live delegations, and of half as many calls."""
    dice = random.Random(seed)
    agents, revision = max(size // 20, 4), 0

    def entry(kind: str, body: dict[str, Any]) -> Entry:
        nonlocal revision
        revision += 1
        return Entry(revision, kind, (NOW - 5_000) * 1_000 + revision, body)

    for number in range(agents):
        principal = {"id": f"spiffe://bench.example/agent/{number}", "kind": "agent", "owner": "team", "under": None}
        yield entry("enrolled", {"holder": f"key-{number}", "principal": principal, "caller": "ops"})
    for mode in ("suspended", "quarantined"):  # of nobody who holds anything, but every delegation has to be asked
        name = f"spiffe://bench.example/{mode}"
        yield entry("suspended", {"scope": "agent", "name": name, "mode": mode, "until": 0, "cause": ""})
    yield entry("revoked", {"kind": "holder", "name": "nobody", "cause": ""})
    given: list[tuple[str, int, str, list[str], int, int]] = []
    for number in range(size):
        above = dice.choice(given) if given and dice.random() > 0.02 else None
        if above is not None and above[1] >= DEEPEST:
            above = None
        busy = dice.random() < 0.5
        root = number if above is None else above[5]
        own = dice.randrange(root * 37 % agents, agents)  # most trees have agents of their own
        holder = f"key-{dice.randrange(max(agents // 20, 1)) if busy else min(own, root * 37 % agents + 50)}"
        first = [COMMON, *(f"tool-{one}" for one in dice.sample(range(1, TOOLS), 6))]
        kept = first if above is None else above[3][: max(len(above[3]) - 1, 1)]
        top = 1_000 if above is None else above[4] - 1
        name, task = f"delegation-{number:07d}", f"task-{number % 997}"
        body = {
            "id": name,
            "parent": None if above is None else above[0],
            "holder": holder,
            "hop": 0 if above is None else above[1] + 1,
            "issuer": "https://issuer.example",
            "signer": "issuer-key" if above is None else above[2],
            "iat": NOW - 4_000,
            "exp": NOW + 4_000,
            "facts": {"txn": task, "sub": "alice", "owner": "team"},
            "grant": {
                "tools": {tool: {"amount": {"constraint_type": "range", "max": top}} for tool in kept},
                "limits": {"classes": ["read", "act"], "purposes": ["work"]},
            },
            "caller": "bench",
        }
        yield entry("issued" if above is None else "delegated", body)
        given.append((name, 0 if above is None else above[1] + 1, holder, kept, top, root))
    for number in range(0, size, 2):
        name, hop, holder, tools, _, _ = given[number]
        body = {
            "id": f"decision-{number}",
            "effect": "ALLOW",
            "reason": "allowed",
            "tool": tools[0],
            "class": "act",
            "target": "bank",
            "arguments": "",
            "leaf": name,
            "depth": hop,
            "holder": holder,
            "caller": "pep",
        }
        yield entry("decided", body)


def questions(known: Forest) -> dict[str, Callable[[Forest], int]]:
    """Name of a question -> asks a forest, and returns how many rows it had.

    Args:
        known: where whom to ask about is chosen: the busiest agent, two that hold least, a deepest delegation.
    """
    agent = max(known.agents, key=lambda name: len(known.agents[name]))
    others = sorted(known.agents, key=lambda name: len(known.agents[name]))
    deep = max(known.live.values(), key=lambda one: one.hop)
    root = deep.chain[0]

    def count(rows: Sequence[Row]) -> int:
        assert all(row["record"] for row in rows[:SHOWN])
        return len(rows)

    def least(forest: Forest) -> int:
        found = cut.least(forest, Work(agent, COMMON), [Work(others[0], COMMON), Work(others[1], COMMON)])
        return count(cut.rows(forest, found))

    def drawn(forest: Forest, write: Callable[..., str]) -> int:
        ones, _ = project.chosen(forest, None)
        text = write(forest, ones) if write is prov.document else write(project.project(forest, ones))
        assert text
        return len(ones)

    return {
        "lineage": lambda forest: count(lineage.lineage(forest, deep.id)),
        "lineage of an agent": lambda forest: count(lineage.lineage(forest, agent)),
        "who can": lambda forest: count(reach.who_can(forest, COMMON)),
        "who can, of one call": lambda forest: count(reach.who_can(forest, COMMON, arguments={"amount": 990})),
        "what can": lambda forest: count(reach.what_can(forest, agent)),
        "blast of a root": lambda forest: count(lineage.blast(forest, root.id)),
        "blast of an agent": lambda forest: count(lineage.blast(forest, agent)),
        "blast of the issuer's key": lambda forest: count(lineage.blast(forest, "issuer-key")),
        "least cut": least,
        "choke points": lambda forest: count(choke.chokepoints(forest)),
        "access review": lambda forest: count(review.review(forest)),
        "diff of two instants": lambda forest: count(difference.since(Forest(History(), 0), forest)),
        "export 2,000 as DOT": lambda forest: drawn(forest, export.dot),
        "export 2,000 as GraphML": lambda forest: drawn(forest, export.graphml),
        "export 2,000 as PROV-JSON": lambda forest: drawn(forest, prov.document),
    }


def measure(size: int, rounds: int) -> list[dict[str, float | int | str]]:
    """Return the rows of one size: seconds of each question, each asked of ledgers that were read for it alone."""
    rows: list[dict[str, float | int | str]] = []
    names = list(questions(Forest(History(records(100)), NOW)))
    entries, folds = list(records(size)), list[float]()
    for name in names:
        asked = [_once(entries, name) for _ in range(rounds)]
        folded, stood, taken = (median(times) for times in list(zip(*asked, strict=True))[1:])
        folds.append(folded)
        rows.append(
            {"live": size, "question": name, "rows": asked[0][0], "s": round(taken, 3), "stand_s": round(stood, 3)}
        )
    rows.append({"live": size, "question": "fold", "rows": len(entries), "s": round(median(folds), 3), "stand_s": 0.0})
    return rows


def _once(entries: Sequence[Entry], name: str) -> tuple[int, float, float, float]:
    """Return how many rows a question has, and the seconds of the fold, of what stands, and of all but the fold."""
    gc.collect()
    gc.disable()
    begin = time.process_time()
    history = History(entries)
    folded = time.process_time() - begin
    gc.enable()
    ask = questions(Forest(history, NOW))[name]
    gc.collect()
    gc.disable()
    begin = time.process_time()
    forest = Forest(history, NOW)  # anew: what the other one was asked is not known to it
    stood = time.process_time() - begin
    found = ask(forest)
    taken = time.process_time() - begin
    gc.enable()
    return found, folded, stood, taken


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="rows as one JSON array")
    parser.add_argument("--live", type=int, action="append", help="live delegations; may repeat (1e4 1e5)")
    parser.add_argument("--rounds", type=int, default=5, help="a time is the median of so many (5)")
    options = parser.parse_args()
    rows = [row for size in options.live or SIZES for row in measure(size, options.rounds)]
    if options.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print(f"{row['live']:>8}  {row['question']:<28} {row['rows']:>8} rows  {row['s']:>7} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
