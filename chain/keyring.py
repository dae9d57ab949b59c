"""The life of an issuer's keys: states, what each lets a key do, and what may follow.

The law of this file: at most one key signs. A key is published before it signs and verified until everything that
it can have signed has ended; one that is compromised does nothing from then on, and no state leads back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

from chain.errors import InvalidRequestError
from chain.key import Jwk, PublicKey
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


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key of the ring and where it stands.

    Attributes:
        jwk: its public half.
        state: where it stands.
        since: seconds, when it came to stand there.
        until: seconds; a key that is retiring verifies at least as long as this.
    """

    jwk: Jwk
    state: State
    since: int
    until: int = 0

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
            InvalidRequestError: it may not follow, or what the key signed may still be alive.
        """
        if state not in FOLLOWS[self.state]:
            raise InvalidRequestError(f"a key that is {self.state} cannot become {state}")
        if self.state == "retiring" and state == "retired" and now < self.until:
            raise InvalidRequestError(f"what this key signed may live for another {self.until - now} s")
        until = now + MAX_LIFETIME if state == "retiring" else 0
        return msgspec.structs.replace(self, state=state, since=now, until=until)


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
            InvalidRequestError: no such key, or `Held.become` refuses.
        """
        if name not in self.held:
            raise InvalidRequestError("no such key in the ring")
        changed = dict(self.held)
        changed[name] = changed[name].become(state, now)
        if state in SIGNS and self.signing is not None:
            changed[self.signing] = changed[self.signing].become("retiring", now)
        return Ring(changed.values())

    def jwks(self) -> dict[str, list[dict[str, object]]]:
        """Return the JSON Web Key Set to publish (RFC 7517 s5): public halves only."""
        keys = [each.key for each in self.held.values() if each.state in PUBLISHED]
        return {
            "keys": [
                {**msgspec.to_builtins(key.jwk), "kid": key.thumbprint, "alg": key.alg, "use": "sig"} for key in keys
            ]
        }
