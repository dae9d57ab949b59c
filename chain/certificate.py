"""Key certificates: what a key in a KMS says of a short-lived key, which then signs roots in its place.

The law of this file: a certificate says one thing, that one key may speak for one issuer in roots of one window of
time, and has one spelling. It says nothing of now: whether a root was issued in the window is as true tomorrow as
today, so what is verified may be kept. A certified key certifies nothing, and a certifier is not its own certified key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import msgspec
from msgspec import UNSET

from chain import jcs, jws
from chain.claims import Jti
from chain.errors import ChainError
from chain.grant import Count, Text
from chain.jws import AlgorithmError, HeaderError, JoseError
from chain.key import Jwk, KeyRefusedError, PublicKey, Signer
from chain.reason import Reason

CERTIFICATE_TYPE = "chain-issuer-key+jwt"
"""JOSE `typ`, so that no token, proof or list is ever taken for a certificate or the reverse."""

WINDOW = 24 * 3600
"""Seconds in which a certified key signs, unless told otherwise: the KMS is needed twice a day."""

MAX_WINDOW = 7 * 24 * 3600
"""Seconds of the longest window that is accepted: how long a stolen key mints what is not backdated."""

MAX_CERTIFICATE = 4096
"""Characters of a certificate: a usual one has 500, the longest issuer that is allowed another 1,400."""


class CertificateError(ChainError):
    """The bytes are not a key certificate by the key that they must be by."""

    reason = Reason.CLAIM_INVALID


class _Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Members stand in canonical order."""

    exp: Count
    iat: Count
    iss: Text
    jti: Jti
    jwk: Jwk


_decode = msgspec.json.Decoder(_Claims).decode


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that was verified.

    Attributes:
        key: the one that is certified.
        issuer: whom it may speak for.
        since, until: seconds; its roots are issued from the one on, and before the other.
        jti: its name.
        certifier: the key that says so.
        text: the compact JWS.
    """

    key: PublicKey
    issuer: str
    since: int
    until: int
    jti: str
    certifier: PublicKey
    text: str

    def covers(self, moment: float) -> bool:
        """Tell whether what the key signs may be issued then."""
        return self.since <= moment < self.until


class CertifiedSigner:
    """What signs with a certified key, and shows its certificate with what it signs.

    Attributes:
        certificate: of the key.
    """

    __slots__ = ("_signer", "certificate")

    def __init__(self, signer: Signer, certificate: Certificate) -> None:
        """Hold a key and its certificate.

        Raises:
            ValueError: the certificate is another key's.
        """
        if signer.key != certificate.key:
            raise ValueError("the certificate is another key's")
        self._signer = signer
        self.certificate = certificate

    @property
    def key(self) -> PublicKey:
        """The public half."""
        return self._signer.key

    def sign(self, data: bytes) -> bytes:
        """Return the raw JWS signature over `data`."""
        return self._signer.sign(data)

    def __repr__(self) -> str:
        return f"CertifiedSigner({self.key.thumbprint})"


def header(signer: Signer) -> dict[str, str]:
    """Return the JOSE members by which a reader finds the key: its name and, where it has one, its certificate."""
    named = {"kid": signer.key.thumbprint}
    return named | {"chain_certificate": signer.certificate.text} if isinstance(signer, CertifiedSigner) else named


def certify(certifier: Signer, key: PublicKey, issuer: str, *, jti: str, now: int, window: int = WINDOW) -> Certificate:
    """Let a certifier say that a key speaks for an issuer from now on.

    Args:
        certifier: signs once; the key of a KMS.
        key: that is certified, of which the caller holds the private half.
        issuer: the URI of the issuer.
        jti: fresh.
        now, window: seconds.

    Raises:
        CertificateError: what would be said is not what `verify` accepts.
        SignerError: the certifier is out of reach.
    """
    payload = jcs.dumps(msgspec.to_builtins(_Claims(now + window, now, issuer, jti, key.jwk)))
    text = jws.join({"typ": CERTIFICATE_TYPE, "kid": certifier.key.thumbprint}, payload, certifier)
    return verify(text, {certifier.key.thumbprint: certifier.key})


def verify(text: str, certifiers: Mapping[str, PublicKey]) -> Certificate:
    """Return a certificate that one of these keys signed; for which issuers it may is asked elsewhere.

    Args:
        text: compact JWS.
        certifiers: the keys that certify, by thumbprint.

    Raises:
        CertificateError: it is none, not strictly one, or by nobody who certifies.
    """
    if len(text) > MAX_CERTIFICATE:
        raise CertificateError(f"more than {MAX_CERTIFICATE} characters", Reason.TOKEN_TOO_LARGE)
    try:
        frame = jws.split(text)
    except HeaderError as error:
        raise CertificateError(str(error), Reason.HEADER_UNSUPPORTED) from None
    except JoseError as error:
        raise CertificateError(str(error), Reason.TOKEN_MALFORMED) from None
    if frame.header.typ != CERTIFICATE_TYPE:
        raise CertificateError(f"`typ` is not `{CERTIFICATE_TYPE}`", Reason.HEADER_UNSUPPORTED)
    certifier = None if frame.header.kid is UNSET else certifiers.get(str(frame.header.kid))
    if certifier is None:
        raise CertificateError("by nobody who certifies here", Reason.ANCHOR_UNKNOWN)
    return _verified(text, certifier)


@lru_cache(maxsize=256)
def _verified(text: str, certifier: PublicKey) -> Certificate:
    """Return what a key says; the same few certificates recur, and nothing here depends on anything else."""
    frame = jws.split(text)
    try:
        signed = frame.signed_by(certifier)
    except AlgorithmError as error:
        raise CertificateError(str(error), Reason.ALGORITHM_REFUSED) from None
    if not signed:
        raise CertificateError("not signed by its certifier", Reason.SIGNATURE_INVALID)
    try:
        claims = _decode(frame.payload)
        key = PublicKey.from_jwk(claims.jwk)
        spelled = jcs.dumps(msgspec.to_builtins(msgspec.structs.replace(claims, jwk=key.jwk)))
    except KeyRefusedError as error:
        raise CertificateError(f"`jwk`: {error}", Reason.KEY_INVALID) from None
    except (ValueError, RecursionError) as error:
        raise CertificateError(str(error)) from None
    if spelled != frame.payload:  # a member twice, one beyond those of a public key, blanks: all are other spellings
        raise CertificateError("not in its canonical spelling")
    if key == certifier:
        raise CertificateError("the certifier's own key", Reason.KEY_INVALID)
    if not 0 < claims.exp - claims.iat <= MAX_WINDOW:
        window = claims.exp - claims.iat
        raise CertificateError(f"a window of {window} s, not from 1 to {MAX_WINDOW}", Reason.LIFETIME_EXCEEDED)
    return Certificate(key, claims.iss, claims.iat, claims.exp, claims.jti, certifier, text)
