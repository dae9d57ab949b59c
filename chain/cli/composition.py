"""An authority put together from settings: the one place that joins service, store and key files."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from chain import bundles
from chain.authority import Authority
from chain.catalog import Catalogue
from chain.certifying import Certifier
from chain.cli.notary import notary
from chain.custody import Custodian
from chain.errors import ChainError, ConfigurationError
from chain.identity import custody, keyring, passphrase, sealed, vault
from chain.key import Signer
from chain.ledger import Store
from chain.policyload import prepare
from chain.service.compose import compose
from chain.service.settings import ServeSettings
from chain.service.tables import Pkcs11Settings
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from chain.identity.pkcs11 import Pkcs11Signer


def authority(settings: ServeSettings) -> Authority:
    """Return the authority that settings describe; it owns its store.

    Raises:
        ConfigurationError: the settings are unsafe, or a file cannot be read.
        LedgerLockedError: another process owns the ledger.
    """
    signer = _signer(settings)
    opened: list[Callable[[], None]] = [signer.close] if isinstance(signer, Certifier) else []
    try:
        custodian = _custodian(settings)
        store = _store(settings)
        opened.append(store.close)
        ring = _ring(settings)
        if ring is not None:
            opened.append(ring.close)
        policy = policy_of(settings)
        made = compose(
            settings,
            store,
            notary=notary(settings),
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
    return made


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


def _signer(settings: ServeSettings) -> Signer | Certifier | None:
    if settings.issuer_pkcs11 is not None:
        found = pkcs11_signer(settings.issuer_pkcs11)
        return Certifier(found, settings.certified_for, found.close)
    if (kms := settings.issuer_vault) is not None:
        place = vault.Place(kms.address, kms.key, kms.token_file, kms.mount, kms.namespace, kms.ca_file)
        return Certifier(vault.VaultSigner(place), settings.certified_for)
    if settings.issuer_key is None:
        return None
    return sealed.load(settings.issuer_key, lambda: passphrase.need(settings.passphrase_file))


def _custodian(settings: ServeSettings) -> Custodian | None:
    """Return the agents' keys that are kept here. There is no way to keep them in the clear."""
    if settings.custody is None:
        return None
    return custody.open_folder(settings.custody, passphrase.need(settings.passphrase_file))


def pkcs11_signer(told: Pkcs11Settings) -> Pkcs11Signer:
    """Return what signs with a key in an HSM.

    Raises:
        ConfigurationError: the extra is not installed, or as `Pkcs11Signer`.
    """
    module = hsm()
    key_id = None if told.key_id is None else bytes.fromhex(told.key_id)
    found: Pkcs11Signer = module.Pkcs11Signer(
        module.Place(told.module, told.token_label, told.pin_file, told.key_label, key_id)
    )
    return found


def hsm() -> ModuleType:
    """Return `chain.identity.pkcs11`.

    Raises:
        ConfigurationError: the extra is not installed.
    """
    try:
        return import_module("chain.identity.pkcs11")
    except ImportError:
        raise ConfigurationError(
            "a key in an HSM needs the extra `pkcs11`: pip install 'chain-authz[pkcs11]'"
        ) from None


def _store(settings: ServeSettings) -> Store:
    if settings.ledger == "memory":
        return MemoryStore()
    return SqliteStore(settings.ledger, all_synced=settings.all_synced)
