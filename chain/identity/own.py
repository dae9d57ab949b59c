"""An X.509-SVID of one's own, put together from what a source delivers, and the certificates of a bundle.

The law of this file: what comes from a file or a socket is as strange as what comes from a peer. One URI SAN, a
strict id, no CA, a key that is the certificate's; anything else is no SVID (X509-SVID s2, s4, s5).
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from chain.identity.fault import IdentityError
from chain.identity.material import Svid
from chain.identity.x509svid import id_of

MAX_MATERIAL = 1024 * 1024
"""Bytes of one chain, key or bundle: a bundle of a hundred authorities has about 100 kB."""

_PEM, _PKCS8, _PLAIN = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()


def from_der(chain: bytes, key: bytes, stated: str | None = None) -> Svid:
    """Return the SVID that a Workload API delivers.

    Args:
        chain: DER certificates one after the other, the leaf first (Workload API s5.2.1).
        key: DER, PKCS#8, not encrypted.
        stated: the id that the certificate must have.

    Raises:
        ValueError: the certificate is no SVID, or the key is another's; the message holds nothing of the key.
    """
    certificates = split_der(chain)
    try:
        private = serialization.load_der_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("the private key cannot be read") from None
    return _svid(certificates, private, stated)


def from_pem(chain: bytes, key: bytes) -> Svid:
    """Return the SVID that files hold.

    Args:
        chain: PEM certificates, the leaf first.
        key: PEM, not encrypted.

    Raises:
        ValueError: as `from_der`.
    """
    if len(chain) > MAX_MATERIAL:
        raise ValueError(f"more than {MAX_MATERIAL} bytes")
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except (ValueError, x509.InvalidVersion):
        raise ValueError("the certificates cannot be read") from None
    try:
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("the private key cannot be read, or is encrypted") from None
    return _svid(certificates, private, None)


def split_der(data: bytes) -> list[x509.Certificate]:
    """Return certificates that stand one after the other without anything between them (X.690 s8.1.3).

    Raises:
        ValueError: something else stands there, or nothing.
    """
    if len(data) > MAX_MATERIAL:
        raise ValueError(f"more than {MAX_MATERIAL} bytes")
    found = []
    while data:
        if data[0] != 0x30 or len(data) < 2:  # SEQUENCE
            raise ValueError("no certificate stands where one must")
        size, head = data[1], 2
        if size & 0x80:
            head += size & 0x7F
            size = int.from_bytes(data[2:head])
        try:
            found.append(x509.load_der_x509_certificate(data[: head + size]))
        except (ValueError, x509.InvalidVersion):
            raise ValueError("a certificate cannot be read") from None
        data = data[head + size :]
    if not found:
        raise ValueError("no certificate")
    return found


def _svid(certificates: list[x509.Certificate], private: object, stated: str | None) -> Svid:
    if not isinstance(private, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise ValueError("TLS needs an EC or RSA key")  # noqa: TRY004 - bad bytes, no bad call
    leaf = certificates[0]
    try:
        name = id_of(leaf)
    except IdentityError as error:
        raise ValueError(error.fault.meaning) from None
    if stated is not None and stated != name:
        raise ValueError("the certificate has another id than stated")
    if leaf.public_key() != private.public_key():
        raise ValueError("the private key is another certificate's")
    return Svid(
        id=name,
        chain=b"".join(one.public_bytes(_PEM) for one in certificates),
        key=private.private_bytes(_PEM, _PKCS8, _PLAIN),
        expires=leaf.not_valid_after_utc.timestamp(),
    )
