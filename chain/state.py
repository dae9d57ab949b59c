"""What a decision reads beside the chain and the request: settings, and the live facts.

The law of this file: `check` reads and never changes. What a decision uses up it names (`Nonce`), and the commit that
makes it stand takes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Protocol, TypeAlias

from chain.approval import Action, Approval
from chain.budget import Spent
from chain.catalog import Catalogue, Sensitivity
from chain.containment import Profile
from chain.control import Controls, Party, Suspension
from chain.delegation import Chain, Delegation
from chain.errors import ConfigurationError
from chain.grant import LABELS, ActionClass
from chain.outcome import PolicyView
from chain.principal import Principal
from chain.reason import Reason
from chain.statuslist import Reference

MAX_SKEW = 30
"""Seconds a token may be dated into the future (AAT-01 s4.4, MAX_IAT_SKEW)."""

MARGIN = 2
"""Seconds that what was used up is remembered beyond its end, because an authority's clock may step back by one."""

MAX_LIFETIME = 90 * 24 * 3600
"""Seconds a token may live, whatever the configuration says (AAT-01 s4.4, MAX_TOKEN_LIFETIME)."""

DEFAULT_LIFETIME = 3600
"""Seconds that a root lives whose order asks for no life of its own, unless a tool's ceiling is lower."""

MustName: TypeAlias = Literal["owner", "purposes", "task"]

MUST_NAME: frozenset[MustName] = frozenset({"owner", "purposes", "task"})
"""What a root is not issued without: who answers for it, what it is for, and the one task that it lives for."""

APPROVAL_LIFETIME = 15 * 60
"""Seconds that people have to answer a request, and that their answer may be used."""

EMERGENCY_LIFETIME = 60
"""Seconds that a broken glass is good for: the shortest life of all."""

MAX_WAITING = 8
"""Requests for approval that one holder may have open, with all who work under the same agent and every key that nobody
enrolled and that was handed something by them: people who are asked too often stop reading."""

MAX_WORKERS = 256
"""Workers that one agent may enrol, with all that these enrol: what is said of it is said of every one of them."""

MAX_WAITING_ROOT = 32
"""Requests that may be open under one root, whoever asks."""

MAX_WAITING_ALL = 512
"""Requests that may be open at all: each is kept whole, arguments included."""

SHADOWABLE = frozenset({Reason.CLASS_NOT_GRANTED, Reason.POLICY_DENIED})
"""What may be refused in shadow: never authenticity, containment, revocation, an approval or a budget;
nor what could not be evaluated, since nobody knows which people it would have asked."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a deployment decides for every call.

    Attributes:
        profile: how much of our own a proof must carry.
        labels: data labels from lowest to highest.
        max_lifetime: seconds any token may live; at most `MAX_LIFETIME`.
        default_lifetime: see `DEFAULT_LIFETIME`.
        lifetimes: seconds that a root may live which grants a tool of that sensitivity or class; the lowest counts.
        roots_must_name: see `MUST_NAME`; a deployment that issues plain AAT-01 roots says here that it names less.
        require_enrolment: whether every holder of a chain that writes or acts must be enrolled. Off only where
            there is no registry to ask: offline.
        home: name of the authority whose budgets and approvals are kept here; None keeps none: offline.
        approval_lifetime: see `APPROVAL_LIFETIME`.
        max_waiting, max_waiting_root, max_waiting_all: see `MAX_WAITING` and what follows it.
        max_workers: see `MAX_WORKERS`; those whose keys were revoked do not count, and operators enrol any number.
        status_list: URI of the Token Status List that is published here; None where none is.
        shadow: reasons out of `SHADOWABLE` that are answered with DENY and not enforced, for estates not yet ready.
    """

    profile: Profile = Profile.SOUND
    labels: tuple[str, ...] = LABELS
    max_lifetime: int = MAX_LIFETIME
    default_lifetime: int = DEFAULT_LIFETIME
    lifetimes: Mapping[Sensitivity | ActionClass, int] = field(default_factory=dict)
    roots_must_name: frozenset[MustName] = MUST_NAME
    require_enrolment: bool = True
    home: str | None = None
    approval_lifetime: int = APPROVAL_LIFETIME
    max_waiting: int = MAX_WAITING
    max_waiting_root: int = MAX_WAITING_ROOT
    max_waiting_all: int = MAX_WAITING_ALL
    max_workers: int = MAX_WORKERS
    shadow: frozenset[Reason] = frozenset()
    status_list: str | None = None

    def __post_init__(self) -> None:
        """Refuse to leave unenforced what must hold.

        Raises:
            ConfigurationError: `shadow` names a reason that is not in `SHADOWABLE`; or fewer requests may wait in
                all than under one root, or fewer there than of one holder.
        """
        if not self.shadow <= SHADOWABLE:
            named = ", ".join(sorted(self.shadow - SHADOWABLE))
            raise ConfigurationError(f"never in shadow: {named}")
        if not self.max_waiting <= self.max_waiting_root <= self.max_waiting_all:
            raise ConfigurationError("max_waiting is at most max_waiting_root, and that at most max_waiting_all")


def agreed(settings: Settings | None, profile: Profile, labels: tuple[str, ...], home: str) -> Settings:
    """Return the settings of an authority, which have to agree with its verifier's rules.

    Args:
        settings: as given; None for the rules' own.
        profile, labels: of the rules.
        home: the authority's name, where the settings name none.

    Raises:
        ConfigurationError: they contradict each other.
    """
    given = settings or Settings(profile=profile, labels=labels)
    if (given.profile, given.labels) != (profile, labels):
        raise ConfigurationError("settings and verifier differ in profile or labels")
    return given if given.home is not None else replace(given, home=home)


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

    @property
    def controls(self) -> Controls:
        """What is suspended, and what was revoked by name."""
        ...

    @property
    def policy(self) -> PolicyView | None:
        """The policy that is active; None where the chain alone decides."""
        ...

    def party(self, thumbprint: str) -> Party:
        """Return who holds this key, and how they stand."""
        ...

    def stopped(self, thumbprint: str, now: float) -> Iterable[Suspension]:
        """Return what stops whoever holds this key."""
        ...

    def rested(self, chain: Chain, now: float) -> float:
        """Return how many seconds a chain's holder has to wait before it may ask again; 0 where it need not."""
        ...

    def spent(self, digest: bytes) -> Spent:
        """Return what was used up of a delegation's budget."""
        ...

    def asked_under(self, root: str) -> bool:
        """Tell whether anybody asked for an approval under this root."""
        ...

    def approval(self, binding: str) -> Approval | None:
        """Return the latest request for approval of an action."""
        ...

    def crowded(self, asker: str, action: Action, now: float) -> str | None:
        """Return why people are not asked about one action more, since too much waits for them; None where they are.

        Args:
            asker: thumbprint of the key that asks; empty for an issuer.
            action: what they would be asked about.
            now: seconds.
        """
        ...

    def approved(self, digest: bytes) -> bool:
        """Tell whether people approved this hop when it was made."""
        ...

    def invalid(self, hop: Delegation, where: Reference, now: float) -> bool | None:
        """Tell whether a status list says that a delegation is invalid; None where none is read that could say so."""
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
