"""How soon a revocation is told, and what watchers cost others: `python -m benchmarks.watch --json`.

The real server runs in a process of its own on a SQLite ledger (`benchmarks.service_host`), over unix sockets. Rows:

- `told_ms`: from the moment a revocation is acknowledged to its author until a stream that watches the chain has told
  that it does not stand; below 0 where the watcher knew first. One chain and one stream each.
- `record_ms`: the same for the `revoked` record, on a stream of the ledger.
- `step_us`: one `step` of a watched session, which asks nobody; and `asked_step_us`, which asks the server.
- `check_us`: a check of a read-class tool over one connection, with no stream open, with 31 that watch a chain, and
  with 31 that follow the ledger for `revoked` and `suspended`, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks import measure
from benchmarks.service_host import AUTHORITY, PEP, server
from chain import mint
from chain.client import Session, step
from chain.client.sync import Client
from chain.key import KeySigner
from chain.order import Issue, Revoke

GRANT = mint.grant({"tools": {"mail.read": {}}})
WATCHERS = 31  # and the one that `Room` lets a caller have beside them
QUICK = ("revoked", "suspended")


class Bench:
    """A server and the people who use it."""

    def __init__(self, place: dict[str, Any], agent: KeySigner) -> None:
        self.issuer = Client(f"unix:{place['issuer']}")
        self.point = Client(f"unix:{place['pep']}")
        self.agent = agent

    def root(self) -> str:
        """A chain that nobody watched yet."""
        return self.issuer.issue(Issue(holder=self.agent.key, grant=GRANT, lifetime=3600)).token

    def session(self, token: str, *, watch: bool = False) -> Session:
        """The agent's, at the enforcement point."""
        return Session(
            signer=self.agent, tokens=[token], audience=PEP, door=self.point, watch=watch, authority=AUTHORITY
        )

    def revoke(self, token: str) -> int:
        """Revoke, and return when that was acknowledged (ns)."""
        self.issuer.revoke(Revoke(mint.unverified(token).digest, "benchmark"))
        return time.perf_counter_ns()


def told(bench: Bench) -> int:
    """Nanoseconds from the acknowledgement to the end of a chain's stream."""
    token, at = bench.root(), 0
    ready = threading.Event()

    def follow() -> None:
        nonlocal at
        with bench.point.watch_chain([token]) as watch:
            for stand in watch:
                at = time.perf_counter_ns()
                assert stand.stands != ready.is_set()
                ready.set()

    thread = threading.Thread(target=follow)
    thread.start()
    ready.wait(10)
    acknowledged = bench.revoke(token)
    thread.join()
    return at - acknowledged


def recorded(bench: Bench) -> int:
    """Nanoseconds from the acknowledgement to the record on a stream of the ledger."""
    token = bench.root()
    with bench.point.watch(bench.point.revision(), QUICK) as watch:
        arrived: list[int] = []

        def wait() -> None:
            next(watch)
            arrived.append(time.perf_counter_ns())

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.02)
        acknowledged = bench.revoke(token)
        thread.join()
    return arrived[0] - acknowledged


@contextmanager
def watchers(bench: Bench, *, chains: bool) -> Iterator[None]:
    """As many streams as one caller may have, each read by a thread."""
    with ExitStack() as stack:
        token = bench.root()
        for _ in range(WATCHERS):
            watch: Any = bench.point.watch_chain([token]) if chains else bench.point.watch(0, QUICK)
            thread = threading.Thread(target=lambda watch=watch: [None for _ in watch])
            thread.start()
            stack.callback(thread.join)
            stack.callback(watch.close)
        time.sleep(0.5)
        yield


def checks(bench: Bench, samples: int) -> measure.Timing:
    """Checks one after the other."""
    session = bench.session(bench.root())
    taken = []
    for _ in range(samples):
        request = session.asking("mail.read", {})
        start = time.perf_counter_ns()
        assert bench.point.check(session.presented, request).allowed
        taken.append(time.perf_counter_ns() - start)
    return measure.timing(taken[samples // 10 :])


def steps(bench: Bench, samples: int, *, watch: bool) -> measure.Timing:
    """Steps of a session."""
    taken = []
    with bench.session(bench.root(), watch=watch):
        for _ in range(samples):
            start = time.perf_counter_ns()
            step()
            taken.append(time.perf_counter_ns() - start)
    return measure.timing(taken)


def ms(samples: list[int]) -> dict[str, float]:
    """Quantiles in milliseconds."""
    ordered = sorted(samples)
    return {"p50": measure.quantile(ordered, 0.5) / 1e6, "p99": measure.quantile(ordered, 0.99) / 1e6}


def us(timing: measure.Timing) -> dict[str, float]:
    """Quantiles in microseconds."""
    return {"p50": timing.p50_us, "p99": timing.p99_us}


def run(rounds: int) -> dict[str, Any]:
    """Everything."""
    agent = KeySigner.from_seed(os.urandom(32))
    with server(agent.key.to_json()) as place:
        bench = Bench(place, agent)
        measured: dict[str, Any] = {
            "told_ms": ms([told(bench) for _ in range(rounds)]),
            "record_ms": ms([recorded(bench) for _ in range(rounds)]),
            "step_us": us(steps(bench, 20 * rounds, watch=True)),
            "asked_step_us": us(steps(bench, rounds, watch=False)),
        }
        measured["check_us"] = {"nobody": us(checks(bench, 10 * rounds))}
        for name, chains in (("31 chains", True), ("31 of the ledger", False)):
            with watchers(bench, chains=chains):
                measured["check_us"][name] = us(checks(bench, 10 * rounds))
        measured["check_us"]["nobody again"] = us(checks(bench, 10 * rounds))
        return measured


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=100, help="revocations of each kind")
    args = parser.parse_args()
    measured = run(args.rounds)
    if args.json:
        print(json.dumps(measured))
        return
    for name, value in measured.items():
        print(f"{name:14} {json.dumps(value)}")


if __name__ == "__main__":
    main()
