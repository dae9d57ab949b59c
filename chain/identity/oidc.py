"""OIDC tokens of people: whom a bearer token names, if a provider that is configured here signed that for us.

The law of this file: nothing of a token is believed before its signature holds but whose keys to ask, and those are the
keys **of exactly that issuer**. A person is the pair of issuer and subject. A token that is no credential of a person
who is there (a security event, one bound to a key, one that somebody else acts with) names nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType

from chain.identity import jose
from chain.identity.fault import Fault, IdentityError
from chain.identity.jwks import Keys, KeySet
from chain.identity.material import PublicJwk
from chain.jcs import Json
from chain.peer import NotYetError, Person
from chain.principal import SCHEME
from chain.recent import Recent

REMEMBERED = 1024
"""Tokens that are remembered as verified, at most; each with its claims: up to 8 kB."""

MAX_SUBJECT = 255
"""Characters of a subject (OpenID Connect Core s2)."""

TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""Types of ID tokens and access tokens (RFC 7519 s5.1, RFC 9068 s2.1), in lower case as media types are compared."""

REFUSED = frozenset({"crit", "b64", "jku", "jwk", "x5u", "x5c", "zip", "cty", "enc", "nonce"})
"""Members of a header that name a key of the token's own, or change what is signed. All others are ignored: a header
that must be understood says so in `crit` (RFC 7515 s4.1.11)."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """A provider, and which of its tokens are taken.

    Attributes:
        name: `iss`, compared as it stands.
        audiences: what we are called there; a token is meant for one of them.
        parties: clients for which a token may have been made (`azp`, `client_id`); empty: any, where the token is meant
            for us alone, and else our audiences.
        algorithms: what it signs with.
    """

    name: str
    audiences: frozenset[str]
    parties: frozenset[str]
    algorithms: frozenset[str]


def verify(token: str, issuer: Issuer, keys: KeySet, now: float) -> Person:
    """Return the person whom a token names; no key of theirs is proven, whoever has the token may send it.

    Args:
        token: a JWS in compact form.
        issuer: whose it must be.
        keys: of that issuer.
        now: seconds since the epoch.

    Raises:
        IdentityError: it names nobody; says why.
    """
    parts = jose.parts(token)
    if _issuer(parts) != issuer.name:
        raise IdentityError(Fault.OIDC_ISSUER_UNKNOWN)
    algorithm, jwk = _key(parts.header, issuer, keys)
    jose.require_signed(parts.signed, jwk, algorithm, parts.signature)
    claims = parts.claims()  # no member of it is there twice, so that this is the issuer that was asked about
    _require_credential(claims)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or not _plain(subject):
        raise IdentityError(Fault.OIDC_SUBJECT)
    meant = jose.require_audience(claims.get("aud"), issuer.audiences)
    _require_party(claims, meant, issuer)
    if "iat" not in claims:
        raise IdentityError(Fault.OIDC_IAT_MISSING)
    return Person(issuer.name, subject, jose.end(claims, now), MappingProxyType(claims))


class People:
    """Verifies tokens against the keys that their issuers publish now, and remembers those that it verified.

    A token is remembered by its digest and the key set that it was verified with: once a key left the set, its tokens
    are refused.
    """

    def __init__(self, issuers: Iterable[tuple[Issuer, Keys]], clock: Callable[[], float]) -> None:
        """Take tokens of these issuers; `clock` gives seconds since the epoch. `close` closes their keys."""
        self._issuers = {issuer.name: (issuer, keys) for issuer, keys in issuers}
        self._clock = clock
        self._known: Recent[bytes, tuple[KeySet, Person]] = Recent(REMEMBERED // 2)

    def takes(self, token: str) -> bool:
        """Tell whether a token is for this verifier: of an issuer of ours, or of nobody's whom SPIFFE knows.

        What it tells is not verified, and chooses the verifier alone.
        """
        if self._known.get(_digest(token)) is not None:
            return True
        try:
            stated = jose.parts(token).stated
        except IdentityError:
            return False
        ours = isinstance(stated.iss, str) and stated.iss in self._issuers
        return ours or not (isinstance(stated.sub, str) and stated.sub.lower().startswith(SCHEME))

    def person(self, token: str) -> Person:
        """Return the person whom a token names.

        Raises:
            IdentityError: it names nobody, or nobody any more.
            NotYetError: the same as things stand, and its issuer's keys are being read anew.
        """
        digest = _digest(token)
        known = self._known.get(digest)
        name = _issuer(jose.parts(token)) if known is None else known[1].issuer
        if name not in self._issuers:
            raise IdentityError(Fault.OIDC_ISSUER_UNKNOWN)
        issuer, source = self._issuers[name]
        keys = source.current()
        if keys is None:
            raise _not_yet(Fault.OIDC_KEYS_UNAVAILABLE, source)
        if known is not None and known[0] is keys:
            if self._clock() >= known[1].until:
                raise IdentityError(Fault.JWT_EXPIRED)
            return known[1]
        try:
            found = verify(token, issuer, keys, self._clock())
        except IdentityError as error:
            if error.fault is Fault.OIDC_KEY_UNKNOWN:
                raise _not_yet(error.fault, source) from None
            raise
        self._known.put(digest, (keys, found))
        return found

    def close(self) -> None:
        """Read no keys any more."""
        for _, keys in self._issuers.values():
            keys.close()


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogatepass")).digest()


def _not_yet(fault: Fault, source: Keys) -> IdentityError | NotYetError:
    """Return the refusal, with something to wait for where the keys are going to be read anew."""
    refused, ready = IdentityError(fault), source.coming()
    return refused if ready is None else NotYetError(refused.detail, ready)


def _issuer(parts: jose.Parts) -> str:
    stated = parts.stated.iss
    if not isinstance(stated, str) or not stated:
        raise IdentityError(Fault.OIDC_ISSUER_MISSING)
    return stated


def _key(header: Mapping[str, Json], issuer: Issuer, keys: KeySet) -> tuple[str, PublicJwk]:
    """Return algorithm and key (RFC 8725 s3.1, s3.11)."""
    if not REFUSED.isdisjoint(header):
        raise IdentityError(Fault.OIDC_HEADER)
    kind, algorithm, kid = header.get("typ", "JWT"), header.get("alg"), header.get("kid")
    if not isinstance(kind, str) or kind.lower() not in TYPES:
        raise IdentityError(Fault.OIDC_TYP)
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
        raise IdentityError(Fault.OIDC_ALG)
    if "kid" in header and (not isinstance(kid, str) or not kid):
        raise IdentityError(Fault.JWT_KID_MISSING)
    return algorithm, keys.find(kid)


def _require_credential(claims: Mapping[str, Json]) -> None:
    """Return where a token is a credential of a person who is there themselves, and a bearer's."""
    for claim, fault in (("events", Fault.OIDC_EVENT), ("cnf", Fault.OIDC_BOUND), ("act", Fault.OIDC_ACTOR)):
        if claim in claims:  # RFC 8417 s2.2; RFC 7800 s3.1, RFC 9449 s7.2; RFC 8693 s4.1
            raise IdentityError(fault)


def _require_party(claims: Mapping[str, Json], meant: list[str], issuer: Issuer) -> None:
    """Return where a token was made for a client that may use it with us (OpenID Connect Core s3.1.3.7, 4 and 5).

    One that is meant for others too must say which of them had it made: any of them could send it to us.
    """
    stated = [claims[name] for name in ("azp", "client_id") if name in claims]  # RFC 9068 s2.2 has the latter
    if not issuer.parties and len(set(meant)) == 1:
        return
    if not stated:
        raise IdentityError(Fault.OIDC_PARTY_MISSING)
    allowed = issuer.parties or issuer.audiences
    if not all(isinstance(one, str) and one in allowed for one in stated):
        raise IdentityError(Fault.OIDC_PARTY_MISMATCH)


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable()
