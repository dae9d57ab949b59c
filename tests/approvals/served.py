"""The same people, over gRPC: a server with the bundle that ships, in a thread or (run as a script) to be killed.

As a script: ``python -m tests.approvals.served DIRECTORY LEDGER``; prints its address.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from chain import bundles, mint, proof
from chain.base64url import b64encode
from chain.client import Client
from chain.ledger import Store
from chain.order import Issue
from chain.request import Request
from chain.service.compose import compose
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from tests.approvals.office import ANN, PEOPLE, human
from tests.client import running
from tests.support import ALICE, PEP, ROOT_KEY, TOOLS, Json, jwk

ROOM = {"max_waiting": 1000, "max_waiting_root": 1000, "max_waiting_all": 1000}
"""For tests that ask more than people would be asked."""

CALLERS = ("ann", "desk", "auditor")
"""An approver with a key of its own, one that hands in the words of many, and somebody who only looks."""


def settings(directory: Path, **changed: Any) -> ServeSettings:
    told = running.settings(directory).model_dump(exclude_defaults=True, mode="json")
    told["callers"] += [
        {"name": name, "roles": ["auditor" if name == "auditor" else "approver"], "credentials": [hashed(name)]}
        | ({"jwk": jwk(ANN)} if name == "ann" else {})
        for name in CALLERS
    ]
    told["agents"] += [
        {"jwk": jwk(key), "id": human(name).id, "kind": "human", "owner": name} for name, key in PEOPLE.items()
    ]
    return ServeSettings.model_validate(told | changed)


def hashed(name: str) -> str:
    return sha256(running.secret(name).encode()).hexdigest()


def server_of(directory: Path, store: Store | None = None, **changed: Any) -> ChainServer:
    told = settings(directory, **changed)
    authority = compose(told, store or MemoryStore(), signer=ROOT_KEY, policy=bundles.default())
    return ChainServer(authority, told, log=io.StringIO())


def client(address: str, name: str) -> Client:
    return Client(address, running.secret(name), timeout=20)


def root_of(issuer: Client) -> str:
    return issuer.issue(Issue(holder=ALICE.key, grant=mint.grant({"tools": TOOLS}), lifetime=600)).token


def paying(tokens: Sequence[str], amount: float = 5) -> Request:
    """A payment by Alice, with a fresh proof."""
    arguments: Json = {"amount": amount}
    made = proof.make(
        ALICE,
        mint.unverified(tokens[-1]),
        "bank.pay",
        arguments,
        audience=PEP,
        jti=os.urandom(12).hex(),
        iat=int(time.time()),
    )
    return Request(tool="bank.pay", arguments=arguments, audience=PEP, proof=made)


def key_file(folder: Path, name: str) -> Path:
    """Write somebody's private key, as `chain keygen` would."""
    file = folder / f"{name}.key"
    if not file.exists():
        public = jwk(ALICE if name == "alice" else PEOPLE[name])
        file.touch(0o600)
        file.write_text(json.dumps(public | {"d": b64encode(sha256(name.encode()).digest())}))
    return file


async def main(directory: Path, ledger: Path) -> None:
    server = server_of(directory, SqliteStore(ledger), **ROOM)
    await server.run(lambda started: print(started.address, flush=True))  # noqa: T201 - the test reads it


if __name__ == "__main__":
    asyncio.run(main(*map(Path, sys.argv[1:])))
