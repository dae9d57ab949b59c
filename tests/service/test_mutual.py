"""Workloads with X.509-SVIDs: who shakes hands, who is a caller, and what of a chain its channel proves."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding

from chain.caller import ALLOWED, Role
from chain.claims import Confirmation
from chain.decision import Decision
from chain.errors import ConfigurationError
from chain.identity.devca import DevAuthority
from chain.identity.material import Material, Svid, TrustBundle
from chain.identity.own import from_der
from chain.identity.tls import Channels
from chain.order import Issue
from chain.reason import Reason
from chain.request import Request
from chain.service.compose import compose
from chain.service.safety import require_safe
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.store.memory import MemoryStore
from chain.wire import convert

from .conftest import GRANT, KEYS, PEP, Stub, configuration
from .test_gate import METHODS, REFUSED, code
from .test_nobody import EVERY

DOMAIN, PARTNER = "acme.test", "partner.test"
SERVER = f"spiffe://{DOMAIN}/chain"
PLANNER, OTHER = f"spiffe://{DOMAIN}/agents/planner", f"spiffe://{DOMAIN}/agents/other"
GATEWAY = f"spiffe://{DOMAIN}/gateway"

ROLES = {role: f"spiffe://{DOMAIN}/roles/{role.value}" for role in Role}
CALLERS = [
    {"name": role.value, "roles": [role.value], "audience": PEP, "spiffe": name} for role, name in ROLES.items()
] + [
    {"name": "agents", "roles": ["agent"], "audience": PEP, "spiffe": f"spiffe://{DOMAIN}/agents/*"},
    {
        "name": "gateway",
        "roles": ["enforcement_point"],
        "audience": PEP,
        "spiffe": GATEWAY,
        "vouches": [f"spiffe://{DOMAIN}/agents/*"],
    },
]


class Held:
    """A source whose material the test changes."""

    def __init__(self, *authorities: DevAuthority) -> None:
        self.authorities = {one.trust_domain: one for one in authorities}
        self.version = 0
        self.material = Material(None, {}, 0)
        self.renew()

    def renew(self, **bundles: Sequence[Any]) -> None:
        self.version += 1
        trusted = {
            name: TrustBundle(name, one.authorities, {str(key["kid"]): key for key in one.jwt_keys})
            for name, one in self.authorities.items()
        }
        trusted |= {name: TrustBundle(name, tuple(held)) for name, held in bundles.items()}
        self.material = Material(svid(self.authorities[DOMAIN], SERVER, ["localhost"]), trusted, self.version)

    def current(self) -> Material:
        return self.material

    def close(self) -> None:
        """Nothing is followed."""


def svid(authority: DevAuthority, name: str, dns: Sequence[str] = ()) -> Svid:
    leaf = authority.leaf(name, dns)
    return from_der(leaf.certificate, leaf.key)


@dataclass
class Domain:
    """A server on mutual TLS, and the authorities of two trust domains."""

    server: ChainServer
    own: DevAuthority
    partner: DevAuthority
    source: Held
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def channel(self, shown: Svid | None) -> grpc.aio.Channel:
        roots = b"".join(one.public_bytes(Encoding.PEM) for one in self.own.authorities)
        pair = (None, None) if shown is None else (shown.key, shown.chain)
        credentials = grpc.ssl_channel_credentials(roots, *pair)
        options = [("grpc.ssl_target_name_override", "localhost"), ("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.aio.secure_channel(self.server.mtls_address, credentials, options=options)
        self.channels.append(channel)
        return channel

    def stub(self, name: str, metadata: tuple[tuple[str, str], ...] = ()) -> Stub:
        return Stub(self.channel(svid(self.own, name)), metadata)

    async def root(self, spiffe: str = PLANNER) -> str:
        order = Issue(
            holder=Confirmation(spiffe=spiffe), grant=GRANT, lifetime=300, task="t1", sub="dana", owner="team"
        )
        reply = await self.stub(ROLES[Role.ISSUER]).Issue(convert.issue_to(order, os.urandom(8).hex()))
        return reply.token.decode()


async def check(stub: Stub, tokens: list[str], tool: str = "mail.read", *, vouched: str | None = None) -> Decision:
    arguments = {"folder": "in"} if tool == "mail.read" else {"amount": 5}
    request = Request(tool=tool, arguments=arguments, spiffe=vouched, request_id=os.urandom(12).hex(), purpose="work")
    return convert.decision_from((await stub.Check(convert.check_to(tokens, request, channel=not vouched))).decision)


def settings(directory: Path, **changes: object) -> ServeSettings:
    agents = [{"svid": True, "id": PLANNER, "owner": "team"}]
    mutual = {"listen": "", "mtls_listen": "127.0.0.1:0", "sockets": None, "identity": {}, "callers": CALLERS}
    return ServeSettings(**configuration(directory, **mutual, agents=agents, **changes))


@pytest_asyncio.fixture
async def domain(directory: Path) -> AsyncIterator[Domain]:
    own, partner = (DevAuthority(name, time.time, 3600) for name in (DOMAIN, PARTNER))
    source = Held(own, partner)
    told = settings(directory, reflection=True)
    authority = compose(told, MemoryStore(), signer=KEYS["issuer"])
    server = ChainServer(authority, told, log=io.StringIO(), workloads=Channels(source, time.time))
    await server.start()
    made = Domain(server, own, partner, source)
    yield made
    for channel in made.channels:
        await channel.close()
    await server.stop(0)


async def test_exactly_the_roles_of_the_table_pass(domain: Domain) -> None:
    tried = 0
    for role, name in ROLES.items():
        channel = domain.channel(svid(domain.own, name))
        for path, method in METHODS.items():
            told = await code(channel, path)
            assert (told in REFUSED) is (role not in ALLOWED[method.name]), (path, role, told)
            tried += 1
    assert tried == len(Role) * len(METHODS) > 150


@pytest.mark.parametrize("who", ["nobody", "a stranger", "a partner's", "a forger"])
async def test_no_method_is_open_to_who_is_no_caller(domain: Domain, who: str) -> None:
    forged = DevAuthority(DOMAIN, time.time, 3600)  # of the same name, and known to the partner's bundle alone
    domain.source.renew(**{PARTNER: [*domain.partner.authorities, *forged.authorities]})
    shown = {
        "nobody": None,
        "a stranger": svid(domain.own, f"spiffe://{DOMAIN}/nobody"),
        "a partner's": svid(domain.partner, f"spiffe://{PARTNER}/agents/planner"),
        "a forger": svid(forged, ROLES[Role.OPERATOR]),
    }
    channel = domain.channel(shown[who])
    expected = grpc.StatusCode.UNAVAILABLE if who == "nobody" else grpc.StatusCode.UNAUTHENTICATED
    for path in EVERY if who != "nobody" else EVERY[:3]:
        assert await code(channel, path) is expected, path
    assert await code(domain.channel(svid(domain.own, ROLES[Role.OPERATOR])), "/x/y") in REFUSED


@pytest.mark.parametrize("along", ["victim", "victim thief", "thief victim"])
async def test_a_certificate_that_was_only_sent_along_speaks_for_nobody(domain: Domain, along: str) -> None:
    """Whoever was ever called by an operator has its certificate; what makes a caller an operator is the key."""
    own = {"victim": svid(domain.own, ROLES[Role.OPERATOR]), "thief": svid(domain.own, ROLES[Role.AUDITOR])}
    sent = b"".join(own[name].chain for name in along.split())
    suspend, info = "/chain.v1.ControlService/Suspend", "/chain.v1.ServerInfoService/GetServerInfo"
    thief, victim = (domain.channel(replace(own[name], chain=own[name].chain + sent)) for name in ("thief", "victim"))
    assert await code(thief, suspend) is grpc.StatusCode.PERMISSION_DENIED
    assert await code(thief, info) is grpc.StatusCode.OK
    assert await code(victim, suspend) not in REFUSED


async def test_a_second_credential_is_refused(domain: Domain) -> None:
    tokens = [await domain.root()]
    assert (await check(domain.stub(PLANNER), tokens)).allowed
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await check(domain.stub(PLANNER, (("authorization", "Bearer x"),)), tokens)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_stolen_token_is_another_holders(domain: Domain) -> None:
    tokens = [await domain.root()]
    assert (await check(domain.stub(PLANNER), tokens)).allowed
    assert (await check(domain.stub(PLANNER), tokens, "bank.pay")).allowed
    assert (await check(domain.stub(OTHER), tokens)).reason is Reason.HOLDER_MISMATCH
    assert (await check(domain.stub(GATEWAY), tokens)).reason is Reason.HOLDER_MISMATCH


async def test_a_gateway_vouches_for_those_it_may_vouch_for(domain: Domain) -> None:
    tokens = [await domain.root()]
    gateway = domain.stub(GATEWAY)
    assert (await check(gateway, tokens, vouched=PLANNER)).allowed
    assert (await check(gateway, tokens, vouched=OTHER)).reason is Reason.HOLDER_MISMATCH
    for stub, name in ((gateway, ROLES[Role.ISSUER]), (domain.stub(OTHER), PLANNER)):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await check(stub, tokens, vouched=name)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_rotation_under_load_fails_no_call_and_the_old_authority_is_refused(domain: Domain) -> None:
    tokens = [await domain.root()]
    before = svid(domain.own, PLANNER)
    old, done, rotations, ended = domain.channel(before), 0, 0, False

    assert (await check(Stub(old, ()), tokens)).allowed

    async def ask() -> None:
        nonlocal done
        channel, seen = domain.channel(before), 0
        while not ended:
            if seen != rotations:  # as a client does whose SVID was renewed
                channel, seen = domain.channel(svid(domain.own, PLANNER)), rotations
            assert (await check(Stub(channel, ()), tokens)).allowed
            done += 1

    tasks = [asyncio.create_task(ask()) for _ in range(3)]
    for _ in range(2):
        await asyncio.sleep(0.3)
        domain.own.rotate()  # who signs now was in the bundle before, and who signed before still is
        domain.source.renew()
        rotations += 1
    await asyncio.sleep(0.3)
    ended = True
    await asyncio.gather(*tasks)
    assert done > 10
    with pytest.raises(grpc.aio.AioRpcError, match="svid_path"):  # twice rotated: nobody knows its authority any more
        await check(Stub(old, ()), tokens)
    assert (await check(domain.stub(PLANNER), tokens)).allowed


async def test_a_bundle_without_keys_trusts_nobody_on_the_very_next_call_and_ends_streams(domain: Domain) -> None:
    tokens = [await domain.root()]
    stub = domain.stub(PLANNER)
    assert (await check(stub, tokens)).allowed
    stream = stub.CheckStream()
    domain.source.renew(**{DOMAIN: []})
    with pytest.raises(grpc.aio.AioRpcError, match="svid_domain_untrusted"):
        await check(stub, tokens)
    with pytest.raises(grpc.aio.AioRpcError, match="svid_domain_untrusted"):
        await stream.read()
    domain.source.renew()
    assert (await check(stub, tokens)).allowed
    with contextlib.suppress(grpc.aio.AioRpcError):
        await stream.read()


async def test_a_jwt_svid_names_a_caller_and_proves_no_holder(directory: Path) -> None:
    own = DevAuthority(DOMAIN, time.time, 3600)
    source = Held(own)
    told = settings(directory).model_dump() | {
        "listen": "127.0.0.1:0",
        "mtls_listen": "",
        "identity": {"jwt_audience": [PEP]},
        "callers": CALLERS,
    }
    told = ServeSettings(**told)
    authority = compose(told, MemoryStore(), signer=KEYS["issuer"])
    channels = Channels(source, time.time, [PEP], mutual=False)
    server = ChainServer(authority, told, log=io.StringIO(), workloads=channels)
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:

        def stub(name: str, audience: str = PEP) -> Stub:
            return Stub(channel, (("authorization", f"Bearer {own.token(name, [audience])}"),))

        order = Issue(holder=Confirmation(spiffe=PLANNER), grant=GRANT, lifetime=300, task="t", sub="d", owner="team")
        message = convert.issue_to(order, os.urandom(8).hex())
        reply = await stub(ROLES[Role.ISSUER]).Issue(message)
        tokens = [reply.token.decode()]
        assert (await check(stub(PLANNER), tokens)).reason is Reason.HOLDER_MISMATCH
        assert (await check(stub(GATEWAY), tokens, vouched=PLANNER)).allowed
        refused = {
            stub(ROLES[Role.AGENT]): grpc.StatusCode.PERMISSION_DENIED,
            stub(ROLES[Role.ISSUER], "https://else.example"): grpc.StatusCode.UNAUTHENTICATED,
            stub(f"spiffe://{DOMAIN}/nobody"): grpc.StatusCode.UNAUTHENTICATED,
            Stub(channel, (("authorization", "Bearer a.b.c"),)): grpc.StatusCode.UNAUTHENTICATED,
        }
        for one, expected in refused.items():
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await one.Issue(message)
            assert raised.value.code() is expected
    await server.stop(0)


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"identity": None}, "needs `identity`"),
    ({"mtls_listen": ""}, "neither is named"),
    ({"mtls_listen": "nowhere"}, "host:port"),
    ({"identity": {"jwt_audience": [PEP]}}, "is for `listen`"),
    ({"callers": [{"name": "a", "roles": ["auditor"], "credentials": ["0" * 64]}]}, "lets nobody in"),
    ({"callers": [CALLERS[0] | {"spiffe": "spiffe://acme.test/*/x"}]}, "SPIFFE"),
    ({"callers": [CALLERS[0], CALLERS[0] | {"name": "b"}]}, "stands for 2 callers"),
    ({"callers": [CALLERS[0] | {"vouches": [PLANNER]}]}, "is no enforcement point"),
    ({"callers": [CALLERS[-1] | {"vouches": ["*"]}]}, "SPIFFE"),
    ({"callers": [CALLERS[-2] | {"thumbprint": "x"}]}, "stands for many"),
]


@pytest.mark.parametrize(("changes", "said"), CONTRADICTIONS)
def test_what_contradicts_itself_does_not_start(directory: Path, changes: dict[str, Any], said: str) -> None:
    told = settings(directory).model_dump(exclude={"callers"}) | {"callers": CALLERS}
    require_safe(ServeSettings(**told))
    with pytest.raises(ConfigurationError, match=said):
        require_safe(ServeSettings(**told | changes))


def test_material_that_cannot_serve_refuses_to_start(directory: Path) -> None:
    own = DevAuthority(DOMAIN, time.time, 3600)
    source = Held(own)
    Channels(source, time.time)
    with pytest.raises(ConfigurationError, match="expired"):
        Channels(source, lambda: time.time() + 7200)
    source.renew(**{DOMAIN: []})
    with pytest.raises(ConfigurationError, match="authority"):
        Channels(source, time.time)
    source.material = Material(None, source.material.bundles, 9)
    with pytest.raises(ConfigurationError, match="SVID of the server's own"):
        Channels(source, time.time)
    told = settings(directory)
    with pytest.raises(ConfigurationError, match="knows the workloads"):
        ChainServer(compose(told, MemoryStore(), signer=KEYS["issuer"]), told)
