"""64 spenders at once on a real server that is killed again and again: nothing is overspent, nothing forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import grpc
import pytest

from chain import mint
from chain.order import Issue
from chain.reason import Reason
from chain.store.sqlite import SqliteStore
from chain.wire import convert
from tests.budget.counter import identity, standing
from tests.service.conftest import KEYS, Stub, ask, bearer, configuration
from tests.service.test_kill import started

SPENDERS = 64
SEED = 20261126
CALLS = 100_000


@dataclass
class Purse:
    """One root, its two children, and what the server said was spent.

    Attributes:
        ceiling: of the root's budget.
        chains: tokens of the root, and of a child for Bob and one for Carol.
        paid: what each answer that arrived let through.
        refused: answers that said it was too much.
    """

    ceiling: Decimal
    chains: dict[str, list[str]] = field(default_factory=dict)
    paid: list[Decimal] = field(default_factory=list)
    refused: int = 0


def grant(ceiling: Decimal) -> mint.Grant:
    amount = {"value": f"{ceiling:f}", "currency": "EUR", "argument": "amount"}
    return mint.grant(
        {
            "tools": {"bank.pay": {}},
            "limits": {"classes": ["act"], "budget": {"calls": CALLS, "amount": amount}},
        }
    )


async def issue(channel: grpc.aio.Channel, purse: Purse) -> None:
    """Alice gets the budget; Bob and she herself get a child of it each."""
    given = grant(purse.ceiling)
    order = Issue(holder=KEYS["alice"].key, grant=given, lifetime=900)
    root = (await Stub(channel, bearer("issuer")).Issue(convert.issue_to(order, os.urandom(8).hex()))).token.decode()
    above = mint.unverified(root)
    purse.chains["root"] = [root]
    for name in ("bob", "carol"):
        to = KEYS["bob"] if name == "bob" else KEYS["alice"]
        claims = mint.child_claims(
            above, given, to.key, jti=f"{name}-{os.urandom(6).hex()}", now=above.iat, lifetime=600
        )
        purse.chains[name] = [root, mint.token.sign(claims, KEYS["alice"])]


async def spend(stubs: dict[str, Stub], purse: Purse, chance: random.Random) -> None:
    """Pay small sums until the server is gone, or has said three times that there is not enough left."""
    refused = 0
    with contextlib.suppress(grpc.aio.AioRpcError):
        while refused < 3:
            name = chance.choice(sorted(purse.chains))
            amount = Decimal(chance.randint(1, 999)).scaleb(-2)
            tokens = purse.chains[name]
            message = ask(
                tokens,
                "bank.pay",
                arguments={"amount": f"{amount:f}"},
                channel=True,
                request_id=os.urandom(12).hex(),
            )
            stub = stubs["bob" if name == "bob" else "alice"]
            decision = convert.decision_from((await stub.Check(message)).decision)
            if decision.allowed:
                purse.paid.append(amount)
            else:
                assert decision.reason is Reason.BUDGET_EXCEEDED, str(decision)
                refused += 1
    purse.refused += refused


async def run(directory: Path, ledger: Path, rounds: int, ceiling: Decimal, longest: float) -> Purse:
    """Spend, kill, look into the ledger, and begin again; the last server is let go on until nothing is left."""
    chance = random.Random(SEED)
    changes = configuration(directory)
    for caller in changes["callers"]:
        caller["socket"] = caller["name"] in ("alice", "bob")
    settings = directory / "settings.json"
    settings.write_text(json.dumps(changes | {"max_calls_per_caller": 2 * SPENDERS}, default=str))
    purse = Purse(ceiling)
    for number in range(rounds + 1):
        process, address = await started(settings, ledger)
        async with AsyncExitStack() as stack:

            async def channel(target: str, stack: AsyncExitStack = stack) -> grpc.aio.Channel:
                return await stack.enter_async_context(grpc.aio.insecure_channel(target))

            if not purse.chains:
                await issue(await channel(address), purse)
            stubs = {
                name: Stub(await channel(f"unix:{directory / 'sockets' / name / 'chain.sock'}"), ())
                for name in ("alice", "bob")
            }
            spenders = [
                asyncio.create_task(spend(stubs, purse, random.Random(f"{SEED}-{number}-{place}")))
                for place in range(SPENDERS)
            ]
            if number < rounds:
                await asyncio.sleep(chance.uniform(0.1, longest))
                process.send_signal(signal.SIGKILL)
                await asyncio.gather(*spenders)
            else:
                await asyncio.gather(*spenders)
                process.send_signal(signal.SIGTERM)
            await process.wait()
        agree(ledger, purse)
    return purse


def agree(ledger: Path, purse: Purse) -> None:
    """What stands is the ledger's own sum, at least what was acknowledged, and never more than there was."""
    store = SqliteStore(ledger)
    try:
        stands = standing(store)  # compares with the ledger's sum
    finally:
        store.close()
    number, total = stands.get(identity(purse.chains["root"][0]), (0, Decimal(0)))
    assert total <= purse.ceiling
    assert number >= len(purse.paid)
    assert total >= sum(purse.paid)
    beneath = [stands.get(identity(purse.chains[name][1]), (0, Decimal(0))) for name in ("bob", "carol")]
    assert sum(amount for _, amount in beneath) <= total


def spent(ledger: Path, purse: Purse) -> Decimal:
    store = SqliteStore(ledger)
    try:
        return standing(store)[identity(purse.chains["root"][0])][1]
    finally:
        store.close()


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")  # short: a unix socket's path has 107 bytes


async def test_many_spenders_never_overspend(directory: Path, tmp_path: Path) -> None:
    purse = await run(directory, tmp_path / "ledger", 2, Decimal("1500.50"), 0.5)
    assert purse.refused >= SPENDERS  # it was spent to the end
    assert purse.paid
    assert purse.ceiling - spent(tmp_path / "ledger", purse) < Decimal("9.99")


@pytest.mark.slow
@pytest.mark.skipif("'slow' not in config.option.markexpr", reason="the long run: -m slow")
@pytest.mark.timeout(600)
async def test_many_spenders_never_overspend_for_long(directory: Path, tmp_path: Path) -> None:
    purse = await run(directory, tmp_path / "ledger", 20, Decimal("20000.01"), 1.5)
    assert purse.refused >= SPENDERS
    assert len(purse.paid) > 20
    assert purse.ceiling - spent(tmp_path / "ledger", purse) < Decimal("9.99")
