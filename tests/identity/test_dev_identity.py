"""`chain dev identity`, as a stranger's client meets it: the standard `spiffe` library, and gRPC without it."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from spiffe import SpiffeId, TrustDomain, WorkloadApiClient
from spiffe._proto import workload_pb2 as pb
from spiffe._proto import workload_pb2_grpc as rpc

from chain.errors import ConfigurationError
from chain.identity.devapi import DevWorkloadApi
from chain.identity.devca import SUBJECT, DevAuthority
from chain.identity.workloadapi import WorkloadSource
from tests.cli.conftest import command, run
from tests.identity.conftest import ALICE, CHAIN, eventually

METADATA = (("workload.spiffe.io", "true"),)


def test_the_standard_client_is_served(tmp_path: Path) -> None:
    """R17, through the command: SVIDs of both kinds, bundles, a rotation on SIGHUP, an end on SIGTERM."""
    line = command(
        "dev", "identity", tmp_path / "ids", "--trust-domain", "dev.test", "--server", "chain", "--ttl", "1h",
        "agents/alice",
    )  # fmt: skip
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        ready = json.loads(process.stdout.readline())
        assert ready["serving"] == "development only"
        assert set(ready["sockets"]) == {ALICE, CHAIN}
        with WorkloadApiClient(ready["sockets"][ALICE]) as client:
            svid = client.fetch_x509_svid()
            assert str(svid.spiffe_id) == ALICE
            assert SUBJECT in svid.leaf.subject.rfc4514_string()
            assert client.fetch_x509_bundles().get_bundle_for_trust_domain(TrustDomain("dev.test")) is not None
            token = client.fetch_jwt_svid({"https://chain.example"}).token
            assert client.validate_jwt_svid(token, "https://chain.example").spiffe_id == SpiffeId(ALICE)
            keys = client.fetch_jwt_bundles().get_bundle_for_trust_domain(TrustDomain("dev.test"))
            assert keys is not None
            assert len(keys.jwt_authorities) == 2  # the one that signs, and the next
        followed = WorkloadSource(ready["sockets"][CHAIN], time.time)
        try:
            first = followed.current().svid
            process.send_signal(signal.SIGHUP)
            eventually(lambda: followed.current().svid != first)
            eventually(lambda: len(followed.current().bundles["dev.test"].authorities) == 3)
        finally:
            followed.close()
        process.terminate()
        assert "development only" in process.stderr.read()
        assert process.wait(20) == 0
    assert not (tmp_path / "ids").exists()


def test_only_a_server_has_a_dns_name(authority: DevAuthority) -> None:
    def dns(*names: str) -> list[str]:
        leaf = x509.load_der_x509_certificate(authority.leaf(CHAIN, names).certificate)
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return found.get_values_for_type(x509.DNSName)

    assert dns() == []
    assert dns("localhost") == ["localhost"]


@pytest.mark.parametrize("metadata", [(), (("workload.spiffe.io", "false"),), (("workload.spiffe.io", "True"),)])
def test_without_the_header_nothing_is_said(metadata: tuple[tuple[str, str], ...], api: DevWorkloadApi) -> None:
    with grpc.insecure_channel(f"unix:{api.sockets[ALICE]}") as channel:
        stub = rpc.SpiffeWorkloadAPIStub(channel)
        for call in (
            lambda with_: next(stub.FetchX509SVID(pb.X509SVIDRequest(), metadata=with_)),
            lambda with_: next(stub.FetchX509Bundles(pb.X509BundlesRequest(), metadata=with_)),
            lambda with_: next(stub.FetchJWTBundles(pb.JWTBundlesRequest(), metadata=with_)),
            lambda with_: stub.FetchJWTSVID(pb.JWTSVIDRequest(audience=["a"]), metadata=with_),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                call(metadata)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert call(METADATA) is not None
        with pytest.raises(grpc.RpcError) as refused:
            stub.ValidateJWTSVID(pb.ValidateJWTSVIDRequest(), metadata=metadata)
        assert "header" in refused.value.details()


def test_a_stranger_is_denied(api: DevWorkloadApi) -> None:
    with grpc.insecure_channel(f"unix:{api.sockets['']}") as channel:
        stub = rpc.SpiffeWorkloadAPIStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            next(stub.FetchX509SVID(pb.X509SVIDRequest(), metadata=METADATA))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_jwt_svids_are_one_s_own_and_for_an_audience(api: DevWorkloadApi, authority: DevAuthority) -> None:
    refused_with = {
        grpc.StatusCode.INVALID_ARGUMENT: pb.JWTSVIDRequest(),
        grpc.StatusCode.PERMISSION_DENIED: pb.JWTSVIDRequest(audience=["a"], spiffe_id=CHAIN),
    }
    with grpc.insecure_channel(f"unix:{api.sockets[ALICE]}") as channel:
        stub = rpc.SpiffeWorkloadAPIStub(channel)
        for code, request in refused_with.items():
            with pytest.raises(grpc.RpcError) as refused:
                stub.FetchJWTSVID(request, metadata=METADATA)
            assert refused.value.code() is code
        own = stub.FetchJWTSVID(pb.JWTSVIDRequest(audience=["a"], spiffe_id=ALICE), metadata=METADATA)
        for audience, allowed in (("a", True), ("b", False)):
            request = pb.ValidateJWTSVIDRequest(audience=audience, svid=own.svids[0].svid)
            if allowed:
                assert stub.ValidateJWTSVID(request, metadata=METADATA).spiffe_id == ALICE
                continue
            with pytest.raises(grpc.RpcError) as refused:
                stub.ValidateJWTSVID(request, metadata=METADATA)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_token_of_older_keys_is_good_for_one_rotation(authority: DevAuthority) -> None:
    token = authority.token(ALICE, ["a"])
    authority.rotate()
    assert authority.claims(token, "a")["sub"] == ALICE
    authority.rotate()
    with pytest.raises(ValueError, match="not a JWT-SVID"):
        authority.claims(token, "a")


def test_a_directory_that_others_may_enter_is_refused(authority: DevAuthority, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "file").touch()
    for name, said in (("open", "yours alone"), ("file", "no directory")):
        with pytest.raises(ConfigurationError, match=said):
            DevWorkloadApi(authority, [ALICE], {}).start(tmp_path / name)
    with pytest.raises(ConfigurationError, match="shorter"):
        DevWorkloadApi(authority, [ALICE], {}).start(tmp_path / ("long" * 30))


def test_what_was_made_is_taken_away_and_nothing_else(authority: DevAuthority, tmp_path: Path) -> None:
    own, kept = tmp_path / "own", tmp_path / "made" / "beneath"
    own.mkdir(mode=0o700)
    for directory in (own, kept):
        serving = DevWorkloadApi(authority, [ALICE, CHAIN], {})
        serving.start(directory)
        (directory / "chain" / "mine").touch()
        serving.stop()
        assert [path.relative_to(directory).as_posix() for path in directory.rglob("*")] == ["chain", "chain/mine"]
    (own / "agents+alice").mkdir(mode=0o700)
    (kept / "chain" / "mine").unlink()
    for directory in (own, kept, tmp_path / "fresh" / "beneath"):
        serving = DevWorkloadApi(authority, [ALICE], {})
        serving.start(directory)
        assert serving.sockets[ALICE].is_socket()
        assert all(one.stat().st_mode & 0o777 == 0o700 for one in (directory, directory / "agents+alice"))
        serving.stop()
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_dir()} == {
        "own", "own/agents+alice", "own/chain", "made", "made/beneath", "made/beneath/chain",
    }  # fmt: skip


def test_a_server_that_does_not_start_leaves_no_directory(authority: DevAuthority, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="shorter"):
        DevWorkloadApi(authority, [ALICE, f"{ALICE}/{'long' * 30}"], {}).start(tmp_path / "ids")
    assert not (tmp_path / "ids").exists()
    serving = DevWorkloadApi(authority, [ALICE, f"{ALICE}/short"], {})
    serving.start(tmp_path / "ids")
    serving.stop()


def test_a_socket_in_use_is_not_taken_over(api: DevWorkloadApi, authority: DevAuthority, tmp_path: Path) -> None:
    other = DevWorkloadApi(authority, [ALICE], {})
    with pytest.raises(ConfigurationError, match="in use"):
        other.start(tmp_path / "sockets")
    held = WorkloadSource(f"unix:{api.sockets[ALICE]}", time.time)
    held.close()
    api.stop()
    (tmp_path / "sockets" / "agents+alice").mkdir(mode=0o700, parents=True)
    (tmp_path / "sockets").chmod(0o700)
    (tmp_path / "sockets" / "agents+alice" / "api.sock").touch()
    with pytest.raises(ConfigurationError, match="no socket"):
        other.start(tmp_path / "sockets")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--trust-domain", "Dev.test", "a"), "lower-case"),
        (("--trust-domain", "dev.test", "spiffe://other.test/a"), "trust domain"),
        (("--trust-domain", "dev.test", "a/../b"), "segment"),
        (("--trust-domain", "dev.test"), "ID"),
        (("a",), "--trust-domain"),
        (("--trust-domain", "dev.test", "--dns", "bad name", "a"), "no DNS name"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    ended = run("dev", "identity", tmp_path / "ids", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert not (tmp_path / "ids").exists()
