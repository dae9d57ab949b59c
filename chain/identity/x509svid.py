"""X.509-SVIDs of peers: who a certificate says that a workload is, if its own trust domain says so too.

The law of this file: TLS proves that the peer has the certificate's key and that somebody who is known here signed it.
That is not yet an identity (X509-SVID s4, s5): the leaf is held to the profile, and the path is built anew to the
authorities **of the id's own trust domain** and of no other, on the bundles as they are now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from chain.base64url import b64encode
from chain.identity.fault import Fault, IdentityError
from chain.identity.material import Bundles, Source, TrustBundle
from chain.key import PublicKey
from chain.peer import Workload
from chain.principal import MAX_ID, SCHEME, is_trust_domain, parse_id
from chain.recent import Recent

T = TypeVar("T", bound=x509.ExtensionType)

MAX_PATH = 8
"""Certificates of one path, leaf and authority included: nested servers need a few, and a stranger sends them."""

MIN_RSA = 2048
"""Bits of an RSA key (RFC 7518 s3.3; NIST SP 800-57: 112 bits of security)."""

CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
"""Curves of EC keys: those that TLS knows here and that paths are built over."""

REMEMBERED = 4096
"""Peers whose certificates are remembered as verified, at most."""


def verify(chain: bytes, bundles: Bundles, now: float) -> Workload:
    """Return the workload that a channel proved.

    Args:
        chain: PEM certificates as the peer sent them, the leaf first.
        bundles: trust domain -> its authorities, as they are now.
        now: seconds since the epoch.

    Raises:
        IdentityError: they prove no workload; says why.
    """
    leaf, *between = _certificates(chain)
    name = id_of(leaf)
    if not all(map(is_strong, between)):
        raise IdentityError(Fault.SVID_KEY_WEAK)
    at = datetime.fromtimestamp(now, UTC)
    if at < leaf.not_valid_before_utc:
        raise IdentityError(Fault.SVID_NOT_YET_VALID)
    if at >= leaf.not_valid_after_utc:
        raise IdentityError(Fault.SVID_EXPIRED)
    bundle = bundles.get(parse_id(name)[0])
    if bundle is None or not bundle.authorities:
        raise IdentityError(Fault.SVID_DOMAIN_UNTRUSTED)
    path = _path(leaf, between, bundle, at)
    return Workload(
        name,
        min(one.not_valid_after_utc for one in path).timestamp(),
        _thumbprint(leaf),
        b64encode(sha256(leaf.public_bytes(Encoding.DER)).digest()),
    )


class X509Verifier:
    """Verifies peers against what a source trusts now, and remembers those that it verified.

    A peer is remembered by the digest of all that it showed, which may be long, and the version of the source's
    material: a bundle that changed is asked again on the very next call.
    """

    def __init__(self, source: Source, clock: Callable[[], float]) -> None:
        """Verify against a source; `clock` gives seconds since the epoch."""
        self._source = source
        self._clock = clock
        self._known: Recent[bytes, tuple[int, Workload]] = Recent(REMEMBERED // 2)

    def verify(self, chain: bytes) -> Workload:
        """Return the workload that a channel proved.

        Args:
            chain: PEM certificates as the peer sent them, the leaf first.

        Raises:
            IdentityError: they prove no workload, or not any more.
        """
        material, now = self._source.current(), self._clock()
        digest = sha256(chain).digest()
        known = self._known.get(digest)
        if known is not None and known[0] == material.version:
            if now >= known[1].until:
                raise IdentityError(Fault.SVID_EXPIRED)
            return known[1]
        found = verify(chain, material.bundles, now)
        self._known.put(digest, (material.version, found))
        return found


def id_of(leaf: x509.Certificate) -> str:
    """Return the SPIFFE id of a certificate that is a workload's, whoever signed it and whenever it is valid.

    Raises:
        IdentityError: it is none.
    """
    name = _id(leaf)
    _profile(leaf)
    return name


def _certificates(chain: bytes) -> list[x509.Certificate]:
    if not chain:
        raise IdentityError(Fault.SVID_MISSING)
    try:
        found = x509.load_pem_x509_certificates(chain)
    except (ValueError, x509.InvalidVersion):
        raise IdentityError(Fault.SVID_MALFORMED) from None
    if len(found) >= MAX_PATH:
        raise IdentityError(Fault.SVID_TOO_MANY)
    return found


def _id(leaf: x509.Certificate) -> str:
    """Return the only URI, which must be the strict id of a workload (X509-SVID s2, SPIFFE-ID s2)."""
    try:
        uris = uris_of(leaf)
    except ValueError:
        raise IdentityError(Fault.SVID_EXTENSION_UNREADABLE) from None
    if len(uris) != 1:
        raise IdentityError(Fault.SVID_URI_MANY if uris else Fault.SVID_URI_MISSING)
    (name,) = uris
    try:
        parse_id(name)
    except ValueError:
        raise IdentityError(fault_of(name)) from None
    return name


def uris_of(certificate: x509.Certificate) -> list[str]:
    """Return the URIs among a certificate's names.

    Raises:
        ValueError: an extension of it cannot be read.
    """
    try:
        names = _extension(certificate.extensions, x509.SubjectAlternativeName)
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(str(error)) from None
    return [] if names is None else names.value.get_values_for_type(x509.UniformResourceIdentifier)


def require_authority(certificate: x509.Certificate, trust_domain: str) -> None:
    """Return where a certificate may be an authority of a trust domain (X509-SVID s4.1, s4.3, s3.2).

    Raises:
        ValueError: it signs no certificates, has a weak key, speaks for another trust domain, or cannot be read.
    """
    if not is_strong(certificate):
        raise ValueError(Fault.SVID_KEY_WEAK.meaning)
    own, named = f"{SCHEME}{trust_domain}", uris_of(certificate)
    basic = _extension(certificate.extensions, x509.BasicConstraints)
    usage = _extension(certificate.extensions, x509.KeyUsage)
    if basic is None or not basic.value.ca or (usage is not None and not usage.value.key_cert_sign):
        raise ValueError("a certificate that may not sign others is no authority")
    if any(uri.startswith(SCHEME) and uri != own for uri in named):
        raise ValueError("an authority of another trust domain")


def is_strong(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate's key is of a kind that is trusted with an identity."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):  # of no kind that is known here
        return False
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= MIN_RSA
    return isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVES)


def fault_of(name: str) -> Fault:
    """Return what is wrong with an id that is not strict."""
    if len(name.encode()) > MAX_ID:
        return Fault.ID_TOO_LONG
    if not name.startswith(SCHEME):
        return Fault.ID_SCHEME
    domain, slash, _ = name.removeprefix(SCHEME).partition("/")
    if not is_trust_domain(domain):
        return Fault.ID_TRUST_DOMAIN
    return Fault.ID_PATH if slash else Fault.ID_PATH_MISSING


def _profile(leaf: x509.Certificate) -> None:
    """Hold a leaf to the profile of X509-SVID s4.1 to s4.4."""
    found = leaf.extensions
    basic = _extension(found, x509.BasicConstraints)
    if basic is not None and basic.value.ca:
        raise IdentityError(Fault.SVID_IS_CA)
    usage = _extension(found, x509.KeyUsage)
    if usage is None:
        raise IdentityError(Fault.SVID_KEY_USAGE_MISSING)
    faults = (
        (usage.value.key_cert_sign, Fault.SVID_SIGNS_CERTIFICATES),
        (usage.value.crl_sign, Fault.SVID_SIGNS_CRLS),
        (not usage.value.digital_signature, Fault.SVID_NO_DIGITAL_SIGNATURE),
        (not usage.critical, Fault.SVID_KEY_USAGE_NOT_CRITICAL),
    )
    for wrong, fault in faults:
        if wrong:
            raise IdentityError(fault)
    extended = _extension(found, x509.ExtendedKeyUsage)
    both = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    if extended is not None and not both <= set(extended.value):
        raise IdentityError(Fault.SVID_EXTENDED_KEY_USAGE)
    if not is_strong(leaf):
        raise IdentityError(Fault.SVID_KEY_WEAK)


def _extension(found: x509.Extensions, kind: type[T]) -> x509.Extension[T] | None:
    try:
        return found.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _path(
    leaf: x509.Certificate, between: Sequence[x509.Certificate], bundle: TrustBundle, at: datetime
) -> list[x509.Certificate]:
    """Return the path from a leaf to an authority of its own trust domain (RFC 5280 s6, X509-SVID s5.2)."""
    builder = PolicyBuilder().store(Store(list(bundle.authorities))).time(at).max_chain_depth(MAX_PATH - 2)
    builder = builder.extension_policies(ca_policy=_AUTHORITY, ee_policy=ExtensionPolicy.permit_all())
    try:
        path = builder.build_client_verifier().verify(leaf, list(between)).chain
        for above in path[1:]:
            require_authority(above, bundle.trust_domain)
    except (VerificationError, ValueError):
        raise IdentityError(Fault.SVID_PATH) from None
    if len(path) == 1:  # it lies in the bundle itself, and nobody signed it
        raise IdentityError(Fault.SVID_PATH)
    return path


def _signs(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage) -> None:
    if not usage.key_cert_sign:
        raise ValueError("an authority's key that may not sign certificates")


def _is_authority(_policy: Policy, _certificate: x509.Certificate, basic: x509.BasicConstraints) -> None:
    if not basic.ca:
        raise ValueError("no authority")


_AUTHORITY = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority)
    .require_present(x509.KeyUsage, Criticality.AGNOSTIC, _signs)  # X509-SVID s4.3
)


def _thumbprint(leaf: x509.Certificate) -> str | None:
    """Return the name of the leaf's key, if a token may name it."""
    key = leaf.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return PublicKey("ES256", key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]).thumbprint
    return None
