"""A key in Vault's transit engine: what is accepted, what is refused, and where the token goes."""

from __future__ import annotations

import datetime as dt
import ipaddress
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from chain.cli.composition import authority
from chain.errors import ConfigurationError, SignerError
from chain.identity.vault import MAX_ANSWER, Place, VaultSigner
from chain.key import Signer
from chain.reason import Reason
from chain.service.settings import ServeSettings
from tests.keys.fakevault import TOKEN, Transit, serving


class Held(NamedTuple):
    """A server, and the place of the key that it holds."""

    transit: Transit
    place: Place


def private(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    transit = Transit()
    with serving(transit) as address:
        yield Held(transit, Place(address, "issuer", private(tmp_path / "token", f"{TOKEN}\n")))


@pytest.mark.parametrize(("kind", "algorithm"), [("ecdsa-p256", "ES256"), ("ed25519", "EdDSA")])
def test_a_key_signs_and_stays_where_it_is(tmp_path: Path, kind: str, algorithm: str) -> None:
    transit = Transit(kind)
    with serving(transit) as address:
        place = Place(address, "issuer", private(tmp_path / "token", TOKEN), namespace="team/a")
        signer: Signer = VaultSigner(place)
        assert (signer.key, signer.key.alg) == (transit.signer().key, algorithm)
        assert signer.key.verify(signer.sign(b"data"), b"data")
        transit.rotate()  # the version of the start is asked for, from start to end
        assert signer.key.verify(signer.sign(b"data"), b"data")
        assert VaultSigner(place).key == transit.signer(1).key
    told = {(method, path) for method, path, _ in transit.asked}
    assert told == {("GET", "/v1/transit/keys/issuer"), ("POST", "/v1/transit/sign/issuer")}
    assert {headers["X-Vault-Namespace"] for _, _, headers in transit.asked} == {"team/a"}


def pem(curve: ec.EllipticCurve) -> str:
    made = ec.generate_private_key(curve).public_key()
    return made.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


KEYS: dict[str, tuple[dict[str, Any], str]] = {
    "exportable": ({"exportable": True}, "can be taken out"),
    "backed up in the clear": ({"allow_plaintext_backup": True}, "can be taken out"),
    "of another kind": ({"type": "rsa-2048"}, "no ecdsa-p256 or ed25519"),
    "that does not sign": ({"supports_signing": False}, "no ecdsa-p256 or ed25519"),
    "derived": ({"derived": True}, "no ecdsa-p256 or ed25519"),
    "of no such version": ({"latest_version": 9}, "no ecdsa-p256 or ed25519"),
    "of another curve": ({"keys": {"1": {"public_key": pem(ec.SECP384R1())}}}, "no P-256 key"),
    "of no text": ({"keys": {"1": {"public_key": "nothing"}}}, "is not accepted"),
    "another's public half": ({"keys": {"1": {"public_key": pem(ec.SECP256R1())}}}, "does not verify"),
    "an Ed25519 key that is none": (
        {"type": "ed25519", "keys": {"1": {"public_key": b64encode(bytes(32)).decode()}}},
        "is not accepted",
    ),
}


@pytest.mark.parametrize("case", KEYS)
def test_a_key_that_could_leave_or_does_not_fit_is_refused(held: Held, case: str) -> None:
    told, said = KEYS[case]
    held.transit.told = told
    with pytest.raises(ConfigurationError, match=said):
        VaultSigner(held.place)
    held.transit.told = {}
    VaultSigner(held.place)


ANSWERS: dict[str, tuple[Callable[[Transit], dict[str, Any]], str]] = {
    "an error": (lambda _: {"status": 503}, "answers 503"),
    "a redirection": (lambda _: {"status": 307}, "answers 307"),
    "no permission": (lambda _: {"status": 403}, "answers 403"),
    "no JSON": (lambda _: {"answers": {"sign": b"<html>"}}, "unknown form"),
    "too much": (lambda _: {"answers": {"sign": b" " * (MAX_ANSWER + 1)}}, "more than"),
    "another version": (lambda _: {"answers": {"sign": b'{"data":{"signature":"vault:v2:AAAA"}}'}}, "another version"),
    "no signature": (lambda _: {"answers": {"sign": b'{"data":{"signature":"vault:v1:=!"}}'}}, "unknown form"),
    "a wrong signature": (
        lambda _: {"answers": {"sign": b'{"data":{"signature":"vault:v1:AAAA"}}'}},
        "does not verify",
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_what_vault_does_not_sign_is_not_signed(held: Held, case: str) -> None:
    make, said = ANSWERS[case]
    signer = VaultSigner(held.place)
    for name, value in make(held.transit).items():
        setattr(held.transit, name, value)
    with pytest.raises(SignerError, match=said) as refused:
        signer.sign(b"x")
    assert (refused.value.reason, TOKEN in str(refused.value)) == (Reason.SIGNER_UNAVAILABLE, False)
    with pytest.raises(ConfigurationError):
        VaultSigner(held.place)
    held.transit.status, held.transit.answers = 200, {}
    assert signer.key.verify(signer.sign(b"x"), b"x")


def test_a_token_is_read_for_every_call_and_goes_nowhere_else(held: Held) -> None:
    signer = VaultSigner(held.place)
    held.place.token_file.unlink()
    with pytest.raises(SignerError, match="token file"):
        signer.sign(b"x")
    for content, mode, said in (
        (TOKEN, 0o640, "make it 0600"),
        ("", 0o600, "not one line"),
        ("a\tb", 0o600, "not a token"),
        ("hvs.другой", 0o600, "not a token"),
        ("hvs.another", 0o600, "answers 403"),
    ):
        private(held.place.token_file, content, mode)
        with pytest.raises(SignerError, match=said):
            signer.sign(b"x")
    private(held.place.token_file, TOKEN)
    assert signer.key.verify(signer.sign(b"x"), b"x")
    assert TOKEN not in repr(signer) + repr(held.place) + str(held.place)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://vault.example:8200", "in the clear"),
        ("http://10.0.0.1:8200", "in the clear"),
        ("vault.example", "is not https"),
        ("ftp://127.0.0.1", "is not https"),
        ("https://user:pass@127.0.0.1", "is not https"),
        ("https://127.0.0.1/v1/elsewhere", "is not https"),
        ("http://127.0.0.1:1", "does not answer"),
    ],
)
def test_a_token_does_not_cross_the_network_in_the_clear(held: Held, address: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        VaultSigner(replace(held.place, address=address))
    assert held.transit.asked == []
    VaultSigner(held.place)


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert, private_key = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(made.public_bytes(Encoding.PEM))
    private_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return cert, private_key


def test_the_server_is_verified_before_it_gets_the_token(tmp_path: Path) -> None:
    good, other = certificate(tmp_path, "good"), certificate(tmp_path, "other")
    transit = Transit()
    token = private(tmp_path / "token", TOKEN)
    with serving(transit, good) as address:
        for wrong in (other[0], None):
            with pytest.raises(ConfigurationError, match="does not answer"):
                VaultSigner(Place(address, "issuer", token, ca_file=wrong))
        for nothing in (token, tmp_path / "absent"):
            with pytest.raises(ConfigurationError, match="holds no certificates"):
                VaultSigner(Place(address, "issuer", token, ca_file=nothing))
        assert transit.asked == []
        signer = VaultSigner(Place(address, "issuer", token, ca_file=good[0]))
        assert signer.key.verify(signer.sign(b"x"), b"x")


def test_a_server_lets_vault_certify(held: Held) -> None:
    callers = [{"name": "desk", "roles": ["issuer"], "credentials": ["0" * 64]}]
    kms = {"address": held.place.address, "key": "issuer", "token_file": str(held.place.token_file)}
    told: dict[str, Any] = {"ledger": "memory", "audience": "https://chain.example", "policy": "none"}
    told |= {"issuer": "https://issuer.example", "callers": callers, "issuer_vault": kms}
    started = authority(ServeSettings(**told))
    (published,) = started.keys.jwks()["keys"]
    assert (published["kty"], "chain_certificate" in published) == ("OKP", True)
    assert [anchor.key for anchor in started.verifier.anchors if anchor.certifies] == [held.transit.signer().key]
    started.close()
    for wrong, said in (({"issuer_key": "/k"}, "2 ways to hold"), ({"issuer": None}, "go together")):
        with pytest.raises(ConfigurationError, match=said):
            authority(ServeSettings(**(told | wrong)))
