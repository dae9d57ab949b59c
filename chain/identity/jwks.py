"""The keys of an OpenID provider: read, and followed on a thread of their own.

The law of this file: whoever verifies never waits for a provider. What was read last stands while the provider is lost,
for a bounded time, and then nothing does. Strangers can make up key names as they like, so an unknown name makes us ask
again at most once in `PAUSE`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import NamedTuple, TypeAlias

from chain import jcs
from chain.errors import ChainError
from chain.identity.document import MAX_BYTES, Web, require_url
from chain.identity.fault import Fault, IdentityError
from chain.identity.files import content
from chain.identity.material import PublicJwk, Report, quiet

MAX_KEYS = 100
"""Keys of one set."""

PAUSE = 10.0
"""Seconds between two readings that unknown names cause."""

LEAST = 60.0
"""Seconds that a set is kept although its provider says it may be used for less."""

RETRIES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before the first and each further attempt to reach a lost provider; the last one stays."""

LOOK = 1.0
"""Seconds between two looks at a file."""

_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Members of private and symmetric keys (RFC 7518 s6); who publishes one has no key any more."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """The public keys of a provider.

    Attributes:
        named: `kid` -> the keys of that name.
        signing: all that are for signatures, whether they have a name or not.
    """

    named: Mapping[str, tuple[PublicJwk, ...]]
    signing: tuple[PublicJwk, ...]

    def find(self, kid: str | None) -> PublicJwk:
        """Return the key that a token names; the only one there is, where it names none (OpenID Connect Core s10.1).

        Raises:
            IdentityError: no such key, several, or one that is not for signatures.
        """
        if kid is None:
            if len(self.signing) != 1:
                raise IdentityError(Fault.JWT_KID_MISSING)
            return self.signing[0]
        found = self.named.get(kid, ())
        if not found:
            raise IdentityError(Fault.OIDC_KEY_UNKNOWN)
        if len(found) > 1:
            raise IdentityError(Fault.OIDC_KEY_AMBIGUOUS)
        if not _signs(found[0]):
            raise IdentityError(Fault.JWT_KEY_UNFIT)
        return found[0]


def parse(data: bytes) -> KeySet:
    """Return the keys of a JWK set (RFC 7517 s5), those of unknown types and uses among them: they fit no token.

    Raises:
        ValueError: it is no JWK set, or too long.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    held = jcs.loads(data)
    keys = held.get("keys") if isinstance(held, dict) else None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ValueError("no JWK set")
    if len(keys) > MAX_KEYS:
        raise ValueError(f"more than {MAX_KEYS} keys")
    named: dict[str, tuple[PublicJwk, ...]] = {}
    for key in keys:
        if isinstance(kid := key.get("kid"), str):
            named[kid] = (*named.get(kid, ()), key)
    return KeySet(named, tuple(key for key in keys if _signs(key)))


def _signs(key: PublicJwk) -> bool:
    operations = key.get("key_ops", ["verify"])
    public = _PRIVATE.isdisjoint(key)
    return public and key.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


class Reading(NamedTuple):
    """A set as it was read.

    Attributes:
        keys: the set.
        max_age: seconds after which to read it again, where its source says so.
    """

    keys: KeySet
    max_age: float | None = None


Read: TypeAlias = Callable[[], Reading]
"""Reads a set; raises `ValueError` or `ChainError` where that fails."""


def from_web(issuer: str, jwks_uri: str | None, web: Web) -> Read:
    """Return what reads the keys of a provider: at an address, or where its own description says.

    Args:
        issuer: URL that `require_url` accepted.
        jwks_uri: another that it accepted; None to ask the provider (OpenID Connect Discovery s4).
        web: fetches.
    """

    def read() -> Reading:
        found = web.get(jwks_uri or _discovered(issuer, web))
        return Reading(parse(found.body), found.max_age)

    return read


def from_file(file: Path) -> Read:
    """Return what reads a set from a file."""

    def read() -> Reading:
        return Reading(parse(content(file)))

    return read


