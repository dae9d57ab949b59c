"""A way to a server that can be cut, silenced and opened again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Relay:
    """Forwards bytes, in a thread of its own.

    Attributes:
        address: where clients connect.
        connections: how many were made.
    """

    def __init__(self, target: str) -> None:
        self.target(target)
        self.address = ""
        self.connections = 0
        self._silent = False
        self._open = True
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()

    def target(self, address: str) -> None:
        """Lead new connections there."""
        self._host, _, port = address.rpartition(":")
        self._port = int(port)

    def cut(self, *, for_good: bool = False) -> None:
        """Break every connection; `for_good` lets no new one come either."""
        self._run(lambda: self._cut(open=not for_good))

    def mend(self) -> None:
        """Let connections come again."""
        self._run(lambda: self._cut(open=True))

    def silence(self) -> None:
        """Let connections live and carry nothing; new ones too."""
        self._silent = True

    async def _cut(self, *, open: bool) -> None:  # noqa: A002
        self._open, self._silent = open, False
        for writer in list(self._writers):
            writer.transport.abort()

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if not self._open:
            writer.transport.abort()
            return
        try:
            there, away = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, away}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, away))
                group.create_task(self._pump(there, writer))
        except* (ConnectionError, OSError):
            pass
        finally:
            self._writers -= {writer, away}
            for end in (writer, away):
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if not self._silent:
                writer.write(data)
                await writer.drain()
        raise ConnectionError


@contextmanager
def relaying(target: str) -> Iterator[Relay]:
    """A relay that runs."""
    relay = Relay(target)
    loop = relay._loop
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(relay._serve, "127.0.0.1", 0)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    relay.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield relay
    finally:

        async def stop() -> None:
            server.close()
            await relay._cut(open=False)
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
