"""The clients over mutual TLS, against a real server: what they show, whom they know, and rotation under load."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import pytest

from chain.client import AsyncClient, Client
from chain.errors import ChainError, ConfigurationError, UnauthenticatedError, UnreachableError
from chain.identity.devca import DevAuthority
from chain.identity.material import Material, TrustBundle
from chain.reason import Reason
from chain.request import Request

from .test_mutual import DOMAIN, OTHER, PARTNER, PLANNER, Domain, domain, svid

__all__ = ["domain"]  # the fixture


class Own:
    """A workload's own source."""

    def __init__(self, name: str, authority: DevAuthority, *others: DevAuthority) -> None:
        self.name, self.authority, self.others = name, authority, others
        self.version = 0
        self.renew()

    def renew(self) -> None:
        self.version += 1
        bundles = {one.trust_domain: TrustBundle(one.trust_domain, one.authorities) for one in self.all}
        self.material = Material(svid(self.authority, self.name), bundles, self.version)

    @property
    def all(self) -> tuple[DevAuthority, ...]:
        return (self.authority, *self.others)

    def current(self) -> Material:
        return self.material


def request() -> Request:
    return Request(
        tool="mail.read", arguments={"folder": "in"}, holder=PLANNER, purpose="work", request_id=os.urandom(12).hex()
    )


async def test_a_client_is_who_its_svid_says(domain: Domain) -> None:
    tokens = [await domain.root()]
    for name, reason in ((PLANNER, Reason.ALLOWED), (OTHER, Reason.HOLDER_MISMATCH)):
        own = Own(name, domain.own)
        async with AsyncClient(domain.server.mtls_address, identity=own, server_name="localhost") as client:
            assert (await client.check(tokens, request())).reason is reason
        with Client(domain.server.mtls_address, identity=own, server_name="localhost") as plain:
            assert (await asyncio.to_thread(plain.check, tokens, request())).reason is reason


async def test_a_server_is_known_by_its_own_trust_domain(domain: Domain) -> None:
    mine = Own(PLANNER, domain.own, domain.partner)
    for trusted, known in ((DOMAIN, True), (PARTNER, False), ("else.test", False)):
        options = {"identity": mine, "server_name": "localhost", "trust_domain": trusted, "timeout": 1.0}
        async with AsyncClient(domain.server.mtls_address, **options) as client:
            if known:
                assert await client.revision() >= 0
                continue
            with pytest.raises(UnreachableError):
                await client.revision()


async def test_rotation_under_load_fails_no_call_of_a_client(domain: Domain) -> None:
    tokens = [await domain.root()]
    mine = Own(PLANNER, domain.own)
    ended = False
    done = [0, 0]
    first = mine.current().svid

    async def ask(client: AsyncClient) -> None:
        while not ended:
            assert (await client.check(tokens, request())).allowed
            done[0] += 1

    def wait(client: Client) -> None:
        while not ended:
            assert client.check(tokens, request()).allowed
            done[1] += 1

    options = {"identity": mine, "server_name": "localhost"}
    with Client(domain.server.mtls_address, **options) as plain:
        async with AsyncClient(domain.server.mtls_address, **options) as client:
            work = [ask(client), ask(client), asyncio.to_thread(wait, plain), asyncio.to_thread(wait, plain)]
            tasks = [asyncio.ensure_future(one) for one in work]
            for _ in range(3):  # an authority is trusted before anybody shows what it signed
                await asyncio.sleep(0.25)
                domain.own.rotate()
                domain.source.renew()
                mine.renew()
            await asyncio.sleep(0.25)
            ended = True
            await asyncio.gather(*tasks)
    assert min(done) > 20
    assert mine.current().svid != first


async def test_a_credential_may_be_given_anew_for_every_call(domain: Domain) -> None:
    given: list[Callable[[], str]] = []

    def token() -> str:
        given.append(token)
        return "not-known-here-" * 3

    options = {"identity": Own(PLANNER, domain.own), "server_name": "localhost"}
    async with AsyncClient(domain.server.mtls_address, token, **options) as client:
        for _ in range(2):
            with pytest.raises(UnauthenticatedError):
                await client.revision()
    assert len(given) == 2

    def broken() -> str:
        raise ValueError(time.time())

    async with AsyncClient(domain.server.mtls_address, broken, **options) as client:
        with pytest.raises(UnreachableError, match="ValueError"):
            await client.revision()


async def test_without_an_svid_there_is_no_call(domain: Domain) -> None:
    mine = Own(PLANNER, domain.own)
    async with AsyncClient(domain.server.mtls_address, identity=mine, server_name="localhost") as client:
        assert await client.revision() >= 0
        mine.material = Material(None, mine.material.bundles, 99)
        with pytest.raises(ChainError, match="no SVID to show"):
            await client.revision()
        mine.renew()
        assert await client.revision() >= 0


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("127.0.0.1:1", {"roots": b""}, "no roots beside it"),
        ("127.0.0.1:1", {"server_name": "spiffe://acme.test/chain"}, "no DNS name"),
        ("127.0.0.1:1", {"trust_domain": "Acme"}, "lower-case"),
        ("unix:/x", {}, "not spoken to over TLS"),
    ],
)
def test_what_does_not_go_together(target: str, options: dict[str, object], said: str) -> None:
    mine = Own(PLANNER, DevAuthority(DOMAIN, time.time, 60))
    Client("127.0.0.1:1", identity=mine).close()
    with pytest.raises(ConfigurationError, match=said):
        Client(target, identity=mine, **options)
