"""A ledger at hand instead of a service: the directory that `chain demo --keep` leaves, or any like it.

The law of this file: whoever may read the ledger and its keys is its owner, and so has every role. The lock on the
ledger keeps a running service and this apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from chain.caller import embedded
from chain.change import Issue, Revoke
from chain.cli.composition import authority
from chain.decision import Decision
from chain.explain import Explanation
from chain.request import Request
from chain.service.settings import load
from chain.view import Delegated, Revoked


class Kept:
    """An authority on a ledger at hand, with the calls of a client; a context manager."""

    def __init__(self, folder: Path) -> None:
        """Open the ledger that ``chain.toml`` in `folder` names.

        Raises:
            ConfigurationError: no such configuration.
            LedgerLockedError: a service is running on it.
        """
        self._authority = authority(load(["--config", str(folder / "chain.toml")]))
        self._caller = embedded()

    def audience(self) -> str:
        """Return the authority's own name."""
        return self._authority.audience

    def check(self, presented: Sequence[str], request: Request) -> Decision:
        """Decide one call, and record it."""
        return self._authority.check(self._caller, presented, request)

    def explain(self, presented: Sequence[str], request: Request) -> Explanation:
        """Lay every hop open; record nothing."""
        return self._authority.explain(self._caller, presented, request)

    def issue(self, order: Issue) -> Delegated:
        """Issue a root."""
        return self._authority.issue(self._caller, order)

    def delegate(self, parent: Sequence[str], child: str, proof: str | None = None) -> Delegated:
        """Register a child that the parent's holder signed."""
        return self._authority.delegate(self._caller, parent, child, proof)

    def revoke(
        self, order: Revoke, standing: Sequence[str] | None = None, proof: str | None = None, *, dry_run: bool = False
    ) -> Revoked:
        """Revoke a delegation and everything beneath it."""
        return self._authority.revoke(self._caller, order, standing, proof, dry_run=dry_run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._authority.close()
