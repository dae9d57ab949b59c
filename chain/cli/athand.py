"""A service on a ledger at hand, for its owner alone, for as long as one program runs.

The law of this file: whoever may read the ledger and its keys is its owner, and may lend what a program needs of it. It
answers on loopback, to a secret that was never written down: a socket could be opened by the program too.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from chain.caller import Role
from chain.cli.composition import authority
from chain.client.lending import loop_of_its_own
from chain.client.sync import Client
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings, load
from chain.service.tables import CallerSettings, CredentialSettings

_ROLES = frozenset({Role.ISSUER, Role.OPERATOR, Role.AGENT})


@contextmanager
def served(folder: Path, timeout: float) -> Iterator[Client]:
    """Serve the ledger that ``chain.toml`` in `folder` names; gives its owner's connection.

    Args:
        folder: with the configuration.
        timeout: seconds that an answer may take.

    Raises:
        ConfigurationError: no such configuration, or one that is unsafe.
        LedgerLockedError: a service is running on it.
    """
    secret = secrets.token_urlsafe(32)
    own = _own(load(["--config", str(folder / "chain.toml")]), secret)
    held = authority(own)
    try:
        with Path(os.devnull).open("w", encoding="utf-8") as log, loop_of_its_own("chain-at-hand") as run:
            server = ChainServer(held, own, log=log)
            run(server.start())
            try:
                with Client(server.address, secret, timeout=timeout) as client:
                    yield client
            finally:
                run(server.stop(0))
    finally:
        held.close()


def _own(told: ServeSettings, secret: str) -> ServeSettings:
    """Return the settings with one caller, and no other way in."""
    known = CredentialSettings(sha256=sha256(secret.encode()).hexdigest(), not_after=None)
    owner = CallerSettings(name="owner", roles=_ROLES, audience=told.audience, credentials=(known,))
    plain = {"listen": "127.0.0.1:0", "tls_cert": None, "tls_key": None, "sockets": None, "reflection": False}
    nowhere = {"mtls_listen": "", "http_listen": "", "identity": None}
    agents = tuple(agent for agent in told.agents if not agent.custody)  # whose callers cannot call meanwhile
    opened = told.passphrase_file if told.issuer_key or told.key_ring else None
    kept = {"custody": None, "passphrase_file": opened, "agents": agents}
    return told.model_copy(update={**plain, **nowhere, **kept, "callers": (owner,)})
