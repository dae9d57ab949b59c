"""Policies of a ledger at hand, with the calls of a client's facet."""

from __future__ import annotations

from collections.abc import Mapping

from chain.caller import Caller
from chain.policies import Policies
from chain.policyview import Activated, Difference, Ran, Shown, Validated


class KeptPolicies:
    """Policies, as `chain.client.policies.Policies` has them."""

    def __init__(self, policies: Policies, caller: Caller) -> None:
        """Ask as one caller."""
        self._policies = policies
        self._caller = caller

    def validate(self, files: Mapping[str, str]) -> Validated:
        """Say whether a bundle would be taken."""
        return self._policies.validate(self._caller, files)

    def test(self, files: Mapping[str, str] | None = None) -> tuple[Ran, ...]:
        """Run a bundle's own cases."""
        return self._policies.test(self._caller, files)

    def diff(self, before: Mapping[str, str] | None, after: Mapping[str, str], replay: int = 0) -> Difference:
        """Compare two bundles."""
        return self._policies.diff(self._caller, before, after, replay)

    def activate(self, files: Mapping[str, str] | None, key: str | None = None) -> Activated:
        """Put a bundle in force, or the active one out of force."""
        return self._policies.activate(self._caller, files, key)

    def get(self, digest: str = "") -> Shown:
        """Return a bundle that is or was active."""
        return self._policies.get(self._caller, digest)
