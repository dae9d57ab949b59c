"""The bundle of a trust domain, read: SPIFFE's JSON, or the certificates of its authorities in PEM.

The law of this file: a bundle is whole or it is refused. A key whose use is not known is ignored (Trust Domain and
Bundle s4.2.2); one that says a use and does not fit it spoils the bundle. No keys at all means: trust nobody (s4.1.3).
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable

import msgspec
from cryptography import x509

from chain import jcs
from chain.identity.material import PublicJwk, TrustBundle
from chain.identity.own import MAX_MATERIAL
from chain.identity.x509svid import require_authority
from chain.jcs import Json
from chain.key import refuse_private
from chain.principal import is_trust_domain


def read(trust_domain: str, data: bytes) -> TrustBundle:
    """Return the bundle that a file holds.

    Args:
        trust_domain: whose it is; nothing in the bundle says so.
        data: JSON if its first sign is a brace, else PEM.

    Raises:
        ValueError: it is neither, or holds something that does not belong there.
    """
    if not is_trust_domain(trust_domain):
        raise ValueError(f"`{trust_domain}` is no trust domain")
    if len(data) > MAX_MATERIAL:
        raise ValueError(f"more than {MAX_MATERIAL} bytes")
    if data.lstrip()[:1] == b"{":
        return _from_json(trust_domain, data)
    try:
        found = x509.load_pem_x509_certificates(data)
    except (ValueError, x509.InvalidVersion):
        raise ValueError("neither a SPIFFE bundle nor certificates in PEM") from None
    return TrustBundle(trust_domain, authorities(trust_domain, found))


def authorities(trust_domain: str, found: Iterable[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a bundle, each of which may be an authority of its trust domain.

    Raises:
        ValueError: one may not.
    """
    held = tuple(found)
    for one in held:
        require_authority(one, trust_domain)
    return held


def jwt_keys(data: bytes) -> dict[str, PublicJwk]:
    """Return the keys of a JWT bundle as the Workload API sends it (s6.2.2): a JWK set, every key of it.

    Raises:
        ValueError: it is none, or a key of it has no `kid` of its own.
    """
    if len(data) > MAX_MATERIAL:
        raise ValueError(f"more than {MAX_MATERIAL} bytes")
    return _named(_listed(jcs.loads(data)))


def _from_json(trust_domain: str, data: bytes) -> TrustBundle:
    held = jcs.loads(data)
    listed = _listed(held)
    numbers = {name: held.get(name) for name in ("spiffe_sequence", "spiffe_refresh_hint")}
    for name, value in numbers.items():
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
            raise ValueError(f"`{name}` is no whole number")
    return TrustBundle(
        trust_domain,
        authorities(trust_domain, (_authority(key) for key in listed if key.get("use") == "x509-svid")),
        _named([key for key in listed if key.get("use") == "jwt-svid"]),
        numbers["spiffe_sequence"],
        numbers["spiffe_refresh_hint"],
    )


def _listed(held: Json) -> list[dict[str, Json]]:
    listed = held.get("keys") if isinstance(held, dict) else None
    if not isinstance(listed, list):
        raise ValueError("a bundle has a list of `keys`")  # noqa: TRY004 - bad bytes, no bad call
    found = [key for key in listed if isinstance(key, dict)]
    if len(found) < len(listed):
        raise ValueError("a key of a bundle is a JWK")
    return found


def _authority(key: dict[str, Json]) -> x509.Certificate:
    """Return the certificate of an `x509-svid` entry: `x5c` holds exactly one (X509-SVID s6.1)."""
    chain = key.get("x5c")
    if not isinstance(chain, list) or len(chain) != 1 or not isinstance(chain[0], str):
        raise ValueError("an `x509-svid` key has one certificate in `x5c`")
    try:
        return x509.load_der_x509_certificate(b64decode(chain[0], validate=True))
    except (ValueError, x509.InvalidVersion):  # `binascii.Error` is the former
        raise ValueError("a certificate in `x5c` cannot be read") from None


def _named(keys: list[dict[str, Json]]) -> dict[str, PublicJwk]:
    found: dict[str, PublicJwk] = {}
    for key in keys:
        kid = key.get("kid")
        if not isinstance(kid, str) or not kid or kid in found:
            raise ValueError("each key for JWT-SVIDs has a `kid` of its own")
        refuse_private(msgspec.json.encode(key))
        found[kid] = key
    return found
