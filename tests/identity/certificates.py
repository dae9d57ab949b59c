"""Certificates as a test wishes them: a good leaf, and whatever is to be wrong with it."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

NOW, ALICE = float(int(time.time())), "spiffe://a.test/agents/alice"
"""The present, because handshakes know no other; every time in a table is relative to it."""

BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
FLAGS = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def p256() -> Any:
    """The key that a certificate has where nothing else is wished."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Wish:
    """What a certificate is to be; as it stands, a good leaf."""

    uris: tuple[str, ...] = (ALICE,)
    dns: tuple[str, ...] = ()
    ca: bool = False
    path_length: int | None = None
    usage: tuple[str, ...] | None = ("digital_signature",)
    critical: bool = True
    purposes: tuple[Any, ...] | None = BOTH
    begin: float = NOW - 60
    end: float = NOW + 3600
    raw: bytes | None = None


AUTHORITY = Wish(uris=(), ca=True, usage=("key_cert_sign",), purposes=None, end=NOW + 86400)


@dataclass(frozen=True)
class Shown:
    """What a peer shows: certificates in PEM, and the key of the first, where there is one."""

    chain: bytes
    key: Any = field(default=None, repr=False)


@dataclass
class Authority:
    """A key, and the certificate that others are signed under."""

    name: str
    key: Any = field(default_factory=p256, repr=False)
    certificate: Any = None

    @classmethod
    def root(cls, name: str) -> Authority:
        made = cls(name)
        made.certificate = made.sign(name, made.key, AUTHORITY)
        return made

    def beneath(self, name: str, key: Callable[[], Any] = p256, **wish: Any) -> Authority:
        made = Authority(name, key())
        made.certificate = self.sign(name, made.key, replace(AUTHORITY, **({"end": NOW + 7200} | wish)))
        return made

    def leaf(self, *between: Any, key: Callable[[], Any] = p256, **wish: Any) -> Shown:
        """A leaf with a key of its own, shown with certificates after it."""
        private = key()
        return Shown(pem(self.sign("leaf", private, Wish(**wish)), *between), private)

    def sign(self, name: str, key: Any, wish: Wish) -> Any:
        public = key.public_key() if hasattr(key, "public_key") else key
        common = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (self.name, name))
        builder = x509.CertificateBuilder(next(common), next(common), public, x509.random_serial_number())
        builder = builder.not_valid_before(datetime.fromtimestamp(wish.begin, UTC))
        builder = builder.not_valid_after(datetime.fromtimestamp(wish.end, UTC))
        builder = builder.add_extension(x509.BasicConstraints(wish.ca, wish.path_length), critical=True)
        names = [*map(x509.UniformResourceIdentifier, wish.uris), *map(x509.DNSName, wish.dns)]
        if wish.raw is not None:
            raw = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, wish.raw)
            builder = builder.add_extension(raw, critical=False)
        elif names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if wish.usage is not None:
            usage = x509.KeyUsage(**{one: one in wish.usage for one in FLAGS})
            builder = builder.add_extension(usage, critical=wish.critical)
        if wish.purposes is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(wish.purposes), critical=False)
        return builder.sign(self.key, hashes.SHA256())


def pem(*certificates: Any) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def der(shown: Shown) -> bytes:
    return x509.load_pem_x509_certificate(shown.chain).public_bytes(Encoding.DER)


def armoured(data: bytes) -> bytes:
    """Bytes that need not be a certificate, in PEM."""
    return b"-----BEGIN CERTIFICATE-----\n" + b64encode(data) + b"\n-----END CERTIFICATE-----\n"
