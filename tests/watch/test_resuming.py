"""A stream over connections that break: each record once, in order, and an end to patience."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

import chain.client.following as followings
from chain.client import AsyncClient, Client
from chain.client.following import Following
from chain.errors import ChainError, StoreError, UnreachableError
from chain.reason import Reason
from chain.service.server import ChainServer
from chain.store.sqlite import SqliteStore
from chain.v1 import watch_pb2
from chain.watch import Told
from chain.wire.watch import Watched
from tests.client.fake import Fake
from tests.client.running import secret, server_of, serving
from tests.watch.filling import fill
from tests.watch.relay import Relay, relaying

TOTAL = 1_000
PARTS = 50


def store_of(server: ChainServer) -> Any:
    return server._authority._desk.store


def disturb(server: ChainServer, relay: Relay) -> threading.Thread:
    """Write a thousand records, and break the connection again and again meanwhile."""

    def work() -> None:
        for part in range(PARTS):
            fill(store_of(server), TOTAL // PARTS)
            if part % 5 == 4:
                relay.cut()
            time.sleep(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_nothing_is_lost_or_repeated_over_reconnects(server: ChainServer) -> None:
    begin = store_of(server).head
    with relaying(server.address) as relay, Client(relay.address, secret("operator")) as client:
        with client.watch(begin, heartbeat=0.1) as watch:
            writing = disturb(server, relay)
            told = [next(watch).revision for _ in range(TOTAL)]
            writing.join()
            assert watch.revision == begin + TOTAL
        assert told == list(range(begin + 1, begin + TOTAL + 1))
        assert relay.connections > 1


async def test_nothing_is_lost_or_repeated_over_reconnects_with_asyncio(server: ChainServer) -> None:
    begin = store_of(server).head
    with relaying(server.address) as relay:
        client = AsyncClient(relay.address, secret("operator"))
        async with client, client.watch(begin, heartbeat=0.1) as watch:
            writing = disturb(server, relay)
            told = [(await anext(watch)).revision for _ in range(TOTAL)]
            await asyncio.to_thread(writing.join)
        assert told == list(range(begin + 1, begin + TOTAL + 1))
        assert relay.connections > 1


def test_from_now_on_loses_nothing_where_the_first_connection_breaks(server: ChainServer) -> None:
    with relaying(server.address) as relay, Client(relay.address, secret("operator")) as client:
        watch = client.watch(heartbeat=0.1)
        told: list[int] = []
        reading = threading.Thread(target=lambda: told.append(next(watch).revision))
        reading.start()
        while not watch.revision:
            time.sleep(0.005)
        relay.cut(for_good=True)
        revision = fill(store_of(server), 1)
        relay.mend()
        reading.join()
        watch.close()
        assert told == [revision]


class Breaking:
    """A server whose first stream breaks before it has said anything."""

    def __init__(self) -> None:
        self.asked: list[watch_pb2.WatchRequest] = []
        self.fake = Fake(self.answer)

    def answer(self, message: bytes, context: grpc.ServicerContext) -> Message:
        if self.fake.calls[-1][0] == "GetRevision":
            return watch_pb2.GetRevisionResponse(revision=7)
        self.asked.append(watch_pb2.WatchRequest.FromString(message))
        if len(self.asked) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        return watch_pb2.WatchResponse(revision=8, record=watch_pb2.LedgerRecord(kind="revoked", body_json=b"{}"))


def test_now_is_asked_once_and_no_broken_stream_moves_it() -> None:
    server = Breaking()
    with server.fake as fake, Client(fake.target) as client, client.watch() as watch:
        assert next(watch).revision == 8
    assert [message.after for message in server.asked] == [7, 7]
    assert all(message.HasField("after") for message in server.asked)


async def test_now_is_asked_once_and_no_broken_stream_moves_it_with_asyncio() -> None:
    server = Breaking()
    with server.fake as fake:
        async with AsyncClient(fake.target) as client, client.watch() as watch:
            assert (await anext(watch)).revision == 8
    assert [message.after for message in server.asked] == [7, 7]


def test_a_restarted_server_is_gone_on_with(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = Path(tmp_path_factory.mktemp("s"))

    def started() -> ChainServer:
        return server_of(directory, SqliteStore(directory / "ledger"))

    with ExitStack() as stack:
        with serving(started) as first:
            relay = stack.enter_context(relaying(first.address))
            client = stack.enter_context(Client(relay.address, secret("operator")))
            watch = stack.enter_context(client.watch(0, heartbeat=0.1))
            before = fill(store_of(first), 10)
            told = [next(watch).revision for _ in range(before)]
        with serving(started) as second:
            relay.target(second.address)
            relay.cut()
            last = fill(store_of(second), 10)
            told += [next(watch).revision for _ in range(last - before)]
    assert told == list(range(1, last + 1))


def test_a_silent_connection_is_a_lost_one(server: ChainServer) -> None:
    head = store_of(server).head
    with relaying(server.address) as relay, Client(relay.address, secret("operator")) as client:
        following: Following[Told] = Following(Watched(after=0, heartbeat=0.1), patience=0.7)
        with client._follow(following) as watch:
            assert [next(watch).revision for _ in range(head)] == list(range(1, head + 1))
            relay.silence()
            with pytest.raises(UnreachableError):
                next(watch)
        with client.watch(head, heartbeat=0.1) as watch:
            last = fill(store_of(server), 1)
            relay.cut()  # carries again
            assert next(watch).revision == last


async def test_reading_that_is_cancelled_loses_nothing(server: ChainServer) -> None:
    begin = store_of(server).head
    async with AsyncClient(server.address, secret("operator")) as client, client.watch(begin) as watch:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(watch), 0.05)
            last = fill(store_of(server), 1)
            assert (await anext(watch)).revision == last


def test_closing_from_another_thread_ends_the_iteration(server: ChainServer) -> None:
    before = set(threading.enumerate())
    with Client(server.address, secret("operator")) as client:
        for _ in range(3):
            watch = client.watch(client.revision())
            threading.Timer(0.05, watch.close).start()
            assert list(watch) == []
    left = [one.name for one in set(threading.enumerate()) - before if one.name.startswith("chain-")]
    assert left == []


async def test_closing_from_another_task_ends_the_iteration(server: ChainServer) -> None:
    async with AsyncClient(server.address, secret("operator")) as client:
        watch = client.watch(await client.revision())

        async def read() -> list[Told]:
            return [told async for told in watch]

        reading = asyncio.create_task(read())
        await asyncio.sleep(0.1)
        await watch.close()
        assert await reading == []


def test_a_closed_client_ends_what_it_follows(server: ChainServer) -> None:
    client = Client(server.address, secret("operator"))
    watch = client.watch(client.revision())
    closing = threading.Timer(0.1, client.close)
    closing.start()
    begin = time.monotonic()
    with pytest.raises(UnreachableError):
        next(watch)
    assert time.monotonic() - begin < followings.PATIENCE / 2
    closing.join()


async def test_a_closed_client_ends_what_it_follows_with_asyncio(server: ChainServer) -> None:
    client = AsyncClient(server.address, secret("operator"))
    following = asyncio.create_task(anext(client.watch(0, ["lifted"])))
    await asyncio.sleep(0.1)
    begin = time.monotonic()
    await client.close()
    with pytest.raises(UnreachableError):
        await following
    assert time.monotonic() - begin < followings.PATIENCE / 2


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followings, "PAUSES", (0.01,))
    following: Following[Told] = Following(Watched(after=0), patience=0.1)
    lost = UnreachableError("gone")
    assert following.pause(lost) == 0.01
    time.sleep(0.12)
    with pytest.raises(UnreachableError):
        following.pause(lost)


@pytest.mark.parametrize(
    ("error", "mends"), [(UnreachableError("x"), True), (StoreError("x"), True), (ChainError("x"), False)]
)
def test_what_a_new_connection_mends(error: ChainError, mends: bool) -> None:
    following: Following[Told] = Following(Watched(after=0))
    if mends:
        assert [following.pause(error) for _ in range(9)] == [*followings.PAUSES, 2.0, 2.0, 2.0]
    else:
        with pytest.raises(ChainError):
            following.pause(error)


def test_what_comes_twice_is_dropped_and_what_is_not_known_is_an_error() -> None:
    following: Following[Told] = Following(Watched(after=3))
    record = watch_pb2.LedgerRecord(kind="revoked", time_ms=1, body_json=b"{}")
    for revision, told in ((3, False), (4, True), (4, False), (2, False), (6, True)):
        assert (following.take(watch_pb2.WatchResponse(revision=revision, record=record)) is not None) == told
    assert following.message().after == 6
    with pytest.raises(ChainError):
        following.take(watch_pb2.WatchResponse(revision=7))
    assert following.message().after == 6


@pytest.mark.parametrize("stands", [True, False])
def test_a_standing_that_contradicts_itself_does_not_stand(stands: bool) -> None:
    following: Following[Any] = Following(Watched(chain=bytes(32)))
    reason = 110 if stands else 1  # REVOKED, ALLOWED
    told = following.take(
        watch_pb2.WatchResponse(standing=watch_pb2.ChainStanding(stands=stands, reason=reason))  # type: ignore[arg-type]
    )
    assert told is not None
    assert told.stands is False


def test_news_that_is_not_understood_is_raised_and_not_skipped() -> None:
    with Fake(watch_pb2.WatchResponse(revision=1)) as fake, Client(fake.target) as client:
        with client.watch(0) as watch, pytest.raises(ChainError) as raised:
            next(watch)
        assert raised.value.reason is Reason.INTERNAL
        assert len(fake.calls) == 1
