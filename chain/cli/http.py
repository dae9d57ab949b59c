"""What a server serves beside gRPC, put together from its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import to_builtins

from chain.authority import Authority
from chain.caller import Caller, Role
from chain.errors import ConfigurationError
from chain.identity import keyring
from chain.key import PublicKey
from chain.service.beside import Beside, Porter
from chain.service.safety import require_pair, split_address
from chain.service.settings import ServeSettings

_PUBLISHER = Caller(name="publisher", roles=frozenset({Role.AUDITOR}))
"""Who asks for the status list that strangers are shown."""


def beside(settings: ServeSettings, held: Authority) -> Callable[[Porter], Beside] | None:
    """Return what makes the HTTP side of a server; None where none is configured.

    Raises:
        ConfigurationError: the extra is missing, or the settings name no certificate with its key.
    """
    if not settings.http_listen:
        return None
    try:
        from chain.web.published import Publishing  # noqa: PLC0415 - an extra
        from chain.web.server import WebServer  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError("`http_listen` needs the extra `web`: pip install 'chain-authz[web]'") from None
    pair = None
    if settings.tls_cert is not None and settings.tls_key is not None:
        pair = settings.tls_cert, settings.tls_key
        require_pair(*pair)
    jwks = _jwks(settings, held)
    publishing = Publishing(
        issuer=settings.issuer or "",
        jwks=jwks,
        status_list=None if settings.status_list is None or jwks is None else lambda: held.status_list(_PUBLISHER),
        status_uri=settings.status_list,
        revision=lambda: held.revision,
    )
    where = split_address(settings.http_listen, "http_listen")
    return lambda porter: WebServer(held, publishing, porter, where, pair)


def _jwks(settings: ServeSettings, held: Authority) -> Callable[[], Mapping[str, object]] | None:
    """Return what gives the issuer's keys: those of its ring, and every other that is accepted here for it."""
    issuer = settings.issuer
    if issuer is None:
        return None
    ring = [] if settings.key_ring is None else keyring.load(settings.key_ring).jwks()["keys"]

    def jwks() -> Mapping[str, object]:
        keys = {anchor.key for anchor in held.verifier.anchors if held.verifier.trusts(anchor.key, issuer)}
        found = {key.thumbprint: _member(key) for key in keys} | {str(key["kid"]): key for key in ring}
        return {"keys": [found[name] for name in sorted(found)]}

    return jwks


def _member(key: PublicKey) -> dict[str, object]:
    return {**to_builtins(key.jwk), "kid": key.thumbprint, "alg": key.alg, "use": "sig"}
