"""Who signed it: anchors, algorithms, keys, bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chain.anchor import Ceiling, TrustAnchor
from chain.base64url import b64decode, b64encode
from chain.key import THUMBPRINT_URI
from chain.order import Revoke
from chain.reason import Reason
from chain.token import Verifier
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    ISSUER,
    MALLORY,
    ROOT_KEY,
    TOOLS,
    World,
    child,
    digest,
    ec_signer,
    entry,
    forge,
    honest,
    jwk,
    mac,
    payload_of,
    root,
    seal,
    text,
)


def test_untrusted_root(world: World) -> None:
    world.refused(Reason.ANCHOR_UNKNOWN, 0, [seal(root(), MALLORY)], ALICE)
    assert world.authority.garbage == 2
    world.allowed([seal(root())], ALICE)


def test_anchor_minting_for_another_issuer() -> None:
    anchors = [TrustAnchor(ROOT_KEY.key, ISSUER), TrustAnchor(MALLORY.key, "https://b.example")]
    world = World(verifier=Verifier(anchors))
    for header in ({"typ": "aat+jwt"}, {"typ": "aat+jwt", "kid": MALLORY.key.thumbprint}):
        world.refused(Reason.ISSUER_MISMATCH, 0, [seal(root(), MALLORY, header)], ALICE)
    world.allowed([seal(root(iss="https://b.example"), MALLORY)], ALICE)


def test_wrong_delegator(world: World) -> None:
    first = seal(root())
    world.refused(Reason.SIGNATURE_INVALID, 1, [first, seal(child(first), MALLORY)])
    named = THUMBPRINT_URI + MALLORY.key.thumbprint
    world.refused(Reason.DELEGATOR_MISMATCH, 1, [first, seal(child(first, iss=named), ALICE)])
    world.allowed([first, seal(child(first), ALICE)], BOB)


@pytest.mark.parametrize("hop", range(3))
@pytest.mark.parametrize("part", range(3))
def test_changed_byte(world: World, hop: int, part: int) -> None:
    tokens = honest()
    world.allowed(tokens, CAROL)
    parts = tokens[hop].split(".")
    raw = bytearray(b64decode(parts[part].encode()))
    if part == 0:
        raw[:] = text({"alg": "EdDSA", "typ": "aat+jwt", "x": 1})  # still a header that is accepted
    elif part == 1:
        raw = bytearray(bytes(raw).replace(b'"exp":1800000600', b'"exp":1800000599'))
    else:
        raw[40] ^= 1
    parts[part] = b64encode(bytes(raw))
    edited = [*tokens[:hop], ".".join(parts), *tokens[hop + 1 :]]
    assert edited != tokens
    world.refused(Reason.ANCHOR_UNKNOWN if hop == 0 else Reason.SIGNATURE_INVALID, hop, edited, CAROL)
    world.allowed(tokens, CAROL)


def test_transplanted_signature(world: World) -> None:
    first = seal(root())
    narrow = seal(child(first, tools={"mail.read": TOOLS["mail.read"]}), ALICE)
    wide = seal(child(first, jti="wide"), MALLORY)
    transplanted = wide.rpartition(".")[0] + "." + narrow.rpartition(".")[2]
    world.refused(Reason.SIGNATURE_INVALID, 1, [first, transplanted])
    world.allowed([first, narrow], BOB)


def test_algorithm_none(world: World) -> None:
    first = seal(root())
    for name in ("none", "None", "NONE", ""):
        unsigned = forge({"alg": name, "typ": "aat+jwt"}, root(), b"")
        world.refused(Reason.ALGORITHM_REFUSED, 0, [unsigned], ALICE)
        unsigned = forge({"alg": name, "typ": "aat+jwt"}, child(first), b"")
        world.refused(Reason.ALGORITHM_REFUSED, 1, [first, unsigned])
    world.allowed([first, seal(child(first), ALICE)], BOB)


@pytest.mark.parametrize("name", ["HS256", "HS512"])
def test_hmac_with_the_public_key(world: World, name: str) -> None:
    first = seal(root())
    for key, payload, above in ((ROOT_KEY, root(), []), (ALICE, child(first), [first])):
        secrets = [key.key.raw, b64encode(key.key.raw).encode(), key.key.to_json().encode()]
        for secret in secrets:
            unsigned = forge({"alg": name, "typ": "aat+jwt"}, payload, b"").encode()[:-1]
            forged = (unsigned + b"." + b64encode(mac(unsigned, secret)).encode()).decode()
            world.refused(Reason.ALGORITHM_REFUSED, len(above), [*above, forged], ALICE)
    world.allowed([first], ALICE)


def test_key_type_mismatch(world: World) -> None:
    holder = ec_signer("holder")
    first = seal(root(holder))
    good = seal(child(first), holder)
    world.allowed([first, good], BOB, "mail.read")
    signature = b64decode(good.rpartition(".")[2].encode())
    world.refused(
        Reason.ALGORITHM_REFUSED, 1, [first, forge({"alg": "EdDSA", "typ": "aat+jwt"}, payload_of(good), signature)]
    )
    world.refused(Reason.ALGORITHM_REFUSED, 0, [forge({"alg": "ES256", "typ": "aat+jwt"}, root(), bytes(64))], ALICE)
    for wrong in (jwk(ALICE) | {"crv": "P-256"}, jwk(ALICE) | {"kty": "EC"}, jwk(ALICE) | {"alg": "ES256"}):
        world.refused(Reason.KEY_INVALID, 0, [seal(root(cnf={"jwk": wrong}))], ALICE)


SMALL_ORDER = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("point", SMALL_ORDER)
@pytest.mark.parametrize("sign", [0, 0x80])
def test_small_order_key(world: World, point: str, sign: int) -> None:
    raw = bytearray.fromhex(point)
    raw[31] |= sign
    weak = {"kty": "OKP", "crv": "Ed25519", "x": b64encode(bytes(raw))}
    world.refused(Reason.KEY_INVALID, 0, [seal(root(cnf={"jwk": weak}))], ALICE)
    world.allowed([seal(root())], ALICE)


def test_four_spellings_of_one_jwk(world: World) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    good = jwk(ALICE)
    last = alphabet.index(good["x"][-1])
    spellings = {good["x"][:-1] + alphabet[last | bits] for bits in range(4)}
    assert len(spellings) == 4
    for x in [*(spellings - {good["x"]}), good["x"] + "=", good["x"] + "\n", " " + good["x"]]:
        world.refused(Reason.KEY_INVALID, 0, [seal(root(cnf={"jwk": good | {"x": x}}))], ALICE)
    world.allowed([seal(root())], ALICE)


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_private_member_in_a_key(world: World, member: str) -> None:
    values: list[Any] = ["AAAA", None, {}, 1]
    for value in values:
        private = root(cnf={"jwk": jwk(ALICE) | {member: value}})
        world.refused(Reason.KEY_INVALID, 0, [seal(private)], ALICE)
    world.allowed([seal(root(cnf={"jwk": jwk(ALICE) | {"kid": "a", "key_ops": ["verify"], "use": "sig"}}))], ALICE)


def test_es256_second_identity(world: World) -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    holder = ec_signer("holder")
    first = seal(root(holder, tools={"mail.read": {}}))
    good = seal(child(first), holder)
    signature = b64decode(good.rpartition(".")[2].encode())
    flipped = signature[:32] + (order - int.from_bytes(signature[32:])).to_bytes(32)
    twin = good.rpartition(".")[0] + "." + b64encode(flipped)
    assert world.accepted([first, good]).digests == world.accepted([first, twin]).digests
    request = world.request([first, good], BOB)
    assert world.authority.check(world.caller, [first, good], request).allowed
    again = world.authority.check(world.caller, [first, twin], request)
    assert (again.allowed, again.reason, again.hop) == (False, Reason.REPLAY, 1)
    world.authority.revoke(world.caller, Revoke(digest(twin)))
    world.denied(Reason.REVOKED, 1, [first, good], BOB)
    world.denied(Reason.REVOKED, 1, [first, twin], BOB)


def test_duplicate_json_keys(world: World) -> None:
    good = text(root())
    for twice in (
        good[:-1] + b',"jti":"root"}',
        good[:-1] + b',"j\\u0074i":"root"}',
        good.replace(b'"kty":"OKP"', b'"kty":"OKP","kty":"OKP"'),
        good.replace(b'"max":100', b'"max":100,"max":100'),
        good[:-1] + b',"status":{"a":1,"a":2}}',
        good[:-1] + b',"unknown":{"a":1,"a":2}}',
        good.replace(b'[{"type"', b'[{"type":"other","a":1,"a":1},{"type"'),
    ):
        world.refused(Reason.CLAIM_INVALID, 0, [seal(twice)], ALICE)
    header = b'{"alg":"EdDSA","typ":"aat+jwt","typ":"aat+jwt"}'
    signing_input = f"{b64encode(header)}.{b64encode(good)}"
    doubled = f"{signing_input}.{b64encode(ROOT_KEY.sign(signing_input.encode()))}"
    world.refused(Reason.TOKEN_MALFORMED, 0, [doubled], ALICE)
    world.allowed([seal(good)], ALICE)
    world.allowed([seal(text(root(jti="two"))[:-1] + b',"unknown":{"a":1,"b":2}}')], ALICE)


def test_subject_of_another_anchor() -> None:
    ceiling = Ceiling(subjects=frozenset({"alice"}))
    world = World(verifier=Verifier([TrustAnchor(ROOT_KEY.key, ISSUER, ceiling)]))
    extended = [entry(TOOLS, kind="chain_agent_grant")]
    for claims in (
        root(sub="bob", authorization_details=extended),
        root(authorization_details=extended),
        root(sub="alice"),  # in a plain token `sub` means nothing, so it names nobody
    ):
        world.refused(Reason.ANCHOR_EXCEEDED, 0, [seal(claims)], ALICE)
    world.allowed([seal(root(sub="alice", authorization_details=extended))], ALICE)


def test_critical_header(world: World) -> None:
    for header in ({"typ": "aat+jwt", "crit": ["exp"], "exp": 1}, {"typ": "aat+jwt", "crit": []}, {"typ": "JWT"}):
        world.refused(Reason.HEADER_UNSUPPORTED, 0, [seal(root(), header=header)], ALICE)
    for typ in ("AAT+JWT", "aat-pop+jwt", "application/aat+jwt", ""):
        world.refused(Reason.HEADER_UNSUPPORTED, 0, [seal(root(), header={"typ": typ})], ALICE)
    world.allowed([seal(root(), header={"typ": "aat+jwt", "x": 1})], ALICE)
    world.allowed([seal(root(jti="untyped"), header={})], ALICE)


def test_malleable_text(world: World) -> None:
    good = seal(root())
    header, payload, signature = good.split(".")
    for text_ in (
        good + "=",
        good + "\n",
        good + ".",
        " " + good,
        f"{header}=.{payload}.{signature}",
        f"{header}.{payload}.{signature[:-1]}{'h' if signature[-1] != 'h' else 'i'}",
        f"{header}.{payload}",
        good.replace("-", "+", 1) if "-" in good else good + "+",
        json.dumps(good),
        "",
        "..",
    ):
        decision = world.ask([text_], ALICE, holder=ALICE.key.thumbprint)
        assert not decision.allowed
        assert decision.reason in (Reason.TOKEN_MALFORMED, Reason.ANCHOR_UNKNOWN), text_
        assert decision.hop == 0
    world.allowed([good], ALICE)
