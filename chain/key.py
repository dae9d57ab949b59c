"""Keys, their names, and signatures. The only file that knows the signature libraries.

The law of this file: a key is public, of full order and in its one spelling, or refused; it verifies exactly
one algorithm, its own type's. Ed25519 verifies through libsodium (twice as fast here as OpenSSL), ES256 through
`cryptography`. A key's name is its RFC 7638 thumbprint.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Literal, Protocol, TypeAlias

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import UNSET, UnsetType
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from chain import jcs
from chain.base64url import b64decode, b64encode

Algorithm: TypeAlias = Literal["EdDSA", "ES256"]

THUMBPRINT_URI = "urn:ietf:params:oauth:jwk-thumbprint:sha-256:"
"""RFC 9278 s3: what a derived token's `iss` starts with."""

_P25519 = 2**255 - 19
_ES256 = ec.ECDSA(SHA256())


class KeyRefusedError(ValueError):
    """A key is private, weak, not canonical, or of a type that is not accepted."""


class Jwk(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A public JWK as it stands on the wire (RFC 7517, RFC 8037). Unknown members are ignored."""

    kty: str
    crv: str
    x: str
    y: str | UnsetType = UNSET
    kid: str | UnsetType = UNSET
    alg: str | UnsetType = UNSET
    use: str | UnsetType = UNSET
    key_ops: tuple[str, ...] | UnsetType = UNSET


_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_decode_jwk = msgspec.json.Decoder(Jwk).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def refuse_private(jwk: bytes | msgspec.Raw) -> None:
    """Refuse a JWK that holds a private or symmetric member.

    Args:
        jwk: JSON text. One that equals the encoding of its `Jwk` holds none and need not come here.

    Raises:
        KeyRefusedError: it does.
    """
    if not _PRIVATE.isdisjoint(_decode_members(jwk)):
        raise KeyRefusedError("a private or symmetric member in a public key")


class PublicKey:
    """A public key that passed every check.

    Attributes:
        alg: the one algorithm that this key verifies.
        thumbprint: RFC 7638 SHA-256 thumbprint, base64url: the key's name.
        raw: 32 bytes (Ed25519) or x || y, 64 bytes (P-256).
    """

    __slots__ = ("_ec", "alg", "raw", "thumbprint")

    def __init__(self, alg: Algorithm, raw: bytes) -> None:
        self.alg = alg
        self.raw = raw
        self._ec: ec.EllipticCurvePublicKey | None = None
        if alg == "EdDSA":
            _refuse_weak_point(raw)
            canonical = b'{"crv":"Ed25519","kty":"OKP","x":"%b"}' % b64encode(raw).encode()
        else:
            self._ec = _p256_point(raw)
            x, y = b64encode(raw[:32]).encode(), b64encode(raw[32:]).encode()
            canonical = b'{"crv":"P-256","kty":"EC","x":"%b","y":"%b"}' % (x, y)
        self.thumbprint = b64encode(sha256(canonical).digest())

    @classmethod
    def from_jwk(cls, jwk: Jwk) -> PublicKey:
        """Accept a JWK from the wire; of private members see `refuse_private`.

        Raises:
            KeyRefusedError: an unknown type, a spelling that is not canonical, a weak point,
                or an `alg`, `use` or `key_ops` that does not allow verifying.
        """
        try:
            x = b64decode(jwk.x.encode())
            y = b"" if isinstance(jwk.y, UnsetType) else b64decode(jwk.y.encode())
        except ValueError as error:
            raise KeyRefusedError(f"coordinate: {error}") from None
        if (jwk.kty, jwk.crv) == ("OKP", "Ed25519") and len(x) == 32 and not y:
            key = cls("EdDSA", x)
        elif (jwk.kty, jwk.crv) == ("EC", "P-256") and len(x) == len(y) == 32:
            key = cls("ES256", x + y)
        else:
            raise KeyRefusedError("not an Ed25519 or P-256 key")
        if jwk.alg not in (UNSET, key.alg) or jwk.use not in (UNSET, "sig"):
            raise KeyRefusedError("`alg` or `use` does not fit")
        if not isinstance(jwk.key_ops, UnsetType) and "verify" not in jwk.key_ops:
            raise KeyRefusedError("`key_ops` does not include verify")
        return key

    @classmethod
    def from_json(cls, data: bytes | str) -> PublicKey:
        """Accept a JWK as JSON text, strictly.

        Raises:
            KeyRefusedError: as `from_jwk`, or not strict JSON.
        """
        try:
            raw = data.encode() if isinstance(data, str) else data
            jwk = _decode_jwk(raw)
            jcs.refuse_duplicates(raw)
            refuse_private(raw)
        except KeyRefusedError:
            raise
        except ValueError as error:
            raise KeyRefusedError(f"not a public JWK: {error}") from None
        return cls.from_jwk(jwk)

    @property
    def jwk(self) -> Jwk:
        """The canonical JWK, with the required members only."""
        if self.alg == "EdDSA":
            return Jwk(kty="OKP", crv="Ed25519", x=b64encode(self.raw))
        return Jwk(kty="EC", crv="P-256", x=b64encode(self.raw[:32]), y=b64encode(self.raw[32:]))

    def to_json(self) -> str:
        """Return the canonical JWK as JSON text."""
        return msgspec.json.encode(self.jwk).decode()

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Tell whether the raw JWS signature over `data` is this key's."""
        if len(signature) != 64:
            return False
        if self._ec is not None:
            return _verify_es256(self._ec, signature, data)
        try:
            crypto_sign_open(signature + data, self.raw)
        except BadSignatureError:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.alg == self.alg and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"PublicKey({self.alg}, {self.thumbprint})"


def _verify_es256(key: ec.EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
    der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))  # RFC 7518 s3.4
    try:
        key.verify(der, data, _ES256)
    except InvalidSignature:
        return False
    return True


