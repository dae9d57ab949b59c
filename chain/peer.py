"""Whom a credential speaks for, before anybody says what that one may do.

The law of this file: authenticated facts only. A role never comes from here, and a fact that the transport did not
prove is absent: a bearer token names a workload and proves no key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


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
