"""A bundle's files become a policy, and the active one comes back after a restart.

The law of this file: nothing becomes a policy that does not validate, and an authority that had one never opens
without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from chain.catalog import Catalogue
from chain.errors import NotFoundError
from chain.ledger import Store
from chain.policyview import Activated, RuleView, Validated

if TYPE_CHECKING:
    from chain.policy import Policy

BUNDLE = "bundle"
ACTIVE = "policy"
"""Kinds of what stands (`chain.row.StandingRow`): every bundle that was active by its digest, and which one is."""

NAME = "active"


def prepare(files: Mapping[str, str], catalogue: Catalogue, labels: tuple[str, ...]) -> Policy:
    """Return a policy, ready to be asked. The engine is loaded here and nowhere before.

    Args:
        files: of the bundle.
        catalogue: for a bundle that brings none.
        labels: data labels, lowest first.

    Raises:
        PolicyError: it does not validate.
    """
    from chain.bundle import load  # noqa: PLC0415 - the engine costs 40 ms that nobody without a policy pays
    from chain.policy import Policy  # noqa: PLC0415 - as above

    return Policy(load(files), catalogue, labels)


def validated(policy: Policy) -> Validated:
    """Return what is told of a bundle that validates.

    Raises:
        PolicyError: one of its cases cannot be read.
    """
    from chain.policycase import cases  # noqa: PLC0415 - as in `prepare`

    bundle = policy.bundle
    rules = (bundle.rules[name] for name in sorted(bundle.rules))
    views = tuple(RuleView(rule.id, rule.file, rule.effect, rule.threshold, rule.note) for rule in rules)
    return Validated(bundle.digest, views, len(cases(bundle.cases)))


def stored(store: Store, digest: str) -> dict[str, str] | None:
    """Return the files of a bundle that was active once."""
    row = store.stands(BUNDLE, digest)
    return None if row is None else msgspec.json.decode(row.body, type=dict[str, str])


def restored(store: Store, catalogue: Catalogue, labels: tuple[str, ...]) -> Policy | None:
    """Return the policy that a restart goes on with, if one was active.

    Raises:
        PolicyError: it does not validate any more: an authority that forgot its policy would permit too much.
        NotFoundError: its files are not in the ledger.
    """
    row = store.stands(ACTIVE, NAME)
    digest = "" if row is None else msgspec.json.decode(row.body, type=Activated).digest
    if not digest:
        return None
    files = stored(store, digest)
    if files is None:
        raise NotFoundError(f"the bundle `{digest}` of the active policy is not in the ledger")
    return prepare(files, catalogue, labels)
