"""Identities from a Workload API: fetched, followed, taken back, and refused where they are no good."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from spiffe._proto import workload_pb2 as pb
from spiffe._proto import workload_pb2_grpc as rpc

from chain.cli.identities import source_of
from chain.errors import ConfigurationError, UnreachableError
from chain.identity.devapi import DevWorkloadApi
from chain.identity.devca import DevAuthority
from chain.identity.workloadapi import WorkloadSource
from chain.service.tables import IdentitySettings
from tests.identity.conftest import ALICE, CHAIN, eventually


def source(path: Path, **extra: Any) -> WorkloadSource:
    return WorkloadSource(f"unix:{path}", time.time, **extra)


class Scripted:
    """A Workload API that says what a test wants, and then waits."""

    def __init__(self) -> None:
        self.svids: pb.X509SVIDResponse | grpc.StatusCode = grpc.StatusCode.PERMISSION_DENIED
        self.keys: pb.JWTBundlesResponse | grpc.StatusCode = grpc.StatusCode.UNIMPLEMENTED
        self.asked = 0

    def FetchX509SVID(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        self.asked += 1
        yield from self._say("svids", context)

    def FetchJWTBundles(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        yield from self._say("keys", context)

    def FetchJWTSVID(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return pb.JWTSVIDResponse()

    def FetchX509Bundles(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802
        raise NotImplementedError

    def ValidateJWTSVID(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        raise NotImplementedError

    def _say(self, member: str, context: grpc.ServicerContext) -> Iterator[Any]:
        said: object = None
        while context.is_active():
            if (now := getattr(self, member)) is not said:
                said = now
                if isinstance(said, grpc.StatusCode):
                    context.abort(said, "as the test wants")
                yield said
            time.sleep(0.005)


def said(authority: DevAuthority, name: str = ALICE, **changes: Any) -> pb.X509SVIDResponse:
    leaf = authority.leaf(name)
    bundle = authority.authorities[0].public_bytes(Encoding.DER)
    svid = {"spiffe_id": name, "x509_svid": leaf.certificate, "x509_svid_key": leaf.key, "bundle": bundle}
    federated = changes.pop("federated_bundles", {})
    return pb.X509SVIDResponse(svids=[pb.X509SVID(**(svid | changes))], federated_bundles=federated)


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[tuple[Scripted, Path]]:
    servicer, path = Scripted(), tmp_path / "scripted.sock"
    server = grpc.server(futures.ThreadPoolExecutor(8))
    rpc.add_SpiffeWorkloadAPIServicer_to_server(servicer, server)
    server.add_insecure_port(f"unix:{path}")
    server.start()
    yield servicer, path
    server.stop(None).wait()


def test_svid_and_bundles_are_fetched(api: DevWorkloadApi, authority: DevAuthority) -> None:
    held = source(api.sockets[CHAIN])
    try:
        now = held.current()
    finally:
        held.close()
    assert now.svid is not None
    assert now.svid.id == CHAIN
    assert now.version >= 1
    leaf = x509.load_pem_x509_certificate(now.svid.chain)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    bundle = now.bundles["dev.test"]
    assert bundle.authorities == authority.authorities
    assert bundle.jwt_keys == {key["kid"]: key for key in authority.jwt_keys}
    assert "PRIVATE" not in repr(now)


def test_a_rotation_arrives_without_being_asked_for(api: DevWorkloadApi, authority: DevAuthority) -> None:
    held = source(api.sockets[ALICE])
    try:
        before = held.current()
        api.rotate()
        eventually(lambda: len(held.current().bundles["dev.test"].jwt_keys) == 3)
        eventually(lambda: len(held.current().bundles["dev.test"].authorities) == 3)
        after = held.current()
    finally:
        held.close()
    assert before.svid is not None
    assert after.svid is not None
    assert after.svid.chain != before.svid.chain
    assert after.version > before.version
    assert set(before.bundles["dev.test"].authorities) <= set(after.bundles["dev.test"].authorities)
    leaf = x509.load_pem_x509_certificate(after.svid.chain)
    leaf.verify_directly_issued_by(authority.authorities[0])
    assert authority.authorities[0] in before.bundles["dev.test"].authorities  # published before it signed


def test_a_short_svid_is_renewed_before_it_ends(tmp_path: Path) -> None:
    serving = DevWorkloadApi(DevAuthority("dev.test", time.time, 2.0), [ALICE], {})
    serving.start(tmp_path / "sockets")
    held = source(serving.sockets[ALICE])
    try:
        first = held.current().svid
        eventually(lambda: held.current().svid != first)
        assert held.current().svid is not None
    finally:
        held.close()
        serving.stop()


def test_a_jwt_svid_is_fetched(api: DevWorkloadApi, authority: DevAuthority) -> None:
    held = source(api.sockets[ALICE])
    try:
        token = held.fetch_jwt_svid("https://chain.example")
    finally:
        held.close()
    assert authority.claims(token, "https://chain.example")["sub"] == ALICE
    with pytest.raises(ValueError, match="audience"):
        authority.claims(token, "https://other.example")


def test_nobody_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="nobody answers"):
        source(tmp_path / "none.sock", deadline=0.3)


def test_no_identity_is_said(api: DevWorkloadApi) -> None:
    with pytest.raises(UnreachableError, match="no identity for this workload"):
        source(api.sockets[""], deadline=0.3)


@pytest.mark.parametrize("address", ["", "unix:", "tcp:127.0.0.1:1", "/run/agent.sock"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="unix:PATH"):
        WorkloadSource(address, time.time)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "spiffe._proto.workload_pb2", None)
    with pytest.raises(ConfigurationError, match=r"chain-authz\[spiffe\]"):
        source(tmp_path / "any.sock")


def test_a_lost_agent_leaves_what_it_said(authority: DevAuthority, tmp_path: Path) -> None:
    serving = DevWorkloadApi(authority, [ALICE], {})
    serving.start(tmp_path / "sockets")
    reports: list[str] = []
    held = source(serving.sockets[ALICE], report=reports.append)
    again = DevWorkloadApi(authority, [ALICE], {})
    try:
        first = held.current()
        serving.stop()
        eventually(lambda: bool(reports))
        assert held.current() == first
        again.start(tmp_path / "sockets")
        eventually(lambda: held.current().svid != first.svid)
        eventually(lambda: sum(line.endswith("all is well again") for line in reports) == 2)
    finally:
        held.close()
        again.stop()
    assert any("nobody answers there" in line for line in reports)
    assert len(set(reports)) == len(reports)  # told of once, however often it was asked in between


def test_an_identity_that_is_taken_back_is_gone(scripted: tuple[Scripted, Path], authority: DevAuthority) -> None:
    servicer, path = scripted
    servicer.svids = said(authority)
    held = source(path)
    try:
        given = held.current()
        assert given.svid is not None
        servicer.svids = grpc.StatusCode.PERMISSION_DENIED
        eventually(lambda: held.current().svid is None)
        assert held.current().bundles == {}
        assert held.current().version > given.version
        servicer.svids = said(authority)
        eventually(lambda: held.current().svid is not None)
    finally:
        held.close()


def test_what_expires_is_not_handed_out(authority: DevAuthority, scripted: tuple[Scripted, Path]) -> None:
    servicer, path = scripted
    servicer.svids = said(authority)
    now = time.time()
    held = WorkloadSource(f"unix:{path}", lambda: now)
    try:
        first = held.current()
        assert first.svid is not None
        now = first.svid.expires
        assert held.current().svid is None
        assert held.current().version == first.version + 1
    finally:
        held.close()


def test_federated_bundles_are_kept_apart(scripted: tuple[Scripted, Path], authority: DevAuthority) -> None:
    servicer, path = scripted
    other = DevAuthority("other.test", time.time, 3600)
    federated = {
        "spiffe://other.test": other.authorities[0].public_bytes(Encoding.DER),
        "spiffe://gone.test": b"",
    }
    servicer.svids = said(authority, federated_bundles=federated)
    held = source(path)
    try:
        bundles = held.current().bundles
    finally:
        held.close()
    assert {name: bundle.authorities for name, bundle in bundles.items()} == {
        "dev.test": authority.authorities[:1],
        "other.test": other.authorities[:1],
        "gone.test": (),
    }


def test_one_of_several_svids_is_chosen_by_its_id(scripted: tuple[Scripted, Path], authority: DevAuthority) -> None:
    servicer, path = scripted
    both = said(authority, ALICE)
    both.svids.extend(said(authority, CHAIN).svids)
    servicer.svids = both
    for wanted, found in ((None, ALICE), (CHAIN, CHAIN)):
        held = source_of(IdentitySettings(workload_api=f"unix:{path}", spiffe_id=wanted))
        assert held is not None
        try:
            svid = held.current().svid
            assert svid is not None
            assert svid.id == found
        finally:
            held.close()


BAD = {
    "nothing": lambda a: pb.X509SVIDResponse(),
    "another id than stated": lambda a: said(a, spiffe_id=CHAIN),
    "another key": lambda a: said(a, x509_svid_key=a.leaf(ALICE).key),
    "no key": lambda a: said(a, x509_svid_key=b""),
    "no certificate": lambda a: said(a, x509_svid=b""),
    "a broken certificate": lambda a: said(a, x509_svid=a.leaf(ALICE).certificate[:-9]),
    "bytes after the certificate": lambda a: said(a, x509_svid=a.leaf(ALICE).certificate + b"\0"),
    "no bundle": lambda a: said(a, bundle=b""),
    "an upper-case trust domain": lambda a: said(a, federated_bundles={"spiffe://Other.test": b""}),
    "an authority as leaf": lambda a: said(a, x509_svid=a.authorities[0].public_bytes(Encoding.DER)),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_update_changes_nothing(case: str, scripted: tuple[Scripted, Path], authority: DevAuthority) -> None:
    assert len(BAD) == 10
    servicer, path = scripted
    servicer.svids = said(authority)
    reports: list[str] = []
    held = source(path, report=reports.append)
    try:
        first = held.current()
        servicer.svids = BAD[case](authority)
        eventually(lambda: any("FetchX509SVID" in line for line in reports))
        assert held.current() == first
        servicer.svids = said(authority)
        eventually(lambda: held.current().version > first.version)
    finally:
        held.close()
    assert all("PRIVATE" not in line for line in reports)


@pytest.mark.parametrize("keys", [b"", b"[]", b'{"keys":[{}]}', b'{"keys":[{"kid":"1"},{"kid":"1"}]}', b'{"keys":1}'])
def test_bad_keys_change_nothing(keys: bytes, scripted: tuple[Scripted, Path], authority: DevAuthority) -> None:
    servicer, path = scripted
    servicer.svids = said(authority)
    good = b'{"keys":[{"kid":"1","kty":"EC"}]}'
    servicer.keys = pb.JWTBundlesResponse(bundles={"spiffe://dev.test": good})
    reports: list[str] = []
    held = source(path, report=reports.append)
    try:
        assert set(held.current().bundles["dev.test"].jwt_keys) == {"1"}
        servicer.keys = pb.JWTBundlesResponse(bundles={"spiffe://dev.test": keys})
        eventually(lambda: any("FetchJWTBundles" in line for line in reports))
        assert set(held.current().bundles["dev.test"].jwt_keys) == {"1"}
    finally:
        held.close()


def test_no_jwt_svid_is_said(scripted: tuple[Scripted, Path], authority: DevAuthority) -> None:
    servicer, path = scripted
    servicer.svids = said(authority)
    held = source(path)
    try:
        with pytest.raises(UnreachableError, match="no JWT-SVID"):
            held.fetch_jwt_svid("https://chain.example")
    finally:
        held.close()


def test_a_lost_agent_gives_no_jwt_svid(api: DevWorkloadApi) -> None:
    held = source(api.sockets[ALICE])
    try:
        assert held.fetch_jwt_svid("https://chain.example")
        api.stop()
        with pytest.raises(UnreachableError, match="nobody answers"):
            held.fetch_jwt_svid("https://chain.example", deadline=0.5)
    finally:
        held.close()
