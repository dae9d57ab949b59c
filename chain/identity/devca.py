"""The authority of a development trust domain: X.509-SVIDs and JWT-SVIDs for whoever may enter a directory.

The law of this file: development only, and every certificate says so. Keys live in memory and end with the process;
nothing here attests anybody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from chain.identity.material import PublicJwk
from chain.key import KeySigner
from chain.principal import is_trust_domain, parse_id

SUBJECT = "Chain dev identity (development only)"
"""Stands in every certificate's subject."""

SKEW = 60.0
"""Seconds that a certificate begins before it is made: clocks differ."""

AUTHORITY_TTL = 30 * 86400.0
"""Seconds that an authority lives: longer than a development process does."""

JWT_TTL = 300.0
"""Seconds of a JWT-SVID, or those of an X.509-SVID if they are fewer; what SPIRE gives too."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """An X.509-SVID with its key, as the Workload API hands it out.

    Attributes:
        id: the SPIFFE id.
        certificate: DER.
        key: DER, PKCS#8.
        expires: seconds since the epoch.
    """

    id: str
    certificate: bytes
    key: bytes = field(repr=False)
    expires: float


class _Generation:
    """An X.509 authority, and a key for JWT-SVIDs."""

    def __init__(self, trust_domain: str, now: float) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.jwt_key = ec.generate_private_key(ec.SECP256R1())
        public = KeySigner(self.jwt_key).key
        self.jwk: PublicJwk = {
            "kty": "EC", "crv": "P-256", "x": public.jwk.x, "y": public.jwk.y,
            "kid": public.thumbprint, "use": "jwt-svid",
        }  # fmt: skip
        self.name = _name("authority")
        public_key = self.key.public_key()
        self.certificate = (
            _certificate(self.name, self.name, public_key, now - SKEW, now + AUTHORITY_TTL)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(_names(f"spiffe://{trust_domain}", ()), critical=False)
            .sign(self.key, hashes.SHA256())
        )


class DevAuthority:
    """Makes SVIDs of one trust domain. Usable from many threads."""

    def __init__(self, trust_domain: str, clock: Callable[[], float], ttl: float) -> None:
        """Make its first keys.

        Args:
            trust_domain: its name.
            clock: seconds since the epoch.
            ttl: seconds that an X.509-SVID lives.

        Raises:
            ValueError: no such name is allowed.
        """
        if not is_trust_domain(trust_domain):
            raise ValueError("a trust domain has lower-case letters, digits, `.`, `-` and `_`")
        self.trust_domain = trust_domain
        self.ttl = ttl
        self._clock = clock
        self._lock = threading.Lock()
        # The one that signs; the next, because who has not heard of it yet would refuse what it signs; the one before.
        self._generations = [_Generation(trust_domain, clock()) for _ in range(2)]

    def rotate(self) -> None:
        """Sign with the keys that were published last from here on, and publish the next; those before stay a while."""
        fresh = _Generation(self.trust_domain, self._clock())
        with self._lock:
            before, signing, *_ = self._generations
            self._generations = [signing, fresh, before]

    @property
    def authorities(self) -> tuple[x509.Certificate, ...]:
        """Certificates that X.509-SVIDs are verified with, the one that signs first."""
        return tuple(one.certificate for one in self._now())

    @property
    def jwt_keys(self) -> tuple[PublicJwk, ...]:
        """Public keys that JWT-SVIDs are verified with, the one that signs first."""
        return tuple(one.jwk for one in self._now())

    def leaf(self, name: str, dns: Sequence[str] = ()) -> Leaf:
        """Return an X.509-SVID with a key of its own (X509-SVID s2-s4).

        Args:
            name: the SPIFFE id, of this trust domain.
            dns: names that a client of gRPC may verify the server by.

        Raises:
            ValueError: the id is another domain's, or none.
        """
        self._own(name)
        signing, now = self._now()[0], self._clock()
        key = ec.generate_private_key(ec.SECP256R1())
        by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.key.public_key())
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        certificate = (
            _certificate(_name("workload"), signing.name, key.public_key(), now - SKEW, now + self.ttl)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(purposes, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(by, critical=False)
            .add_extension(_names(name, dns), critical=False)
            .sign(signing.key, hashes.SHA256())
        )
        private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return Leaf(name, certificate.public_bytes(Encoding.DER), private, now + self.ttl)

    def token(self, name: str, audience: Sequence[str]) -> str:
        """Return a JWT-SVID (JWT-SVID s2-s3).

        Raises:
            ValueError: the id is another domain's, or none.
        """
        self._own(name)
        signing, now = self._now()[0], int(self._clock())
        claims = {"sub": name, "aud": list(audience), "iat": now, "exp": now + int(min(JWT_TTL, self.ttl))}
        return jwt.encode(claims, signing.jwt_key, "ES256", headers={"kid": signing.jwk["kid"]})

    def claims(self, token: str, audience: str) -> dict[str, Any]:
        """Return what a JWT-SVID of this authority says.

        Raises:
            ValueError: it is not one, not for this audience, or expired.
        """
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = next(one.jwt_key for one in self._now() if one.jwk["kid"] == kid)
            found: dict[str, Any] = jwt.decode(
                token, key.public_key(), ["ES256"], audience=audience, options={"require": ["exp", "sub", "aud"]}
            )
        except (jwt.PyJWTError, StopIteration):
            raise ValueError("not a JWT-SVID that is valid for this audience") from None
        return found

    def _now(self) -> list[_Generation]:
        with self._lock:
            return self._generations

    def _own(self, name: str) -> None:
        if parse_id(name)[0] != self.trust_domain:
            raise ValueError(f"`{name}` is not of the trust domain `{self.trust_domain}`")


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, begin: float, end: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(begin, UTC))
        .not_valid_after(datetime.fromtimestamp(end, UTC))
    )


def _name(what: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, SUBJECT), x509.NameAttribute(NameOID.COMMON_NAME, what)]
    )


def _names(uri: str, dns: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), *map(x509.DNSName, dns)])


def _usage(*, authority: bool) -> x509.KeyUsage:
    """Return what a key may do (X509-SVID s4.3): an authority signs certificates, a leaf signs handshakes."""
    return x509.KeyUsage(
        digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
