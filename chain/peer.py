"""Whom a credential speaks for, before anybody says what that one may do.

The law of this file: authenticated facts only. A role never comes from here, and a fact that the transport did not
prove is absent: a bearer token names a workload and proves no key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    """A person who was authenticated by an OpenID provider.

    Attributes:
        issuer: `iss` of the token.
        subject: `sub`: unique within the issuer, never reused (OpenID Connect Core s2).
        until: seconds since the epoch when the credential ends.
        claims: all of the token's.
    """

    issuer: str
    subject: str
    until: float
    claims: Mapping[str, Json] = field(default_factory=dict, repr=False)
