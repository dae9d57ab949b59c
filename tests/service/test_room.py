"""What one caller, or a stranger, can take up; and who still gets through."""

import asyncio
import contextlib
import os
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chain import mint
from chain.caller import LENT
from chain.errors import ResourceExhaustedError, UnauthenticatedError, UnreachableError
from chain.order import Revoke
from chain.service.room import GUESTS, URGENT_PER_CALLER, Kind, Limit, Room
from chain.v1 import authorization_pb2 as pb
from chain.v1 import delegation_pb2
from chain.wire import convert
from chain.wire.status import error_from

from .conftest import PEP, Serve, World, ask, bearer, configuration, fingerprint

PROBE = health_pb2.HealthCheckRequest()
CHECK = "/chain.v1.AuthorizationService/Check"


async def probe(world: World) -> int:
    return (await health_pb2_grpc.HealthStub(world.channel()).Check(PROBE, timeout=20)).status


async def revokes(world: World, root: str) -> bool:
    order = convert.revoke_to(Revoke(mint.unverified(root).digest, "end"), None, None, os.urandom(8).hex())
    return bool((await world.stub("operator").Revoke(order)).revision)


def silent(channel: grpc.aio.Channel, path: str, metadata: tuple[tuple[str, str], ...] = ()) -> Any:
    """A call whose headers arrive and whose message never does."""
    return channel.stream_unary(path)(metadata=metadata)


async def begun(calls: list[Any]) -> None:
    """Until the server has seen them all: it sends nothing before it must."""
    await asyncio.gather(*(call.wait_for_connection() for call in calls))
    await asyncio.sleep(0.2)


async def error_of(call: Any) -> Exception:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(call if not hasattr(call, "read") else call.read(), 10)
    return error_from(caught.value)


async def code_of(call: Any) -> grpc.StatusCode:
    return await asyncio.wait_for(call.code(), 10)


