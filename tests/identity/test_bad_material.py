"""Every way in which material is wrong is in a table, and a real server says the same of it as the functions do."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from chain.identity.fault import Fault
from chain.identity.material import Material, TrustBundle
from chain.identity.own import from_pem
from chain.identity.tls import Channels
from chain.service.compose import compose
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.store.memory import MemoryStore
from chain.v1 import info_pb2, info_pb2_grpc
from tests.identity import test_jwtsvid, test_oidc, test_x509svid
from tests.identity.certificates import NOW, Shown
from tests.identity.strict_ids import LONG
from tests.service.conftest import KEYS, configuration

DOMAINS = ("a.test", "b.test", LONG)
NO_HANDSHAKE = {
    Fault.SVID_MISSING,
    Fault.SVID_MALFORMED,
    Fault.SVID_NOT_YET_VALID,
    Fault.SVID_EXPIRED,
    Fault.SVID_NO_DIGITAL_SIGNATURE,
}
"""What TLS itself refuses, or cannot even be shown with."""


def test_every_fault_has_a_case_and_every_case_a_twin() -> None:
    cases = [*test_x509svid.CASES, *test_jwtsvid.CASES, *test_oidc.CASES]
    assert len(cases) == 240
    assert {fault for fault, _, _ in cases} == set(Fault) - {Fault.OIDC_KEYS_UNAVAILABLE}  # that is no token's fault
    assert all(wrong != right for _, wrong, right in cases)


def clock() -> float:
    """The moment for which the tables were made; a suite may come here minutes later."""
    return NOW


class Held:
    """Both kinds of bundles of every domain of the tables, and a server's SVID."""

    def __init__(self) -> None:
        server = test_x509svid.A.leaf(uris=("spiffe://a.test/chain",), dns=("localhost",))
        certificates, tokens = test_x509svid.BUNDLES, test_jwtsvid.BUNDLES
        bundles = {
            name: TrustBundle(name, certificates[name].authorities, tokens[name].jwt_keys) for name in certificates
        }
        self.material = Material(from_pem(server.chain, private(server)), bundles, 1)

    def current(self) -> Material:
        return self.material

    def close(self) -> None:
        """Nothing is followed."""


def can_be_shown(one: Shown) -> bool:
    """Whether there is a private key, of a kind that a client of gRPC signs handshakes with."""
    return hasattr(one.key, "private_bytes") and not isinstance(getattr(one.key, "curve", None), ec.SECP521R1)


def private(shown: Shown) -> bytes:
    return shown.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest_asyncio.fixture
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ChainServer]:
    callers = [{"name": f"in.{name[:6]}", "roles": ["auditor"], "spiffe": f"spiffe://{name}/**"} for name in DOMAINS]
    told = ServeSettings(
        **configuration(
            tmp_path_factory.mktemp("s"), mtls_listen="127.0.0.1:0", sockets=None, callers=callers, agents=[],
            identity={"jwt_audience": [test_jwtsvid.US]},
        )
    )  # fmt: skip
    authority = compose(told, MemoryStore(), signer=KEYS["issuer"])
    channels = Channels(Held(), clock, [test_jwtsvid.US])
    serving = ChainServer(authority, told, log=io.StringIO(), clock=clock, workloads=channels)
    await serving.start()
    yield serving
    await serving.stop(0)


async def told(channel: grpc.aio.Channel, token: str | None = None) -> tuple[grpc.StatusCode, str]:
    """How a call ends, and what is said of it."""
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    call = info_pb2_grpc.ServerInfoServiceStub(channel).GetServerInfo(
        info_pb2.GetServerInfoRequest(), metadata=metadata, timeout=20
    )
    return await call.code(), await call.details()


async def test_over_the_wire_a_bad_token_is_nobody_s_and_its_twin_a_caller_s(server: ChainServer) -> None:
    tried = 0
    async with grpc.aio.insecure_channel(server.address) as channel:
        for fault, wrong, right in test_jwtsvid.CASES:
            if not wrong.isascii():  # gRPC does not send it
                continue
            code, said = await told(channel, wrong)
            assert code is grpc.StatusCode.UNAUTHENTICATED, fault
            assert fault.value in said or wrong.count(".") != 2  # that is not even a token
            assert await told(channel, right) == (grpc.StatusCode.OK, ""), fault
            tried += 1
    assert tried == len(test_jwtsvid.CASES) - 1


async def test_over_the_wire_a_bad_certificate_is_nobody_s_and_its_twin_a_caller_s(server: ChainServer) -> None:
    roots = test_x509svid.BUNDLES["a.test"].pem
    options = (("grpc.ssl_target_name_override", "localhost"), ("grpc.use_local_subchannel_pool", 1))

    async def shown(one: Shown) -> tuple[grpc.StatusCode, str]:
        credentials = grpc.ssl_channel_credentials(roots, private(one), one.chain)
        async with grpc.aio.secure_channel(server.mtls_address, credentials, options) as channel:
            return await told(channel)

    reached: set[Fault] = set()
    for fault, wrong, right in test_x509svid.CASES:
        if fault in NO_HANDSHAKE or not can_be_shown(wrong) or not can_be_shown(right):
            continue
        code, said = await shown(wrong)
        if code is grpc.StatusCode.UNAUTHENTICATED:
            assert fault.value in said
            reached.add(fault)
        else:
            assert code is grpc.StatusCode.UNAVAILABLE, fault  # TLS itself did not want it
        assert await shown(right) == (grpc.StatusCode.OK, ""), fault
    known = {one for one in Fault if one.startswith(("svid_", "id_"))}
    assert known - reached == NO_HANDSHAKE
