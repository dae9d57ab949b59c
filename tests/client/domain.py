"""A trust domain of the tests' own: authorities that can be replaced, SVIDs, and a source of both."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from threading import Lock
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from chain.identity.material import Material, Svid, TrustBundle

NAME = "chain.test"
"""DNS name in the server's certificate."""


class Authority(NamedTuple):
    """One signing authority of a trust domain."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def svid(self, name: str, dns: str | None = None, seconds: float = 3600) -> Svid:
        """Make an X.509-SVID (X509-SVID s4)."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(name)]
        if dns is not None:
            names += [x509.DNSName(dns), x509.IPAddress(ip_address("127.0.0.1"))]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        ends = datetime.now(UTC) + timedelta(seconds=seconds)
        built = (
            _builder(key.public_key(), self.certificate.subject, ends, digital=True, certs=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Svid(name, built.public_bytes(Encoding.PEM), private, ends.timestamp())


def authority(domain: str) -> Authority:
    """Make an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    ends = datetime.now(UTC) + timedelta(days=1)
    number = str(x509.random_serial_number())  # as SPIRE does: BoringSSL tries no second authority of one name
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, domain), x509.NameAttribute(NameOID.SERIAL_NUMBER, number)]
    )
    built = (
        _builder(key.public_key(), subject, ends, digital=False, certs=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{domain}")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return Authority(key, built)


def _builder(
    key: ec.EllipticCurvePublicKey, issuer: x509.Name, ends: datetime, *, digital: bool, certs: bool
) -> x509.CertificateBuilder:
    subject = issuer if certs else x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "SPIRE")])
    usage = x509.KeyUsage(
        digital_signature=digital, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=certs, crl_sign=certs, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(minutes=1))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=certs, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )


class Held:
    """A source that a test fills."""

    def __init__(self, svid: Svid | None, **bundles: list[Authority]) -> None:
        """Begin; an underscore in the name of a bundle stands for its dot."""
        self._lock = Lock()
        self._version = 0
        self.fill(svid, **bundles)

    def fill(self, svid: Svid | None, **bundles: list[Authority]) -> None:
        """Replace everything."""
        named = {name.replace("_", "."): authorities for name, authorities in bundles.items()}
        made = {
            name: TrustBundle(name, tuple(one.certificate for one in authorities))
            for name, authorities in named.items()
        }
        with self._lock:
            self._version += 1
            self._material = Material(svid, made, self._version)

    def current(self) -> Material:
        """Return what it was filled with last."""
        return self._material

    def close(self) -> None:
        """Do nothing."""
