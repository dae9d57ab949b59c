"""Where a client connects, and what it never sends there."""

from __future__ import annotations

import socket
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chain.client import AsyncClient, Client
from chain.client.endpoint import endpoint
from chain.errors import ConfigurationError, UnreachableError
from chain.v1 import info_pb2
from tests.client.fake import Fake

SECRET = "s" * 40


@pytest.mark.parametrize(
    "target",
    ["127.0.0.1:1", "127.8.9.10:50051", "localhost:50051", "[::1]:50051", "unix:/run/a.sock", "unix:///a", "unix:a"],
)
def test_this_machine_is_spoken_to_without_tls(target: str) -> None:
    place = endpoint(target, SECRET)
    assert place.tls(None) is None
    assert place.metadata() == (("authorization", f"Bearer {SECRET}"),)
    assert ("grpc.enable_http_proxy", 0) in place.options


@pytest.mark.parametrize(
    "target", ["10.0.0.1:50051", "chain.example:443", "[2001:db8::1]:443", "localhost.example:443", "0.0.0.0:50051"]
)
def test_another_machine_is_spoken_to_over_tls(target: str) -> None:
    assert endpoint(target, SECRET).tls(None) is not None
    assert endpoint(target).tls(None) is not None


def test_this_machine_may_be_spoken_to_over_tls_too() -> None:
    assert endpoint("127.0.0.1:1", SECRET, roots=b"-----BEGIN CERTIFICATE-----").tls(None) is not None


@pytest.mark.parametrize(
    "target",
    [
        "",
        "chain.example",
        "chain.example:0",
        "chain.example:65536",
        "dns:///127.0.0.1:1",
        "dns:localhost:1",
        "xds:///x:1",
        "ipv4:10.0.0.1:1",
        "127.0.0.1:1,10.0.0.1:1",
        "user@127.0.0.1:1",
        "127.0.0.1:1\n",
        "unix:",
        "unix-abstract:a",
        "http://127.0.0.1:1",
    ],
)
def test_any_other_target_is_refused(target: str) -> None:
    with pytest.raises(ConfigurationError):
        endpoint(target)


@pytest.mark.parametrize("credential", ["", "two words", "a\nb", "ü" * 40, "x" * 8_193])
def test_a_credential_that_cannot_be_sent_is_refused(credential: str) -> None:
    endpoint("127.0.0.1:1", SECRET)
    with pytest.raises(ConfigurationError):
        endpoint("127.0.0.1:1", credential)


def test_a_socket_has_no_certificate() -> None:
    with pytest.raises(ConfigurationError):
        endpoint("unix:/run/a.sock", roots=b"-----BEGIN CERTIFICATE-----")


def test_the_secret_is_not_shown() -> None:
    assert SECRET not in repr(endpoint("127.0.0.1:1", SECRET))


def test_a_plaintext_server_that_should_speak_tls_never_sees_the_secret() -> None:
    heard = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(5)
                heard.extend(connection.recv(65536))

        thread = threading.Thread(target=listen)
        thread.start()
        target = f"127.0.0.1:{server.getsockname()[1]}"
        with Client(target, SECRET, roots=_identity()[1], timeout=1) as client, pytest.raises(UnreachableError):
            client.info()
        thread.join()
    assert heard
    assert heard[0] == 0x16  # a TLS handshake
    assert SECRET.encode() not in heard


@pytest.fixture(scope="module")
def identity() -> tuple[bytes, bytes]:
    return _identity()


def test_a_server_is_known_by_its_certificate(identity: tuple[bytes, bytes]) -> None:
    with Fake(info_pb2.GetServerInfoResponse(issuer="https://issuer.example"), identity) as server:
        with Client(server.target, SECRET, roots=identity[1], timeout=30) as client:
            assert client.info().issuer == "https://issuer.example"
        assert server.metadata["authorization"] == f"Bearer {SECRET}"
        with Client(server.target, SECRET, roots=_identity()[1], timeout=30) as client, pytest.raises(UnreachableError):
            client.info()
        assert len(server.calls) == 1


async def test_an_asynchronous_client_knows_a_server_by_its_certificate(identity: tuple[bytes, bytes]) -> None:
    with Fake(info_pb2.GetServerInfoResponse(issuer="https://issuer.example"), identity) as server:
        async with AsyncClient(server.target, SECRET, roots=identity[1], timeout=30) as client:
            assert (await client.info()).issuer == "https://issuer.example"
        async with AsyncClient(server.target, SECRET, roots=_identity()[1], timeout=30) as client:
            with pytest.raises(UnreachableError):
                await client.info()
        assert len(server.calls) == 1


def _identity() -> tuple[bytes, bytes]:
    """A private key for 127.0.0.1 and its certificate, self-signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return private, built.public_bytes(serialization.Encoding.PEM)
