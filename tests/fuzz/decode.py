"""Feed the decoder what nobody would write: `python -m tests.fuzz.decode --seconds 60 --seed 1`.

Three ways in: the bytes of tokens and proofs as an attacker on the way would change them, payloads changed and then
signed by the right key as a hostile holder would, and JSON grown from nothing. Whatever goes in, a chain comes out
or an `InvalidTokenError` (a proof or a `ProofError`); and what is accepted carries the signing input that was signed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator

from chain import jws, mint, proof
from chain.base64url import b64encode
from chain.delegation import Delegation
from chain.errors import InvalidTokenError
from chain.key import Signer
from chain.proof import ProofError
from chain.token import Verifier
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    EXTENDED,
    NOW,
    PEP,
    ROOT_KEY,
    TOOLS,
    Json,
    child,
    digest,
    ec_signer,
    entry,
    honest,
    payload_of,
    root,
    rule,
    seal,
    text,
    verifier,
)

HOLDER = ec_signer("fuzz")
CHUNKS = [
    b"{}",
    b"[]",
    b"null",
    b"true",
    b"-0",
    b"1e400",
    b"1E5",
    b"9007199254740993",
    b"0.1",
    b'"\\ud800"',
    b'"\\u0000"',
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b'"jti":"x",',
    b'"alg":"none"',
    b'"crit":["x"],',
    b"[" * 600,
    b"]" * 600,
    b"{" * 50,
    b'"constraint_type":"any","constraints":[]',
    b'"d":"AA",',
    b'"kty":"RSA"',
    b"=",
    b".",
    b"..",
    b"\n",
    b"\x00",
    b"%2e%2e",
    b'"key_ops":["verify"],',
    b'"status":{},',
    b'"aud":[],',
    b'"limits":{},',
    b'"x5t#S256":"a",',
    b'"' + b"a" * 3_000 + b'"',
]


class BrokenLawError(AssertionError):
    """The decoder did what it never may."""


def seeds() -> list[tuple[list[str], list[Signer]]]:
    """Valid chains of every kind, each with the signers of its tokens."""
    limits: Json = {
        "classes": ["read", "act"],
        "classification": "internal",
        "purposes": ["travel"],
        "budget": {"calls": 3, "amount": {"value": "10.5", "currency": "EUR", "argument": "amount"}},
        "approval": [{"when": {"class": "act"}, "threshold": 1, "approvers": ["ann"]}],
    }
    rich = {
        "t": {
            "a": rule(
                "all", constraints=[rule("range", min=0, max=9.5), rule("not_one_of", excluded=[3, [1], {"a": 1}])]
            ),
            "b": rule("any", constraints=[rule("contains", required=["x"]), rule("subset", allowed=[True, None])]),
            "c": rule("path_containment", root="/data"),
            "d": rule("exact", value="é"),
        }
    }
    intent = {"digest": "d", "alg": "sha-256", "salt": "s"}
    first = seal(root(HOLDER, tools=TOOLS | rich, limits=limits, sub="alice", txn="t", aud=[PEP], intent=intent))
    second = seal(child(first, CAROL), HOLDER)
    foreign = seal(root(authorization_details=[{"type": "other", "x": [1]}, entry(TOOLS)], unknown={"a": [1]}))
    signers: list[Signer] = [ROOT_KEY, ALICE, BOB]
    return [
        (honest(), signers),
        ([first, second], [ROOT_KEY, HOLDER]),
        ([foreign], [ROOT_KEY]),
        ([seal(root(authorization_details=[entry(TOOLS, kind=EXTENDED)]))], [ROOT_KEY]),
    ]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Change bytes: flip, insert, delete, repeat, or move a piece."""
    raw = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        at = chance.randrange(len(raw) + 1)
        to = min(len(raw), at + chance.choice([0, 1, 1, 2, 8, 40]))
        match chance.randrange(6):
            case 0:
                raw[at:to] = bytes(chance.randrange(256) for _ in range(to - at))
            case 1:
                raw[at:to] = chance.choice(CHUNKS)
            case 2:
                del raw[at:to]
            case 3:
                raw[at:at] = raw[at:to]
            case 4:
                piece = raw[at:to]
                del raw[at:to]
                place = chance.randrange(len(raw) + 1)
                raw[place:place] = piece
            case _:
                if at < len(raw):
                    raw[at] ^= 1 << chance.randrange(8)
    return bytes(raw)


