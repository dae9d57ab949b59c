"""An authority put together from settings: the one place that joins service, store and key files."""

from __future__ import annotations

import time
from collections.abc import Callable

from chain import bundles
from chain.authority import Authority
from chain.catalog import Catalogue
from chain.custody import Custodian
from chain.errors import ChainError
from chain.identity import custody, keyring, passphrase, sealed
from chain.key import Signer
from chain.ledger import Store
from chain.policyload import prepare
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
    signer, custodian = _signer(settings), _custodian(settings)
    store = _store(settings)
    opened: list[Callable[[], None]] = [store.close]
    try:
        ring = _ring(settings)
        if ring is not None:
            opened.append(ring.close)
        policy = policy_of(settings)
        return compose(
            settings,
            store,
            signer=signer,
            ring=ring,
            custodian=custodian,
            policy=policy,
            steady=time.monotonic,
        )
    except ChainError:
        for close in opened:
            close()
        raise


def policy_of(settings: ServeSettings) -> dict[str, str] | None:
    """Return the files of the bundle to begin with.

    Raises:
        PolicyError: they cannot be read.
    """
    if settings.policy == "none":
        return None
    return bundles.default() if settings.policy == "default" else bundles.read(settings.policy)


def overruled(settings: ServeSettings, held: Authority) -> str | None:
    """Return the digest of the bundle that is configured, where the ledger has another in force; "" for none.

    Raises:
        PolicyError: the bundle that is configured does not validate, whether or not it would come into force.
    """
    files = policy_of(settings)
    configured = "" if files is None else prepare(files, Catalogue(), settings.labels).digest
    return None if configured == held.policies.digest else configured


def _ring(settings: ServeSettings) -> keyring.Directory | None:
    if settings.key_ring is None:
        return None
    return keyring.Directory(settings.key_ring, lambda: passphrase.need(settings.passphrase_file))


def _signer(settings: ServeSettings) -> Signer | None:
    if settings.issuer_key is None:
        return None
    return sealed.load(settings.issuer_key, lambda: passphrase.need(settings.passphrase_file))


def _custodian(settings: ServeSettings) -> Custodian | None:
    """Return the agents' keys that are kept here. There is no way to keep them in the clear."""
    if settings.custody is None:
        return None
    return custody.open_folder(settings.custody, passphrase.need(settings.passphrase_file))


def _store(settings: ServeSettings) -> Store:
    if settings.ledger == "memory":
        return MemoryStore()
    return SqliteStore(settings.ledger, all_synced=settings.all_synced)
