"""Chains, proofs and questions for the judge; every key is made from a seed, and time stands still."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import msgspec

from chain import mint, proof, token
from chain.base64url import b64decode, b64encode
from chain.claims import Intent
from chain.delegation import Delegation
from chain.jws import join
from chain.key import KeySigner

NOW = 1_900_000_000
ISSUER = "https://issuer.example"
PEP = "https://pep.example"
INTENT = Intent(digest="c2FsdGVkIGhhc2g", alg="sha-256", salt="c2FsdA")
CATALOGUE = {"mail.read": {"class": "read", "classification": "internal"}, "bank.pay": "act", "note.write": "write"}
TOOLS: dict[str, Any] = {
    "mail.read": {"folder": {"constraint_type": "one_of", "values": ["in", "out"]}},
    "bank.pay": {"amount": {"constraint_type": "range", "max": 100}},
    "note.write": {},
}
PAY: dict[str, Any] = {"tools": {"bank.pay": {"amount": {"constraint_type": "range", "max": 50}}}}
LIMITS: dict[str, Any] = {"classes": ["read", "act"], "classification": "confidential", "purposes": ["travel"]}


def signer(seed: int) -> KeySigner:
    return KeySigner.from_seed(bytes([seed]) * 32)


ROOT, OTHER, A, B, C = (signer(seed) for seed in (1, 2, 3, 4, 5))


def root(grant: dict[str, Any] | None = None, holder: KeySigner = A, by: KeySigner = ROOT, **claims: object) -> str:
    """Sign a root; `claims` replace what would stand there."""
    made = mint.root_claims(
        mint.grant(grant or {"tools": TOOLS}), holder.key, issuer=ISSUER, jti="root", now=NOW - 60, lifetime=3600
    )
    if claims.keys() & {"aud", "sub", "owner", "txn", "intent"} and "authorization_details" not in claims:
        claims["authorization_details"] = (_extended(grant or {"tools": TOOLS}),)
    return token.sign(msgspec.structs.replace(made, **claims), by)


def _extended(grant: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(json.dumps({"type": "chain_agent_grant", **grant}, separators=(",", ":")).encode())


def child(
    parent: str,
    grant: dict[str, Any] | None = None,
    holder: KeySigner = B,
    by: KeySigner = A,
    **claims: object,
) -> str:
    """Sign a child without comparing it with its parent; `claims` replace what would stand there."""
    above = mint.unverified(parent)
    given = mint.grant(grant or PAY)
    jti = f"hop-{above.hop + 1}"
    made = mint.child_claims(above, given, holder.key, jti=jti, now=NOW - 30, lifetime=1800)
    return token.sign(msgspec.structs.replace(made, **claims), by)


def leaf(tokens: list[str]) -> Delegation:
    return mint.unverified(tokens[-1])


@dataclass
class Question:
    """A question whose proof is made when it is asked, unless it was given one."""

    tokens: list[str]
    by: KeySigner = B
    tool: str = "bank.pay"
    args: dict[str, Any] = field(default_factory=lambda: {"amount": 20})
    facts: dict[str, Any] = field(default_factory=dict)
    anchors: list[dict[str, Any]] = field(default_factory=lambda: [anchor()])
    audience: str | None = PEP
    proof: str | None = None
    proof_parts: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "tokens": self.tokens,
            "trust_anchors": self.anchors,
            "tool": self.tool,
            "args": self.args,
            "now": NOW,
            "catalogue": CATALOGUE,
            "proof": self.proof or self.made(),
        }
        if self.audience is not None:
            asked["audience"] = self.audience
        asked |= self.facts | self.extra
        return {name: value for name, value in asked.items() if value is not None}

    def made(self) -> str:
        parts: dict[str, Any] = {
            "tool": self.tool,
            "arguments": self.args,
            "audience": PEP,
            "jti": "proof-1",
            "iat": NOW,
            "facts": {name: self.facts[name] for name in ("purpose", "intent") if name in self.facts},
        }
        parts |= self.proof_parts
        return proof.make(self.by, parts.pop("leaf", None) or leaf(self.tokens), **parts)

    def text(self) -> bytes:
        return json.dumps(self.data(), separators=(",", ":")).encode()


def anchor(by: KeySigner = ROOT, issuer: str | None = ISSUER) -> dict[str, Any]:
    made: dict[str, Any] = {"jwk": json.loads(by.key.to_json())}
    return made if issuer is None else made | {"iss": issuer}


def plain() -> Question:
    """A chain of two plain hops, and a call that it permits."""
    top = root()
    return Question([top, child(top)])


def three() -> Question:
    """A chain of three hops."""
    top = root()
    middle = child(top, holder=B)
    tight = {"tools": {"bank.pay": {"amount": {"constraint_type": "range", "max": 30}}}}
    return Question([top, middle, child(middle, tight, holder=C, by=B)], by=C)


def rich() -> Question:
    """A chain with every limit that is enforced offline, and a call that meets them all."""
    top = root(
        {"tools": TOOLS, "limits": LIMITS},
        aud=(PEP, "https://other.example"),
        sub="alice",
        owner="team",
        txn="task-1",
        intent=INTENT,
    )
    grant = PAY | {"limits": {"classes": ["act"], "classification": "confidential", "purposes": ["travel.booking"]}}
    facts = {"purpose": "travel.booking.rail", "intent": INTENT.digest, "classification": "internal"}
    return Question([top, child(top, grant, aud=(PEP,))], facts=facts)


def stranger(question: Question) -> Question:
    """The same as a plain AAT-01 stranger asks: no `typ`, no `ath`, no audience in the proof."""
    last = leaf(question.tokens)
    claims = {
        "aat_id": last.claims.jti,
        "aat_tool": question.tool,
        "hta": question.args,
        "iat": NOW,
        "jti": "proof-1",
    }
    question.proof = join({}, json.dumps(claims).encode(), question.by)
    question.extra["profile"] = "aat-01"
    question.audience = None
    return question


def flipped(text: str, place: int) -> str:
    """Change one character of a token, to another that base64url allows."""
    old = text[place]
    return text[:place] + ("A" if old != "A" else "B") + text[place + 1 :]


def edited(text: str, old: bytes, new: bytes) -> str:
    """Change a token's payload under its old signature."""
    header, payload, signature = text.split(".")
    plain = b64decode(payload.encode())
    assert plain.count(old) == 1
    return f"{header}.{b64encode(plain.replace(old, new))}.{signature}"
