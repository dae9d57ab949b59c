"""Whom a credential speaks for, before anybody says what that one may do.

The law of this file: authenticated facts only. A role never comes from here, and a fact that the transport did not
prove is absent: a bearer token names a workload and proves no key.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from chain.errors import UnauthenticatedError
from chain.jcs import Json


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload that was authenticated by an SVID.

    Attributes:
        id: its SPIFFE id.
        until: seconds since the epoch when the credential ends.
        key: thumbprint of the key that the channel proved (RFC 7638); None for a JWT-SVID, and for a key of a type
            that no token may name.
        certificate: base64url SHA-256 of the certificate that the channel proved (RFC 8705 s3.1); None for a JWT-SVID.
    """

    id: str
    until: float
    key: str | None = None
    certificate: str | None = None

    @property
    def proven(self) -> bool:
        """Whether the channel itself proves the workload, and not a token that whoever has it may send."""
        return self.certificate is not None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom an OpenID provider authenticated: the pair of issuer and subject, and never one of them alone.

    Attributes:
        issuer: `iss`, as it is configured.
        subject: `sub`; only this issuer says who that is (OpenID Connect Core s5.7).
        until: seconds since the epoch when the token ends.
        claims: everything that the issuer signed; who they are let stand for is configuration.
    """

    issuer: str
    subject: str
    until: float
    claims: Mapping[str, Json] = field(repr=False)

    @property
    def name(self) -> str:
        """What the ledger calls them; an issuer has no `#`, so that it reads one way only."""
        return f"{self.issuer}#{self.subject}"


class NotYetError(UnauthenticatedError):
    """A credential that may be good, by something that is being looked for.

    Attributes:
        ready: done once it was looked for, with or without success; ask again then.
    """

    def __init__(self, detail: str, ready: Future[None]) -> None:
        super().__init__(detail)
        self.ready = ready


class Tls(NamedTuple):
    """What a listener shows, and whom it lets shake hands; who a peer is, is asked of the channel.

    Attributes:
        key: PEM, the private key.
        chain: PEM, the server's own certificates, the leaf first.
        roots: PEM, every authority of every trust domain.
        version: another one where any of them changed.
    """

    key: bytes
    chain: bytes
    roots: bytes
    version: int

    def __repr__(self) -> str:
        return f"Tls(version={self.version})"
