"""A server that keeps keys, and everybody who calls it: on sockets, over mutual TLS, and with what can be sent on."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from chain.client import AsyncClient, Client
from chain.custody import Custodian
from chain.identity.devca import DevAuthority
from chain.identity.material import Material, TrustBundle
from chain.identity.own import from_der
from chain.identity.tls import Channels
from chain.ledger import Store, decode
from chain.service.compose import compose
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.store.memory import MemoryStore
from tests.custody.keeping import Drawer
from tests.support import BOB, HOME, ISSUER, PEP, ROOT_KEY, Json, jwk

DOMAIN = "acme.test"
ANN, BEN = f"spiffe://{DOMAIN}/local/ann", f"spiffe://{DOMAIN}/local/ben"
PLANNER, WORKER, SOLO = (f"spiffe://{DOMAIN}/{name}" for name in ("agents/planner", "agents/worker", "solo"))
AGENTS = f"spiffe://{DOMAIN}/agents/*"


def secret(name: str) -> str:
    return f"secret-of-{name}".ljust(40, "x")


CALLERS: list[Json] = [
    {"name": name, "roles": [name], "credentials": [sha256(secret(name).encode()).hexdigest()]}
    for name in ("issuer", "operator")
] + [
    {
        "name": "ann",
        "roles": ["agent"],
        "audience": PEP,
        "socket": True,
        "credentials": [sha256(secret("ann").encode()).hexdigest()],
        "custody": True,
        "agent": ANN,
    },
    {"name": "ben", "roles": ["agent"], "audience": PEP, "socket": True, "custody": True, "agent": BEN},
    {"name": "bob", "roles": ["agent"], "audience": PEP, "socket": True, "jwk": jwk(BOB)},
    {"name": "agents", "roles": ["agent"], "audience": PEP, "spiffe": AGENTS, "custody": True},
    {"name": "solo", "roles": ["agent"], "audience": PEP, "spiffe": SOLO},
]
OWNED: list[Json] = [{"id": name, "owner": "team", "custody": True} for name in (ANN, BEN, AGENTS)] + [
    {"id": f"spiffe://{DOMAIN}/bob", "owner": "team", "jwk": jwk(BOB)}
]


def configuration(folder: Path, **changes: Any) -> Json:
    for name in ("issuer.key", "passphrase"):
        (folder / name).touch(0o600)
    catalogue = folder / "catalogue.toml"
    catalogue.write_text('"mail.read" = {class = "read", classification = "internal"}\n"bank.pay" = "act"\n')
    return {
        "listen": "127.0.0.1:0",
        "mtls_listen": "127.0.0.1:0",
        "identity": {"jwt_audience": [PEP]},
        "sockets": folder / "s",
        "custody": folder / "custody",
        "passphrase_file": folder / "passphrase",
        "ledger": "memory",
        "audience": HOME,
        "issuer": ISSUER,
        "issuer_key": folder / "issuer.key",
        "anchors": [{"jwk": jwk(ROOT_KEY), "iss": ISSUER}],
        "catalogue": catalogue,
        "callers": CALLERS,
        "agents": OWNED,
        "policy": "none",
        "roots_must_name": [],
        "drain": 0.1,
    } | changes


class Source:
    """A workload's own SVID and its domain's bundle, which a test renews."""

    def __init__(self, name: str, authority: DevAuthority) -> None:
        self.name, self.authority, self.version = name, authority, 0
        self.renew()

    def renew(self) -> None:
        self.version += 1
        one = self.authority
        leaf = one.leaf(self.name, ["localhost"])
        keys: Mapping[str, Any] = {str(key["kid"]): key for key in one.jwt_keys}
        bundle = TrustBundle(DOMAIN, one.authorities, keys)
        self.material = Material(from_der(leaf.certificate, leaf.key), {DOMAIN: bundle}, self.version)

    def current(self) -> Material:
        return self.material

    def close(self) -> None:
        """Nothing is followed."""


@dataclass
class Served:
    """A server on all of its listeners; `start` it, and `stop` it."""

    folder: Path
    custodian: Custodian = field(default_factory=Drawer)
    store: Store = field(default_factory=MemoryStore)
    changes: Mapping[str, Any] = field(default_factory=dict)
    domain: DevAuthority = field(default_factory=lambda: DevAuthority(DOMAIN, time.time, 3600))

    def __post_init__(self) -> None:
        told = ServeSettings(**configuration(self.folder, **self.changes))
        self.authority = compose(told, self.store, signer=ROOT_KEY, custodian=self.custodian)
        self.log = io.StringIO()
        self.source = Source(f"spiffe://{DOMAIN}/chain", self.domain)
        workloads = Channels(self.source, time.time, [PEP])
        self.server = ChainServer(self.authority, told, log=self.log, workloads=workloads)

    def on_socket(self, name: str) -> AsyncClient:
        return AsyncClient(f"unix:{self.server.sockets[name]}", timeout=20)

    def with_secret(self, name: str) -> AsyncClient:
        return AsyncClient(self.server.address, credential=secret(name), timeout=20)

    def with_token(self, name: str) -> AsyncClient:
        return AsyncClient(self.server.address, credential=self.domain.token(name, [PEP]), timeout=20)

    def over_tls(self, name: str, source: Source | None = None) -> AsyncClient:
        return AsyncClient(self.server.mtls_address, **self._shown(name, source))

    def plainly_over_tls(self, name: str) -> Client:
        return Client(self.server.mtls_address, **self._shown(name, None))

    def _shown(self, name: str, source: Source | None) -> dict[str, Any]:
        return {"identity": source or Source(name, self.domain), "server_name": "localhost", "timeout": 20}

    @property
    def roots(self) -> bytes:
        return b"".join(one.public_bytes(Encoding.PEM) for one in self.domain.authorities)

    def records(self, kind: str) -> list[Json]:
        return [decode(data).body for data, _ in self.store.records(kind=kind)]
