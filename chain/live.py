"""The live facts: a projection of the ledger, kept in memory, rebuilt by a restart.

The law of this file: readers read at any moment; only the ledger's single writer changes anything, in commit
order, just before the change is written. A change is visible a moment before it is durable, which is safe: all
that is here only ever narrows, and no answer leaves before its own record is down.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

import msgspec

from chain.catalog import Catalogue
from chain.expiry import Expiry
from chain.ledger import Store
from chain.principal import Principal
from chain.row import ReplyRow
from chain.state import Nonce, Settings

K = TypeVar("K")
V = TypeVar("V")

GENERATION = 65_536
"""Entries in one generation of a bounded memory; what falls out is asked of the store again."""


class Recent(Generic[K, V]):
    """A bounded memory in two generations: the older one is dropped when the younger is full."""

    __slots__ = ("_capacity", "_old", "_young")

    def __init__(self, capacity: int = GENERATION) -> None:
        self._capacity = capacity
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Return what is remembered, if it is."""
        found = self._young.get(key)
        return self._old.get(key) if found is None else found

    def put(self, key: K, value: V) -> None:
        """Remember."""
        if len(self._young) >= self._capacity:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def drop(self, key: K) -> None:
        """Forget, if it is remembered."""
        self._young.pop(key, None)
        self._old.pop(key, None)


class Live:
    """What `check` reads (`chain.check.State`), and what a commit changes of it.

    Attributes:
        settings, catalogue: as configured.
        registered: delegations known to be in the ledger, or on their way there: (iss, jti) by digest.
        names: digest by (iss, jti), so that nobody takes another's jti.
        replies: answers to idempotency keys given lately.
    """

    def __init__(self, store: Store, settings: Settings, catalogue: Catalogue, now: float) -> None:
        """Read what a restart must know: revocations, nonces that could come again, enrolments."""
        self.settings = settings
        self.catalogue = catalogue
        self._revoked = {row.digest for row in store.revocations()}
        self._nonces: dict[tuple[bytes, str], int] = {}
        self._expiry: Expiry[tuple[bytes, str]] = Expiry(now)
        for row in store.nonces(int(now)):
            self.use(Nonce(row.digest, row.jti, row.expires))
        self._principals = {row.thumbprint: Principal.model_validate_json(row.body) for row in store.enrolments()}
        self.registered: Recent[bytes, tuple[str, str]] = Recent()
        self.names: Recent[tuple[str, str], bytes] = Recent()
        self.replies: Recent[tuple[str, str, str], ReplyRow] = Recent()

    @property
    def revoked(self) -> AbstractSet[bytes]:
        """Digests of revoked delegations."""
        return self._revoked

    def seen(self, digest: bytes, nonce: str) -> bool:
        """Tell whether a proof or request id was used under this leaf before."""
        return (digest, nonce) in self._nonces

    def principal(self, thumbprint: str) -> Principal | None:
        """Return who a key belongs to, if it was enrolled."""
        return self._principals.get(thumbprint)

    def use(self, nonce: Nonce) -> None:
        """Take a nonce (writer only)."""
        name = (nonce.digest, nonce.value)
        self._nonces[name] = nonce.expires
        self._expiry.add(name, nonce.expires)

    def sweep(self, now: float) -> None:
        """Forget some of the nonces that expired by a time that does not come back (writer only)."""
        for name in self._expiry.due(now):
            if self._nonces.get(name, 0) <= now:
                self._nonces.pop(name, None)

    def revoke(self, digest: bytes) -> None:
        """Revoke (writer only)."""
        self._revoked.add(digest)

    def enrol(self, thumbprint: str, principal: Principal) -> bytes:
        """Enrol a key (writer only) and return the principal as stored."""
        self._principals[thumbprint] = principal
        return msgspec.json.encode(principal.model_dump())
