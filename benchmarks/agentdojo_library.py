"""An authority in this process behind the replay's door: real keys, signed tokens and proofs, a SQLite ledger.

What the agents do (mint, sign, prove) and what the authority does (verify, decide, record, and for a delegation, a
write or an act wait for the disk) are both inside the replay's times; gRPC is not.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from benchmarks.agentdojo_data import Call
from benchmarks.agentdojo_grants import Grant
from benchmarks.agentdojo_replay import Verdict
from chain import mint, proof
from chain.anchor import TrustAnchor
from chain.authority import Authority
from chain.caller import embedded
from chain.catalog import Catalogue
from chain.change import Issue
from chain.delegation import Delegation
from chain.key import KeySigner
from chain.principal import Principal
from chain.request import Request
from chain.store.sqlite import SqliteStore
from chain.token import Verifier

ISSUER = "https://human.example"
AUDIENCE = "https://tools.example"
LIFETIME_S = 3_600


class Held(NamedTuple):
    """A chain on the wire, its leaf, and the key of who holds it."""

    tokens: tuple[str, ...]
    leaf: Delegation
    key: KeySigner


@contextmanager
def library(catalogue: Catalogue) -> Iterator[Library]:
    """Open an authority on a ledger of its own, which goes when the block ends."""
    signer = _signer()
    with tempfile.TemporaryDirectory(prefix="chain-agentdojo-") as folder:
        authority = Authority(
            SqliteStore(folder),
            Verifier([TrustAnchor(signer.key, ISSUER)]),
            clock=time.time,
            entropy=secrets.token_bytes,
            audience=AUDIENCE,
            signer=signer,
            issuer=ISSUER,
            catalogue=catalogue,
        )
        try:
            yield Library(authority)
        finally:
            authority.close()


class Library:
    """See `agentdojo_replay.Door`. Every agent has one key of its own, enrolled."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._caller = embedded(AUDIENCE)
        self._keys: dict[str, KeySigner] = {}

    def issue(self, holder: str, grant: Grant, task: str) -> Held:
        """Issue a root that names the task."""
        key = self._key(holder)
        order = Issue(holder=key.key, grant=mint.grant(grant), lifetime=LIFETIME_S, task=task)
        return _held((), self._authority.issue(self._caller, order).token, key)

    def delegate(self, parent: Held, holder: str, grant: Grant) -> Held:
        """Sign a child with the parent holder's key, and have it admitted.

        Raises:
            ExcessError: it asks for more than the parent grants.
        """
        key, jti, now = self._key(holder), _jti(), int(time.time())
        claims = mint.child_claims(parent.leaf, mint.grant(grant), key.key, jti=jti, now=now, lifetime=LIFETIME_S)
        child = _held(parent.tokens, mint.derive(parent.leaf, claims, parent.key), key)
        proven = _proof(parent, proof.DELEGATE, {"child": child.leaf.id})
        self._authority.delegate(self._caller, parent.tokens, child.tokens[-1], proven)
        return child

    def check(self, held: Held, call: Call) -> Verdict:
        """Prove and ask."""
        arguments = dict(call.arguments)
        proven = _proof(held, call.tool, arguments)
        request = Request(tool=call.tool, arguments=arguments, audience=AUDIENCE, proof=proven)
        decision = self._authority.check(self._caller, held.tokens, request)
        return Verdict(allowed=decision.allowed, reason=decision.reason.value, hop=decision.hop)

    def _key(self, holder: str) -> KeySigner:
        if holder not in self._keys:
            key = self._keys[holder] = _signer()
            principal = Principal(id=f"spiffe://bench.example/{holder}", owner="bench")
            self._authority.enrol(self._caller, key.key, principal)
        return self._keys[holder]


def _held(above: tuple[str, ...], text: str, key: KeySigner) -> Held:
    return Held((*above, text), mint.unverified(text), key)


def _proof(held: Held, tool: str, arguments: dict[str, object]) -> str:
    return proof.make(held.key, held.leaf, tool, arguments, audience=AUDIENCE, jti=_jti(), iat=int(time.time()))


def _jti() -> str:
    return mint.uuid7(time.time(), secrets.token_bytes(10))


def _signer() -> KeySigner:
    return KeySigner.from_seed(secrets.token_bytes(32))