async def test_a_stranger_may_not_watch_and_a_caller_may(world: World) -> None:
    stub = health_pb2_grpc.HealthStub(world.channel())
    assert await code_of(stub.Watch(PROBE)) is grpc.StatusCode.UNAUTHENTICATED
    watch = stub.Watch(PROBE, metadata=bearer("auditor"))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()
    unknown = stub.Watch(health_pb2.HealthCheckRequest(service="no.such"), metadata=bearer("auditor"))
    assert (await unknown.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    assert await code_of(stub.Check(health_pb2.HealthCheckRequest(service="no.such"))) is grpc.StatusCode.NOT_FOUND
    listed = await stub.List(health_pb2.HealthListRequest())
    assert listed.statuses["chain.v1.AuthorizationService"].status == health_pb2.HealthCheckResponse.SERVING


async def test_who_borrows_a_connection_leaves_its_lender_room_to_revoke(serve: Serve, directory: Path) -> None:
    """A program of `chain run` that revokes without end keeps nobody from revoking the program."""
    callers = configuration(directory)["callers"]
    next(caller for caller in callers if caller["name"] == "operator")["roles"] = ["operator", "agent"]
    next(caller for caller in callers if caller["name"] == "operator")["audience"] = PEP
    world = await serve(callers=callers)
    roots, path, own = (
        [await world.root(), await world.root()],
        "/chain.v1.DelegationService/Revoke",
        bearer("operator"),
    )
    lent, held = (*own, (LENT, "1")), []
    for metadata, free in ((lent, True), (own, False)):
        some = [silent(world.channel(), path, metadata) for _ in range(URGENT_PER_CALLER)]
        await begun(some)
        held += some
        assert await code_of(silent(world.channel(), path, metadata)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        if free:
            assert await revokes(world, roots[0])
    for call in held:
        call.cancel()
    await asyncio.sleep(0.2)
    assert await revokes(world, roots[1])


async def test_strangers_cannot_fill_the_server(serve: Serve) -> None:
    world = await serve(max_concurrent_rpcs=40, max_calls_per_caller=20, max_streams_per_caller=10)
    root = await world.root()
    held: list[Any] = []
    for path in (CHECK, "/chain.v1.AuthorizationService/CheckStream", "/grpc.health.v1.Health/Watch"):
        held += [silent(world.channel(), path) for _ in range(40)]
    assert {await code_of(call) for call in held} == {grpc.StatusCode.UNAUTHENTICATED}  # not one may stay
    channels = [world.channel() for _ in range(4)]
    probes = [silent(channels[n % 4], "/grpc.health.v1.Health/Check") for n in range(6 * GUESTS)]
    await begun(probes[-1:])
    assert await probe(world) == health_pb2.HealthCheckResponse.SERVING
    assert sum(call.done() for call in probes) >= 5 * GUESTS  # the oldest were sent away
    assert (await world.stub("point").Check(ask([root]))).decision.effect
    assert await revokes(world, root)
    for call in probes:
        call.cancel()


async def test_one_callers_calls_and_streams_leave_room_for_others_and_for_its_own_revocations(serve: Serve) -> None:
    world = await serve(max_concurrent_rpcs=40, max_calls_per_caller=8, max_streams_per_caller=4)
    root = await world.root()
    other = await world.root()
    alice = world.channel("alice", socket=True)
    calls = [silent(alice, CHECK) for _ in range(8)]
    streams = [world.stub("alice", socket=True).CheckStream() for _ in range(4)]
    await begun([*calls, *streams])
    stub = world.stub("alice", socket=True)
    assert isinstance(await error_of(stub.Check(ask([root], channel=True))), ResourceExhaustedError)
    assert isinstance(await error_of(stub.CheckStream()), ResourceExhaustedError)
    assert (await world.stub("point").Check(ask([root]))).decision.effect
    assert await probe(world) == health_pb2.HealthCheckResponse.SERVING
    assert await revokes(world, root)
    order = convert.revoke_to(Revoke(mint.unverified(other).digest, "end"), [other], None, "k" * 16)
    order.channel = True
    assert (await stub.Revoke(order)).WhichOneof("outcome") == "revocation"
    for call in [*calls, *streams]:
        call.cancel()
    await asyncio.sleep(0.2)
    assert (await stub.Check(ask([root], channel=True))).decision.effect  # places are given back


async def test_everybody_together_leaves_room_for_a_revocation(serve: Serve) -> None:
    world = await serve(max_concurrent_rpcs=10, max_calls_per_caller=5, max_streams_per_caller=2)
    root = await world.root()
    held = [silent(world.channel("alice", socket=True), CHECK) for _ in range(5)]
    held += [silent(world.channel(), CHECK, bearer("bob")) for _ in range(5)]
    held += [silent(world.channel(), "/chain.v1.DelegationService/Revoke", bearer("bob")) for _ in range(20)]
    await begun(held[:10])
    assert isinstance(await error_of(world.stub("point").Check(ask([root]))), ResourceExhaustedError)
    assert await revokes(world, root)
    assert await probe(world) == health_pb2.HealthCheckResponse.SERVING
    for call in held:
        call.cancel()
    await asyncio.sleep(0.2)
    assert (await world.stub("point").Check(ask([root]))).decision.effect


async def test_a_stream_that_says_nothing_ends_and_one_that_speaks_does_not(serve: Serve) -> None:
    world = await serve(stream_idle=1)
    root = await world.root()
    quiet, busy = (world.stub("alice", socket=True).CheckStream() for _ in range(2))
    ends = asyncio.create_task(error_of(quiet))
    for number in range(12):
        await busy.write(pb.CheckStreamRequest(correlation_id=number, check=ask([root], channel=True)))
        assert (await busy.read()).correlation_id == number
        await asyncio.sleep(0.2)
    assert isinstance(await ends, UnreachableError)
    await busy.done_writing()


async def test_a_stream_in_silence_ends_with_its_credential(serve: Serve, directory: Path) -> None:
    now = [1_800_000_000.0]
    callers = configuration(directory)["callers"]
    alice = next(caller for caller in callers if caller["name"] == "alice")
    alice["credentials"] = [{"sha256": fingerprint("alice"), "not_after": "2027-01-15T08:01:00Z"}]
    world = await serve(callers=callers, clock=lambda: now[0])
    ending, lasting = world.stub("alice").CheckStream(), world.stub("bob").CheckStream()
    await begun([ending, lasting])
    now[0] += 61
    assert isinstance(await error_of(ending), UnauthenticatedError)
    assert not lasting.done()
    lasting.cancel()


async def test_a_stop_waits_for_nobody_who_says_nothing(serve: Serve) -> None:
    world = await serve(drain=30)
    held = [silent(world.channel(), "/grpc.health.v1.Health/Check"), silent(world.channel(), CHECK, bearer("point"))]
    held.append(world.stub("point").CheckStream())
    watch = health_pb2_grpc.HealthStub(world.channel()).Watch(PROBE, metadata=bearer("auditor"))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    await begun(held)
    await asyncio.wait_for(world.server.stop(), 10)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    for call in [*held, watch]:
        assert await code_of(call) is grpc.StatusCode.UNAVAILABLE


def test_places_are_counted_for_each_caller_and_in_all() -> None:
    room = Room(Limit(2, 3), 1, callers=2)
    room.enter("a", Kind.CALL)
    room.enter("a", Kind.CALL)
    with pytest.raises(ResourceExhaustedError, match="`a` has 2 calls"):
        room.enter("a", Kind.CALL)
    room.enter("b", Kind.CALL)
    with pytest.raises(ResourceExhaustedError, match="3 calls"):
        room.enter("b", Kind.CALL)
    for _ in range(URGENT_PER_CALLER):
        room.enter("a", Kind.URGENT)
    with pytest.raises(ResourceExhaustedError, match="revocations"):
        room.enter("a", Kind.URGENT)
    room.enter("b", Kind.URGENT)
    room.leave("a", Kind.CALL)
    room.enter("b", Kind.CALL)


async def test_a_failed_ledger_is_told_once_and_ends_the_server(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    world = await serve()
    assert await probe(world) == health_pb2.HealthCheckResponse.SERVING
    watch = health_pb2_grpc.HealthStub(world.channel()).Watch(PROBE, metadata=bearer("auditor"))
    await watch.read()
    await asyncio.sleep(0.6)
    assert not world.server._ending.is_set()
    monkeypatch.setattr(world.server._authority._desk.store, "_failure", "disk full")
    assert (await asyncio.wait_for(watch.read(), 5)).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert await probe(world) == health_pb2.HealthCheckResponse.NOT_SERVING
    await asyncio.wait_for(world.server._ending.wait(), 5)
    await asyncio.sleep(1.2)
    failed = [line for line in world.lines() if line.get("event") == "ledger failed"]
    assert [line["level"] for line in failed] == ["error"]
    with contextlib.suppress(grpc.aio.AioRpcError):
        watch.cancel()


async def test_a_page_is_built_beside_the_loop(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.root()
    authority, threads = world.server._authority, set()
    find, principal = authority.find, authority.principal
    monkeypatch.setattr(authority, "find", lambda *asked: (threads.add(current_thread()), find(*asked))[1])
    monkeypatch.setattr(authority, "principal", lambda key: (threads.add(current_thread()), principal(key))[1])
    page = await world.stub("auditor").ListDelegations(delegation_pb2.ListDelegationsRequest())
    assert [item.principal for item in page.delegations] == ["spiffe://team.example/alice"]
    assert threads
    assert main_thread() not in threads
