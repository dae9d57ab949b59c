"""What a decision reads beside the chain and the request: settings, and the live facts.

The law of this file: `check` reads and never changes. What a decision uses up it names (`Nonce`), and the commit that
makes it stand takes it.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from chain.catalog import Catalogue
from chain.containment import Profile
from chain.grant import LABELS
from chain.principal import Principal

MAX_SKEW = 30
"""Seconds a token may be dated into the future (AAT-01 s4.4, MAX_IAT_SKEW)."""

MAX_LIFETIME = 90 * 24 * 3600
"""Seconds a token may live, whatever the configuration says (AAT-01 s4.4, MAX_TOKEN_LIFETIME)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a deployment decides for every call.

    Attributes:
        profile: how much of our own a proof must carry.
        labels: data labels from lowest to highest.
        max_lifetime: seconds any token may live; at most `MAX_LIFETIME`.
        require_enrolment: whether every holder of a chain that writes or acts must be enrolled. Off only where
            there is no registry to ask: offline.
    """

    profile: Profile = Profile.SOUND
    labels: tuple[str, ...] = LABELS
    max_lifetime: int = MAX_LIFETIME
    require_enrolment: bool = True


class State(Protocol):
    """The live facts that a decision reads. Reading is all that it does."""

    @property
    def settings(self) -> Settings:
        """What the deployment decided."""
        ...

    @property
    def catalogue(self) -> Catalogue:
        """What each tool is."""
        ...

    @property
    def revoked(self) -> AbstractSet[bytes]:
        """Digests of delegations that were revoked."""
        ...

    def seen(self, digest: bytes, nonce: str) -> bool:
        """Tell whether a proof or request id was used under this leaf before."""
        ...

    def principal(self, thumbprint: str) -> Principal | None:
        """Return who enrolled this key, if anybody did."""
        ...


class Nonce(NamedTuple):
    """A single-use value that this decision uses up, whatever its effect.

    Attributes:
        digest: the leaf's.
        value: the proof's jti, or the request id.
        expires: seconds; after that it could not be used again anyway.
    """

    digest: bytes
    value: str
    expires: int
