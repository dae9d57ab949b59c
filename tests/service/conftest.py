"""A real server on loopback and unix sockets, and the people of its little world."""

import hashlib
import io
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from chain import mint, proof
from chain.grant import Grant
from chain.key import KeySigner
from chain.ledger import Store
from chain.order import Issue
from chain.request import Request
from chain.service.compose import compose
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.store.memory import MemoryStore
from chain.v1 import authorization_pb2, authorization_pb2_grpc, delegation_pb2_grpc, info_pb2_grpc
from chain.wire import convert

ISSUER = "https://issuer.example"
AUTHORITY = "https://chain.example"
PEP = "https://pep.example"

GRANT = mint.grant(
    {
        "tools": {
            "mail.read": {"folder": {"constraint_type": "one_of", "values": ["in", "out"]}},
            "bank.pay": {"amount": {"constraint_type": "range", "max": 100}},
        },
        "limits": {"classes": ["read", "act"]},
    }
)


def secret(name: str) -> str:
    return f"{name}-".ljust(40, "s")


def fingerprint(name: str) -> str:
    return hashlib.sha256(secret(name).encode()).hexdigest()


def jwk(signer: KeySigner) -> dict[str, Any]:
    return json.loads(signer.key.to_json())


def signer(name: str) -> KeySigner:
    return KeySigner.from_seed(hashlib.sha256(name.encode()).digest())


KEYS = {name: signer(name) for name in ("issuer", "alice", "bob", "carol")}


def configuration(directory: Path, **changes: object) -> dict[str, Any]:
    """Settings with one caller of every role, and an agent on a socket of its own."""
    catalogue = directory / "catalogue.json"
    catalogue.write_text(json.dumps({"mail.read": "read", "bank.pay": "act"}))
    key = directory / "issuer.jwk"
    if not key.exists():
        key.touch(mode=0o600)
    named = {
        "issuer": {"roles": ["issuer"]},
        "alice": {"roles": ["agent"], "audience": PEP, "jwk": jwk(KEYS["alice"]), "socket": True},
        "bob": {"roles": ["agent"], "audience": PEP, "jwk": jwk(KEYS["bob"])},
        "point": {"roles": ["enforcement_point"], "audience": PEP, "socket": True},
        "auditor": {"roles": ["auditor"]},
        "operator": {"roles": ["operator"]},
    }
    return {
        "listen": "127.0.0.1:0",
        "sockets": directory / "sockets",
        "ledger": "memory",
        "audience": AUTHORITY,
        "issuer": ISSUER,
        "issuer_key": key,
        "anchors": [{"jwk": jwk(KEYS["issuer"]), "iss": ISSUER}],
        "catalogue": catalogue,
        "callers": [{"name": name, "credentials": [fingerprint(name)], **rest} for name, rest in named.items()],
        "agents": [
            {"jwk": jwk(KEYS[name]), "id": f"spiffe://team.example/{name}", "owner": "team"}
            for name in ("alice", "bob")
        ],
        "drain": 2,
        "policy": "none",
        "roots_must_name": [],
    } | changes


@dataclass
class World:
    """A server that runs, with its log."""

    server: ChainServer
    log: io.StringIO
    clock: Callable[[], float] = time.time
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def channel(self, caller: str | None = "point", *, socket: bool = False) -> grpc.aio.Channel:
        target = f"unix:{self.server.sockets[caller]}" if socket and caller else self.server.address
        channel = grpc.aio.insecure_channel(target)
        self.channels.append(channel)
        return channel

    def stub(self, caller: str, *, socket: bool = False) -> "Stub":
        return Stub(self.channel(caller, socket=socket), () if socket else bearer(caller))

    async def root(self, holder: str = "alice", grant: Grant = GRANT, lifetime: int = 600) -> str:
        order = Issue(holder=KEYS[holder].key, grant=grant, lifetime=lifetime, task="t1", sub="dana", owner="team")
        reply = await self.stub("issuer").Issue(convert.issue_to(order, os.urandom(8).hex()))
        return reply.token.decode()

    def child(self, parent: str, by: str, to: str, grant: Grant, lifetime: int = 300) -> str:
        """Sign a child as its parent's holder would, without comparing it."""
        above = mint.unverified(parent)
        now = self.clock()
        claims = mint.child_claims(
            above, grant, KEYS[to].key, jti=mint.uuid7(now, os.urandom(10)), now=int(now), lifetime=lifetime
        )
        return mint.token.sign(claims, KEYS[by])

    def proof(
        self, by: str, leaf: str, tool: str, arguments: dict[str, Any], audience: str = PEP, jti: str = ""
    ) -> str:
        return proof.make(
            KEYS[by],
            mint.unverified(leaf),
            tool,
            arguments,
            audience=audience,
            jti=jti or os.urandom(9).hex(),
            iat=int(self.clock()),
        )

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


def bearer(caller: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {secret(caller)}"),)


class Stub:
    """Every RPC of every service, with a caller's credential."""

    def __init__(self, channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
        self._stubs = (
            authorization_pb2_grpc.AuthorizationServiceStub(channel),
            delegation_pb2_grpc.DelegationServiceStub(channel),
            info_pb2_grpc.ServerInfoServiceStub(channel),
        )
        self.metadata = metadata

    def __getattr__(self, method: str) -> Callable[..., Any]:
        call = next(getattr(stub, method) for stub in self._stubs if hasattr(stub, method))

        def ask(*message: object, extra: tuple[tuple[str, str], ...] = ()) -> Any:  # grpc's call objects
            return call(*message, metadata=(*self.metadata, *extra), timeout=20)

        return ask


def ask(
    tokens: list[str] | bytes | None,
    tool: str = "mail.read",
    *,
    arguments: dict[str, Any] | None = None,
    channel: bool = False,
    at_least: int = 0,
    **facts: str | None,
) -> authorization_pb2.CheckRequest:
    """A request as a client would send it; `channel` lets the channel prove the holder."""
    request = Request(tool=tool, arguments={"folder": "in"} if arguments is None else arguments, **facts)
    return convert.check_to(tokens, request, channel=channel, at_least=at_least)


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")  # short: a unix socket's path has 107 bytes


Serve = Callable[..., Any]


@pytest_asyncio.fixture
async def serve(directory: Path) -> AsyncIterator[Serve]:
    worlds: list[World] = []

    async def start(store: Store | None = None, clock: Callable[[], float] = time.time, **changes: object) -> World:
        settings = ServeSettings(**configuration(directory, **changes))
        authority = compose(settings, store or MemoryStore(), signer=KEYS["issuer"], clock=clock)
        log = io.StringIO()
        world = World(ChainServer(authority, settings, log=log, clock=clock), log, clock)
        await world.server.start()
        worlds.append(world)
        return world

    yield start
    for world in worlds:
        for channel in world.channels:
            await channel.close()
        await world.server.stop(0)


@pytest_asyncio.fixture
async def world(serve: Serve) -> World:
    return await serve()
