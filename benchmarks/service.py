"""What the service costs beside an empty call: `python -m benchmarks.service --json`.

The real server runs in a process of its own on a SQLite ledger (`benchmarks.service_host`), the callers in this one,
over unix sockets. Unary latencies are of one caller that waits for each answer, in turns with the empty call; the
messages are made beforehand, so that what is timed is the call. `server_cpu_us` is the server process's own CPU time
a call. Rows:

- `empty`: a unary call that does nothing, same process, same loop, same kind of socket.
- `check_channel`: a read-class tool, the holder proven by the channel, a chain of 4 known tokens named by its tokens.
- `check_digest`: the same, the chain named by its digest.
- `check_proof`: the same with a signed proof.
- `check_act`: an act-class tool; its record is synced to disk before the answer.
- `stream`: `check_channel` over CheckStream, one at a time.
- `batch_100`: checks a second in batches of 100, beside unary checks a second.
- `delegate_10`: durable `Delegate` a second, 10 callers that each wait for their answer.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import grpc

from benchmarks import measure
from benchmarks.service_host import AUTHORITY, EMPTY, PEP, server
from chain import jcs, mint, proof
from chain.base64url import b64encode
from chain.client.sync import Client
from chain.delegation import Delegation
from chain.key import KeySigner
from chain.order import Issue
from chain.v1 import authorization_pb2 as pb
from chain.v1 import authorization_pb2_grpc as stubs
from chain.v1 import decision_pb2, delegation_pb2, delegation_pb2_grpc

DEPTH = 4
CALLERS = 10
LIFETIME = 3600
GRANT = {
    "tools": {
        "mail.read": {"folder": {"constraint_type": "one_of", "values": ["inbox", "sent"]}},
        "mail.send": {"to": {"constraint_type": "exact", "value": "bob@example.com"}},
    }
}
ALLOW = decision_pb2.EFFECT_ALLOW
READ, ACT = ("mail.read", {"folder": "inbox"}), ("mail.send", {"to": "bob@example.com"})

_serial = count(1)


def fresh() -> str:
    """A proof's jti or a request id that nobody used."""
    return f"{os.urandom(9).hex()}-{next(_serial)}"


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Caller:
    """One agent with a chain that the server knows, and the messages it sends."""

    def __init__(self, place: dict[str, Any], agent: KeySigner) -> None:
        self.agent = agent
        self.channel = grpc.insecure_channel(f"unix:{place['agent']}")
        self.stub = stubs.AuthorizationServiceStub(self.channel)
        self.delegations = delegation_pb2_grpc.DelegationServiceStub(self.channel)
        self.empty: grpc.UnaryUnaryMultiCallable[bytes, bytes] = grpc.insecure_channel(
            f"unix:{place['empty']}"
        ).unary_unary(EMPTY)
        with Client(f"unix:{place['issuer']}") as issuer:
            root = issuer.issue(Issue(holder=agent.key, grant=mint.grant(GRANT), lifetime=LIFETIME, max_depth=32))
        self.tokens = [root.token]
        while len(self.tokens) < DEPTH:
            self.tokens.append(self.child(self.leaf))

    @property
    def leaf(self) -> Delegation:
        """The last delegation."""
        return mint.unverified(self.tokens[-1])

    def child(self, parent: Delegation) -> str:
        """One more hop, to the same holder."""
        jti = mint.uuid7(time.time(), os.urandom(10))
        claims = mint.child_claims(
            parent, mint.grant(GRANT), self.agent.key, jti=jti, now=int(time.time()), lifetime=LIFETIME
        )
        return mint.derive(parent, claims, self.agent)

    def message(
        self, call: tuple[str, dict[str, str]], *, by: str = "channel", digest: bool = False
    ) -> pb.CheckRequest:
        """One request; `by` says how the holder is shown."""
        tool, arguments = call
        leaf = self.leaf
        request = pb.CheckRequest(tool=tool, arguments_json=jcs.dumps(arguments))
        if digest:
            request.chain.digest = leaf.digest
        else:
            request.chain.tokens.extend(token.encode() for token in self.tokens)
        if by == "proof":
            made = proof.make(self.agent, leaf, tool, arguments, audience=PEP, jti=fresh(), iat=int(time.time()))
            request.proof = made.encode()
        else:
            request.channel = True
            request.request_id = fresh()
        return request


def must_allow(reply: pb.CheckResponse) -> None:
    """A refusal is not what is timed."""
    assert reply.decision.effect == ALLOW, reply


def unary(caller: Caller, rounds: int) -> dict[str, Callable[[int], object]]:
    """The unary calls, each with messages of its own."""
    kinds: dict[str, list[pb.CheckRequest]] = {
        "check_channel": [caller.message(READ)] * rounds,
        "check_digest": [caller.message(READ, digest=True)] * rounds,
        "check_proof": [caller.message(READ, by="proof") for _ in range(rounds)],
        "check_act": [caller.message(ACT) for _ in range(rounds)],
    }
    calls: dict[str, Callable[[int], object]] = {"empty": lambda _index: caller.empty(b"")}
    for name, messages in kinds.items():
        calls[name] = lambda index, messages=messages: must_allow(caller.stub.Check(messages[index]))  # type: ignore[misc]
    return calls


