"""Real SPIRE: a unix workload is attested, its SVIDs are fetched and verified, and one is rotated."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from cryptography import x509

from chain.errors import UnreachableError
from chain.identity.workloadapi import WorkloadSource
from tests.identity import spire
from tests.identity.conftest import eventually

SERVER, AGENT = "spiffe://spire.test/chain", "spiffe://spire.test/agents/alice"
AUDIENCE = "https://chain.example"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[spire.Spire]:
    folder: Path = tmp_path_factory.mktemp("spire")
    with spire.running(folder) as running:
        yield running


@spire.needed
@pytest.mark.slow
def test_a_unix_workload_is_attested_and_its_svid_rotated(served: spire.Spire) -> None:
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
            (authority,) = held.bundles["spire.test"].authorities
            leaf.verify_directly_issued_by(authority)
            names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.DNSName) == dns
        token = agent.fetch_jwt_svid(AUDIENCE)
        key = agent.current().bundles["spire.test"].jwt_keys[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(token, jwt.PyJWK(dict(key), "ES256"), ["ES256"], audience=AUDIENCE)
        assert claims["sub"] == AGENT
        with pytest.raises(jwt.InvalidAudienceError):
            jwt.decode(token, jwt.PyJWK(json.loads(json.dumps(key)), "ES256"), ["ES256"], audience="https://other")
        eventually(lambda: server.current().svid != first.svid, within=40)
        rotated = server.current()
        assert rotated.svid is not None
        assert rotated.svid.id == SERVER
        assert rotated.version > first.version
    finally:
        server.close()
        agent.close()