def _p256_point(raw: bytes) -> ec.EllipticCurvePublicKey:
    x, y = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    try:
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError:
        raise KeyRefusedError("not a point of P-256") from None


def _small_order() -> frozenset[bytes]:
    """Return every encoding of the eight points whose order divides 8, the keyless-forgery keys.

    y = 0 and +-1 are orders 4, 1 and 2; the other two are those of order 8. The top bit is the sign of x.
    """
    y8 = int("7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7", 16)
    ys = (0, 1, _P25519 - 1, y8, _P25519 - y8)
    return frozenset((y | sign << 255).to_bytes(32, "little") for y in ys for sign in (0, 1))


_SMALL_ORDER = _small_order()


def _refuse_weak_point(raw: bytes) -> None:
    """Refuse a y coordinate beyond the field (a second spelling), or a point of small order [trap]."""
    if raw[31] & 0x7F == 0x7F and int.from_bytes(raw, "little") & (2**255 - 1) >= _P25519:
        raise KeyRefusedError("a point that is not canonical")
    if raw in _SMALL_ORDER:
        raise KeyRefusedError("a point of small order")


class Signer(Protocol):
    """Whatever signs: a key in memory here, a token or a KMS elsewhere."""

    @property
    def key(self) -> PublicKey:
        """The public half."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the raw JWS signature (64 bytes) over `data`."""
        ...


class KeySigner:
    """A private key held in memory.

    Attributes:
        key: the public half.
    """

    __slots__ = ("_private", "key")

    def __init__(self, private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        if isinstance(private, ed25519.Ed25519PrivateKey):
            self.key = PublicKey("EdDSA", private.public_key().public_bytes_raw())
        else:
            if not isinstance(private.curve, ec.SECP256R1):
                raise KeyRefusedError("not an Ed25519 or P-256 key")
            numbers = private.public_key().public_numbers()
            self.key = PublicKey("ES256", numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big"))

    @classmethod
    def from_seed(cls, seed: bytes) -> KeySigner:
        """Return the Ed25519 signer of a 32-byte seed (RFC 8032 s5.1.5)."""
        return cls(ed25519.Ed25519PrivateKey.from_private_bytes(seed))

    def sign(self, data: bytes) -> bytes:
        """Return the raw JWS signature over `data`; of ES256 another one each time."""
        if isinstance(self._private, ed25519.Ed25519PrivateKey):
            return self._private.sign(data)
        r, s = decode_dss_signature(self._private.sign(data, _ES256))
        return r.to_bytes(32) + s.to_bytes(32)

    def __repr__(self) -> str:
        return f"KeySigner({self.key.thumbprint})"
