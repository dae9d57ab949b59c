"""A real server for the clients: in a thread of its own, or (run as a script) a process that a test can kill.

As a script: ``python -m tests.client.running DIRECTORY [hang]``; prints its address, and with `hang` the word
``committing`` once a check has reached a store that never commits.
"""

from __future__ import annotations

import asyncio
import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from chain.ledger import Batch, Store
from chain.service.compose import compose
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.store.memory import MemoryStore
from tests.support import ALICE, BOB, CAROL, HOME, ISSUER, PEP, ROOT_KEY, jwk

CALLERS = ("issuer", "operator", "agent", "point", "alice")


def secret(name: str) -> str:
    return f"secret-of-{name}".ljust(40, "x")


def settings(directory: Path) -> ServeSettings:
    """Everybody may call; Alice by her own socket. (The issuer's key file is only named; the signer is here.)"""
    roles = {"issuer": "issuer", "operator": "operator", "agent": "agent", "point": "enforcement_point"}
    callers: list[dict[str, object]] = [
        {"name": name, "roles": [role], "credentials": [sha256(secret(name).encode()).hexdigest()]}
        | ({"audience": PEP} if role in ("agent", "enforcement_point") else {})
        | ({"jwk": jwk(ALICE)} if role == "agent" else {})
        for name, role in roles.items()
    ]
    callers.append({"name": "alice", "roles": ["agent"], "audience": PEP, "jwk": jwk(ALICE), "socket": True})
    catalogue = directory / "catalogue.toml"
    catalogue.write_text('"mail.read" = {class = "read", classification = "internal"}\n"bank.pay" = "act"\n')
    issuer_key = directory / "issuer.json"
    issuer_key.touch(0o600)
    agents = [
        {"jwk": jwk(key), "id": f"spiffe://example.org/{place}", "owner": "team"}
        for place, key in enumerate((ALICE, BOB, CAROL))
    ]
    return ServeSettings.model_validate(
        {
            "listen": "127.0.0.1:0",
            "ledger": "memory",
            "audience": HOME,
            "issuer": ISSUER,
            "issuer_key": issuer_key,
            "anchors": [{"jwk": jwk(ROOT_KEY), "iss": ISSUER}],
            "sockets": directory / "sockets",
            "catalogue": catalogue,
            "callers": callers,
            "agents": agents,
            "drain": 0.1,
            "roots_must_name": [],
        }
    )


def server_of(directory: Path, store: Store | None = None) -> ChainServer:
    told = settings(directory)
    authority = compose(told, store or MemoryStore(), signer=ROOT_KEY)
    return ChainServer(authority, told, log=io.StringIO())


@contextmanager
def running(directory: Path) -> Iterator[ChainServer]:
    """This server, started."""
    with serving(lambda: server_of(directory)) as server:
        yield server


@contextmanager
def serving(make: Callable[[], ChainServer]) -> Iterator[ChainServer]:
    """A server in a thread, with a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def start() -> ChainServer:
        server = make()
        await server.start()
        return server

    try:
        server = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class HangingStore(MemoryStore):
    """Takes what the server writes when it starts, and then never commits again."""

    hangs = False

    def commit(self, batch: Batch) -> Future[int]:
        if not self.hangs:
            return super().commit(batch)
        print("committing", flush=True)  # noqa: T201 - the test waits for this line
        return Future()


async def main(directory: Path, *, hang: bool) -> None:
    store = HangingStore()
    server = server_of(directory, store)
    await server.start()
    store.hangs = hang
    print(server.address, flush=True)  # noqa: T201 - the test reads it
    await asyncio.to_thread(time.sleep, 60)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), hang=sys.argv[2:] == ["hang"]))