def latencies(caller: Caller, pid: int, rounds: int) -> list[dict[str, Any]]:
    """One row a unary call, with the server's CPU time of each measured apart."""
    warmup = 50
    timed = measure.take_turns(unary(caller, rounds + warmup), rounds=rounds, warmup=warmup)
    rows = []
    for name, call in unary(caller, rounds).items():
        begin = cpu_seconds(pid)
        for index in range(rounds):
            call(index)
        cpu = (cpu_seconds(pid) - begin) / rounds * 1e6
        p50, p99 = timed[name].p50_us, timed[name].p99_us
        ratio = round(p50 / timed["empty"].p50_us, 2)
        rows.append(
            {
                "call": name,
                "p50_us": round(p50, 1),
                "p99_us": round(p99, 1),
                "x_empty": ratio,
                "server_cpu_us": round(cpu),
            }
        )
    return rows


def stream(caller: Caller, rounds: int) -> dict[str, Any]:
    """Sequential checks over one stream."""
    message = caller.message(READ)
    ready, sent = threading.Semaphore(0), count(1)

    def messages() -> Iterator[pb.CheckStreamRequest]:
        for number in sent:
            ready.acquire()
            if number > rounds + 50:
                return
            yield pb.CheckStreamRequest(correlation_id=number, check=message)

    samples = []
    answers = caller.stub.CheckStream(messages())
    for index in range(rounds + 50):
        begin = time.perf_counter_ns()
        ready.release()
        answer = next(answers)
        taken = time.perf_counter_ns() - begin
        assert answer.decision.effect == ALLOW, answer
        if index >= 50:
            samples.append(taken)
    ready.release()
    timing = measure.timing(samples)
    return {"call": "stream", "p50_us": round(timing.p50_us, 1), "p99_us": round(timing.p99_us, 1)}


def batches(caller: Caller, seconds: float) -> dict[str, Any]:
    """Checks a second, in batches of 100 and one by one, in turns."""
    one = caller.message(READ)
    batch = pb.BatchCheckRequest(chain=one.chain)
    for _ in range(100):
        item = batch.items.add()
        item.CopyFrom(one)
        item.ClearField("chain")
    done = {"batch": 0, "unary": 0}
    spent = {"batch": 0.0, "unary": 0.0}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        reply = caller.stub.BatchCheck(batch)
        spent["batch"] += time.perf_counter() - begin
        assert all(result.decision.effect == ALLOW for result in reply.results), reply
        done["batch"] += len(reply.results)
        begin = time.perf_counter()
        for _ in range(20):
            caller.stub.Check(one)
        spent["unary"] += time.perf_counter() - begin
        done["unary"] += 20
    per_second = {name: round(done[name] / spent[name]) for name in done}
    ratio = round(per_second["batch"] / per_second["unary"], 1)
    return {
        "call": "batch_100",
        "checks_per_s": per_second["batch"],
        "unary_per_s": per_second["unary"],
        "x_unary": ratio,
    }


def delegations(caller: Caller, pid: int, each: int) -> dict[str, Any]:
    """Durable delegations a second, with children signed beforehand."""
    parent = mint.unverified(caller.tokens[0])
    made = [[_delegate(caller, parent) for _ in range(each)] for _ in range(CALLERS)]

    def work(messages: list[delegation_pb2.DelegateRequest]) -> None:
        for message in messages:
            reply = caller.delegations.Delegate(message)
            assert reply.HasField("delegation"), reply

    work([_delegate(caller, parent) for _ in range(20)])
    threads = [threading.Thread(target=work, args=(messages,)) for messages in made]
    begin, cpu = time.perf_counter(), cpu_seconds(pid)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - begin
    total = each * CALLERS
    used = (cpu_seconds(pid) - cpu) / total * 1e6
    return {"call": "delegate_10", "per_s": round(total / spent), "server_cpu_us": round(used)}


def _delegate(caller: Caller, parent: Delegation) -> delegation_pb2.DelegateRequest:
    child = caller.child(parent)
    made = proof.make(
        caller.agent,
        parent,
        proof.DELEGATE,
        {"child": b64encode(mint.unverified(child).digest)},
        audience=AUTHORITY,
        jti=fresh(),
        iat=int(time.time()),
    )
    request = delegation_pb2.DelegateRequest(child=child.encode(), proof=made.encode(), idempotency_key=fresh())
    request.parent.tokens.append(caller.tokens[0].encode())
    return request


def main() -> int:
    """Run everything once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="rows as one JSON array")
    parser.add_argument("--rounds", type=int, default=1000, help="samples of each unary call")
    options = parser.parse_args()
    agent = KeySigner.from_seed(os.urandom(32))
    with server(agent.key.to_json()) as place:
        caller = Caller(place, agent)
        rows = latencies(caller, place["pid"], options.rounds)
        rows.append(stream(caller, options.rounds))
        rows.append(batches(caller, options.rounds / 500))
        rows.append(delegations(caller, place["pid"], options.rounds // 5))
    if options.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print("  ".join(f"{name} {value}" for name, value in row.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
