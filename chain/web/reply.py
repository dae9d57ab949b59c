"""Answers, and the one table from errors to HTTP statuses.

The law of this file: no answer leaves without the strict headers, and nothing of an error but its code does: what is
wrong with the form of a request is told, because it is the caller's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from starlette.responses import Response

from chain.errors import (
    ChainError,
    CursorError,
    ForbiddenError,
    InvalidRequestError,
    KeyRingError,
    NotFoundError,
    ResourceExhaustedError,
    SignerError,
    StoreError,
    UnauthenticatedError,
    UnreachableError,
)

STRICT = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
"""On every answer. There is no `Access-Control-Allow-Origin`: scripts of other origins read nothing here."""

JSON = "application/json"

NEVER = "no-store"
"""What may be kept of an answer to a caller, and of an error: nothing."""


class BodyError(InvalidRequestError):
    """What was sent is too large, too slow or of another kind.

    Attributes:
        status: HTTP's word for it.
    """

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        super().__init__(detail)


class Answer(NamedTuple):
    """How an error is answered.

    Attributes:
        status: of HTTP.
        error: OAuth's code for it (RFC 6749 s5.2, RFC 6750 s3.1); empty for none.
        headers: beside the strict ones.
    """

    status: int
    error: str
    headers: Mapping[str, str] = {}


ANSWERS: tuple[tuple[type[ChainError], Answer], ...] = (
    (InvalidRequestError, Answer(400, "invalid_request")),
    (UnauthenticatedError, Answer(401, "invalid_token", {"WWW-Authenticate": 'Bearer error="invalid_token"'})),
    (ForbiddenError, Answer(403, "insufficient_scope", {"WWW-Authenticate": 'Bearer error="insufficient_scope"'})),
    (NotFoundError, Answer(404, "")),
    (CursorError, Answer(409, "cursor_invalid")),
    (ResourceExhaustedError, Answer(429, "temporarily_unavailable", {"Retry-After": "1"})),
    (KeyRingError, Answer(503, "temporarily_unavailable", {"Retry-After": "5"})),
    (StoreError, Answer(503, "temporarily_unavailable", {"Retry-After": "5"})),
    (SignerError, Answer(503, "temporarily_unavailable", {"Retry-After": "5"})),
    (UnreachableError, Answer(503, "temporarily_unavailable", {"Retry-After": "5"})),
    (ChainError, Answer(500, "server_error")),
)
"""The first class that fits says how. What no row fits is a `ChainError`, and says nothing else."""

NOBODY = Answer(401, "", {"WWW-Authenticate": "Bearer"})
"""Without a credential there is no code (RFC 6750 s3.1)."""


def reply(
    status: int, body: bytes = b"", media: str = JSON, *, cache: str = NEVER, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an answer."""
    kind = {"Content-Type": media} if body else {}
    return Response(body, status, {**STRICT, "Cache-Control": cache, **kind, **(headers or {})})


def answer_of(error: ChainError) -> Answer:
    """Return how an error is answered."""
    return next(answer for kind, answer in ANSWERS if isinstance(error, kind))


def refuse(error: ChainError, *, shown: bool = True) -> Response:
    """Return the answer of an error, after which the connection ends: what else was sent on it is not read.

    Args:
        error: why.
        shown: whether a credential was shown at all.
    """
    answer = answer_of(error)
    if isinstance(error, UnauthenticatedError) and not shown:
        answer = NOBODY
    body: dict[str, str] = {"error": answer.error} if answer.error else {}
    if isinstance(error, InvalidRequestError | CursorError):
        body["error_description"] = error.detail
    status = error.status if isinstance(error, BodyError) else answer.status
    encoded = msgspec.json.encode(body) if body else b""
    return reply(status, encoded, headers={**answer.headers, "Connection": "close"})
