"""Signed JWTs that others made, taken apart and verified: what a JWT-SVID and an OIDC token have in common.

The law of this file: one spelling and no member twice; what a stranger sends costs little more than to verify its
signature. A key verifies what is of its own type and strong enough, and nothing else; a token has an audience, and an
end within a day. Whose key, and which headers, its callers say.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import get_default_algorithms

from chain import jcs
from chain.base64url import b64decode
from chain.identity.fault import Fault, IdentityError
from chain.identity.material import PublicJwk
from chain.identity.x509svid import MIN_RSA
from chain.jcs import Json
from chain.key import KeyRefusedError, PublicKey

MAX_TOKEN = 8192
"""Bytes of a token: gRPC drops metadata at random from there up."""

MAX_HEADER = 1024
"""Characters of its header, which is read before anybody has vouched for it; those of providers have about 200."""

MAX_LIFETIME = 86400
"""Seconds that a token may live: who has it is who it names, so a stolen one must end soon."""

SKEW = 30
"""Seconds that another's clock may be ahead of ours."""

_CURVES: Mapping[str, type[ec.EllipticCurve]] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_ALGORITHMS = {name: one for name, one in get_default_algorithms().items() if name in _RSA or name in _CURVES}

RSA_AND_EC = frozenset(_ALGORITHMS)
"""What JWT-SVIDs are signed with (JWT-SVID s2.1). Ed25519 (`EdDSA`) is verified as well."""


class Stated(msgspec.Struct, frozen=True):
    """What a token says of whose it is; nobody has vouched for it yet, and it only chooses whom to ask."""

    iss: Json = None
    sub: Json = None


class Parts(NamedTuple):
    """A token taken apart, and not yet believed.

    Attributes:
        signed: header and payload as they came.
        header: strict.
        payload: its bytes; all of it is read once the signature holds, because that costs more than to verify it.
        signature: raw.
    """

    signed: bytes
    header: dict[str, Json]
    payload: bytes
    signature: bytes

    @property
    def stated(self) -> Stated:
        """What the payload says of whose it is.

        Raises:
            IdentityError: it is no JSON object.
        """
        try:
            return _decode_stated(self.payload)
        except (ValueError, RecursionError):  # msgspec's own errors are the former
            raise IdentityError(Fault.JWT_MALFORMED) from None

    def claims(self) -> dict[str, Json]:
        """Return the whole payload, read strictly.

        Raises:
            IdentityError: it is no object of I-JSON, or has a member twice.
        """
        return _object(self.payload)


_decode_stated = msgspec.json.Decoder(Stated).decode


def parts(token: str) -> Parts:
    """Take a token apart, strictly (RFC 7515 s3.1): one spelling, no member twice.

    Raises:
        IdentityError: it is no signed JWT, or too long.
    """
    if len(token) > MAX_TOKEN:
        raise IdentityError(Fault.JWT_TOO_LONG)
    try:
        header, payload, signature = token.encode("ascii").split(b".")
        said, told, raw = b64decode(header), b64decode(payload), b64decode(signature)
    except ValueError:
        raise IdentityError(Fault.JWT_MALFORMED) from None
    if len(header) > MAX_HEADER:
        raise IdentityError(Fault.JWT_TOO_LONG)
    return Parts(header + b"." + payload, _object(said), told, raw)


def _object(data: bytes) -> dict[str, Json]:
    try:
        found = jcs.loads(data)
    except ValueError:
        raise IdentityError(Fault.JWT_MALFORMED) from None
    if not isinstance(found, dict):
        raise IdentityError(Fault.JWT_MALFORMED)
    return found


def require_signed(signed: bytes, jwk: PublicJwk, algorithm: str, signature: bytes) -> None:
    """Return where a signature is a key's, and the key is of the algorithm's type and strong enough.

    Args:
        signed: header and payload as they came.
        jwk: a public key.
        algorithm: one of `RSA_AND_EC`, or `EdDSA`; the caller has looked whether it is wanted.
        signature: raw.

    Raises:
        IdentityError: the key does not fit, or did not sign this.
    """
    if jwk.get("alg", algorithm) != algorithm:
        raise IdentityError(Fault.JWT_KEY_UNFIT)
    holds = _ed25519 if algorithm == "EdDSA" else _rsa_or_ec
    if not holds(signed, jwk, algorithm, signature):
        raise IdentityError(Fault.JWT_SIGNATURE)


def _ed25519(signed: bytes, jwk: PublicJwk, _algorithm: str, signature: bytes) -> bool:
    try:
        if (jwk.get("kty"), jwk.get("crv")) != ("OKP", "Ed25519"):
            raise IdentityError(Fault.JWT_KEY_UNFIT)
        return PublicKey("EdDSA", b64decode(str(jwk.get("x")).encode("ascii"))).verify(signature, signed)
    except (ValueError, KeyRefusedError):
        raise IdentityError(Fault.JWT_KEY_UNFIT) from None


def _rsa_or_ec(signed: bytes, jwk: PublicJwk, algorithm: str, signature: bytes) -> bool:
    try:
        key = _ALGORITHMS[algorithm].from_jwk(dict(jwk))
    except (jwt.PyJWTError, ValueError, TypeError):
        raise IdentityError(Fault.JWT_KEY_UNFIT) from None
    if isinstance(key, rsa.RSAPublicKey):
        fits = algorithm in _RSA and key.key_size >= MIN_RSA
    else:
        fits = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES.get(algorithm, ()))
    if not fits:
        raise IdentityError(Fault.JWT_KEY_UNFIT)
    return _ALGORITHMS[algorithm].verify(signed, key, signature)


def require_audience(stated: Json, ours: Collection[str]) -> list[str]:
    """Return all for whom a token is meant, where one of ours is among them (JWT-SVID s3.2, RFC 7519 s4.1.3).

    Raises:
        IdentityError: it names nobody, or others.
    """
    meant = [stated] if isinstance(stated, str) else stated
    if not isinstance(meant, list) or not meant or not all(isinstance(one, str) and one for one in meant):
        raise IdentityError(Fault.JWT_AUD_MISSING)
    if not any(one in ours for one in meant):
        raise IdentityError(Fault.JWT_AUD_MISMATCH)
    return meant


def end(claims: Mapping[str, Json], now: float) -> float:
    """Return when a token ends that is valid now (JWT-SVID s3.3, RFC 7519 s4.1.4 to s4.1.6).

    Raises:
        IdentityError: it has no end, is over or not yet valid, or lives too long.
    """
    times = {name: claims[name] for name in ("exp", "iat", "nbf") if name in claims}
    if any(type(value) is not int for value in times.values()):
        raise IdentityError(Fault.JWT_TIME_MALFORMED)
    if "exp" not in times:
        raise IdentityError(Fault.JWT_EXP_MISSING)
    ends = times["exp"]
    if now >= ends:
        raise IdentityError(Fault.JWT_EXPIRED)
    if max(times.get("iat", 0), times.get("nbf", 0)) > now + SKEW:
        raise IdentityError(Fault.JWT_NOT_YET_VALID)
    if ends - min(times.get("iat", now), now) > MAX_LIFETIME:
        raise IdentityError(Fault.JWT_LIFETIME)
    return float(ends)
