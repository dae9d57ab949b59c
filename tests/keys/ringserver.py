"""A server that signs with a ring: in a thread of the test, or a process of its own that a test can kill.

As a script: `python -m tests.keys.ringserver DIRECTORY`; prints its address once it answers.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from chain import mint, proof
from chain.authority import Authority
from chain.client import Client
from chain.decision import Decision
from chain.identity import keyring
from chain.identity.sealed import MIN_MEMORY, MIN_OPS, Cost
from chain.ledger import Store
from chain.mint import grant
from chain.order import Issue
from chain.request import Request
from chain.service.compose import compose
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from tests.client import running
from tests.client.running import secret
from tests.support import ALICE, jwk

SECRET = b"correct horse battery"
ROLES = {"issuer": "issuer", "operator": "operator", "auditor": "auditor", "point": "enforcement_point"}
PEP = "https://pep.example"


def settings(directory: Path) -> ServeSettings:
    catalogue = directory / "catalogue.json"
    catalogue.write_text('{"mail.read": {"class": "read", "classification": "internal"}}')
    callers = [
        {"name": name, "roles": [role], "credentials": [sha256(secret(name).encode()).hexdigest()], "audience": PEP}
        for name, role in ROLES.items()
    ]
    return ServeSettings.model_validate(
        {
            "listen": "127.0.0.1:0",
            "ledger": "memory",
            "audience": "https://chain.example",
            "issuer": "https://issuer.example",
            "key_ring": directory / "ring",
            "catalogue": catalogue,
            "callers": callers,
            "agents": [{"jwk": jwk(ALICE), "id": "spiffe://example.org/alice", "owner": "team"}],
            "drain": 0.1,
            "policy": "none",
            "roots_must_name": [],
        }
    )


def ring_of(directory: Path) -> keyring.Directory:
    """The ring, whose seals are as cheap as any may be."""
    keyring.create(directory / "ring")
    return keyring.Directory(directory / "ring", lambda: SECRET, Cost(MIN_OPS, MIN_MEMORY))


def authority_of(directory: Path, store: Store) -> Authority:
    return compose(settings(directory), store, ring=ring_of(directory))


class People:
    """Whoever calls the server, each with a client."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._clients: dict[str, Client] = {}

    def __getitem__(self, name: str) -> Client:
        if name not in self._clients:
            self._clients[name] = Client(self.address, secret(name), timeout=20)
        return self._clients[name]

    def root(self) -> str:
        order = Issue(holder=ALICE.key, grant=grant({"tools": {"mail.read": {}}}), lifetime=600)
        return self["issuer"].issue(order).token

    def asked(self, token: str) -> Request:
        leaf, now = mint.unverified(token), int(time.time())
        made = proof.make(ALICE, leaf, "mail.read", {}, audience=PEP, jti=os.urandom(9).hex(), iat=now)
        return Request(tool="mail.read", arguments={}, proof=made, audience=PEP)

    def ask(self, token: str) -> Decision:
        return self["point"].check([token], self.asked(token))

    def active(self) -> str:
        """Make a key and let it sign."""
        keys = self["operator"].keys
        name = keys.add().key.key.thumbprint
        keys.activate(name)
        return name

    def states(self) -> dict[str, str]:
        return {held.key.thumbprint: held.state for held in self["auditor"].keys.listed().keys}

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


@contextmanager
def people(address: str) -> Iterator[People]:
    made = People(address)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def serving(directory: Path) -> Iterator[People]:
    authority = authority_of(directory, MemoryStore())
    made = lambda: ChainServer(authority, settings(directory), log=io.StringIO())  # noqa: E731
    with running.serving(made) as server, people(server.address) as there:
        yield there


def main(directory: Path) -> None:
    authority = authority_of(directory, SqliteStore(directory / "ledger"))
    server = ChainServer(authority, settings(directory))

    def ready(started: ChainServer) -> None:
        print(json.dumps({"serving": started.address, "found": authority.keys.found}), flush=True)  # noqa: T201

    asyncio.run(server.run(ready))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