def _discovered(issuer: str, web: Web) -> str:
    """Return where a provider says that its keys are, if it says that it is the provider we mean (s4.3)."""
    document = jcs.loads(web.get(issuer.removesuffix("/") + "/.well-known/openid-configuration").body)
    if not isinstance(document, dict) or document.get("issuer") != issuer:
        raise ValueError("the description found there is another issuer's")
    uri = document.get("jwks_uri")
    if not isinstance(uri, str):
        raise ValueError("its description names no keys")  # noqa: TRY004 - bad bytes, no bad call
    require_url(uri, plain=issuer.startswith("http:"))
    return uri


class Keys:
    """The keys of one provider as they are now. Usable from many threads."""

    def __init__(
        self,
        name: str,
        read: Read,
        *,
        every: float,
        stale: float,
        report: Report = quiet,
        steady: Callable[[], float] | None = None,
    ) -> None:
        """Begin to read; nothing is waited for.

        Args:
            name: of the provider, for operators.
            read: reads its set.
            every: seconds between two readings; its source may ask for less.
            stale: seconds that a set stands from the beginning of its reading.
            report: takes what operators should know, from another thread.
            steady: seconds that pass however the clock is set.
        """
        self._name, self._read, self._every, self._stale, self._report = name, read, every, stale, report
        self._steady = steady or _boottime
        self._wake = threading.Condition()
        self._held: tuple[KeySet, float] | None = None
        self._due, self._asked = -inf, -inf
        self._running: Future[None] | None = None
        self._next: Future[None] | None = _promise()
        self._failures, self._told = 0, ""
        self._closed = False
        threading.Thread(target=self._follow, name="oidc-keys", daemon=True).start()

    def current(self) -> KeySet | None:
        """Return the keys; None where they could not be read, or not for too long. Never waits."""
        held = self._held
        return None if held is None or self._steady() - held[1] > self._stale else held[0]

    def coming(self) -> Future[None] | None:
        """Ask for the keys to be read anew, because something was not among them.

        Returns:
            What is done once they were read; None where that was done just now.
        """
        with self._wake:
            if self._closed:
                return None
            if self._running is not None and self.current() is None:
                return self._running
            if self._next is None:
                now = self._steady()
                if now - self._asked < PAUSE:
                    return self._running
                self._asked, self._due, self._next = now, -inf, _promise()
                self._wake.notify()
            return self._next

    def close(self) -> None:
        """Read no more; a reading under way ends by itself."""
        with self._wake:
            self._closed = True
            if self._next is not None:
                self._next.set_result(None)
            self._wake.notify()

    def _follow(self) -> None:
        while True:
            with self._wake:
                while not self._closed and (rest := self._due - self._steady()) > 0:
                    self._wake.wait(rest)
                if self._closed:
                    return
                running = self._running = self._next or _promise()  # who asks from here on waits for the next one
                self._next = None
            began = self._steady()
            found = self._attempt()
            with self._wake:
                self._settle(found, began)
            running.set_result(None)

    def _attempt(self) -> Reading | None:
        try:
            found = self._read()
        except (ValueError, ChainError) as error:
            why = error.detail if isinstance(error, ChainError) else str(error)
            self._tell(f"keys of `{self._name}` cannot be read: {why}")
            return None
        except Exception as error:  # noqa: BLE001 - the thread must go on; what it holds may be the provider's own text
            self._tell(f"keys of `{self._name}` cannot be read: {type(error).__name__}")
            return None
        self._tell("")
        return found

    def _tell(self, said: str) -> None:
        """Tell operators once, until it changes."""
        if said != self._told and not self._closed:
            self._report(said or f"keys of `{self._name}` are read again")
        self._told = said

    def _settle(self, found: Reading | None, began: float) -> None:
        self._running = None
        if found is None:
            rest = min(self._every, RETRIES[min(self._failures, len(RETRIES) - 1)])
            self._failures += 1
        else:
            kept = self._held[0] if self._held is not None and self._held[0] == found.keys else found.keys
            self._held, self._failures = (kept, began), 0
            rest = self._every if found.max_age is None else min(self._every, max(LEAST, found.max_age))
        self._due = -inf if self._next is not None else self._steady() + rest


def _promise() -> Future[None]:
    """Return something to wait for that no one of those who wait can cancel for the others."""
    made: Future[None] = Future()
    made.set_running_or_notify_cancel()
    return made


def _boottime() -> float:
    """Return seconds that pass while the machine sleeps, too: a set that slept for a day is a day old."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
