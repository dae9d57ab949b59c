"""Authorization server metadata (RFC 8414), and where everything lies.

The law of this file: what is not served is not named. An issuer that is no https URL has no metadata, because nobody
could know that it is the issuer's; loopback is let be plain, for development.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from chain.claims import EXTENDED, PLAIN
from chain.loopback import is_loopback

WELL_KNOWN = "/.well-known/oauth-authorization-server"
JWKS = "/.well-known/jwks.json"
INTROSPECT = "/introspect"
REVOKE = "/revoke"
STATUS_LIST = "/status-list"
HEALTH = "/healthz"

_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
"""Of an issuer or a status list: what means the same to everybody, escaped and not."""

_PORTS = {"http": 80, "https": 443}


class Base(NamedTuple):
    """What an issuer's URL says of where its pages lie.

    Attributes:
        url: the issuer, without the `/` at its end.
        path: of it; empty where it has none.
        fault: why it has no metadata; empty where nothing speaks against it.
    """

    url: str
    path: str
    fault: str = ""


def base_of(issuer: str) -> Base:
    """Return where an issuer's pages lie (RFC 8414 s2, s3.1)."""
    fault = "the issuer is not an https URL (or one of loopback) without query, fragment and escapes"
    url = _split(issuer)
    if url is None or url.query or url.fragment or "?" in issuer or "#" in issuer:
        return Base("", "", fault)
    path = url.path.rstrip("/")
    if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
        return Base("", "", fault)
    return Base(issuer.rstrip("/"), path)


def list_path(base: Base, uri: str | None) -> str:
    """Return where the status list lies: at its own path where its URI is of the issuer's origin."""
    own = f"{base.path}{STATUS_LIST}"
    ours, url = _split(base.url), None if uri is None else _split(uri)
    if ours is None or url is None or _origin(ours) != _origin(url) or url.query or not url.path:
        return own
    return url.path if _PATH.fullmatch(url.path) else own


def metadata(issuer: str, base: Base, *, issues: bool) -> dict[str, object]:
    """Return the document.

    No grant is served over HTTP, which is said: without these two members a reader would have to believe in the code
    grant (RFC 8414 s2), although s3.2 would leave empty lists out.

    Args:
        issuer: as tokens spell it.
        base: where its pages lie.
        issues: whether roots are made here (over gRPC).
    """
    return {
        "issuer": issuer,
        "jwks_uri": f"{base.url}{JWKS}",
        "response_types_supported": [],
        "grant_types_supported": [],
        "introspection_endpoint": f"{base.url}{INTROSPECT}",
        "introspection_endpoint_auth_methods_supported": ["Bearer"],
        "revocation_endpoint": f"{base.url}{REVOKE}",
        "revocation_endpoint_auth_methods_supported": ["Bearer"],
        "authorization_details_types_supported": [PLAIN, EXTENDED],
        "aat_issuer": issues,
    }


def _split(text: str) -> SplitResult | None:
    """Take an https URL apart, or one of loopback; None for any other."""
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        return None
    if not host or "@" in url.netloc or not text.isascii() or not text.isprintable() or " " in text:
        return None
    return url if url.scheme == "https" or (url.scheme == "http" and is_loopback(host)) else None


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or _PORTS.get(url.scheme)
