"""A server whose one caller may do everything, and lends its connection: what leaks would leak here."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from chain.caller import Role
from chain.client import Client
from chain.service.compose import compose
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.store.memory import MemoryStore
from tests.client.running import serving
from tests.support import ALICE, BOB, HOME, ISSUER, PEP, ROOT_KEY, jwk

SECRET = "secret-of-the-lender".ljust(40, "x")
ALICES, BOBS = "spiffe://example.org/alice", "spiffe://example.org/alice/bob"


def settings(directory: Path) -> ServeSettings:
    """The lender holds Alice's key, by its secret and by its socket; Bob is her worker."""
    catalogue = directory / "catalogue.toml"
    catalogue.write_text('"mail.read" = {class = "read", classification = "internal"}\n"bank.pay" = "act"\n')
    key = directory / "issuer.json"
    key.touch(0o600)
    lender = {
        "name": "lender",
        "roles": [role.value for role in Role],
        "audience": PEP,
        "jwk": jwk(ALICE),
        "credentials": [sha256(SECRET.encode()).hexdigest()],
        "socket": True,
        "vouches": ["spiffe://example.org/**"],
    }
    return ServeSettings.model_validate(
        {
            "listen": "127.0.0.1:0",
            "ledger": "memory",
            "audience": HOME,
            "issuer": ISSUER,
            "issuer_key": key,
            "anchors": [{"jwk": jwk(ROOT_KEY), "iss": ISSUER}],
            "sockets": directory / "sockets",
            "catalogue": catalogue,
            "callers": [lender],
            "agents": [
                {"jwk": jwk(ALICE), "id": ALICES, "owner": "team"},
                {"jwk": jwk(BOB), "id": BOBS, "owner": "team"},
            ],
            "drain": 0.1,
            "policy": "none",
            "roots_must_name": [],
            "reflection": True,
        }
    )


class Lent(NamedTuple):
    """A server, and both ends of a connection that is lent.

    Attributes:
        server: that answers.
        lender: its connection, over its own socket: the channel proves Alice.
        own: target of that socket.
        target: of the lent one.
        borrower: a client on the lent one.
    """

    server: ChainServer
    lender: Client
    own: str
    target: str
    borrower: Client


@contextmanager
def lent(directory: Path) -> Iterator[Lent]:
    """A server that runs, and its caller's connection, lent."""
    told = settings(directory)

    def make() -> ChainServer:
        return ChainServer(compose(told, MemoryStore(), signer=ROOT_KEY), told, log=io.StringIO())

    with serving(make) as server:
        own, socket = f"unix:{server.sockets['lender']}", directory / "lent.sock"
        with Client(own, timeout=20) as lender, lender.lend(socket), Client(f"unix:{socket}", timeout=20) as borrower:
            yield Lent(server, lender, own, f"unix:{socket}", borrower)
