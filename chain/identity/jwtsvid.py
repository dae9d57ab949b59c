"""JWT-SVIDs of peers: who a bearer token says that a workload is, if its own trust domain signed that for us.

The law of this file: nothing of a token is believed before its signature holds but which key to ask, and that key is
one **of the subject's own trust domain** (JWT-SVID s5). What a header says beyond `alg`, `kid` and `typ` is refused,
and so is a token without an end or without us in its audience.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from threading import Lock
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import get_default_algorithms

from chain import jcs
from chain.base64url import b64decode
from chain.identity.fault import Fault, IdentityError
from chain.identity.material import Bundles, PublicJwk, Source
from chain.identity.x509svid import MIN_RSA, fault_of
from chain.jcs import Json
from chain.peer import Workload
from chain.principal import parse_id

MAX_TOKEN = 8192
"""Bytes of a token: gRPC drops metadata at random from there up."""

MAX_LIFETIME = 86400
"""Seconds that a token may live: who has it is who it names, so a stolen one must end soon."""

SKEW = 30
"""Seconds that another's clock may be ahead of ours."""

REMEMBERED = 4096
"""Tokens that are remembered as verified."""

_CURVES: Mapping[str, type[ec.EllipticCurve]] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_ALGORITHMS = {name: one for name, one in get_default_algorithms().items() if name in _RSA or name in _CURVES}


def verify(token: str, bundles: Bundles, audiences: Collection[str], now: float) -> Workload:
    """Return the workload that a token names; its key is not proven, whoever has the token may send it.

    Args:
        token: a JWS in compact form.
        bundles: trust domain -> its keys, as they are now.
        audiences: what we are called; a token must be meant for one of them, and for none where there is none.
        now: seconds since the epoch.

    Raises:
        IdentityError: it names no workload; says why.
    """
    signed, header, claims, signature = _parts(token)
    algorithm, kid = _header(header)
    name = claims.get("sub")
    if not isinstance(name, str):
        raise IdentityError(Fault.JWT_SUB_MISSING)
    try:
        domain, _ = parse_id(name)
    except ValueError:
        raise IdentityError(fault_of(name)) from None
    bundle = bundles.get(domain)
    if bundle is None or not bundle.jwt_keys:
        raise IdentityError(Fault.JWT_DOMAIN_UNTRUSTED)
    jwk = bundle.jwt_keys.get(kid)
    if jwk is None:
        raise IdentityError(Fault.JWT_KID_UNKNOWN)
    if not _ALGORITHMS[algorithm].verify(signed, _key(jwk, algorithm), signature):
        raise IdentityError(Fault.JWT_SIGNATURE)
    _require_audience(claims.get("aud"), audiences)
    return Workload(name, _end(claims, now))


class JwtVerifier:
    """Verifies tokens against what a source trusts now, and remembers those that it verified.

    A token is remembered by its digest and the version of the source's material: a key that left a bundle is asked
    again on the very next call.
    """

    def __init__(self, source: Source, audiences: Collection[str], clock: Callable[[], float]) -> None:
        """Verify against a source what is meant for `audiences`; `clock` gives seconds since the epoch."""
        self._source, self._audiences, self._clock = source, frozenset(audiences), clock
        self._known: OrderedDict[bytes, tuple[int, Workload]] = OrderedDict()
        self._lock = Lock()

    def verify(self, token: str) -> Workload:
        """Return the workload that a token names.

        Raises:
            IdentityError: it names no workload, or not any more.
        """
        material, now = self._source.current(), self._clock()
        digest = sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None and known[0] == material.version:
            if now >= known[1].until:
                raise IdentityError(Fault.JWT_EXPIRED)
            return known[1]
        found = verify(token, material.bundles, self._audiences, now)
        with self._lock:
            self._known[digest] = (material.version, found)
            self._known.move_to_end(digest)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found


def _parts(token: str) -> tuple[bytes, dict[str, Json], dict[str, Json], bytes]:
    """Take a token apart, strictly (RFC 7515 s3.1): one spelling, no member twice."""
    if len(token) > MAX_TOKEN:
        raise IdentityError(Fault.JWT_TOO_LONG)
    try:
        header, payload, signature = token.encode("ascii").split(b".")
        said, claims = jcs.loads(b64decode(header)), jcs.loads(b64decode(payload))
        raw = b64decode(signature)
    except ValueError:
        raise IdentityError(Fault.JWT_MALFORMED) from None
    if not isinstance(said, dict) or not isinstance(claims, dict):
        raise IdentityError(Fault.JWT_MALFORMED)
    return header + b"." + payload, said, claims, raw


def _header(header: dict[str, Json]) -> tuple[str, str]:
    """Return algorithm and key id (JWT-SVID s2)."""
    algorithm, kid = header.get("alg"), header.get("kid")
    if not header.keys() <= {"alg", "kid", "typ"}:
        raise IdentityError(Fault.JWT_HEADER_UNKNOWN)
    if not isinstance(algorithm, str) or algorithm not in _ALGORITHMS:
        raise IdentityError(Fault.JWT_ALG)
    if header.get("typ", "JWT") not in ("JWT", "JOSE"):  # a tuple: what has no hash is refused, too
        raise IdentityError(Fault.JWT_TYP)
    if not isinstance(kid, str) or not kid:
        raise IdentityError(Fault.JWT_KID_MISSING)
    return algorithm, kid


def _key(jwk: PublicJwk, algorithm: str) -> Any:  # noqa: ANN401 - PyJWT's own
    """Return a bundle's key, if it is of the algorithm's type and strong enough."""
    try:
        key = _ALGORITHMS[algorithm].from_jwk(dict(jwk))
    except (jwt.PyJWTError, ValueError, TypeError):
        raise IdentityError(Fault.JWT_KEY_UNFIT) from None
    if isinstance(key, rsa.RSAPublicKey):
        fits = algorithm in _RSA and key.key_size >= MIN_RSA
    else:
        fits = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES.get(algorithm, ()))
    if not fits or jwk.get("alg", algorithm) != algorithm:
        raise IdentityError(Fault.JWT_KEY_UNFIT)
    return key


def _require_audience(stated: Json, ours: Collection[str]) -> None:
    """Return where a token is meant for one of ours (JWT-SVID s3.2)."""
    meant = [stated] if isinstance(stated, str) else stated
    if not isinstance(meant, list) or not meant or not all(isinstance(one, str) and one for one in meant):
        raise IdentityError(Fault.JWT_AUD_MISSING)
    if not any(one in ours for one in meant):
        raise IdentityError(Fault.JWT_AUD_MISMATCH)


def _end(claims: dict[str, Json], now: float) -> float:
    """Return when a token ends that is valid now (JWT-SVID s3.3, RFC 7519 s4.1.4 to s4.1.6)."""
    times = {name: claims[name] for name in ("exp", "iat", "nbf") if name in claims}
    if any(type(value) is not int for value in times.values()):
        raise IdentityError(Fault.JWT_TIME_MALFORMED)
    if "exp" not in times:
        raise IdentityError(Fault.JWT_EXP_MISSING)
    end = times["exp"]
    if now >= end:
        raise IdentityError(Fault.JWT_EXPIRED)
    if max(times.get("iat", 0), times.get("nbf", 0)) > now + SKEW:
        raise IdentityError(Fault.JWT_NOT_YET_VALID)
    if end - min(times.get("iat", now), now) > MAX_LIFETIME:
        raise IdentityError(Fault.JWT_LIFETIME)
    return float(end)
