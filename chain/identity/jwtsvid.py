"""JWT-SVIDs of peers: who a bearer token says that a workload is, if its own trust domain signed that for us.

The law of this file: nothing of a token is believed before its signature holds but which key to ask, and that key is
one **of the subject's own trust domain** (JWT-SVID s5). What a header says beyond `alg`, `kid` and `typ` is refused,
and so is a token without an end or without us in its audience.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from hashlib import sha256

from chain.identity import jose
from chain.identity.fault import Fault, IdentityError
from chain.identity.material import Bundles, Source
from chain.identity.x509svid import fault_of
from chain.jcs import Json
from chain.peer import Workload
from chain.principal import parse_id
from chain.recent import Recent

REMEMBERED = 4096
"""Tokens that are remembered as verified, at most."""


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
    parts = jose.parts(token)
    algorithm, kid = _header(parts.header)
    name = parts.stated.sub
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
    jose.require_signed(parts.signed, jwk, algorithm, parts.signature)
    claims = parts.claims()  # no member of it is there twice, so that this is the subject that was asked about
    jose.require_audience(claims.get("aud"), audiences)
    return Workload(name, jose.end(claims, now))


class JwtVerifier:
    """Verifies tokens against what a source trusts now, and remembers those that it verified.

    A token is remembered by its digest and the version of the source's material: a key that left a bundle is asked
    again on the very next call.
    """

    def __init__(self, source: Source, audiences: Collection[str], clock: Callable[[], float]) -> None:
        """Verify against a source what is meant for `audiences`; `clock` gives seconds since the epoch."""
        self._source, self._audiences, self._clock = source, frozenset(audiences), clock
        self._known: Recent[bytes, tuple[int, Workload]] = Recent(REMEMBERED // 2)

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
        self._known.put(digest, (material.version, found))
        return found


def _header(header: dict[str, Json]) -> tuple[str, str]:
    """Return algorithm and key id (JWT-SVID s2)."""
    algorithm, kid = header.get("alg"), header.get("kid")
    if not header.keys() <= {"alg", "kid", "typ"}:
        raise IdentityError(Fault.JWT_HEADER_UNKNOWN)
    if not isinstance(algorithm, str) or algorithm not in jose.RSA_AND_EC:
        raise IdentityError(Fault.JWT_ALG)
    if header.get("typ", "JWT") not in ("JWT", "JOSE"):  # a tuple: what has no hash is refused, too
        raise IdentityError(Fault.JWT_TYP)
    if not isinstance(kid, str) or not kid:
        raise IdentityError(Fault.JWT_KID_MISSING)
    return algorithm, kid
