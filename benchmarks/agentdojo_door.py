"""A running Chain server behind the replay's door: real keys, signed tokens and proofs, gRPC, a SQLite ledger.

The server is a process of its own (`benchmarks.service_host`), spoken to over unix sockets by the real client. What the
agents do (mint, sign, prove), the call, and what the authority does (verify, decide, record; for a delegation, a write
or an act also wait for the disk) are all inside the replay's times.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from benchmarks.agentdojo_data import Call
from benchmarks.agentdojo_grants import Grant
from benchmarks.agentdojo_replay import Verdict
from benchmarks.service_host import AUTHORITY, PEP, server
from chain import mint, proof
from chain.catalog import Catalogue
from chain.client.sync import Client
from chain.delegation import Delegation
from chain.key import KeySigner
from chain.order import Issue
from chain.principal import Principal
from chain.request import Request

LIFETIME_S = 3_600


class Held(NamedTuple):
    """A chain on the wire, its leaf, and the key of who holds it."""

    tokens: tuple[str, ...]
    leaf: Delegation
    key: KeySigner


@contextmanager
def service(catalogue: Catalogue) -> Iterator[Service]:
    """Start a server on a ledger of its own, which goes when the block ends."""
    tools = catalogue.model_dump_json(by_alias=True)
    with server(_signer().key.to_json(), tools) as place, ExitStack() as stack:
        issuer, agent, pep = (stack.enter_context(Client(f"unix:{place[name]}")) for name in ("issuer", "agent", "pep"))
        yield Service(issuer, agent, pep)


class Service:
    """See `agentdojo_replay.Door`. Every agent has one key of its own, enrolled."""

    def __init__(self, issuer: Client, agent: Client, pep: Client) -> None:
        self._issuer = issuer
        self._agent = agent
        self._pep = pep
        self._keys: dict[str, KeySigner] = {}

    def issue(self, holder: str, grant: Grant, task: str) -> Held:
        """Issue a root that names the task."""
        key = self._key(holder)
        order = Issue(holder=key.key, grant=mint.grant(grant), lifetime=LIFETIME_S, task=task)
        return _held((), self._issuer.issue(order).token, key)

    def delegate(self, parent: Held, holder: str, grant: Grant) -> Held:
        """Sign a child with the parent holder's key, and have it admitted.

        Raises:
            ExcessError: it asks for more than the parent grants.
        """
        key, jti, now = self._key(holder), _jti(), int(time.time())
        claims = mint.child_claims(parent.leaf, mint.grant(grant), key.key, jti=jti, now=now, lifetime=LIFETIME_S)
        child = _held(parent.tokens, mint.derive(parent.leaf, claims, parent.key), key)
        proven = _proof(parent, proof.DELEGATE, {"child": child.leaf.id}, AUTHORITY)
        self._agent.delegate(parent.tokens, child.tokens[-1], proven)
        return child

    def check(self, held: Held, call: Call) -> Verdict:
        """Prove and ask."""
        arguments = dict(call.arguments)
        request = Request(tool=call.tool, arguments=arguments, proof=_proof(held, call.tool, arguments, PEP))
        decision = self._pep.check(held.tokens, request)
        return Verdict(allowed=decision.allowed, reason=decision.reason.value, hop=decision.hop)

    def _key(self, holder: str) -> KeySigner:
        if holder not in self._keys:
            key = self._keys[holder] = _signer()
            self._issuer.enrol(key.key, Principal(id=f"spiffe://bench.example/{holder}", owner="bench"))
        return self._keys[holder]


def _held(above: tuple[str, ...], text: str, key: KeySigner) -> Held:
    return Held((*above, text), mint.unverified(text), key)


def _proof(held: Held, tool: str, arguments: dict[str, object], audience: str) -> str:
    return proof.make(held.key, held.leaf, tool, arguments, audience=audience, jti=_jti(), iat=int(time.time()))


def _jti() -> str:
    return mint.uuid7(time.time(), secrets.token_bytes(10))


def _signer() -> KeySigner:
    return KeySigner.from_seed(secrets.token_bytes(32))
