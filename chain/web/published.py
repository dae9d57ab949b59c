"""What everybody may read: keys, metadata, the status list, and whether the server serves.

The law of this file: it publishes what is public already, and takes nothing in. However often strangers ask, nothing
is signed for them more than once in `FRESH` seconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from chain.errors import ChainError, NotFoundError, StoreError
from chain.statuslist import LIST_TYPE, TTL
from chain.web.reply import reply

JWKS_AGE = 300
"""Seconds for which a reader may keep the keys: a pending key has to be published for longer before it signs."""

FRESH = 5.0
"""Seconds between two lists at the least: a verifier keeps one for `TTL`, and a change tells nobody more by being
signed at once."""

KEY_SET = "application/jwk-set+json"
"""RFC 7517 s8.5.2."""


@dataclass(frozen=True, slots=True)
class Publishing:
    """What is published.

    Attributes:
        issuer: as tokens spell it; empty where nothing is issued here.
        jwks: returns the key set (RFC 7517), public halves only; None where there is no key.
        status_list: returns the list, signed; None where there is none.
        status_uri: what tokens call the list.
        revision: returns what changes whenever the list may.
    """

    issuer: str = ""
    jwks: Callable[[], Mapping[str, object]] | None = None
    status_list: Callable[[], str] | None = None
    status_uri: str | None = None
    revision: Callable[[], int] = lambda: 0


def fixed(document: Mapping[str, object]) -> Callable[[Request], Response]:
    """Return a page that does not change while the server runs."""
    body = msgspec.json.encode(document)
    return lambda _request: reply(200, body, cache=f"public, max-age={JWKS_AGE}")


def keys(jwks: Callable[[], Mapping[str, object]]) -> Callable[[Request], Response]:
    """Return the page of the keys, as they are at each request."""
    return lambda _request: reply(200, msgspec.json.encode(jwks()), KEY_SET, cache=f"public, max-age={JWKS_AGE}")


def health(serving: Callable[[], bool]) -> Callable[[Request], Response]:
    """Return the page for probes."""

    def answer(_request: Request) -> Response:
        up = serving()
        return reply(200 if up else 503, b"serving\n" if up else b"not serving\n", "text/plain; charset=utf-8")

    return answer


def missing(_request: Request) -> Response:
    """Answer where there is nothing to publish.

    Raises:
        NotFoundError: always.
    """
    raise NotFoundError("nothing is published here")


class Listing:
    """The status list: signed anew where something changed, or its time has come, and for all who ask together."""

    def __init__(
        self,
        make: Callable[[], str],
        revision: Callable[[], int],
        threads: Executor,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Publish what `make` signs, in a thread.

        Args:
            make: returns the list as it stands.
            revision: returns what changes whenever the list may.
            threads: where it is made.
            clock: seconds that pass.
        """
        self._make = make
        self._revision = revision
        self._threads = threads
        self._clock = clock
        self._making = asyncio.Lock()
        self._text, self._made, self._tried = "", -float(TTL), -FRESH
        self._at = -1

    async def answer(self, request: Request) -> Response:
        """Return the list.

        Raises:
            StoreError: it could not be made.
        """
        if "time" in request.query_params:  # a list of the past (draft s8.4)
            return reply(501)
        async with self._making:
            await self._renew()
        left = max(0, int(TTL - (self._clock() - self._made)))
        return reply(200, self._text.encode(), f"application/{LIST_TYPE}", cache=f"public, max-age={left}")

    async def _renew(self) -> None:
        now, revision = self._clock(), self._revision()
        aged = now - self._made >= TTL
        if not aged and revision == self._at:
            return
        if now - self._tried >= FRESH:
            self._tried = now
            try:
                self._text = await asyncio.get_running_loop().run_in_executor(self._threads, self._make)
            except StoreError:  # what was signed before holds for as long as it says
                if aged:
                    raise
            except ChainError:  # nothing signs any more, and what did may be distrusted
                self._made = -float(TTL)
                raise
            else:
                self._made, self._at = now, revision
        elif aged:
            raise StoreError("the status list could not be made a moment ago")
