"""BatchCheck under load: each chain once, and others have their turn."""

import asyncio
import time
from typing import Any

import pytest

from chain import mint
from chain.reason import Reason
from chain.v1 import authorization_pb2 as pb
from chain.wire import convert

from .conftest import GRANT, World, ask

WIDER = mint.grant({"tools": {"mail.read": {"folder": {"constraint_type": "one_of", "values": ["in", "trash"]}}}})


def counted(world: World, monkeypatch: pytest.MonkeyPatch, delay: float = 0) -> list[Any]:
    """What is resolved from here on."""
    desk = world.server._authority._desk
    resolve, seen = desk.resolve, []

    def slowly(presented: Any) -> Any:
        seen.append(presented)
        time.sleep(delay)
        return resolve(presented)

    monkeypatch.setattr(desk, "resolve", slowly)
    return seen


@pytest.mark.parametrize("shared", [True, False])
async def test_a_chain_is_resolved_once_whether_it_holds_or_not(
    world: World, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    root = await world.root()
    good, bad = [root], [root, world.child(root, "alice", "bob", WIDER)]
    seen = counted(world, monkeypatch)
    for chain, reason in ((good, Reason.ALLOWED), (bad, Reason.CONSTRAINT_WIDENED)):
        seen.clear()
        item = ask(None if shared else chain, channel=True)
        message = pb.BatchCheckRequest(items=[item] * 1000, chain=convert.chain_to(chain) if shared else None)
        reply = await world.stub("alice", socket=True).BatchCheck(message)
        assert {convert.decision_from(result.decision).reason for result in reply.results} == {reason}
        assert len(reply.results) == 1000
        assert seen == [tuple(chain)]


async def test_chains_that_differ_are_kept_apart(world: World) -> None:
    root = await world.root()
    child = world.child(root, "alice", "bob", GRANT)
    wide = world.child(root, "alice", "bob", WIDER)
    chains = [[root], [root, wide], [root, child], [root], [root, wide]]
    reply = await world.stub("alice", socket=True).BatchCheck(
        pb.BatchCheckRequest(items=[ask(chain, channel=True) for chain in chains])
    )
    told = [convert.decision_from(result.decision).reason for result in reply.results]
    refused = Reason.CONSTRAINT_WIDENED
    assert told[::3] == [Reason.ALLOWED] * 2
    assert told[1::3] == [refused] * 2
    assert told[2] not in {Reason.ALLOWED, refused}  # alice's channel proves nothing of bob's leaf


async def test_others_are_answered_while_a_batch_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    root = await world.root()
    alice, point = world.stub("alice", socket=True), world.stub("point")
    await point.Check(ask([root]))
    counted(world, monkeypatch, 0.005)
    items = [ask([root, f"{number}"], channel=True) for number in range(300)]
    batch = asyncio.ensure_future(alice.BatchCheck(pb.BatchCheckRequest(items=items)))
    await asyncio.sleep(0.05)
    assert (await point.Check(ask([root]))).decision.effect
    assert not batch.done()
    assert len((await batch).results) == 300
