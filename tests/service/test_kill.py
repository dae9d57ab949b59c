"""kill -9 under load, again and again: nothing that was acknowledged is gone, and nothing used is good again."""

import asyncio
import contextlib
import hashlib
import json
import os
import random
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from chain import mint
from chain.order import Issue, Revoke
from chain.reason import Reason
from chain.store.sqlite import SqliteStore
from chain.v1 import delegation_pb2
from chain.wire import convert

from .conftest import GRANT, KEYS, Stub, ask, bearer, configuration

ROUNDS = 3
SEED = 20261123
VICTIM = Path(__file__).with_name("victim.py")


@dataclass
class Acknowledged:
    """What the server said it had done."""

    roots: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    paid: list[tuple[str, str]] = field(default_factory=list)
    decisions: set[str] = field(default_factory=set)


async def started(settings: Path, ledger: Path) -> tuple[asyncio.subprocess.Process, str]:
    seed = hashlib.sha256(b"issuer").hexdigest()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(VICTIM), str(settings), str(ledger), seed, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    address = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()
    assert address
    return process, address


async def work(channel: grpc.aio.Channel, alice: grpc.aio.Channel, known: Acknowledged, worker: int) -> None:
    """Issue, pay, read and revoke until the server is gone."""
    issuer, operator, agent = Stub(channel, bearer("issuer")), Stub(channel, bearer("operator")), Stub(alice, ())
    number = 0
    with contextlib.suppress(grpc.aio.AioRpcError):
        while True:
            number += 1
            key = f"{worker}-{number}-{os.urandom(6).hex()}"
            order = Issue(holder=KEYS["alice"].key, grant=GRANT, lifetime=600)
            root = (await issuer.Issue(convert.issue_to(order, key))).token.decode()
            known.roots.append(root)
            request_id = os.urandom(12).hex()
            pay = ask([root], "bank.pay", arguments={"amount": 1}, channel=True, request_id=request_id)
            for message in (pay, ask([root], channel=True)):
                decision = convert.decision_from((await agent.Check(message)).decision)
                assert decision.allowed
                known.decisions.add(decision.id)
                if message is pay:
                    known.paid.append((root, request_id))
            if number % 2:
                revoke = Revoke(mint.unverified(root).digest, "end")
                await operator.Revoke(convert.revoke_to(revoke, None, None, key))
                known.revoked.append(root)


async def verify(channel: grpc.aio.Channel, alice: grpc.aio.Channel, known: Acknowledged) -> None:
    auditor, agent = Stub(channel, bearer("auditor")), Stub(alice, ())
    for root in known.roots:
        digest = mint.unverified(root).digest
        assert (
            await auditor.GetDelegation(delegation_pb2.GetDelegationRequest(digest=digest))
        ).delegation.digest == digest
    for root, request_id in known.paid:
        again = ask([root], "bank.pay", arguments={"amount": 1}, channel=True, request_id=request_id)
        assert convert.decision_from((await agent.Check(again)).decision).reason is Reason.REPLAY
    for root in known.roots:
        decision = convert.decision_from((await agent.Check(ask([root], channel=True))).decision)
        if root in known.revoked:
            assert decision.reason is Reason.REVOKED
        known.decisions.add(decision.id)


async def test_nothing_acknowledged_is_lost(directory: Path, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    changes = configuration(directory)
    settings, ledger = directory / "settings.json", tmp_path / "ledger"
    settings.write_text(json.dumps(changes, default=str))
    known = Acknowledged()
    for _ in range(ROUNDS):
        process, address = await started(settings, ledger)
        async with (
            grpc.aio.insecure_channel(address) as channel,
            grpc.aio.insecure_channel(f"unix:{directory / 'sockets' / 'alice/chain.sock'}") as alice,
        ):
            await verify(channel, alice, known)
            workers = [asyncio.create_task(work(channel, alice, known, worker)) for worker in range(4)]
            await asyncio.sleep(chance.uniform(0.15, 0.5))
            process.send_signal(signal.SIGKILL)
            assert await process.wait() == -signal.SIGKILL
            await asyncio.gather(*workers)
    assert len(known.roots) > ROUNDS
    assert known.revoked
    process, address = await started(settings, ledger)
    async with (
        grpc.aio.insecure_channel(address) as channel,
        grpc.aio.insecure_channel(f"unix:{directory / 'sockets' / 'alice/chain.sock'}") as alice,
    ):
        await verify(channel, alice, known)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    store = SqliteStore(ledger)
    kept, start = set(), 1
    while records := store.records(start, 1000):
        kept |= {body["body"].get("id") for body in map(json.loads, (data for data, _ in records))}
        start = json.loads(records[-1][0])["revision"] + 1
    store.close()
    assert known.decisions <= kept
