"""Builders for the tests: keys, tokens as plain JSON, proofs, and a whole authority over a clock that is told."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import islice, pairwise
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from chain import jws, mint, proof
from chain.anchor import TrustAnchor
from chain.authority import Authority
from chain.base64url import b64decode, b64encode
from chain.caller import Caller, embedded
from chain.catalog import Catalogue
from chain.custody import Custodian
from chain.decision import Decision, Effect
from chain.delegation import Chain
from chain.errors import InvalidTokenError
from chain.key import THUMBPRINT_URI, KeySigner, Signer
from chain.keyring import KeyRing
from chain.ledger import Store
from chain.pace import Breaker
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.signal import Transmitter
from chain.state import Settings
from chain.store.memory import MemoryStore
from chain.token import Rules, Verifier

Json = dict[str, Any]

NOW = 1_800_000_000
ISSUER = "https://issuer.example"
HOME = "https://chain.example"
PEP = "https://pep.example"
PLAIN = "attenuating_agent_token"
EXTENDED = "chain_agent_grant"

CATALOGUE = {
    "mail.read": {"class": "read", "classification": "internal"},
    "mail.send": {"class": "write", "classification": "internal"},
    "bank.pay": {"class": "act", "classification": "internal"},
}
FOLDERS = {"constraint_type": "one_of", "values": ["in", "out"]}
UP_TO_100 = {"constraint_type": "range", "max": 100}
TOOLS: Json = {"mail.read": {"folder": FOLDERS}, "bank.pay": {"amount": UP_TO_100}}


GATE = embedded(PEP)
"""The program that embeds the authority, and the enforcement point that it is."""


def signer(name: str) -> KeySigner:
    """The same Ed25519 key for the same name."""
    return KeySigner.from_seed(sha256(name.encode()).digest())


def ec_signer(name: str) -> KeySigner:
    """The same P-256 key for the same name."""
    return KeySigner(ec.derive_private_key(int.from_bytes(sha256(name.encode()).digest()), ec.SECP256R1()))


ROOT_KEY, ALICE, BOB, CAROL, MALLORY = map(signer, ("issuer", "alice", "bob", "carol", "mallory"))
HOLDERS = (ALICE, BOB, CAROL)


def rule(kind: str, **members: object) -> Json:
    return {"constraint_type": kind, **members}


def entry(tools: Json, limits: Json | None = None, kind: str | None = None) -> Json:
    made: Json = {"type": kind or (EXTENDED if limits else PLAIN), "tools": tools}
    return made | ({"limits": limits} if limits else {})


def root(holder: Signer = ALICE, tools: Json = TOOLS, limits: Json | None = None, **changed: Any) -> Json:
    """The payload of a root; a changed claim that is None is left out."""
    payload = {
        "iss": ISSUER,
        "iat": NOW - 10,
        "exp": NOW + 600,
        "cnf": {"jwk": jwk(holder)},
        "del_depth": 0,
        "del_max_depth": 8,
        "authorization_details": [entry(tools, limits)],
    }
    return _changed(payload, changed)


def child(
    parent: str, holder: Signer = BOB, tools: Json | None = None, limits: Json | None = None, **changed: Any
) -> Json:
    """The payload of a child that asks for exactly what its parent has, but for what is changed."""
    above = payload_of(parent)
    details = above["authorization_details"]
    if tools is not None or limits is not None:
        was = details[0]
        limits = was.get("limits") if limits is None else limits
        kind = EXTENDED if limits else was["type"]
        details = [entry(was["tools"] if tools is None else tools, limits, kind)]
    depth = above["del_depth"] + 1
    payload = {
        "iss": THUMBPRINT_URI + thumbprint(above["cnf"]["jwk"]),
        "iat": above["iat"],
        "exp": above["exp"],
        "cnf": {"jwk": jwk(holder)},
        "del_depth": depth,
        "del_max_depth": above["del_max_depth"],
        "authorization_details": details,
        "par_hash": digest_of(parent),
    }
    if "aud" in above:
        payload["aud"] = above["aud"]
    return _changed(payload, changed)


def _changed(payload: Json, changed: Mapping[str, object]) -> Json:
    """Apply what a test changes; the jti, unless named, follows from all the rest."""
    made = {name: value for name, value in (payload | dict(changed)).items() if value is not None}
    return {"jti": sha256(text(made)).hexdigest()[:32]} | made


def jwk(key: Signer) -> Json:
    made: Json = json.loads(key.key.to_json())
    return made


def thumbprint(value: Json) -> str:
    """RFC 7638, written out."""
    required = {name: value[name] for name in ("crv", "kty", "x", "y") if name in value}
    return b64encode(sha256(json.dumps(required, sort_keys=True, separators=(",", ":")).encode()).digest())


def text(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def seal(payload: Json | bytes, by: Signer = ROOT_KEY, header: Json | None = None) -> str:
    """Sign a payload as it is, whatever it says."""
    raw = payload if isinstance(payload, bytes) else text(payload)
    return jws.join({"typ": "aat+jwt"} if header is None else header, raw, by)


def forge(header: Json | bytes, payload: Json | bytes, signature: bytes) -> str:
    """Frame a token by hand."""
    parts = (part if isinstance(part, bytes) else text(part) for part in (header, payload))
    return ".".join([*map(b64encode, parts), b64encode(signature)])


def chain_of(*payloads: Callable[[str], Json], first: Json | None = None, by: Sequence[Signer] = ()) -> list[str]:
    """Seal a root and then what each function makes of the token before; by the holders in order."""
    tokens = [seal(root() if first is None else first)]
    for made, key in zip(payloads, by or HOLDERS, strict=False):
        tokens.append(seal(made(tokens[-1]), key))
    return tokens


def honest(hops: int = 3, first: Json | None = None) -> list[str]:
    """A root for Alice, who delegates to Bob, who delegates to Carol."""
    tokens = [seal(root() if first is None else first)]
    for by, to in islice(pairwise(HOLDERS), hops - 1):
        tokens.append(seal(child(tokens[-1], to), by))
    return tokens


def payload_of(token: str) -> Json:
    made: Json = json.loads(b64decode(token.split(".")[1].encode()))
    return made


def digest_of(token: str) -> str:
    return b64encode(digest(token))


def digest(token: str) -> bytes:
    return sha256(token.rpartition(".")[0].encode()).digest()


def mac(signing_input: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, signing_input, "sha256")


class Clock:
    """A clock that goes where it is told."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Entropy:
    """Bytes that never repeat and are the same in every run."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, size: int) -> bytes:
        self.count += 1
        return sha256(str(self.count).encode()).digest()[:size]


def verifier(**rules: Any) -> Verifier:
    return Verifier([TrustAnchor(ROOT_KEY.key, ISSUER)], Rules(**rules))


@dataclass
class World:
    """An authority with everything around it."""

    store: Store = field(default_factory=MemoryStore)
    clock: Clock = field(default_factory=Clock)
    entropy: Entropy = field(default_factory=Entropy)
    verifier: Verifier = field(default_factory=verifier)
    settings: Settings | None = None
    enrolled: Iterable[KeySigner] = (ROOT_KEY, *HOLDERS)
    caller: Caller = GATE
    signer: Signer | None = ROOT_KEY
    ring: KeyRing | None = None
    catalogue: Json = field(default_factory=lambda: CATALOGUE)
    breaker: Breaker | None = None
    transmitters: Sequence[Transmitter] = ()
    custodian: Custodian | None = None
    accountable: bool = False
    """Whether roots have to name their owner, purposes and task here; most worlds issue plain ones."""

    def __post_init__(self) -> None:
        self.authority = self.open()
        self.nonces = 0
        for place, key in enumerate(self.enrolled):
            principal = Principal(id=f"spiffe://example.org/agent/{place}", owner="team")
            self.authority.enrol(self.caller, key.key, principal)

    def open(self, *, resume: bool = False, steady: Clock | None = None) -> Authority:
        """An authority over the store as it is: what a restart gives."""
        rules = self.verifier.rules
        told = self.settings or Settings(profile=rules.profile, labels=rules.labels)
        return Authority(
            self.store,
            self.verifier,
            clock=self.clock,
            entropy=self.entropy,
            audience=HOME,
            signer=self.signer,
            ring=self.ring,
            issuer=ISSUER,
            catalogue=Catalogue.model_validate(self.catalogue),
            settings=told if self.accountable else replace(told, roots_must_name=frozenset()),
            steady=steady,
            resume=resume,
            breaker=self.breaker,
            transmitters=self.transmitters,
            custodian=self.custodian,
        )

    def proof(
        self,
        token: str,
        by: Signer,
        tool: str = "mail.read",
        arguments: Json | None = None,
        audience: str = PEP,
        **other: Any,
    ) -> str:
        """A proof with a fresh jti, unless one is named."""
        self.nonces += 1
        made: Json = {"jti": f"proof-{self.nonces}", "iat": int(self.clock.now)} | other
        leaf = mint.unverified(token)
        return proof.make(by, leaf, tool, _arguments(tool, arguments), audience=audience, **made)

    def request(
        self, tokens: Sequence[str], by: Signer, tool: str = "mail.read", arguments: Json | None = None, **facts: Any
    ) -> Request:
        """A request with its proof, or with the proof named."""
        arguments = _arguments(tool, arguments)
        if "proof" not in facts and "holder" not in facts:
            stated = {name: facts[name] for name in ("purpose", "intent", "labels") if name in facts}
            facts["proof"] = self.proof(tokens[-1], by, tool, arguments, facts=stated)
        return Request(tool=tool, arguments=arguments, **({"audience": PEP} | facts))

    def ask(self, tokens: Sequence[str], by: Signer, *args: Any, **facts: Any) -> Decision:
        return self.authority.check(self.caller, tokens, self.request(tokens, by, *args, **facts))

    def allowed(self, tokens: Sequence[str], by: Signer, *args: Any, **facts: Any) -> Decision:
        """Ask, and see it allowed."""
        decision = self.ask(tokens, by, *args, **facts)
        assert (decision.effect, decision.reason, decision.hop) == (Effect.ALLOW, Reason.ALLOWED, None), str(decision)
        return decision

    def denied(
        self, reason: Reason, hop: int | None, tokens: Sequence[str], by: Signer, *args: Any, **facts: Any
    ) -> Decision:
        """Ask, and see it denied for this reason at this hop."""
        decision = self.ask(tokens, by, *args, **facts)
        assert (decision.effect, decision.reason, decision.hop) == (Effect.DENY, reason, hop), str(decision)
        return decision

    def refused(self, reason: Reason, hop: int | None, tokens: Sequence[str], by: Signer = BOB) -> InvalidTokenError:
        """See that these tokens are no chain: for a fresh verifier, and for the authority, twice."""
        with pytest.raises(InvalidTokenError) as raised:
            self.fresh().verify(tokens)
        assert (raised.value.reason, raised.value.hop) == (reason, hop), str(raised.value)
        request = Request(tool="mail.read", arguments={"folder": "in"}, audience=PEP, holder=by.key.thumbprint)
        for _ in range(2):
            decision = self.authority.check(self.caller, tokens, request)
            assert (decision.effect, decision.reason, decision.hop) == (Effect.DENY, reason, hop), str(decision)
        return raised.value

    def accepted(self, tokens: Sequence[str]) -> Chain:
        """See that these tokens are a chain."""
        return self.fresh().verify(tokens)

    def fresh(self) -> Verifier:
        """A verifier with the same anchors and rules that remembers nothing."""
        return Verifier(self.verifier.anchors, self.verifier.rules)


def _arguments(tool: str, arguments: Json | None) -> Json:
    if arguments is not None:
        return arguments
    return {"folder": "in"} if tool == "mail.read" else {"amount": 5}
