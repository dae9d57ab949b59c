"""Streams of a real server: everything once, in order; bounded; and ended where they have to end."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

import chain.service.watch
from chain.client import AsyncClient, Client
from chain.control import Named
from chain.errors import CursorError, ForbiddenError, InvalidRequestError, InvalidTokenError, UnauthenticatedError
from chain.ledger import Durability, decode
from chain.mint import unverified
from chain.order import Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.service.room import Kind
from chain.service.tail import Tail
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from chain.v1 import watch_pb2, watch_pb2_grpc
from chain.watch import STANDS, Told
from chain.wire.status import error_from
from tests.service.conftest import KEYS, World, ask, bearer, fingerprint, secret
from tests.support import GATE
from tests.watch.filling import fill

Serve = Callable[..., Any]
QUICK = 0.1
"""Seconds between heartbeats, the least that may be asked for."""


@asynccontextmanager
async def client_of(world: World, caller: str = "operator") -> AsyncIterator[AsyncClient]:
    async with AsyncClient(world.server.address, secret(caller)) as client:
        yield client


def raw(world: World, caller: str = "operator", **asked: Any) -> Any:
    """A stream as gRPC gives it."""
    stub = watch_pb2_grpc.WatchServiceStub(world.channel(caller))
    return stub.Watch(watch_pb2.WatchRequest(**asked), metadata=bearer(caller), timeout=30)


async def read_all(call: Any) -> list[Any]:
    replies = []
    while (reply := await call.read()) is not grpc.aio.EOF:
        replies.append(reply)
    return replies


async def ended(call: Any) -> Any:
    """Read to the end, which has to be an error."""
    with pytest.raises(grpc.RpcError) as raised:
        await read_all(call)
    return raised.value


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


def tail(world: World) -> Tail:
    methods: Any = next(one for one in world.server._methods if "Watch" in one)
    found: Tail = methods["Watch"].__self__._tail
    return found


def followers(world: World) -> int:
    return len(tail(world))


async def test_until_now_gives_a_whole_ledger(serve: Serve) -> None:
    store = MemoryStore()
    world = await serve(store)
    fill(store, 2_500, size=50)
    async with client_of(world, "auditor") as client:
        told = [one async for one in client.watch(0, until_now=True)]
        revision = await client.revision()
    stored = [decode(data) for data, _ in store.records(1, 10_000)]
    assert [(one.revision, one.kind, one.time, one.members) for one in told] == [
        (one.revision, one.kind, one.time, one.body) for one in stored
    ]
    assert revision == store.synced == told[-1].revision


async def test_until_now_tells_what_was_written_and_waits_for_its_sync(serve: Serve, directory: Any) -> None:
    store = SqliteStore(directory / "ledger")
    world = await serve(store)
    async with client_of(world) as client:
        for _ in range(5):
            last = fill(store, 3, durability=Durability.WRITTEN)
            told = [one async for one in client.watch(0, until_now=True)]
            assert [one.revision for one in told] == list(range(1, last + 1))
            assert store.synced >= last


@pytest.mark.parametrize("kinds", [("revoked",), ("revoked", "lifted"), ("signalled",)])
async def test_kinds(serve: Serve, kinds: tuple[str, ...]) -> None:
    store = MemoryStore()
    world = await serve(store)
    begin = store.head
    fill(store, 3_000, ("decided", "revoked", "lifted"))
    async with client_of(world) as client:
        watch = client.watch(begin, kinds, until_now=True)
        told = [one.revision async for one in watch]
        assert watch.revision == store.head  # one goes on behind what was passed over
    names = ("decided", "revoked", "lifted")
    assert told == [place for place in range(begin + 1, store.head + 1) if names[place % 3] in kinds]


async def test_what_one_waits_for_is_not_lost_among_the_rest(serve: Serve) -> None:
    store = MemoryStore()
    world = await serve(store)
    begin = store.head
    fill(store, 3_000, ("revoked", "decided"))
    done = asyncio.Event()

    async def go_on() -> None:
        while not done.is_set():
            fill(store, 20)
            await asyncio.sleep(0.005)

    writing = asyncio.create_task(go_on())
    async with client_of(world) as client:
        told = [one.revision async for one in client.watch(begin, ["revoked"], until_now=True)]
        watch = client.watch(begin, ["revoked"], heartbeat=60)
        told_as_it_comes = [(await anext(watch)).revision for _ in told]
        done.set()
        await writing
        last = fill(store, 1, ("revoked",))
        assert (await anext(watch)).revision == last
    assert told == told_as_it_comes == [one for one in range(begin + 1, begin + 3_001) if one % 2 == 0]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999, 1.0])
async def test_one_resumes_from_any_cursor(serve: Serve, share: float) -> None:
    store = MemoryStore()
    world = await serve(store)
    last = fill(store, 1_500)
    after = int(last * share)
    async with client_of(world) as client:
        told = [one.revision async for one in client.watch(after, until_now=True)]
    assert told == list(range(after + 1, last + 1))


async def test_a_cursor_from_the_future_is_out_of_range(serve: Serve) -> None:
    store = MemoryStore()
    world = await serve(store)
    error = await ended(raw(world, after=store.head + 1))
    assert error.code() is grpc.StatusCode.OUT_OF_RANGE
    assert error_from(error).reason is Reason.CURSOR_INVALID
    async with client_of(world) as client:
        with pytest.raises(CursorError):
            await anext(client.watch(store.head + 1))
        assert [one async for one in client.watch(store.head, until_now=True)] == []


REFUSED: dict[str, tuple[dict[str, Any], grpc.StatusCode]] = {
    "unknown kind": ({"after": 0, "kinds": ["dreamt"]}, grpc.StatusCode.INVALID_ARGUMENT),
    "too quick": ({"after": 0, "heartbeat_ms": 99}, grpc.StatusCode.INVALID_ARGUMENT),
    "too slow": ({"after": 0, "heartbeat_ms": 60_001}, grpc.StatusCode.INVALID_ARGUMENT),
    "both": ({"after": 0, "chain": {"digest": bytes(32)}}, grpc.StatusCode.INVALID_ARGUMENT),
    "kinds of a chain": ({"kinds": ["revoked"], "chain": {"digest": bytes(32)}}, grpc.StatusCode.INVALID_ARGUMENT),
    "no chain": ({"chain": {"digest": bytes(32)}}, grpc.StatusCode.FAILED_PRECONDITION),
    "an empty chain": ({"chain": {}}, grpc.StatusCode.FAILED_PRECONDITION),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused(serve: Serve, name: str) -> None:
    world = await serve()
    asked, code = REFUSED[name]
    error = await ended(raw(world, **asked))
    assert error.code() is code
    assert followers(world) == 0


async def test_an_agent_cannot_read_the_ledger_and_watches_its_chain(serve: Serve) -> None:
    world = await serve()
    tokens = [await world.root("alice")]
    async with client_of(world, "alice") as alice, client_of(world, "bob") as bob:
        for agent in (alice, bob):
            with pytest.raises(ForbiddenError):
                await anext(agent.watch(0))
        assert await alice.standing(tokens) == STANDS
        assert await alice.standing(unverified(tokens[0]).digest) == STANDS
        with pytest.raises(ForbiddenError):
            await bob.standing(unverified(tokens[0]).digest)
        with pytest.raises(InvalidTokenError):
            await alice.standing([*tokens, *tokens])


async def test_records_as_they_come_hold_no_token(serve: Serve) -> None:
    world = await serve()
    async with client_of(world) as client:
        watch = client.watch(heartbeat=60)
        first = asyncio.create_task(anext(watch))
        await until(lambda: followers(world) == 1)
        token = await world.root("alice")
        told = [await first]
        proof = world.proof("alice", token, "mail.read", {"folder": "in"})
        await world.stub("point").Check(ask([token], proof=proof))
        told.append(await anext(watch))
        await client.revoke(Revoke(unverified(token).digest, "end"))
        told.append(await anext(watch))
        await watch.close()
    assert [one.kind for one in told] == ["issued", "decided", "revoked"]
    for text in (token, proof):
        assert not any(part.encode() in one.body for one in told for part in (text, *text.split(".")))


async def test_a_quiet_stream_has_a_heartbeat_that_one_can_go_on_from(serve: Serve) -> None:
    store = MemoryStore()
    world = await serve(store)
    for caller, asked in (("operator", {"after": 0, "kinds": ["revoked"]}), ("point", {})):
        call = raw(world, caller, heartbeat_ms=100, **asked)
        for _ in range(3):
            reply = await call.read()
            assert reply.WhichOneof("told") == "heartbeat"
            assert reply.revision == store.head
            assert abs(reply.heartbeat.time_ms / 1000 - time.time()) < 60
        head = fill(store, 5, ("decided",))  # of no kind that the first waits for
        if asked:
            while (reply := await call.read()).revision < head:
                assert reply.WhichOneof("told") == "heartbeat"
            assert reply.WhichOneof("told") == "heartbeat"
        call.cancel()


async def test_a_chain_is_told_at_once_at_every_change_and_to_its_end(serve: Serve) -> None:
    world = await serve()
    tokens = [await world.root("alice")]
    call = raw(world, "point", chain={"tokens": [token.encode() for token in tokens]}, heartbeat_ms=100)
    reply = await call.read()
    assert reply.standing.stands
    assert (await call.read()).WhichOneof("told") == "heartbeat"
    calm = raw(world, "point", chain={"tokens": [token.encode() for token in tokens]}, heartbeat_ms=60_000)
    assert (await calm.read()).standing.stands
    async with client_of(world) as client:
        await client.revoke(Revoke(unverified(tokens[0]).digest, "end"))
        while (reply := await call.read()).WhichOneof("told") == "heartbeat":
            pass
        assert not reply.standing.stands
        assert (reply.standing.hop, reply.standing.reason) == (0, Reason.REVOKED.number)
        assert await call.read() is grpc.aio.EOF
        assert not (await calm.read()).standing.stands
        stands = [one async for one in client.watch_chain(tokens)]
    assert [(one.stands, one.reason) for one in stands] == [(False, Reason.REVOKED)]
    await until(lambda: followers(world) == 0)


STOPS: dict[str, Callable[[Any], object]] = {
    "everything": lambda authority: authority.steering.suspend(GATE, "everything", "", "incident"),
    "agent": lambda authority: authority.steering.suspend(GATE, "agent", "spiffe://team.example/alice", "incident"),
    "enrolled": lambda authority: authority.enrol(
        GATE, KEYS["alice"].key, Principal(id="spiffe://stopped.example/alice", owner="team")
    ),
    "holder": lambda authority: authority.revoke(
        GATE, Revoke(cause="stolen", named=Named("holder", KEYS["alice"].key.thumbprint))
    ),
}


@pytest.mark.parametrize("name", STOPS)
async def test_whatever_fells_a_chain_is_told_long_before_a_heartbeat(serve: Serve, name: str) -> None:
    world = await serve()
    authority = world.server._authority
    authority.steering.suspend(GATE, "trust_domain", "stopped.example", "incident")
    token = await world.root("alice")
    call = raw(world, "point", chain={"tokens": [token.encode()]}, heartbeat_ms=60_000)
    assert (await call.read()).standing.stands
    STOPS[name](authority)
    assert not (await call.read()).standing.stands
    assert await call.read() is grpc.aio.EOF


async def test_a_chain_that_expires_ends_its_stream_at_that_moment(serve: Serve) -> None:
    world = await serve()
    tokens = [await world.root("alice", lifetime=3)]
    async with client_of(world, "point") as client:
        told = [one async for one in client.watch_chain(tokens, heartbeat=60)]
    assert [one.stands for one in told] == [True, False]
    assert told[-1].reason is Reason.EXPIRED


async def test_a_slow_reader_is_cut_and_others_go_on(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain.service.watch, "WRITE_PATIENCE", 0.3)
    store = MemoryStore()
    world = await serve(store)
    last = fill(store, 4_000, size=400)
    narrow = grpc.aio.insecure_channel(world.server.address, options=[("grpc.http2.bdp_probe", 0)])
    world.channels.append(narrow)
    slow = watch_pb2_grpc.WatchServiceStub(narrow).Watch(
        watch_pb2.WatchRequest(after=0), metadata=bearer("operator"), timeout=60
    )
    got = [await slow.read()]
    await until(lambda: followers(world) == 1)
    await until(lambda: followers(world) == 0)  # it was cut, though it still reads nothing
    async with client_of(world, "auditor") as client:
        told = [one.revision async for one in client.watch(0, until_now=True)]
    assert told == list(range(1, last + 1))
    error: Any = None
    try:
        while (reply := await slow.read()) is not grpc.aio.EOF:
            got.append(reply)
    except grpc.RpcError as failed:
        error = failed
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error_from(error).reason is Reason.CONSUMER_SLOW
    seen = [reply.revision for reply in got if reply.WhichOneof("told") == "record"]
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) < last
    async with client_of(world) as client:  # and goes on from where it was
        rest = [one.revision async for one in client.watch(seen[-1], until_now=True)]
    assert seen + rest == told
    await until(lambda: world.server._bounds.room._taken[Kind.STREAM] == 0)


async def test_a_client_that_reads_slowly_goes_on_by_itself(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain.service.watch, "WRITE_PATIENCE", 0.2)
    store = MemoryStore()
    world = await serve(store)
    last = fill(store, 3_000, size=5_000)
    async with client_of(world) as client:
        watch = client.watch(0, until_now=True)
        told = [(await anext(watch)).revision]
        await until(lambda: followers(world) == 0)
        told += [one.revision async for one in watch]
    assert told == list(range(1, last + 1))


async def test_a_credential_that_ends_ends_the_stream(serve: Serve) -> None:
    class Clock:
        ahead = 0.0

        def __call__(self) -> float:
            return time.time() + self.ahead

    clock = Clock()
    end = datetime.fromtimestamp(time.time() + 3600, UTC)
    callers = [
        {
            "name": "operator",
            "roles": ["operator"],
            "credentials": [{"sha256": fingerprint("operator"), "not_after": end}],
        },
        {"name": "auditor", "roles": ["auditor"], "credentials": [fingerprint("auditor")]},
    ]
    world = await serve(clock=clock, callers=callers)
    lasting, ending = raw(world, "auditor", heartbeat_ms=100), raw(world, heartbeat_ms=60_000)
    await lasting.read()
    await ending.read()
    clock.ahead = 4000
    assert (await ended(ending)).code() is grpc.StatusCode.UNAUTHENTICATED
    assert (await lasting.read()).WhichOneof("told") == "heartbeat"
    async with client_of(world) as client:
        with pytest.raises(UnauthenticatedError):
            await anext(client.watch(0))


async def test_a_server_that_stops_ends_its_streams(serve: Serve) -> None:
    world = await serve()
    token = await world.root()
    calls = [raw(world), raw(world, "point", chain={"tokens": [token.encode()]})]
    for call in calls:
        await call.read()
    stopping = asyncio.create_task(world.server.stop(5))
    for call in calls:
        error = await ended(call)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
    async with asyncio.timeout(4):  # nothing had to be waited for
        await stopping
    assert followers(world) == 0


async def test_streams_are_counted(serve: Serve) -> None:
    world = await serve(max_streams_per_caller=2)
    open_ones = [raw(world), raw(world)]
    for call in open_ones:
        await call.read()
    error = await ended(raw(world))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    other = raw(world, "auditor")
    assert (await other.read()).WhichOneof("told") == "heartbeat"
    open_ones[0].cancel()
    await until(lambda: followers(world) == 2)
    again = raw(world)
    assert (await again.read()).WhichOneof("told") == "heartbeat"


async def test_many_watchers_are_told_the_same_and_read_the_ledger_together(serve: Serve) -> None:
    class Counting(MemoryStore):
        reads = 0

        def records(self, *args: Any, **named: Any) -> Any:
            self.reads += 1
            return super().records(*args, **named)

    store = Counting()
    world = await serve(store)
    begin = store.head
    async with client_of(world) as client:
        watches = [client.watch(begin) for _ in range(32)]

        async def hundred(watch: Any) -> list[Told]:
            return [await anext(watch) for _ in range(100)]

        reading = [asyncio.create_task(hundred(watch)) for watch in watches]
        await until(lambda: followers(world) == 32)
        before = store.reads
        for _ in range(10):
            fill(store, 10)
            await asyncio.sleep(0.01)
        told = await asyncio.gather(*reading)
        assert store.reads - before <= 10  # one reader for all of them
        for watch in watches:
            await watch.close()
    assert all(one == told[0] for one in told)
    assert [one.revision for one in told[0]] == list(range(begin + 1, begin + 101))
    await until(lambda: followers(world) == 0)


async def test_whoever_waits_for_what_seldom_happens_reads_nothing_else(serve: Serve) -> None:
    class Naming(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.readers: set[str] = set()

        def records(self, *args: Any, **named: Any) -> Any:
            self.readers.add(threading.current_thread().name.partition("_")[0])
            return super().records(*args, **named)

    store = Naming()
    world = await serve(store)
    async with client_of(world) as client:
        watch = client.watch(store.head, ["revoked"], heartbeat=60)
        first = asyncio.create_task(anext(watch))
        await until(lambda: followers(world) == 1)
        store.readers.clear()
        for _ in range(10):  # far more in all than is kept in memory
            last = fill(store, 300)
            await until(lambda last=last: tail(world).revision == last)
        last = fill(store, 1, ("revoked",))
        assert (await first).revision == last
        assert store.readers == {"watch"}  # the one reader of the server's


async def test_a_ledger_that_cannot_be_read_is_said(serve: Serve) -> None:
    class Unreadable(MemoryStore):
        torn = False

        def records(self, *args: Any, **named: Any) -> Any:
            return [(b"{", b"")] if self.torn else super().records(*args, **named)

    store = Unreadable()
    world = await serve(store)
    call = raw(world)
    await call.read()
    store.torn = True
    fill(store, 1)
    error = await ended(call)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    store.torn = False
    again = raw(world)
    assert (await again.read()).WhichOneof("told") == "heartbeat"


def test_reading_is_the_same_for_threads(server: Any) -> None:
    from tests.client.running import secret as of  # noqa: PLC0415 - the same name in two worlds

    with Client(server.address, of("operator")) as client:
        head = client.revision()
        with client.watch(0, until_now=True) as watch:
            told = list(watch)
        assert [one.revision for one in told] == list(range(1, head + 1))
        assert all(json.loads(one.body) == one.members for one in told)
        with pytest.raises(CursorError), client.watch(head + 1) as watch:
            next(watch)
        with pytest.raises(InvalidRequestError), client.watch(0, ["dreamt"]) as watch:
            next(watch)
        with pytest.raises(InvalidTokenError):
            client.standing(bytes(32))
