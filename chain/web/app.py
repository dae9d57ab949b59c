"""The application: one table of routes.

The law of this file: what is not in the table is not served. A route names the RPC whose roles may ask, or is for
everybody and takes nothing in.
"""

from __future__ import annotations

from typing import NamedTuple, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chain.errors import ConfigurationError
from chain.web import metadata, published
from chain.web.guard import Doorman, Endpoint, Guard, Page
from chain.web.metrics import ASKS, METRICS, Metrics
from chain.web.published import Listing, Publishing
from chain.web.reply import reply
from chain.web.screen import DATA, EVENTS, OVERSEES, PAGE, PROVES, RECORD, Live
from chain.web.tokens import Tokens


class Row(NamedTuple):
    """One route.

    Attributes:
        path: where it lies.
        verb: GET (and with it HEAD) or POST.
        asks: the RPC whose roles may (`chain.caller.ALLOWED`); empty for everybody.
        endpoint: answers.
    """

    path: str
    verb: str
    asks: str
    endpoint: Endpoint


def table(
    publishing: Publishing, tokens: Tokens, metrics: Metrics, doorman: Doorman, live: Live | None = None
) -> list[Row]:
    """Return the routes; without a live page there is none.

    Raises:
        ConfigurationError: two of them lie at one path.
    """
    guard, base = Guard(doorman), metadata.base_of(publishing.issuer)
    issues = publishing.jwks is not None
    if publishing.issuer and base.fault:
        doorman.warn("metadata is not published", base.fault)
    pages: list[tuple[str, Page]] = [
        (metadata.HEALTH, published.health(lambda: doorman.serving)),
        (base.path + metadata.JWKS, published.missing if publishing.jwks is None else published.keys(publishing.jwks)),
        (
            metadata.WELL_KNOWN + base.path,
            published.missing
            if base.fault
            else published.fixed(metadata.metadata(publishing.issuer, base, issues=issues)),
        ),
        (
            metadata.list_path(base, publishing.status_uri),
            published.missing
            if publishing.status_list is None
            else Listing(publishing.status_list, publishing.revision, tokens.threads).answer,
        ),
    ]
    rows = [Row(path, "GET", "", guard.open(f"GET {path}", page)) for path, page in pages]
    for path, asks, work in (
        (base.path + metadata.INTROSPECT, "GetDelegation", tokens.introspect),
        (base.path + metadata.REVOKE, "Revoke", tokens.revoke),
    ):
        rows.append(Row(path, "POST", asks, guard.asked(f"POST {path}", asks, work)))
    rows.append(Row(METRICS, "GET", ASKS, guard.read(f"GET {METRICS}", ASKS, metrics.answer)))
    if live is not None:
        rows += [
            Row(PAGE, "GET", "", guard.open(f"GET {PAGE}", live.page)),
            Row(DATA, "GET", OVERSEES, guard.read(f"GET {DATA}", OVERSEES, live.data)),
            Row(RECORD, "GET", PROVES, guard.read(f"GET {RECORD}", PROVES, live.record)),
            Row(EVENTS, "GET", OVERSEES, guard.stay(f"GET {EVENTS}", OVERSEES, live.events.stay)),
        ]
    taken = [row.path for row in rows]
    twice = sorted({path for path in taken if taken.count(path) > 1})
    if twice:
        raise ConfigurationError(f"two pages would lie at `{twice[0]}`: the issuer's and the status list's URI collide")
    return rows


def application(rows: list[Row]) -> Starlette:
    """Return the application of a table."""
    app = Starlette(
        routes=[Route(row.path, row.endpoint, methods=[row.verb]) for row in rows],
        exception_handlers={HTTPException: _elsewhere},
    )
    app.router.redirect_slashes = False
    return app


def _elsewhere(_request: Request, error: Exception) -> Response:
    """Answer what no route takes, or not by that method."""
    said = cast("HTTPException", error)  # it is registered for these alone
    return reply(said.status_code, headers={**(said.headers or {}), "Connection": "close"})
