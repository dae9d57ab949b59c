"""A real server with its HTTP side, in a thread of its own, and the people of its little world."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from chain import mint
from chain.authority import Authority
from chain.caller import Caller, Role, embedded
from chain.cli.http import beside
from chain.key import KeySigner
from chain.keyring import KeyRing
from chain.notary import Notary
from chain.order import Issue
from chain.service.callers import Workloads
from chain.service.compose import compose
from chain.service.people import People
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.store.memory import MemoryStore
from chain.web.server import WebServer
from tests.support import signer

R = TypeVar("R")

PEP = "https://pep.example"
GRANT = mint.grant({"tools": {"mail.read": {}}, "limits": {"purposes": ["work"]}})
KEYS = {name: signer(name) for name in ("issuer", "former", "alice", "bob")}
FORM = "application/x-www-form-urlencoded"


def secret(name: str) -> str:
    return f"{name}-".ljust(40, "s")


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret(name)}"}


def jwk(key: KeySigner) -> dict[str, Any]:
    return json.loads(key.key.to_json())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings(directory: Path, **changes: object) -> ServeSettings:
    """One caller of every role, and two agents that hold keys."""
    key = directory / "issuer.jwk"
    key.touch(mode=0o600)
    origin = f"http://127.0.0.1:{free_port()}"
    issuer = str(changes.setdefault("issuer", origin))

    def caller(name: str, role: str, **rest: object) -> dict[str, object]:
        known = hashlib.sha256(secret(name).encode()).hexdigest()
        return {"name": name, "roles": [role], "credentials": [known], "audience": PEP, **rest}

    people = [caller(role.value, role.value) for role in Role]
    people += [caller(name, "agent", jwk=jwk(KEYS[name])) for name in ("alice", "bob")]
    told: dict[str, object] = {
        "listen": "127.0.0.1:0",
        "http_listen": origin.removeprefix("http://"),
        "ledger": "memory",
        "audience": "https://chain.example",
        "issuer_key": key,
        "anchors": [{"jwk": jwk(KEYS[name]), "iss": issuer} for name in ("issuer", "former")],
        "callers": people,
        "policy": "none",
        "roots_must_name": [],
        "status_list": f"{issuer}/lists/1",
        "drain": 1,
    }
    return ServeSettings(**(told | changes))


@dataclass
class Hosted:
    """A server that runs."""

    settings: ServeSettings
    clock: Callable[[], float] = time.time
    workloads: Workloads | None = None
    people: People | None = None
    ring: KeyRing | None = None
    notary: Notary | None = None
    log: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        self.authority: Authority = compose(
            self.settings,
            MemoryStore(),
            signer=None if self.settings.issuer_key is None else KEYS["issuer"],
            ring=self.ring,
            notary=self.notary,
            clock=self.clock,
        )
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self.server = self.run(self._started())
        except BaseException:
            self._end()
            self.authority.close()
            raise
        scheme = "http" if self.settings.tls_cert is None else "https"
        self.url = f"{scheme}://{self.server.http_address}"
        self.client = httpx.Client(base_url=self.url, timeout=10, trust_env=False, verify=False)  # noqa: S501 - loopback

    async def _started(self) -> ChainServer:
        made = beside(self.settings, self.authority)
        server = ChainServer(
            self.authority, self.settings, log=self.log, workloads=self.workloads, people=self.people, beside=made
        )
        await server.start()
        return server

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    @property
    def side(self) -> WebServer:
        """What serves HTTP."""
        assert isinstance(self.server._beside, WebServer)
        return self.server._beside

    @property
    def state(self) -> Any:
        """Connections and requests, as uvicorn counts them."""
        return self.side._server.server_state

    def close(self) -> None:
        self.client.close()
        self.run(self.server.stop(0))
        self._end()

    def _end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def root(self, holder: str = "alice", **facts: Any) -> str:
        facts = {"lifetime": 600, "task": "t1", "sub": "dana", "owner": "team", "listed": True} | facts
        return self.authority.issue(embedded(), Issue(holder=KEYS[holder].key, grant=GRANT, **facts)).token

    def child(self, parent: str, by: str = "alice", to: str = "bob") -> str:
        """Let the parent's holder hand on what it has, over a channel that proves it."""
        above, now = mint.unverified(parent), self.clock()
        claims = mint.child_claims(
            above, GRANT, KEYS[to].key, jti=mint.uuid7(now, os.urandom(10)), now=int(now), lifetime=300
        )
        text = mint.token.sign(claims, KEYS[by])
        holder = Caller(by, frozenset({Role.AGENT}), PEP, KEYS[by].key.thumbprint, channel=True)
        return self.authority.delegate(holder, [parent], text).token

    def post(self, path: str, who: str = "auditor", **fields: str) -> httpx.Response:
        return self.client.post(path, data=fields, headers=bearer(who))

    def introspect(self, token: str, who: str = "auditor") -> dict[str, Any]:
        answered = self.post("/introspect", who, token=token)
        assert answered.status_code == 200, answered.text
        return answered.json()
