"""Who is calling: bearer secrets, known by their SHA-256 only, and tokens that somebody else verifies.

The law of this file: a secret is never kept, logged or compared as text. Every known fingerprint is compared in
constant time on every call, so that time tells nothing about which one came close. A secret is long enough that its
plain hash cannot be searched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest

from chain.caller import Caller
from chain.errors import UnauthenticatedError

MIN_SECRET = 32
"""Characters of a secret: with the alphabet of base64url, 192 bits."""

SCHEME = "Bearer "
"""RFC 6750 s2.1."""


SIGNED = 2
"""Dots of a token in compact form (RFC 7515 s3.1); a secret of ours has none."""


def fingerprint(secret: str) -> str:
    """Return what a configuration holds of a secret: its SHA-256, hexadecimal."""
    return sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller, and how long its credential speaks for it.

    Attributes:
        caller: what it may do.
        until: seconds since the epoch when the credential ends; None for one that does not.
        again: raises where the credential is no good any more, for one that may fall before its end.
    """

    caller: Caller
    until: float | None = None
    again: Callable[[], None] | None = None

    def require_valid(self, now: float) -> None:
        """Return while the credential is valid.

        Raises:
            UnauthenticatedError: it ended, or fell.
        """
        if self.again is not None:
            self.again()
        if self.until is not None and now >= self.until:
            raise UnauthenticatedError("the credential has ended")


@dataclass(frozen=True, slots=True)
class Credential:
    """One secret of one caller.

    Attributes:
        digest: SHA-256 of the secret.
        identity: whom it speaks for.
    """

    digest: bytes
    identity: Identity


class Credentials:
    """The bearer secrets that a server knows."""

    def __init__(
        self, known: Iterable[Credential], clock: Callable[[], float], tokens: Callable[[str], Identity] | None = None
    ) -> None:
        """Take over what is configured.

        Args:
            known: secrets.
            clock: seconds since the epoch.
            tokens: says whom a signed token speaks for, or raises `UnauthenticatedError`; None takes none.
        """
        self._known = tuple(known)
        self._clock = clock
        self._tokens = tokens

    def identify(self, metadata: Mapping[str, str | bytes], _context: object = None) -> Identity:
        """Return whom a call's `authorization` metadata speaks for.

        Raises:
            UnauthenticatedError: nobody who is known, or not any more.
        """
        authorization = metadata.get("authorization")
        if not isinstance(authorization, str) or not authorization.startswith(SCHEME):
            raise UnauthenticatedError("no bearer credential")
        secret = authorization[len(SCHEME) :]
        presented = sha256(secret.encode("utf-8", "surrogatepass")).digest()
        found: Identity | None = None
        for known in self._known:
            if compare_digest(known.digest, presented):
                found = known.identity
        if found is None and self._tokens is not None and secret.count(".") == SIGNED:
            return self._tokens(secret)
        if found is None or len(secret) < MIN_SECRET:
            raise UnauthenticatedError("the bearer credential is not known")
        found.require_valid(self._clock())
        return found
