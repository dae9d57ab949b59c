"""The form that a POST carries (RFC 6749 appendix B).

The law of this file: everything is read from the body, within its bounds, and nothing twice: a parameter that stands
twice means one thing here and another elsewhere.
"""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from chain.errors import InvalidRequestError
from chain.web.reply import BodyError

MAX_BODY = 64 * 1024
"""Bytes of a body; a token is no longer (`chain.token.MAX_TOKEN`), and a leaf's is some hundred."""

MAX_FIELDS = 16
"""Parameters of a form; unknown ones are passed over (RFC 6749 s3.2), and nobody has that many."""

PATIENCE = 10.0
"""Seconds that a body may take."""

FORM = "application/x-www-form-urlencoded"


async def form(request: Request) -> dict[str, str]:
    """Return the parameters of a request; one without a value counts as left out (RFC 6749 s3.1).

    Raises:
        InvalidRequestError: no form, or a parameter that stands twice.
        BodyError: too large, too slow or of another kind.
    """
    if request.scope["query_string"]:
        raise InvalidRequestError("parameters stand in the body, never in the URL, which others log")
    kind, _, charset = request.headers.get("content-type", "").partition(";")
    plain = charset.strip().lower() in ("", "charset=utf-8")
    if kind.strip().lower() != FORM or not plain or "content-encoding" in request.headers:
        raise BodyError(415, f"the body is `{FORM}`, and nothing else")
    body = await _body(request)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise InvalidRequestError(f"the body is no form of at most {MAX_FIELDS} parameters") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise InvalidRequestError("a parameter stands twice")
    return {name: value for name, value in fields.items() if value}


async def _body(request: Request) -> bytes:
    declared = request.headers.get("content-length", "0")
    too_large = BodyError(413, f"the body is longer than {MAX_BODY} bytes")
    if int(declared) > MAX_BODY:  # the server let nothing but digits through
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            async for part in request.stream():
                body += part
                if len(body) > MAX_BODY:
                    raise too_large
    except TimeoutError:
        raise BodyError(408, f"the body did not come within {PATIENCE:g} s") from None
    except ClientDisconnect:
        raise BodyError(400, "the body was cut off") from None
    return bytes(body)
