"""What identities are made of: SVIDs, the bundles of trust domains, and where both come from.

The law of this file: values only. A private key stands in no text form; bundles are looked up by the trust domain of
the id that is verified, never as one union (X509-SVID s5, Trust-Domain-and-Bundle s4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

PublicJwk: TypeAlias = Mapping[str, Any]
"""A public JWK as it stands in a bundle: RSA, EC or OKP."""


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """What one trust domain's identities are verified against.

    Attributes:
        trust_domain: its name.
        authorities: X.509 certificates of its authorities; empty where no X.509-SVID of it is trusted.
        jwt_keys: `kid` -> public JWK, for JWT-SVIDs; empty where none is trusted.
        sequence: `spiffe_sequence`, where it is stated; a later bundle has a higher one.
        refresh_hint: seconds after which to look for a later one, where it is stated.
    """

    trust_domain: str
    authorities: tuple[x509.Certificate, ...] = ()
    jwt_keys: Mapping[str, PublicJwk] = field(default_factory=dict)
    sequence: int | None = None
    refresh_hint: int | None = None

    @property
    def pem(self) -> bytes:
        """The certificates of the authorities, PEM; empty where there is none."""
        return b"".join(authority.public_bytes(Encoding.PEM) for authority in self.authorities)


Bundles: TypeAlias = Mapping[str, TrustBundle]
"""Trust domain -> its bundle. A domain that is not there is not trusted."""


@dataclass(frozen=True, slots=True)
class Svid:
    """An X.509-SVID of one's own, with its private key.

    Attributes:
        id: the SPIFFE id.
        chain: PEM, the leaf first, then its intermediates.
        key: PEM, the private key (PKCS#8, not encrypted).
        expires: seconds since the epoch when the leaf ends.
    """

    id: str
    chain: bytes
    key: bytes = field(repr=False)
    expires: float


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that a source holds at one moment.

    Attributes:
        svid: one's own; None for a source that only knows whom to trust.
        bundles: of the own trust domain and of those that it federates with.
        version: grows with every change, so that who keeps something made of it knows when to make it anew.
    """

    svid: Svid | None
    bundles: Bundles
    version: int


class Source(Protocol):
    """Where identities come from: files, or the SPIFFE Workload API. Usable from many threads."""

    def current(self) -> Material:
        """Return what is valid now. Never blocks on a network; what a source loses, it keeps until that expires."""
        ...

    def close(self) -> None:
        """Follow no further updates."""
        ...


Report: TypeAlias = Callable[[str], None]
"""Takes a sentence for operators: an update that was refused, an agent that was lost. It holds no secret."""


def quiet(_said: str) -> None:
    """Take a sentence, and keep it to oneself."""
