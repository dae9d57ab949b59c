"""An authority put together from settings: the one place that joins service, store and key files."""

from __future__ import annotations

import time

from chain import bundles
from chain.authority import Authority
from chain.errors import ChainError
from chain.identity import keyfile
from chain.ledger import Store
from chain.service.compose import compose
from chain.service.settings import ServeSettings
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore


def authority(settings: ServeSettings) -> Authority:
    """Return the authority that settings describe; it owns its store.

    Raises:
        ConfigurationError: the settings are unsafe, or a file cannot be read.
        LedgerLockedError: another process owns the ledger.
    """
    signer = None if settings.issuer_key is None else keyfile.load(settings.issuer_key)
    store = _store(settings)
    try:
        return compose(settings, store, signer=signer, policy=_policy(settings), steady=time.monotonic)
    except ChainError:
        store.close()
        raise


def _policy(settings: ServeSettings) -> dict[str, str] | None:
    """Return the files of the bundle to begin with.

    Raises:
        PolicyError: they cannot be read.
    """
    if settings.policy == "none":
        return None
    return bundles.default() if settings.policy == "default" else bundles.read(settings.policy)


def _store(settings: ServeSettings) -> Store:
    if settings.ledger == "memory":
        return MemoryStore()
    return SqliteStore(settings.ledger, all_synced=settings.all_synced)
