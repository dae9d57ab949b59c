"""The issuer's keys of a ledger at hand, with the calls of a client."""

from __future__ import annotations

from chain.caller import Caller
from chain.keys import Keys
from chain.keyview import Distrusted, Listed, Turned


class KeptKeys:
    """The issuer's keys, asked by the ledger's owner."""

    def __init__(self, keys: Keys, caller: Caller) -> None:
        """Ask as the ledger's owner."""
        self._keys = keys
        self._caller = caller

    def listed(self) -> Listed:
        """Return where each key stands."""
        return self._keys.listed(self._caller)

    def add(self, algorithm: str = "EdDSA", cause: str = "") -> Turned:
        """Make a fresh key, pending."""
        return self._keys.add(self._caller, algorithm, cause)

    def activate(self, name: str, cause: str = "") -> Turned:
        """Let a pending key sign; the active one retires."""
        return self._keys.activate(self._caller, name, cause)

    def retire(self, name: str, cause: str = "") -> Turned:
        """Let a key go that never signed, or whose last roots have ended."""
        return self._keys.retire(self._caller, name, cause)

    def compromise(self, name: str, cause: str, activate: str = "", *, dry_run: bool = False) -> Distrusted:
        """Distrust a key for ever, and all that it signed."""
        return self._keys.compromise(self._caller, name, cause, activate, dry_run=dry_run)
