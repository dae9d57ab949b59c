"""Who is enrolled, and who works under whom.

The law of this file: a worker and the agent that it works under are one party (TOKEN.md s2). It works under whom its
id lies beneath, and under whoever enrolled its key; what counts for one of them, or stops one, finds them all here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet

from chain.principal import SCHEME, Principal, ancestors

MAX_UNDER = 8
"""Principals from a worker to the agent at the top, both included: every call walks that far."""

FEW = 8
"""Names that are looked for one by one."""


def line(thumbprint: str, principal: Callable[[str], Principal | None]) -> list[Principal]:
    """Return who holds a key, and the agents that enrolled it, nearest first.

    Args:
        thumbprint: of the key.
        principal: whose a key is.
    """
    found: list[Principal] = []
    while len(found) < MAX_UNDER and (known := principal(thumbprint)) is not None:
        found.append(known)
        thumbprint = known.under or ""
    return found


class Roster:
    """Every key that was enrolled. Read at any moment; changed by the ledger's writer alone.

    Attributes:
        principals: whose each key is, by its thumbprint.
    """

    __slots__ = ("_by_id", "_heads", "_workers", "principals")

    def __init__(self) -> None:
        """Begin with nobody."""
        self.principals: dict[str, Principal] = {}
        self._by_id: dict[str, set[str]] = {}
        self._workers: dict[str, set[str]] = {}
        self._heads: dict[str, str] = {}

    def enrol(self, thumbprint: str, principal: Principal) -> None:
        """Note whose a key is (writer only)."""
        before = self.principals.get(thumbprint)
        if before is not None:
            self._by_id[before.id].discard(thumbprint)
            self._workers.get(before.under or "", set()).discard(thumbprint)
        self.principals[thumbprint] = principal
        self._by_id.setdefault(principal.id, set()).add(thumbprint)
        if principal.under is not None:
            self._workers.setdefault(principal.under, set()).add(thumbprint)
        self._heads = {}

    def principal(self, name: str) -> Principal | None:
        """Return whose a key is, by its thumbprint; or who has a SPIFFE id, enrolled by itself or with a key."""
        found = self.principals.get(name)
        if found is None and name.startswith(SCHEME) and (keys := self._by_id.get(name)):
            found = self.principals.get(min(keys.copy(), default=""))
        return found

    def line(self, thumbprint: str) -> list[Principal]:
        """Return who holds a key, and the agents that enrolled it, nearest first."""
        return line(thumbprint, self.principal)

    def head(self, thumbprint: str) -> str:
        """Return to whom what this key does counts: the agent at the top, by its id; a key of nobody to itself.

        That is the topmost of those who enrolled it, or the topmost agent whose id that one's lies beneath. A person
        is not who an agent's doings count to.
        """
        heads = self._heads  # of one moment: what a reader works out from older facts never reaches newer ones
        known = heads.get(thumbprint)
        if known is None:
            found = self.line(thumbprint)
            if not found:
                return thumbprint
            agents = [principal for principal in found if principal.kind != "human"]
            known = heads[thumbprint] = self._topmost(agents[-1] if agents else found[0])
        return known

    def _topmost(self, principal: Principal) -> str:
        above = () if principal.kind == "human" else reversed(ancestors(principal.id))
        return next((name for name in above if self._is_agent(name)), principal.id)

    def _is_agent(self, name: str) -> bool:
        known = (self.principals.get(key) for key in tuple(self._by_id.get(name, ())))
        return any(one is not None and one.kind != "human" for one in known)

    def keys_of(self, name: str) -> set[str]:
        """Return the thumbprints of the keys that are enrolled for a principal."""
        return self._by_id.get(name, set()).copy()

    def owned(self, owner: str) -> set[str]:
        """Return the thumbprints of the keys of everybody for whom somebody answers."""
        return {key for key, principal in list(self.principals.items()) if principal.owner == owner}

    def beneath(self, names: AbstractSet[str]) -> set[str]:
        """Return the keys of all who have one of these ids, or work under somebody who has.

        Args:
            names: ids; of a whole trust domain ``spiffe://`` and its name.
        """
        known = list(self._by_id)
        if len(names) <= FEW:  # ten times as fast, and everything waits for a revocation
            prefixes = tuple(f"{name}/" for name in names)
            ids = [name for name in known if name in names or name.startswith(prefixes)]
        else:
            ids = [name for name in known if name in names or not names.isdisjoint(ancestors(name))]
        return self.with_workers(key for name in ids for key in self.keys_of(name))

    def bearing(self, names: AbstractSet[str]) -> set[str]:
        """Return what the tokens of all these may be bound by (`chain.delegation.Delegation.names`): keys, and ids.

        An id is proven by an SVID, whose key nobody enrols: to end a principal's keys alone would leave that.

        Args:
            names: as of `beneath`.
        """
        keys = self.beneath(names)
        return keys.union(one.id for key in keys if (one := self.principals.get(key)) is not None)

    def with_workers(self, keys: Iterable[str]) -> set[str]:
        """Return keys together with those that were enrolled under them, and so on."""
        found: set[str] = set()
        ahead = list(keys)
        while ahead:
            key = ahead.pop()
            if key not in found:
                found.add(key)
                ahead.extend(self._workers.get(key, set()).copy())
        return found

    def colleagues(self, thumbprint: str) -> set[str]:
        """Return the keys of all workers under the agent at the top of those who enrolled a key, without its own."""
        found = self.line(thumbprint)
        own = self.keys_of(found[-1].id) if found else {thumbprint}
        return self.with_workers(own) - own
