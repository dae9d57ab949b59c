"""JSON, keys, grants, principals, anchors: what each file refuses, and what it says of what it takes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from chain import claims as wire
from chain import jcs
from chain.anchor import Ceiling, TrustAnchor
from chain.catalog import UNKNOWN, Catalogue
from chain.claims import ConstraintError
from chain.constraint import Wildcard, _Composite, _Values
from chain.containment import Constraint, Containment, Profile, brief
from chain.errors import ConfigurationError, InvalidRequestError, InvalidTokenError, StoreError
from chain.grant import Grant
from chain.key import KeyRefusedError, KeySigner, PublicKey
from chain.ledger import Record, decode, encode, envelope
from chain.mint import grant
from chain.principal import Principal
from chain.reason import Reason
from chain.state import Settings
from chain.token import Verifier
from tests.support import (
    ALICE,
    BOB,
    EXTENDED,
    ISSUER,
    MALLORY,
    NOW,
    ROOT_KEY,
    TOOLS,
    Json,
    World,
    child,
    ec_signer,
    entry,
    jwk,
    root,
    rule,
    seal,
    text,
    verifier,
)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({1: 2}, "member name"),
        ({"a": {None: 2}}, "member name"),
        (object(), "object is not"),
        ([b"x"], "bytes is not"),
        ({"a": {1}}, "set is not"),
        (float("-inf"), "finite"),
        (-(2**53), "2\\^53"),
        ({"\udfff": 1}, "surrogates"),
        (["\ud800"], "surrogates"),
    ],
)
def test_what_is_not_json(value: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        jcs.dumps(value)
    with pytest.raises(ValueError, match=why):
        jcs.check(value)


def test_nesting_of_a_value() -> None:
    deep: Any = 1
    for _ in range(jcs.MAX_NESTING):
        deep = [deep]
    assert jcs.loads(jcs.dumps(deep)) == deep
    with pytest.raises(ValueError, match="nested deeper"):
        jcs.dumps([deep])
    with pytest.raises(ValueError, match="nested"):
        jcs.loads(b"[" * 33 + b"]" * 33)
    with pytest.raises(ValueError, match="strict JSON"):
        jcs.loads(b"[" * 9_000 + b"]" * 9_000)
    with pytest.raises(ValueError, match="too deeply"):
        jcs.refuse_duplicates(b"[" * 90_000 + b"]" * 90_000)
    assert [jcs.size(value) for value in (1, [], [1, [2]], {"a": [1], "b": 2}, (1, 2))] == [1, 1, 4, 4, 3]


@pytest.mark.parametrize("data", [b'{"a":1,"a":1}', b'{"a":{"b":1,"\\u0062":2}}', b"1 2", b"", b"\xff", b"NaN", b"01"])
def test_json_that_is_not_strict(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"strict|duplicate|utf-8"):
        jcs.loads(data)
    assert jcs.loads(b' {"a": 1.0} ') == {"a": 1}
    assert jcs.loads('{"a":1}') == {"a": 1}


def test_a_payload_nested_too_deeply() -> None:
    good = text(root())
    for bomb in (b'"x":' + b"[" * 9_000 + b"]" * 9_000, b'"x":' + b'{"a":' * 9_000 + b"1" + b"}" * 9_000):
        with pytest.raises(ValueError, match="too deeply"):
            wire.decode(good[:-1] + b"," + bomb + b"}")
    with pytest.raises(ConstraintError):
        wire.decode(good.replace(b'"range"', b'"glob"'))
    claims, found = wire.decode(b" " + good)
    assert (claims.del_depth, found is not None) == (0, True)


def test_keys() -> None:
    with pytest.raises(KeyRefusedError, match="P-256"):
        KeySigner(ec.generate_private_key(ec.SECP384R1()))
    for key in (ALICE, ec_signer("x")):
        again = PublicKey.from_json(key.key.to_json().encode())
        assert again == key.key
        assert hash(again) == hash(key.key)
        assert again != BOB.key
        assert again != key.key.raw
        assert key.key.thumbprint in repr(key)
        assert key.key.alg in repr(again)
        assert not again.verify(b"short", b"data")
        assert again.verify(key.sign(b"data"), b"data")
        assert not again.verify(key.sign(b"data"), b"date")
        with pytest.raises(KeyRefusedError, match="private"):
            PublicKey.from_json(json.dumps(jwk(key) | {"d": "AA"}))
    for wrong in (
        '{"kty":"OKP","kty":"OKP","crv":"Ed25519","x":"AA"}',
        "{}",
        "x",
        json.dumps(jwk(ALICE) | {"x": "AA"}),
        json.dumps(jwk(ALICE) | {"x": "!!"}),
        json.dumps(jwk(ALICE) | {"y": "AA"}),
        json.dumps(jwk(ALICE) | {"use": "enc"}),
        json.dumps(jwk(ALICE) | {"key_ops": ["sign"]}),
        json.dumps(jwk(ec_signer("x")) | {"y": jwk(ALICE)["x"]}),
    ):
        with pytest.raises(KeyRefusedError):
            PublicKey.from_json(wrong)


def test_ceilings_of_an_anchor() -> None:
    limits = {"classes": ["read"], "classification": "internal"}
    good = root(limits=limits, sub="ann", exp=NOW + 90)
    ceiling = Ceiling(
        tools=frozenset(TOOLS),
        classes=frozenset({"read"}),
        classification="internal",
        subjects=frozenset({"ann"}),
        lifetime=100,
    )
    world = World(verifier=Verifier([TrustAnchor(ROOT_KEY.key, ISSUER, ceiling)]))
    assert len(world.accepted([seal(good)])) == 1
    for wrong, why in (
        (root(limits=limits, sub="ann", exp=NOW + 90, tools=TOOLS | {"other": {}}), "tools `other`"),
        (good | {"authorization_details": [entry(TOOLS, {"classification": "internal"})]}, "action classes"),
        (good | {"authorization_details": [entry(TOOLS, limits | {"classes": ["act"]})]}, "action classes"),
        (good | {"authorization_details": [entry(TOOLS, {"classes": ["read"]})]}, "above `internal`"),
        (good | {"authorization_details": [entry(TOOLS, limits | {"classification": "restricted"})]}, "above"),
        (good | {"sub": "eve"}, "another subject"),
        (good | {"exp": NOW + 91}, "a life of 101 s"),
    ):
        error = world.refused(Reason.ANCHOR_EXCEEDED, 0, [seal(wrong)], ALICE)
        assert why in error.detail
    # An anchor may be listed twice; the wider entry counts.
    both = Verifier([*world.verifier.anchors, TrustAnchor(ROOT_KEY.key, ISSUER)])
    assert len(both.verify([seal(good | {"sub": "eve"})])) == 1
    unlisted = Verifier([TrustAnchor(ROOT_KEY.key, ISSUER, Ceiling(classification="secret"))])
    with pytest.raises(InvalidTokenError, match="above `secret`"):
        unlisted.verify([seal(good)])


def test_labels_that_are_not_in_the_order() -> None:
    tokens = [seal(root(limits={"classification": "secret"}))]
    World().refused(Reason.CLAIM_INVALID, 0, tokens, ALICE)
    other = World(verifier=verifier(labels=("open", "secret")))
    other.allowed(tokens, ALICE, classification="open")


def test_an_extended_token_is_not_aat_01() -> None:
    strict = World(verifier=verifier(profile=Profile.AAT_01))
    strict.refused(Reason.CLAIM_INVALID, 0, [seal(root(authorization_details=[entry(TOOLS, kind=EXTENDED)]))], ALICE)
    first = seal(root(aud="https://pep.example"))
    tokens = [first, seal(child(first, aud=None), ALICE)]
    strict.allowed(tokens, BOB)  # the draft lets a child omit it; every hop's own is asked all the same
    strict.denied(Reason.AUDIENCE_MISMATCH, 0, tokens, BOB, audience="https://other.example")


@pytest.mark.parametrize(
    "limits",
    [
        {"approval": [{"when": {}, "threshold": 1, "approvers": ["a"]}]},
        {"approval": [{"when": {"tool": "t", "class": "act"}, "threshold": 1, "approvers": ["a"]}]},
        {"approval": [{"when": {"tool": "t"}, "threshold": 2, "approvers": ["a", "a"]}]},
        {"approval": [{"when": {"tool": "t"}, "threshold": 0, "approvers": ["a"]}]},
        {"approval": []},
        {"budget": {}},
        {"classes": ["read", "admin"]},
        {"classes": "read"},
        {"classification": ""},
        {"unknown": 1},
    ],
)
def test_limits_out_of_form(limits: Json) -> None:
    with pytest.raises(InvalidRequestError):
        grant({"tools": {}, "limits": limits})
    World().refused(Reason.CLAIM_INVALID, 0, [seal(root(limits=limits))], ALICE)


def test_budgets_one_dimension_at_a_time() -> None:
    amount = {"value": "10", "currency": "EUR", "argument": "a"}

    def limited(**budget: Any) -> Grant:
        return grant({"tools": {}, "limits": {"budget": budget}})

    assert limited(amount=amount).covers(limited(amount=amount, calls=5))
    assert limited(calls=5).covers(limited(amount=amount, calls=5))
    assert not limited(amount=amount).covers(limited(calls=5))
    assert grant({"tools": {}}).covers(limited(calls=5))
    assert not limited(calls=5).covers(grant({"tools": {}}))
    assert [one.field for one in limited(calls=6).excess(limited(calls=5, amount=amount))] == [
        "limits.budget.calls",
        "limits.budget.amount",
    ]


def test_grants_out_of_form() -> None:
    for wrong in (
        "x", b"\xff", {"tools": 1}, {}, {"tools": {"t": {"a": 1}}}, object(), {"tools": {"chain:x": {}}},
        {"tools": {}, "more": 1}, '{"tools":' + '{"t":' * 5_000 + "1" + "}" * 5_001,
    ):  # fmt: skip
        with pytest.raises(InvalidRequestError):
            grant(wrong)
    assert grant('{"tools":{"t":{}}}') == grant({"tools": {"t": {}}})


def test_a_type_that_forgets_its_own_answers_nothing() -> None:
    """The bases have no containment, no values and no way to combine: what is forgotten is never a permission."""

    class Forgetful(Constraint, frozen=True, tag="forgetful"):
        pass

    class Empty(_Values, frozen=True, tag="empty"):
        pass

    class Neither(_Composite, frozen=True, tag="neither"):
        pass

    with pytest.raises(TypeError, match="no containment"):
        Containment().holds(Forgetful(), Forgetful())
    with pytest.raises(TypeError):
        Empty()
    with pytest.raises(TypeError, match="combines no clauses"):
        Neither(constraints=(Wildcard(),)).permits(1)


def test_constraints_in_words() -> None:
    shown = {
        "up to 5": rule("range", max=5),
        "above 1 below 2": rule("range", min=1, max=2, min_inclusive=False, max_inclusive=False),
        "from 1": rule("range", min=1),
        "any number": rule("range"),
        'one of 1, "a"': rule("one_of", values=[1, "a"]),
        "none of null": rule("not_one_of", excluded=[None]),
        "an array with true": rule("contains", required=[True]),
        "an array of []": rule("subset", allowed=[[]]),
        "anything": rule("wildcard"),
        "(1) and (2)": rule("all", constraints=[rule("exact", value=1), rule("exact", value=2)]),
        "(1) or (2)": rule("any", constraints=[rule("exact", value=1), rule("exact", value=2)]),
        'a path under "/a"': rule("path_containment", root="/a"),
        '"é"': rule("exact", value="é"),
    }
    for words, value in shown.items():
        assert brief(grant({"tools": {"t": {"x": value}}}).tools["t"]["x"]) == words
    long = grant({"tools": {"t": {"x": rule("exact", value="y" * 500)}}}).tools["t"]["x"]
    assert len(brief(long)) <= 80
    longer = grant({"tools": {"t": {"x": rule("one_of", values=[f"{n:050}" for n in range(50)])}}}).tools["t"]["x"]
    assert len(brief(longer)) <= 400


def test_catalogues() -> None:
    assert Catalogue().tool("x") == UNKNOWN
    assert (UNKNOWN.action_class, UNKNOWN.sensitivity, UNKNOWN.target) == ("act", "critical", None)
    for given in ({"a": "read"}, {"a": {"class": "read"}}, {"tools": {"a": "read"}}):
        assert Catalogue.model_validate(given).tool("a").action_class == "read"
    named_tools = Catalogue.model_validate({"tools": {"class": "read"}})
    assert named_tools.tool("tools").action_class == "read"
    assert Catalogue.model_validate({"a": "act"}).tool("chain:delegate").action_class == "read"
    for wrong in ({"a": "admin"}, {"a": {"class": "read", "unknown": 1}}, {"a": 1}):
        with pytest.raises(ValueError, match="validation error"):
            Catalogue.model_validate(wrong)


def test_principals() -> None:
    good = Principal(id="spiffe://example.org/a/b", owner="team")
    assert good.trust_domain == "example.org"
    for wrong in (
        "spiffe://example.org", "spiffe://example.org/", "spiffe:///a", "http://example.org/a", "spiffe://Example.org/a",
        "spiffe://example.org/a//b", "spiffe://example.org/./b", "spiffe://example.org/a b",
        "spiffe://e/" + "a" * 2_048, "",
    ):  # fmt: skip
        with pytest.raises(ValueError, match="SPIFFE"):
            Principal(id=wrong, owner="team")
    with pytest.raises(ValueError, match="owner"):
        Principal(id="spiffe://example.org/a", owner="")


def test_records() -> None:
    record = Record(3, "decided", 5, {"b": 1, "a": [None]})
    assert decode(encode(record)) == record
    assert envelope(encode(record), 3).kind == "decided"
    for wrong in (
        b"",
        b"{}",
        b"\xff",
        encode(record)[:-1],
        encode(record) + b" ",
        encode(record).replace(b'"a"', b'"\\u0061"'),
    ):
        with pytest.raises(StoreError):
            decode(wrong)
    for data, revision in ((encode(record), 4), (b"x", 3), (b'{"revision":3,"kind":"\xff"}', 3)):
        with pytest.raises(StoreError):
            envelope(data, revision)


def test_unsafe_configuration() -> None:
    with pytest.raises(ConfigurationError, match="no trust anchor:"):
        World(verifier=Verifier([]), signer=None)
    with pytest.raises(ConfigurationError, match="speak for"):
        World(signer=MALLORY)
    with pytest.raises(ConfigurationError, match="differ"):
        World(settings=Settings(profile=Profile.AAT_01))
    with pytest.raises(ConfigurationError, match="differ"):
        World(settings=Settings(labels=("a", "b")))
    World(settings=Settings(require_enrolment=False), enrolled=()).allowed([seal(root())], ALICE, "bank.pay")
    short = World(settings=Settings(max_lifetime=60))
    short.denied(Reason.LIFETIME_EXCEEDED, 0, [seal(root())], ALICE)
    short.allowed([seal(root(iat=NOW, exp=NOW + 60))], ALICE)


def test_reasons_are_numbered_once() -> None:
    numbers = [reason.number for reason in Reason]
    assert len(set(numbers)) == len(numbers)
    assert numbers == sorted(numbers)
    assert all(str(reason) == reason.value == reason.value.lower() and reason.meaning for reason in Reason)
    assert msgspec.json.encode(Reason.ALLOWED) == b'"allowed"'


def test_claims_out_of_form() -> None:
    world = World()
    changes: list[Json] = [
        {"exp": NOW - 10},
        {"iss": "not a URI"},
        {"iss": ""},
        {"authorization_details": []},
        {"authorization_details": [{"type": "another's"}]},
        {"authorization_details": [{"tools": {}}]},
        {"jti": ""},
        {"jti": "x" * 257},
        {"exp": 2**53},
        {"del_depth": -1},
        {"aud": [""]},
        {"sub": 7, "authorization_details": [entry(TOOLS, kind=EXTENDED)]},
        {"authorization_details": [entry(TOOLS, kind=EXTENDED)], "unknown": 1},
        {"authorization_details": [entry(TOOLS) | {"unknown": 1}]},
    ]
    for changed in changes:
        world.refused(Reason.CLAIM_INVALID, 0, [seal(root() | changed)], ALICE)
    for missing in ("iss", "iat", "exp", "cnf", "del_depth", "del_max_depth", "authorization_details"):
        world.refused(Reason.CLAIM_INVALID, 0, [seal({k: v for k, v in root().items() if k != missing})], ALICE)
    world.refused(Reason.TOKEN_MALFORMED, 0, [seal(root(jti=None) | {"jti": 5})], ALICE)
    world.allowed([seal(root(unknown=1))], ALICE)
    bomb = text(root() | {"exp": True})[:-1] + b',"x":' + b"[" * 9_000 + b"]" * 9_000 + b"}"
    with pytest.raises(ValueError, match="too deeply"):
        wire.decode(bomb)


def test_every_excess_is_listed() -> None:
    parent = grant({"tools": {}, "limits": {"budget": {"calls": 1}, "classes": ["read"], "classification": "public"}})
    wider = grant({"tools": {"b": {}, "a": {}}})
    assert [one.field for one in wider.excess(parent)] == [
        "tools.b",
        "tools.a",
        "limits.classes",
        "limits.classification",
        "limits.budget",
    ]


def test_proofs_out_of_form() -> None:
    strict, lax = World(), World(verifier=verifier(profile=Profile.AAT_01))
    tokens = [seal(root())]
    typed = {"typ": "aat-pop+jwt"}
    claims = {"aat_id": "x", "aat_tool": "mail.read", "hta": {}, "iat": NOW, "jti": "p"}
    for world in (strict, lax):
        for wrong in (
            b"{}",
            b"[]",
            b"x",
            b"[" * 9_000,
            text(claims | {"iat": "now"}),
            text(claims)[:-1] + b',"jti":"p"}',
        ):
            world.denied(Reason.PROOF_INVALID, 0, tokens, ALICE, proof=seal(wrong, ALICE, typed))
        world.allowed(tokens, ALICE)
    leaf = json.loads(text(claims)) | {"aat_id": root()["jti"]}
    others: list[Any] = [2**60, "x", [[[]]]]
    for hta in others:
        made = seal(leaf | {"hta": hta}, ALICE, typed)
        lax.denied(Reason.PROOF_ARGUMENTS_MISMATCH, 0, tokens, ALICE, proof=made)
        leaf["jti"] += "+"
