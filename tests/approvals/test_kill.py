"""kill -9 under load, again and again: no approval is used twice, and none that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chain.client import AsyncClient
from chain.errors import ChainError
from chain.mint import grant
from chain.order import Issue
from chain.store.sqlite import SqliteStore
from tests.approvals.office import ANN, BEN
from tests.approvals.served import paying
from tests.client.running import secret
from tests.support import ALICE, HOME, TOOLS

SEED = 20261126


@dataclass
class Known:
    """What the server acknowledged, by amount: each payment of a test has an amount of its own."""

    next: int = 0
    approved: set[float] = field(default_factory=set)
    tried: set[float] = field(default_factory=set)
    paid: Counter[float] = field(default_factory=Counter)

    def amount(self) -> float:
        self.next += 1
        return self.next / 100


async def started(directory: Path, ledger: Path) -> tuple[asyncio.subprocess.Process, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.approvals.served", directory, ledger, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    address = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()
    assert address
    return process, address


async def pay(agent: AsyncClient, tokens: list[str], known: Known, amount: float, times: int) -> None:
    """Ask several times at once."""
    known.tried.add(amount)

    async def once() -> None:
        if (await agent.check(tokens, paying(tokens, amount))).allowed:
            known.paid[amount] += 1

    await asyncio.gather(*(once() for _ in range(times)))


async def work(agent: AsyncClient, desk: AsyncClient, tokens: list[str], known: Known) -> None:
    """Ask, let two people approve, and pay, until the server is gone."""
    with contextlib.suppress(ChainError):
        while True:
            amount = known.amount()
            decision = await agent.check(tokens, paying(tokens, amount))
            assert decision.awaits is not None, str(decision)
            asked = await desk.approvals.get(decision.awaits.request_id)
            await desk.approvals.approve(asked, ANN, HOME)
            await desk.approvals.approve(asked, BEN, HOME)
            known.approved.add(amount)
            if random.Random(amount).random() < 0.7:
                await pay(agent, tokens, known, amount, 3)


async def verify(agent: AsyncClient, tokens: list[str], known: Known) -> None:
    for amount in sorted(known.approved):
        await pay(agent, tokens, known, amount, 2)
    assert max(known.paid.values(), default=0) <= 1


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")  # short, for the sockets


async def test_no_approval_is_used_twice(directory: Path, tmp_path: Path) -> None:
    await run(directory, tmp_path / "ledger", 3)


@pytest.mark.slow
@pytest.mark.skipif("'slow' not in config.option.markexpr", reason="the long run: -m slow")
@pytest.mark.timeout(600)
async def test_no_approval_is_used_twice_for_long(directory: Path, tmp_path: Path) -> None:
    await run(directory, tmp_path / "ledger", 20)


async def run(directory: Path, ledger: Path, rounds: int) -> None:
    known, chance = Known(), random.Random(SEED)
    tokens: list[str] = []
    for number in range(rounds + 1):
        process, address = await started(directory, ledger)
        async with (
            AsyncClient(address, secret("agent"), timeout=20) as agent,
            AsyncClient(address, secret("desk"), timeout=2) as desk,
            AsyncClient(address, secret("issuer"), timeout=20) as issuer,
        ):
            if not tokens:
                order = Issue(holder=ALICE.key, grant=grant({"tools": TOOLS}), lifetime=600)
                tokens = [(await issuer.issue(order)).token]
            fresh = known.approved - known.tried
            await verify(agent, tokens, known)
            assert all(known.paid[amount] == 1 for amount in fresh), "an acknowledged approval was lost"
            if number == rounds:
                break
            workers = [asyncio.create_task(work(agent, desk, tokens, known)) for _ in range(4)]
            await asyncio.sleep(chance.uniform(0.3, 0.8))
            process.send_signal(signal.SIGKILL)
            await process.wait()
            await asyncio.gather(*workers)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    assert len(known.approved) > rounds
    store = SqliteStore(ledger)
    consumed: Counter[str] = Counter()
    allowed: Counter[str] = Counter()
    for start in range(1, store.head + 1, 1000):
        for data, _ in store.records(start, 1000):
            record = json.loads(data)
            if record["kind"] == "approval_consumed":
                consumed[record["body"]["id"]] += 1
            elif record["kind"] == "decided" and record["body"]["effect"] == "ALLOW":
                allowed[record["body"]["approval"]] += 1
    store.close()
    assert consumed == allowed
    assert set(consumed.values()) == {1}
    assert sum(consumed.values()) >= sum(known.paid.values())
