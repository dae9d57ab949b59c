"""What mutual TLS costs: `python -m benchmarks.mtls`.

One authority on a SQLite ledger answers at three doors of one process (`benchmarks.mtls_host`): `plain` (loopback, no
TLS, a secret), `tls` (the server's certificate, a secret) and `mtls` (X.509-SVIDs of a development authority). The same
enforcement point sends the same message to each, a read over a chain of one known token whose holder it vouches for.
One caller waits for each answer. Rows:

- `connect`: a new connection and the first check on it. At `mtls` each connection shows an SVID that the server never
  saw before; `mtls_known` shows one that it verified already, as a client does that connects again.
- `check`: a check on an open connection, in turns of some calls. At `mtls_holder` the holder itself calls, and its
  channel proves it.

`ratio` is against the door that `beside` names; `limit` is what this project promises of it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import grpc

from benchmarks import measure
from benchmarks.mtls_host import ALICE, DOMAIN, ISSUER_ID, SECRET, server
from chain import mint
from chain.claims import Confirmation
from chain.client.sync import Client
from chain.identity.devca import DevAuthority
from chain.identity.material import Material, Svid, TrustBundle
from chain.identity.own import from_der
from chain.order import Issue
from chain.request import Request
from chain.v1 import authorization_pb2 as pb
from chain.v1 import authorization_pb2_grpc as stubs
from chain.v1 import decision_pb2
from chain.wire import convert

BESIDE = {"connect": "plain", "check": "tls"}
"""Kind of call -> the door that the others are compared with."""

LIMITS = {("connect", "mtls"): 3.0, ("check", "mtls"): 1.1}
"""What is promised: at most so many times as long."""

GRANT = {"tools": {"mail.read": {"folder": {"constraint_type": "exact", "value": "inbox"}}}}
BEARER = (("authorization", f"Bearer {SECRET}"),)
OPTIONS = (("grpc.use_local_subchannel_pool", 1),)  # or a new channel would take an open connection
WARMUP = 10

_serial = count(1)


class Known:
    """A source that holds one SVID, for a client of the library."""

    def __init__(self, svid: Svid, bundle: TrustBundle) -> None:
        self._material = Material(svid, {bundle.trust_domain: bundle}, 1)

    def current(self) -> Material:
        """Return it."""
        return self._material

    def close(self) -> None:
        """Nothing is followed."""


class Doors:
    """The doors of a running server, and what is sent to them."""

    def __init__(self, places: Mapping[str, str], authority: DevAuthority) -> None:
        self._places, self._authority = places, authority
        self._bundle = TrustBundle(DOMAIN, authority.authorities)
        identity = Known(self.svid(ISSUER_ID), self._bundle)
        order = Issue(holder=Confirmation(spiffe=ALICE), grant=mint.grant(GRANT), lifetime=600)
        with Client(self._named("mtls"), identity=identity) as issuer:
            self._tokens = [issuer.issue(order).token]

    def svid(self, name: str = "") -> Svid:
        """An SVID that nobody has seen; of an enforcement point where no id is named."""
        leaf = self._authority.leaf(name or f"spiffe://{DOMAIN}/gateways/{next(_serial)}")
        return from_der(leaf.certificate, leaf.key)

    def open(self, door: str, shown: Svid | None = None) -> grpc.Channel:
        """A channel of its own to a door."""
        if door == "plain":
            return grpc.insecure_channel(self._places[door], OPTIONS)
        pair = (None, None) if shown is None else (shown.key, shown.chain)
        credentials = grpc.ssl_channel_credentials(self._bundle.pem, *pair)
        return grpc.secure_channel(self._named(door), credentials, OPTIONS)

    def message(self, *, vouched: bool = True) -> pb.CheckRequest:
        """A question that the enforcement point asks for the holder, or the holder itself."""
        facts = {"spiffe": ALICE} if vouched else {"request_id": f"benchmark-{next(_serial):08}"}
        request = Request(tool="mail.read", arguments={"folder": "inbox"}, **facts)
        return convert.check_to(self._tokens, request, channel=not vouched)

    def _named(self, door: str) -> str:
        return f"localhost:{self._places[door].rpartition(':')[2]}"


def ask(channel: grpc.Channel, door: str, message: pb.CheckRequest) -> None:
    """Check once; a refusal is not what is timed."""
    metadata = None if door == "mtls" else BEARER
    reply = stubs.AuthorizationServiceStub(channel).Check(message, timeout=10, metadata=metadata)
    assert reply.decision.effect == decision_pb2.EFFECT_ALLOW, reply


def connects(doors: Doors, rounds: int) -> dict[str, measure.Timing]:
    """New connections, one to each door in turns; they are closed when all was timed."""
    known, total = doors.svid(), rounds + WARMUP
    shown: dict[str, tuple[str, list[Svid | None]]] = {
        "plain": ("plain", [None] * total),
        "tls": ("tls", [None] * total),
        "mtls": ("mtls", [doors.svid() for _ in range(total)]),
        "mtls_known": ("mtls", [known] * total),
    }
    message, names = doors.message(), list(shown)
    samples: dict[str, list[int]] = {name: [] for name in names}
    for index in range(total):
        first = index % len(names)
        opened = []
        for name in names[first:] + names[:first]:
            door, svids = shown[name]
            begin = time.perf_counter_ns()
            channel = doors.open(door, svids[index])
            ask(channel, door, message)
            taken = time.perf_counter_ns() - begin
            opened.append(channel)
            if index >= WARMUP:
                samples[name].append(taken)
        for channel in opened:
            channel.close()
    return {name: measure.timing(taken) for name, taken in samples.items()}


def checks(doors: Doors, rounds: int) -> dict[str, measure.Timing]:
    """Checks on open connections."""
    message, own = doors.message(), [doors.message(vouched=False) for _ in range(rounds + WARMUP)]
    asked: dict[str, Callable[[int], pb.CheckRequest]] = {
        "plain": lambda _index: message,
        "tls": lambda _index: message,
        "mtls": lambda _index: message,
        "mtls_holder": own.__getitem__,
    }
    shown = {"mtls": doors.svid(), "mtls_holder": doors.svid(ALICE)}
    channels = {name: doors.open(name.partition("_")[0], shown.get(name)) for name in asked}

    def call(name: str) -> measure.Call:
        check = stubs.AuthorizationServiceStub(channels[name]).Check
        metadata = None if name in shown else BEARER

        def one(index: int) -> None:
            reply = check(asked[name](index), metadata=metadata)
            assert reply.decision.effect == decision_pb2.EFFECT_ALLOW, reply

        return one

    timed = measure.take_turns({name: call(name) for name in asked}, rounds=rounds, warmup=WARMUP, seconds=300)
    for channel in channels.values():
        channel.close()
    return timed


def rows(kind: str, timed: Mapping[str, measure.Timing]) -> list[dict[str, Any]]:
    """One row a door."""
    beside = timed[BESIDE[kind]].p50_us
    return [
        {
            "call": kind,
            "door": name,
            "p50_us": round(one.p50_us, 1),
            "p99_us": round(one.p99_us, 1),
            "beside": BESIDE[kind],
            "ratio": round(one.p50_us / beside, 3),
            "limit": LIMITS.get((kind, name)),
        }
        for name, one in timed.items()
    ]


def run(connections: int, calls: int) -> list[dict[str, Any]]:
    """Measure once.

    Args:
        connections: samples of a new connection at each door.
        calls: samples of a check at each door.
    """
    authority = DevAuthority(DOMAIN, time.time, 3600)
    with server(authority) as places:
        doors = Doors(places, authority)
        return [*rows("connect", connects(doors, connections)), *rows("check", checks(doors, calls))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="rows as one JSON array")
    parser.add_argument("--connections", type=int, default=400, help="samples of a new connection at each door")
    parser.add_argument("--calls", type=int, default=4000, help="samples of a check at each door")
    options = parser.parse_args(arguments)
    found = run(options.connections, options.calls)
    if options.json:
        print(json.dumps(found))
    else:
        for row in found:
            print("  ".join(f"{name} {value}" for name, value in row.items() if value is not None))
    return 0


if __name__ == "__main__":
    sys.exit(main())
