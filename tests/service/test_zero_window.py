"""A client that lets no reply leave: gRPC would count its calls for ever, so nothing may hang on that count."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from chain import mint
from chain.order import Revoke
from chain.wire import convert

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, DATA, SETTINGS, PING = 1, 0, 4, 6
NO_WINDOW = struct.pack(">HI", 4, 0)  # SETTINGS_INITIAL_WINDOW_SIZE = 0 (RFC 9113 s6.5.2)
CALLS = 120  # on each connection


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name: str, value: str) -> bytes:
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


CHECK = b"\x83\x86" + b"".join(
    literal(name, value)
    for name, value in {
        ":path": "/grpc.health.v1.Health/Check",
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
    }.items()
)


@asynccontextmanager
async def mute(address: str) -> AsyncIterator[None]:
    """A connection that asks again and again, answers pings, and never lets an answer come."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))

    async def attend() -> None:
        while True:
            head = await reader.readexactly(9)
            body = await reader.readexactly(int.from_bytes(head[:3]))
            if head[3] in (SETTINGS, PING) and not head[4] & 1:
                writer.write(frame(head[3], 1, 0, body if head[3] == PING else b""))

    writer.write(PREFACE + frame(SETTINGS, 0, 0, NO_WINDOW))
    task = asyncio.create_task(attend())
    for number in range(CALLS):
        stream = 1 + 2 * number
        writer.write(frame(HEADERS, 4, stream, CHECK) + frame(DATA, 1, stream, bytes(5)))
    await writer.drain()
    try:
        yield
    finally:
        task.cancel()
        writer.close()


async def test_a_stranger_that_reads_nothing_keeps_nobody_from_revoking(serve: Callable[..., Any]) -> None:
    world = await serve(max_concurrent_rpcs=40, max_calls_per_caller=20, max_streams_per_caller=10)
    first, second = [mint.unverified(await world.root()).digest for _ in range(2)]

    async def revoke(digest: bytes) -> int:
        order = convert.revoke_to(Revoke(digest, "end"), None, None, os.urandom(8).hex())
        answer = await asyncio.wait_for(world.stub("operator").Revoke(order), 10)
        return int(answer.revision)

    assert await revoke(first) > 0  # undisturbed
    at = world.server.address
    async with mute(at), mute(at), mute(at), mute(at):
        await asyncio.sleep(0.5)
        assert await revoke(second) > 0
