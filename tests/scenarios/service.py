"""The other door: the same scenarios through a real server over gRPC, each role by a credential of its own.

The issuer, the operator, an agent host and one enforcement point for each audience come with a secret; an agent whose
holder the channel is to prove comes over a socket of its own.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from chain import approval, mint
from chain.approval import Verdict
from chain.client import Client
from chain.errors import ChainError
from chain.key import PublicKey, Signer
from chain.ledger import Store
from chain.order import Issue, Revoke
from chain.principal import Principal
from chain.request import Request
from chain.service.compose import compose
from chain.service.credentials import fingerprint
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.state import MAX_LIFETIME
from tests.client.running import secret, serving
from tests.scenarios.door import CAUSE, MADE, Outcome, failed, made
from tests.scenarios.runner import IDP, IDP_KEY
from tests.support import CATALOGUE, HOME, ISSUER, PEP, ROOT_KEY, Clock, Entropy, Json, jwk, signer

ROLES = {"issuer": "issuer", "operator": "operator", "host": "agent", "approver": "approver"}
POINTS = {PEP: "point", "https://other.example": "other"}
AGENTS = ("alice", "bob")
"""Who ever uses a channel."""

PATIENT = 30.0
"""Seconds for one call; only a hang takes that long."""


class ServiceDoor:
    """A server, and a client for each caller that it knows."""

    def __init__(self, server: ChainServer, open_clients: ExitStack) -> None:
        """Connect; `open_clients` closes the connections."""

        def client(target: str, credential: str | None = None) -> Client:
            return open_clients.enter_context(Client(target, credential, timeout=PATIENT))

        named = {name: client(server.address, secret(name)) for name in (*ROLES, *POINTS.values())}
        self._issuer, self.operator, self._host, self._approver = (named[name] for name in ROLES)
        self.server = server
        self.points = {audience: named[name] for audience, name in POINTS.items()}
        self._own = {signer(name).key.thumbprint: client(f"unix:{path}") for name, path in server.sockets.items()}

    @property
    def audience(self) -> str:
        return self._host.audience()

    def enrol(self, key: PublicKey, principal: Principal) -> None:
        self.operator.enrol(key, principal)

    def issue(self, holder: PublicKey, grant: Json, lifetime: int | None, **facts: Any) -> Outcome:
        try:
            order = Issue(holder=holder, grant=mint.grant(grant), lifetime=lifetime, **facts)
            return MADE._replace(token=self._issuer.issue(order).token)
        except ChainError as error:
            return failed(error)

    def delegate(self, parent: Sequence[str], child: str, proof: str | None) -> Outcome:
        try:
            self._host.delegate(parent, child, proof)
        except ChainError as error:
            return failed(error)
        return MADE

    def check(self, tokens: Sequence[str] | bytes, call: Json) -> Outcome:
        """Ask; neither audience nor holder travels: who asks says them."""
        request = Request.model_validate(call)
        asker = self.points[request.audience or ""] if request.holder is None else self._own[request.holder]
        return Outcome.of(asker.check(tokens, request))

    def revoke(self, order: Revoke) -> Outcome:
        return made(lambda: self.operator.revoke(order))

    def policy(self, files: Mapping[str, str] | None) -> Outcome:
        return made(lambda: self.operator.policies.activate(files))

    def suspend(self, scope: str, name: str, mode: str, lifetime: int) -> Outcome:
        return made(lambda: self.operator.steering.suspend(scope, name, CAUSE, mode, lifetime))

    def resume(self, scope: str, name: str) -> Outcome:
        return made(lambda: self.operator.steering.resume(scope, name, CAUSE))

    def say(self, request: str, by: Signer, verdict: Verdict, now: float, emergency: str) -> Outcome:
        def answer() -> None:
            asked = self._approver.approvals.get(request)
            said = approval.word(
                asked, by, self.audience, verdict, now=now, emergency=bool(emergency), justification=emergency
            )
            self._approver.approvals.resolve(said, by.key)

        return made(answer)

    def signal(self, text: str) -> Outcome:
        return made(lambda: self.operator.steering.signal(text))


@contextmanager
def service(
    directory: Path, store: Store, clock: Clock, catalogue: Json | None = None, told: Json | None = None
) -> Iterator[ServiceDoor]:
    """A server that lives by the scenario's clock, and the door to it.

    Args:
        directory: for its files and sockets.
        store: its ledger; the server closes it.
        clock: the scenario's.
        catalogue: of tools, where it is not the usual one.
        told: settings that the scenario changes.
    """
    given = settings(directory, catalogue or CATALOGUE, told or {})

    def make() -> ChainServer:
        authority = compose(given, store, signer=ROOT_KEY, clock=clock, entropy=Entropy())
        return ChainServer(authority, given, log=io.StringIO(), clock=clock)

    with serving(make) as server, ExitStack() as open_clients:
        yield ServiceDoor(server, open_clients)


def settings(directory: Path, tools: Json, changes: Json) -> ServeSettings:
    """Nobody is enrolled and no policy is active: the scenarios do that."""
    callers: list[Json] = [
        {"name": name, "roles": [role], "credentials": [fingerprint(secret(name))]}
        | ({"audience": PEP} if role == "agent" else {})
        for name, role in ROLES.items()
    ]
    callers += [
        {"name": name, "roles": ["enforcement_point"], "credentials": [fingerprint(secret(name))], "audience": audience}
        for audience, name in POINTS.items()
    ]
    callers += [
        {"name": name, "roles": ["agent"], "audience": PEP, "jwk": jwk(signer(name)), "socket": True} for name in AGENTS
    ]
    catalogue = directory / "catalogue.json"
    catalogue.write_text(json.dumps(tools))
    issuer_key = directory / "issuer.json"
    issuer_key.touch(0o600)  # only named; the signer is here
    return ServeSettings.model_validate(
        {
            "listen": "127.0.0.1:0",
            "ledger": "memory",
            "audience": HOME,
            "issuer": ISSUER,
            "issuer_key": issuer_key,
            "anchors": [{"jwk": jwk(ROOT_KEY), "iss": ISSUER}],
            "sockets": directory / "sockets",
            "catalogue": catalogue,
            "policy": "none",
            "roots_must_name": [],
            "lifetimes": dict.fromkeys(("low", "moderate", "high", "critical"), MAX_LIFETIME),
            "signals": [{"jwk": jwk(IDP_KEY), "iss": IDP}],
            "callers": callers,
        }
        | changes
    )
