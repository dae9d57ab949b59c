"""What lies under the calls: TLS, sockets alone, and a log that cannot be written."""

import datetime as dt
import io
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chain.errors import ConfigurationError
from chain.wire import convert

from .conftest import Serve, Stub, World, ask, bearer


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = directory / f"{name}.crt", directory / f"{name}.key"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


async def test_with_tls_a_client_needs_the_right_roots_and_may_not_speak_plain(serve: Serve, directory: Path) -> None:
    cert, key = certificate(directory, "right")
    other, _ = certificate(directory, "other")
    world = await serve(tls_cert=cert, tls_key=key)
    target = world.server.address.replace("127.0.0.1", "localhost")

    async def outcome(channel: grpc.aio.Channel) -> grpc.StatusCode:
        async with channel:
            call = Stub(channel, bearer("point")).Check(ask([]))
            return await call.code()

    good = grpc.ssl_channel_credentials(cert.read_bytes())
    assert await outcome(grpc.aio.secure_channel(target, good)) is grpc.StatusCode.OK
    bad = grpc.ssl_channel_credentials(other.read_bytes())
    assert await outcome(grpc.aio.secure_channel(target, bad)) is grpc.StatusCode.UNAVAILABLE
    assert await outcome(grpc.aio.insecure_channel(target)) is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_with_anothers_key_is_refused(serve: Serve, directory: Path) -> None:
    cert, key = certificate(directory, "right")
    _, wrong = certificate(directory, "other")
    with pytest.raises(ConfigurationError, match="no certificate with its private key"):
        await serve(tls_cert=cert, tls_key=wrong)
    await serve(tls_cert=cert, tls_key=key)


async def test_sockets_alone_need_no_port(serve: Serve) -> None:
    world = await serve(listen="")
    assert world.server.address == ""
    reply = await world.stub("alice", socket=True).Check(ask([], channel=True))
    assert not convert.decision_from(reply.decision).allowed


async def test_a_log_that_cannot_be_written_fails_no_call(world: World) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    world.server._log._stream = Full()
    assert (await world.stub("point").Check(ask([]))).decision.effect
