"""The life of an issuer's keys: states, what each lets a key do, and what may follow.

The law of this file: at most one key signs. A key is published before it signs and verified until everything that
it can have signed has ended; one that is compromised does nothing from then on, and no state leads back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, Protocol, TypeAlias, get_args

import msgspec

from chain.errors import KeyRingError, NotFoundError
from chain.key import Algorithm, Jwk, PublicKey, Signer
from chain.state import MAX_LIFETIME

State: TypeAlias = Literal["pending", "active", "retiring", "retired", "compromised"]

SIGNS: frozenset[State] = frozenset({"active"})
VERIFIES: frozenset[State] = frozenset({"active", "retiring"})
PUBLISHED: frozenset[State] = frozenset({"pending", "active", "retiring"})

FOLLOWS: dict[State, frozenset[State]] = {
    "pending": frozenset({"active", "retired", "compromised"}),
    "active": frozenset({"retiring", "compromised"}),
    "retiring": frozenset({"retired", "compromised"}),
    "retired": frozenset({"compromised"}),
    "compromised": frozenset(),
}
"""State -> the states that may follow it."""

MAX_PUBLISHED = 128
"""Keys of a ring that are pending, active or retiring: every stranger reads them all."""

_RANK: dict[State, int] = {state: place for place, state in enumerate(get_args(State))}
"""No state leads back to one before it, so of two that are told of one key the later is the true one."""


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key of the ring and where it stands.

    Attributes:
        jwk: its public half.
        state: where it stands.
        since: seconds, when it came to stand there.
        until: seconds; a key that is retiring verifies at least as long as this.
        certificate: of a short-lived key (`chain.certificate`); empty where there is none.
    """

    jwk: Jwk
    state: State
    since: int
    until: int = 0
    certificate: str = ""

    @property
    def key(self) -> PublicKey:
        """The public half, checked.

        Raises:
            KeyRefusedError: it is no key that is accepted.
        """
        return PublicKey.from_jwk(self.jwk)

    def become(self, state: State, now: int) -> Held:
        """Return the key in the state that follows.

        Raises:
            KeyRingError: it may not follow, or what the key signed may still be alive.
        """
        if state not in FOLLOWS[self.state]:
            raise KeyRingError(f"a key that is {self.state} cannot become {state}")
        if self.state == "retiring" and state == "retired" and now < self.until:
            raise KeyRingError(f"what this key signed may live for another {self.until - now} s")
        until = now + MAX_LIFETIME if state == "retiring" else 0
        return msgspec.structs.replace(self, state=state, since=now, until=until)

    def further(self, other: Held) -> Held:
        """Return which of two accounts of one key counts: the later state; of the same, the longer obligation."""
        return max(other, self, key=lambda each: (_RANK[each.state], each.until, each.since))


class Ring:
    """An issuer's keys, by thumbprint. Every change returns another ring."""

    def __init__(self, held: Iterable[Held] = ()) -> None:
        """Hold keys.

        Raises:
            ValueError: a key stands twice, is not accepted, or two keys sign.
        """
        self.held: dict[str, Held] = {}
        for each in held:
            if self.held.setdefault(each.key.thumbprint, each) is not each:
                raise ValueError("a key stands twice in the ring")
        if sum(each.state in SIGNS for each in self.held.values()) > 1:
            raise ValueError("two keys of the ring sign")

    @property
    def signing(self) -> str | None:
        """Thumbprint of the key that signs, if there is one."""
        return next((name for name, each in self.held.items() if each.state in SIGNS), None)

    @property
    def verifying(self) -> list[PublicKey]:
        """The keys whose roots are accepted."""
        return [each.key for each in self.held.values() if each.state in VERIFIES]

    def add(self, key: PublicKey, now: int) -> Ring:
        """Return the ring with a fresh key, pending.

        Raises:
            ValueError: it is there already.
        """
        return Ring([*self.held.values(), Held(key.jwk, "pending", now)])

    def become(self, name: str, state: State, now: int) -> Ring:
        """Return the ring with one key in another state; one that becomes active lets the active one retire.

        Args:
            name: the key's thumbprint.
            state: the one that is to follow.
            now: seconds.

        Raises:
            NotFoundError: no such key.
            KeyRingError: `Held.become` refuses.
        """
        if name not in self.held:
            raise NotFoundError("no such key in the ring")
        changed = dict(self.held)
        changed[name] = changed[name].become(state, now)
        if state in SIGNS and self.signing is not None:
            changed[self.signing] = changed[self.signing].become("retiring", now)
        return Ring(changed.values())

    @property
    def published(self) -> list[PublicKey]:
        """The keys that strangers are told."""
        return [each.key for each in self.held.values() if each.state in PUBLISHED]

    def jwks(self) -> dict[str, list[dict[str, object]]]:
        """Return the JSON Web Key Set to publish (RFC 7517 s5): public halves only."""
        return key_set(self.published)


def key_set(keys: Iterable[PublicKey], shown: Mapping[str, str] | None = None) -> dict[str, list[dict[str, object]]]:
    """Return keys as a JSON Web Key Set (RFC 7517 s5).

    Args:
        keys: the keys.
        shown: thumbprint -> key certificate, of those that have one; it stands beside the key.
    """
    told: list[dict[str, object]] = []
    for key in keys:
        told.append({**msgspec.to_builtins(key.jwk), "kid": key.thumbprint, "alg": key.alg, "use": "sig"})
        if shown and key.thumbprint in shown:
            told[-1]["chain_certificate"] = shown[key.thumbprint]
    return {"keys": told}


class KeyRing(Protocol):
    """Where an issuer's keys lie. While one is open, nobody else changes it."""

    def load(self) -> Ring:
        """Return the ring as it was saved last; an empty one where it never was.

        Raises:
            ConfigurationError: it cannot be read.
        """
        ...

    def save(self, ring: Ring) -> None:
        """Keep where each key stands, power-safe when this returns.

        Raises:
            ConfigurationError: it cannot be written; what was saved before still holds.
        """
        ...

    def make(self, algorithm: Algorithm) -> PublicKey:
        """Make a fresh key that can sign from then on, power-safe when this returns. It is in no ring yet.

        Raises:
            ConfigurationError: it cannot be made or kept.
        """
        ...

    def signer(self, name: str) -> Signer | None:
        """Return what signs with the key of this thumbprint, or None where only its public half is known.

        Raises:
            ConfigurationError: the key is there and does not open.
        """
        ...

    def close(self) -> None:
        """Let others have it; closing twice is closing once."""
        ...


def reconciled(index: Ring, ledger: Iterable[Held], struck: Iterable[str], now: int) -> Ring:
    """Return the ring that counts, where index and ledger may tell of different times: the worse state wins.

    Args:
        index: as it was saved.
        ledger: as the records tell.
        struck: thumbprints of keys that were revoked by name.
        now: seconds.
    """
    found = dict(index.held)
    for each in ledger:
        name = each.key.thumbprint
        found[name] = each if name not in found else found[name].further(each)
    for name in struck:
        if name in found and found[name].state != "compromised":
            found[name] = found[name].become("compromised", now)
    signing = sorted((each for each in found.values() if each.state in SIGNS), key=lambda each: each.since)
    for each in signing[:-1]:
        found[each.key.thumbprint] = each.become("retiring", now)
    return Ring(found.values())
