"""What a server serves beside gRPC, put together from its settings."""

from __future__ import annotations

from collections.abc import Callable

from chain.authority import Authority
from chain.caller import Caller, Role
from chain.errors import ConfigurationError
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
    listed = settings.issuer is not None and settings.status_list is not None
    publishing = Publishing(
        issuer=settings.issuer or "",
        jwks=None if settings.issuer is None else held.keys.jwks,
        status_list=(lambda: held.status_list(_PUBLISHER)) if listed else None,
        status_uri=settings.status_list,
        revision=lambda: held.revision,
    )
    where = split_address(settings.http_listen, "http_listen")
    return lambda porter: WebServer(held, publishing, porter, where, pair)