def grown(chance: random.Random, depth: int = 0) -> object:
    """JSON from nothing, out of the words of the format."""
    words = [
        "exact",
        "range",
        "all",
        "any",
        "value",
        "constraints",
        "jti",
        "",
        "0",
        "é",
        "constraint_type",
        "tools",
        "type",
    ]
    kind = chance.randrange(9 if depth < 5 else 6)
    if kind < 6:
        return [None, chance.random() < 0.5, chance.randrange(-3, 2**54), chance.random(), chance.choice(words), []][
            kind
        ]
    if kind == 6:
        return [grown(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(words): grown(chance, depth + 1) for _ in range(chance.randrange(5))}


def resigned(payload: Json, by: Signer, chance: random.Random) -> str:
    """A payload that a hostile holder changed, and signed."""
    if chance.random() < 0.5:
        place: object = payload
        while isinstance(place, dict) and place:
            name = chance.choice(sorted(place))
            if chance.random() < 0.4 or not isinstance(place[name], dict | list):
                place[name] = grown(chance)
                break
            place = place[name][0] if isinstance(place[name], list) and place[name] else place[name]
        raw = json.dumps(payload, separators=(",", ":"), ensure_ascii=chance.random() < 0.5).encode()
    else:
        raw = mutated(text(payload), chance)
    header = text({"alg": by.key.alg, "typ": "aat+jwt"})
    if chance.random() < 0.2:
        header = mutated(header, chance)
    signing_input = f"{b64encode(header)}.{b64encode(raw)}"
    return f"{signing_input}.{b64encode(by.sign(signing_input.encode()))}"


def cases(chance: random.Random) -> Iterator[str]:
    """One hostile thing after another, judged as it comes; yields the verdicts."""
    known = seeds()
    signed = {digest(token) for tokens, _ in known for token in tokens}
    warm = verifier()
    for tokens, _ in known:
        warm.verify(tokens)
    while True:
        tokens, signers = chance.choice(known)
        hop = chance.randrange(len(tokens))
        changed = list(tokens)
        way = chance.random()
        if way < 0.35:
            changed[hop] = mutated(tokens[hop].encode(), chance).decode("latin-1")
            verdict = judged(chance.choice([warm, verifier()]), changed)
            if verdict == "accepted" and not {digest(token) for token in changed} <= signed:
                raise BrokenLawError(f"accepted what nobody signed: {changed}")
        elif way < 0.8:
            changed[hop] = resigned(payload_of(tokens[hop]), signers[hop], chance)
            verdict = judged(verifier(), changed[: hop + 1])
            shown(changed[hop])
        elif way < 0.9:
            chance.shuffle(changed)
            verdict = judged(warm, changed[: chance.randrange(len(changed) + 1)])
            if verdict == "accepted" and changed != tokens and changed[0] != tokens[0]:
                raise BrokenLawError("accepted in another order")
        else:
            verdict = proven(chance)
        yield verdict


def judged(by: Verifier, tokens: list[str]) -> str:
    """Verify; anything but a chain or the one error breaks the law."""
    try:
        chain = by.verify(tokens)
    except InvalidTokenError as error:
        if len(str(error)) > 70_000:
            raise BrokenLawError(f"a refusal of {len(str(error))} characters") from None
        return error.reason.value
    above: Delegation | None = None
    for hop in chain.hops:
        if above is not None and not above.grant.covers(hop.grant):
            raise BrokenLawError(f"accepted more than was granted: {tokens}")
        above = hop
    return "accepted"


def shown(token: str) -> None:
    """Decode without trust, as `inspect` does."""
    try:
        mint.unverified(token)
    except InvalidTokenError:
        return


LEAF = mint.unverified(honest(1)[0])
PROOF = proof.make(ALICE, LEAF, "bank.pay", {"amount": 5, "é": [1.5]}, audience=PEP, jti="p", iat=NOW)


def proven(chance: random.Random) -> str:
    """Read a proof that was changed on the way, or signed over something odd."""
    if chance.random() < 0.5:
        text_ = mutated(PROOF.encode(), chance).decode("latin-1")
    else:
        text_ = jws.join({"typ": proof.PROOF_TYPE}, mutated(text(payload_of(PROOF)), chance), ALICE)
    try:
        claims = proof.read(text_, ALICE.key)
    except ProofError as error:
        return error.reason.value
    for _ in proof.faults(claims, LEAF, "bank.pay", b'{"amount":5}', audience=PEP, ctx=None, now=NOW):
        return "proof with faults"
    return "proof"


def run(seed: int, seconds: float, most: int | None = None) -> Counter[str]:
    """Fuzz until the time or the number of cases is up; the same seed gives the same cases."""
    verdicts: Counter[str] = Counter()
    until = time.monotonic() + seconds
    for count, verdict in enumerate(cases(random.Random(seed)), 1):
        verdicts[verdict] += 1
        if time.monotonic() > until or count == most:
            return verdicts
    return verdicts


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    verdicts = run(options.seed, options.seconds)
    sys.stdout.write(
        json.dumps(
            {"seed": options.seed, "cases": verdicts.total(), "verdicts": dict(verdicts.most_common())}, indent=1
        )
    )


if __name__ == "__main__":
    main()
