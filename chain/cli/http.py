"""What a server serves beside gRPC, put together from its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chain.authority import Authority
from chain.caller import Caller, Role
from chain.errors import ConfigurationError
from chain.graph import review
from chain.graph.forest import Forest
from chain.report import Origin, data, live_page, live_policy, reviewed
from chain.service.beside import Beside, Porter
from chain.service.safety import require_pair, split_address
from chain.service.settings import ServeSettings
from chain.window import Window

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
        from chain.web.screen import Screen  # noqa: PLC0415 - an extra
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
    screen = (
        Screen(live_page(), f"{live_policy()}; frame-ancestors 'none'", _telling(settings)) if settings.ui else None
    )
    return lambda porter: WebServer(held, publishing, porter, where, pair, screen)


def _telling(settings: ServeSettings) -> Callable[[Window, float], dict[str, Any]]:
    """Return what tells the live page of a window of the record."""
    target = settings.listen or settings.mtls_listen or "TARGET"

    def telling(window: Window, now: float) -> dict[str, Any]:
        origin = Origin(f"authority {settings.audience}", ("--server", target), live=True, made=now)
        told = data(window, now, origin, gone=window.gone)
        if window.gone.allowed:  # a review would find unused what was used before
            return told
        return reviewed(told, review.review(Forest(window, now)))

    return telling
