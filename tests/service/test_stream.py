"""CheckStream: order, items that fail alone, and the end of a credential or of the server."""

import asyncio
from pathlib import Path

import grpc
import pytest

from chain.errors import UnauthenticatedError, UnreachableError
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from chain.v1 import authorization_pb2 as pb
from chain.wire import convert
from chain.wire.status import error_from

from .conftest import Serve, World, ask, configuration, fingerprint


def numbered(number: int, check: pb.CheckRequest) -> pb.CheckStreamRequest:
    return pb.CheckStreamRequest(correlation_id=number, check=check)


def told(reply: pb.CheckStreamResponse) -> str:
    if reply.WhichOneof("outcome") == "error":
        return "E"
    return convert.decision_from(reply.decision).effect.value[0]


@pytest.mark.parametrize("durable", [False, True])
async def test_answers_come_in_order_with_many_under_way(serve: Serve, tmp_path: Path, durable: bool) -> None:
    world = await serve(SqliteStore(tmp_path / "ledger", all_synced=durable) if durable else MemoryStore())
    root = await world.root()
    broken = ask([root], channel=True)
    broken.arguments_json = b"["
    checks = [
        ask([root], channel=True),
        ask([root], "bank.pay", arguments={"amount": 5}, channel=True, request_id="r" * 16),
        broken,
        ask([root], "bank.pay", arguments={"amount": 5}, channel=True, request_id="r" * 16),
        ask([root], channel=True, arguments={"folder": "trash"}),
    ] + [ask([root], "bank.pay", arguments={"amount": 1}, channel=True, request_id=f"{n:016}") for n in range(200)]
    call = world.stub("alice", socket=True).CheckStream(iter(numbered(n, check) for n, check in enumerate(checks)))
    replies = [reply async for reply in call]
    assert [reply.correlation_id for reply in replies] == list(range(205))
    assert "".join(map(told, replies)) == "AAEDD" + "A" * 200
    line = next(line for line in world.lines() if line.get("method") == "CheckStream")
    assert line["decided"] == 204
    assert len(line["decisions"]) == 100


async def test_a_stream_ends_with_the_credential_that_opened_it(serve: Serve, directory: Path) -> None:
    now = [1_800_000_000.0]
    callers = configuration(directory)["callers"]
    alice = next(caller for caller in callers if caller["name"] == "alice")
    alice["credentials"] = [{"sha256": fingerprint("alice"), "not_after": "2027-01-15T08:01:00Z"}]
    world = await serve(callers=callers, clock=lambda: now[0])
    root = await world.root()
    call = world.stub("alice").CheckStream()

    async def next_one(number: int) -> pb.CheckStreamResponse:
        proof = world.proof("alice", root, "mail.read", {"folder": "in"})
        await call.write(numbered(number, ask([root], proof=proof)))
        return await call.read()

    assert told(await next_one(1)) == "A"
    now[0] += 59
    assert told(await next_one(2)) == "A"
    now[0] += 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await next_one(3)
    assert isinstance(error_from(caught.value), UnauthenticatedError)


async def test_a_stop_answers_what_was_asked_and_ends_the_stream(world: World) -> None:
    root = await world.root()
    call = world.stub("alice", socket=True).CheckStream()
    await call.write(numbered(1, ask([root], channel=True)))
    assert told(await call.read()) == "A"
    stopping = asyncio.create_task(world.server.stop())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(call.read(), 1.5)  # well within the drain of 2 s
    assert isinstance(error_from(caught.value), UnreachableError)
    await stopping


async def test_a_client_that_goes_away_ends_its_stream_only(world: World) -> None:
    root = await world.root()
    gone = world.stub("alice", socket=True).CheckStream()
    await gone.write(numbered(1, ask([root], channel=True)))
    await gone.read()
    gone.cancel()
    reply = await world.stub("alice", socket=True).Check(ask([root], channel=True))
    assert convert.decision_from(reply.decision).allowed
