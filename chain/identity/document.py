"""Documents from the web: a few kilobytes of JSON, from a server that the configuration names.

The law of this file: HTTPS, or plain HTTP to this very machine; no redirect is followed, whatever it points to; what is
too long or takes too long is not read to its end. What a server says of itself never reaches a log.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from time import monotonic
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    getproxies,
)

from chain.errors import ConfigurationError, UnreachableError
from chain.loopback import is_loopback

MAX_BYTES = 256 * 1024
"""Of one document: a set of twenty RSA keys with their certificates has about 60 kB."""

STEP = 5.0
"""Seconds that a server may be silent."""

DEADLINE = 10.0
"""Seconds until a body that still comes is given up."""

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=([0-9]{1,9})(?:$|[\s,])", re.IGNORECASE)


class Document(NamedTuple):
    """What a server answered.

    Attributes:
        body: the bytes.
        max_age: seconds that it may be used, where the server says so (RFC 9111 s5.2.2.1).
    """

    body: bytes
    max_age: float | None


def require_url(url: str, *, plain: bool) -> None:
    """Return where a document may be fetched from an address.

    Args:
        url: the address.
        plain: whether HTTP without TLS will do, to this machine.

    Raises:
        ValueError: another scheme, no host, or user, query or fragment in it.
    """
    try:
        found = urlsplit(url)
        host, _ = found.hostname, found.port
    except ValueError:
        raise ValueError("no URL") from None
    if not host or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("no URL")
    if "@" in found.netloc or "?" in url or "#" in url:
        raise ValueError("a URL with a user, a query or a fragment")
    if found.scheme != "https" and not (plain and found.scheme == "http" and is_loopback(host)):
        raise ValueError("a URL that is not https; plain http is for this machine alone")


class Web:
    """Fetches documents, one at a time."""

    def __init__(self, ca: Path | None = None, clock: Callable[[], float] = monotonic) -> None:
        """Trust the authorities of a PEM file, or the system's; `clock` gives seconds that pass.

        Raises:
            ConfigurationError: the file holds no certificates.
        """
        try:
            context = ssl.create_default_context(cafile=None if ca is None else str(ca))
        except (ssl.SSLError, OSError):
            raise ConfigurationError(f"`{ca}` holds no certificates of authorities") from None
        self._clock = clock
        self._opener = OpenerDirector()  # not `build_opener`: that follows redirects, and opens files
        handlers = (
            ProxyHandler({kind: proxy for kind, proxy in getproxies().items() if kind == "https"}),
            HTTPHandler(),
            HTTPSHandler(context=context),
            HTTPDefaultErrorHandler(),
            HTTPErrorProcessor(),
        )
        for handler in handlers:
            self._opener.add_handler(handler)

    def get(self, url: str) -> Document:
        """Return the document at an address that `require_url` accepted.

        Raises:
            UnreachableError: nobody answered in time, or with something else than the document.
        """
        end = self._clock() + DEADLINE
        try:
            with self._opener.open(Request(url, headers={"Accept": "application/json"}), timeout=STEP) as answer:  # noqa: S310 - see `require_url`
                if answer.status != 200:
                    raise UnreachableError(f"it answered {answer.status}")
                said = _MAX_AGE.search(answer.headers.get("Cache-Control", ""))
                body = self._body(answer.read1, end)
                if answer.length:  # what is left of what it announced; `read1` does not mind
                    raise UnreachableError("it broke off")
                return Document(body, None if said is None else float(said[1]))
        except HTTPError as error:
            with error:
                raise UnreachableError(f"it answered {error.code}") from None
        except (OSError, HTTPException, ValueError) as error:
            cause = getattr(error, "reason", error)
            raise UnreachableError(f"it did not answer ({type(cause).__name__})") from None

    def _body(self, read: Callable[[int], bytes], end: float) -> bytes:
        found = bytearray()
        while more := read(65536):
            found += more
            if len(found) > MAX_BYTES:
                raise UnreachableError(f"it answered more than {MAX_BYTES} bytes")
            if self._clock() > end:
                raise UnreachableError(f"it took more than {DEADLINE:.0f} seconds")
        return bytes(found)
