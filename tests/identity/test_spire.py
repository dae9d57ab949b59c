"""Real SPIRE: a unix workload is attested, its SVIDs are fetched and verified, and one is rotated."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from chain import mint
from chain.client import AsyncClient
from chain.errors import UnreachableError
from chain.identity import jwtsvid, x509svid
from chain.identity.tls import Channels
from chain.identity.workloadapi import WorkloadSource
from chain.key import KeySigner
from chain.order import Issue
from chain.reason import Reason
from chain.request import Request
from chain.service.compose import compose
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.store.memory import MemoryStore
from tests.identity import spire
from tests.identity.certificates import AUTHORITY, Authority, pem
from tests.identity.conftest import eventually

SERVER, AGENT = "spiffe://spire.test/chain", "spiffe://spire.test/agents/alice"
AUDIENCE = "https://chain.example"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[spire.Spire]:
    folder: Path = tmp_path_factory.mktemp("spire")
    with spire.running(folder) as running:
        yield running


async def hand_on(server: WorkloadSource, agent: WorkloadSource, key: Path) -> None:
    """A server with SPIRE's SVID issues a root to an agent, and records a child that the agent's channel proves."""
    issuer, own, other = (KeySigner.from_seed(bytes([number] * 32)) for number in (1, 2, 3))
    told = ServeSettings(
        ledger="memory",
        listen="",
        mtls_listen="127.0.0.1:0",
        audience=AUDIENCE,
        issuer="https://issuer.example",
        issuer_key=key,
        anchors=[{"jwk": json.loads(issuer.key.to_json())}],
        agents=[{"id": AGENT, "owner": "team", "jwk": json.loads(own.key.to_json())}],
        callers=[{"name": "alice", "roles": ["issuer", "agent"], "audience": AUDIENCE, "spiffe": AGENT}],
        policy="none",
        identity={},
    )
    authority = compose(told, MemoryStore(), signer=issuer)
    running = ChainServer(authority, told, log=io.StringIO(), workloads=Channels(server, time.time))
    await running.start()
    grant = mint.grant({"tools": {"mail.read": {}}, "limits": {"purposes": ["mail"]}})
    try:
        async with AsyncClient(running.mtls_address, identity=agent, server_name="localhost") as client:
            order = Issue(holder=own.key, grant=grant, lifetime=60, owner="team", task="t", sub="dana")
            root = (await client.issue(order)).token
            above = mint.unverified(root)
            claims = mint.child_claims(above, grant, other.key, jti="child", now=int(time.time()), lifetime=30)
            child = await client.delegate([root], mint.derive(above, claims, own))
            assert child.hop == 1
            asking = Request(
                tool="mail.read", arguments={}, holder=own.key.thumbprint, purpose="mail", request_id="r" * 16
            )
            assert (await client.check([root], asking)).allowed
            decision = await client.check([root, child.token], asking)
            assert decision.reason is Reason.HOLDER_MISMATCH
    finally:
        await running.stop(0)


@spire.needed
@pytest.mark.slow
def test_a_unix_workload_is_attested_and_its_svid_rotated(served: spire.Spire, tmp_path: Path) -> None:
    issuing = tmp_path / "issuer.jwk"
    issuing.touch(mode=0o600)  # the signer is given; the settings want the file to be there
    with pytest.raises(UnreachableError, match="no identity for this workload"):
        WorkloadSource(served.address, time.time, deadline=1)
    served.enrol("spiffe://spire.test/stranger", uid=64999, ttl=10)  # another uid's, which is not handed out
    served.enrol(SERVER, "-dns", "localhost", ttl=10)
    served.enrol(AGENT, ttl=10)
    server = WorkloadSource(served.address, time.time, spiffe_id=SERVER, deadline=30)
    agent = WorkloadSource(served.address, time.time, spiffe_id=AGENT, deadline=30)
    try:
        with pytest.raises(UnreachableError, match="stranger"):
            WorkloadSource(served.address, time.time, spiffe_id="spiffe://spire.test/stranger", deadline=0.5)
        first = server.current()
        for source, name, dns in ((server, SERVER, ["localhost"]), (agent, AGENT, [])):
            held = source.current()
            assert held.svid is not None
            assert held.svid.id == name
            leaf = x509.load_pem_x509_certificate(held.svid.chain)
            assert x509svid.verify(held.svid.chain, held.bundles, time.time()).id == name
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.DNSName) == dns
        token = agent.fetch_jwt_svid(AUDIENCE)
        key = agent.current().bundles["spire.test"].jwt_keys[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(token, jwt.PyJWK(dict(key), "ES256"), ["ES256"], audience=AUDIENCE)
        assert claims["sub"] == AGENT
        assert jwtsvid.verify(token, server.current().bundles, [AUDIENCE], time.time()).id == AGENT
        with pytest.raises(jwt.InvalidAudienceError):
            jwt.decode(token, jwt.PyJWK(json.loads(json.dumps(key)), "ES256"), ["ES256"], audience="https://other")
        eventually(lambda: server.current().svid != first.svid, within=40)
        rotated = server.current()
        assert rotated.svid is not None
        assert rotated.svid.id == SERVER
        assert rotated.version > first.version
        asyncio.run(hand_on(server, agent, issuing))
    finally:
        server.close()
        agent.close()


@spire.needed
@pytest.mark.slow
def test_what_an_authority_above_spire_signed_calls_with_its_intermediate(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """RSA keys all the way, and the bundle knows the root alone: the SVID's intermediate comes from the peer."""
    folder: Path = tmp_path_factory.mktemp("up")
    root = Authority("root", rsa.generate_private_key(65537, 2048))
    root.certificate = root.sign("root", root.key, AUTHORITY)
    (folder / "root.pem").write_bytes(pem(root.certificate))
    (folder / "root.key").write_bytes(root.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "issuer.jwk").touch(mode=0o600)
    with spire.running(folder, keys="rsa-2048", upstream=True) as running:
        running.enrol(SERVER, "-dns", "localhost", ttl=60)
        running.enrol(AGENT, ttl=60)
        server = WorkloadSource(running.address, time.time, spiffe_id=SERVER, deadline=30)
        agent = WorkloadSource(running.address, time.time, spiffe_id=AGENT, deadline=30)
        try:
            held = agent.current()
            assert held.svid is not None
            assert held.bundles["spire.test"].authorities == (root.certificate,)
            leaf, between = x509.load_pem_x509_certificates(held.svid.chain)
            assert {one.public_key().key_size for one in (leaf, between)} == {2048}
            asyncio.run(hand_on(server, agent, folder / "issuer.jwk"))
        finally:
            server.close()
            agent.close()
