"""A private key as JSON: one JSON Web Key (RFC 7517, RFC 8037).

The law of this file: pure; where the bytes come from, and whether others may read them, is for who reads them. Neither
the text of a key nor that of an error ever shows the private half.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import UNSET, UnsetType

from chain import jcs
from chain.base64url import b64decode
from chain.key import Jwk, KeySigner, PublicKey


class PrivateJwk(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A private key as it stands in a file. Its text form never shows `d`."""

    kty: Literal["OKP", "EC"]
    crv: Literal["Ed25519", "P-256"]
    x: str
    d: str
    y: str | UnsetType = UNSET
    kid: str | UnsetType = UNSET
    alg: str | UnsetType = UNSET
    use: str | UnsetType = UNSET

    def __repr__(self) -> str:
        return f"PrivateJwk({self.crv}, x={self.x!r})"

    def signer(self) -> KeySigner:
        """Return what signs with this key.

        Raises:
            ValueError: a member does not fit the others; the message holds none of them.
        """
        public = PublicKey.from_jwk(Jwk(self.kty, self.crv, self.x, self.y, self.kid, self.alg, self.use))
        secret = b64decode(self.d.encode())
        if len(secret) != 32:
            raise ValueError("`d` is not 32 bytes")
        signer = KeySigner.from_seed(secret) if public.alg == "EdDSA" else KeySigner(p256(secret))
        if signer.key != public:
            raise ValueError("`d` is another key's than `x`")
        return signer


_decode = msgspec.json.Decoder(PrivateJwk).decode


def read(data: bytes) -> tuple[PrivateJwk, KeySigner]:
    """Return the key that JSON holds, and what signs with it.

    Raises:
        ValueError: not a private JWK of an accepted type.
    """
    private = _decode(data)
    jcs.refuse_duplicates(data)
    return private, private.signer()


def p256(secret: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the P-256 key of a secret number, as bytes."""
    return ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1())
