"""Strangers: an issuer, a holder and a verifier of plain AAT-01 that share no code with this package.

The issuer and the holder are PyJWT and rfc8785; the verifier is written from the draft's section 7 and knows only
what the draft knows. Ours must accept theirs, theirs must accept our plain tokens and deny our extended ones.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from typing import Any

import jwt
import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from chain import mint, proof
from chain.anchor import TrustAnchor
from chain.caller import embedded
from chain.containment import Profile
from chain.decision import Decision
from chain.key import PublicKey
from chain.order import Issue
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.token import Rules, Verifier
from tests.support import ALICE, BOB, CAROL, ISSUER, NOW, PEP, ROOT_KEY, World, child, root, rule, seal

Json = dict[str, Any]
URN = "urn:ietf:params:oauth:jwk-thumbprint:sha-256:"


class Key:
    """A stranger's key."""

    def __init__(self, name: str) -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
        raw = self.private.public_key().public_bytes_raw()
        self.jwk = {"kty": "OKP", "crv": "Ed25519", "x": url64(raw)}
        self.thumbprint = url64(hashlib.sha256(rfc8785.dumps(self.jwk)).digest())

    def sign(self, payload: Json, **header: str) -> str:
        return jwt.encode(payload, self.private, algorithm="EdDSA", headers={"typ": None, **header})


def url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


IDP, ORCHESTRATOR, WORKER = Key("stranger's issuer"), Key("stranger's orchestrator"), Key("stranger's worker")
GRANT = {"search": {"query": {"constraint_type": "wildcard"}, "limit": {"constraint_type": "range", "max": 50}}}
NARROW = {
    "search": {
        "query": {"constraint_type": "exact", "value": "flights"},
        "limit": {"constraint_type": "exact", "value": 10},
    }
}
CALL = {"query": "flights", "limit": 10}


def theirs(tools: Json = NARROW, **changed: Any) -> list[str]:
    """A root and a derived token, as the draft has them."""
    first = IDP.sign(
        {
            "jti": "stranger-root",
            "iss": "https://stranger.example",
            "iat": NOW,
            "exp": NOW + 600,
            "cnf": {"jwk": ORCHESTRATOR.jwk},
            "del_depth": 0,
            "del_max_depth": 3,
            "nonce_hint": {"unknown": ["top-level", "claims", "are", "ignored"]},
            "authorization_details": [{"type": "attenuating_agent_token", "tools": GRANT}],
        }
    )
    derived = {
        "jti": "stranger-leaf",
        "iss": URN + ORCHESTRATOR.thumbprint,
        "iat": NOW,
        "exp": NOW + 300,
        "cnf": {"jwk": WORKER.jwk},
        "del_depth": 1,
        "del_max_depth": 3,
        "par_hash": url64(hashlib.sha256(first.rpartition(".")[0].encode()).digest()),
        "authorization_details": [{"type": "attenuating_agent_token", "tools": tools}],
    }
    return [first, ORCHESTRATOR.sign(derived | changed)]


def their_proof(arguments: Json = CALL, **changed: Any) -> str:
    claims = {
        "jti": "stranger-proof",
        "iat": NOW,
        "aat_id": "stranger-leaf",
        "aat_tool": "search",
        "hta": arguments,
    }
    return WORKER.sign(claims | changed)


def world(profile: Profile) -> World:
    stranger = TrustAnchor(PublicKey.from_json(json.dumps(IDP.jwk)), "https://stranger.example")
    anchors = [stranger, TrustAnchor(ROOT_KEY.key, ISSUER)]
    made = World(verifier=Verifier(anchors, Rules(profile=profile)))
    for key in (ORCHESTRATOR, WORKER):
        public = PublicKey.from_json(json.dumps(key.jwk))
        made.authority.enrol(made.caller, public, Principal(id="spiffe://stranger.example/a", owner="them"))
    return made


def ask(here: World, tokens: list[str], text: str, arguments: Json = CALL, **facts: Any) -> Decision:
    request = Request(tool="search", arguments=arguments, proof=text, **({"audience": PEP} | facts))
    return here.authority.check(here.caller, tokens, request)


def test_a_strangers_chain_and_proof_are_accepted() -> None:
    here = world(Profile.AAT_01)
    decision = ask(here, theirs(), their_proof())
    assert decision.allowed, str(decision)
    again = ask(here, theirs(), their_proof())
    assert (again.allowed, again.reason) == (False, Reason.REPLAY)
    for changed, reason in (
        ({"aat_tool": "delete"}, Reason.PROOF_TOOL_MISMATCH),
        ({"aat_id": "stranger-root"}, Reason.PROOF_TOKEN_MISMATCH),
        ({"hta": CALL | {"limit": 11}}, Reason.PROOF_ARGUMENTS_MISMATCH),
        ({"iat": NOW - 31}, Reason.PROOF_STALE),
        ({"aat_aud": "https://other.example"}, Reason.PROOF_AUDIENCE_MISMATCH),
    ):
        decision = ask(here, theirs(), their_proof(jti=str(reason), **changed))
        assert (decision.allowed, decision.reason, decision.hop) == (False, reason, 1)
    typed = WORKER.sign(
        {"jti": "p2", "iat": NOW, "aat_id": "stranger-leaf", "aat_tool": "search", "hta": CALL}, typ="JWT"
    )
    assert ask(here, theirs(), typed).reason is Reason.PROOF_INVALID
    assert ask(here, theirs(), their_proof(jti="p3", aat_aud=PEP)).allowed


def test_a_strangers_proof_is_not_enough_for_us() -> None:
    """Authentic under both profiles; but `sound` wants a proof that names leaf digest and enforcement point."""
    here = world(Profile.SOUND)
    assert len(here.accepted(theirs())) == 2
    assert ask(here, theirs(), their_proof()).reason is Reason.PROOF_INVALID
    leaf = mint.unverified(theirs()[-1])

    class Worker:
        key = PublicKey.from_json(json.dumps(WORKER.jwk))

        def sign(self, data: bytes) -> bytes:
            return WORKER.private.sign(data)

    ours = proof.make(Worker(), leaf, "search", CALL, audience=PEP, jti="ours", iat=NOW)
    assert ask(here, theirs(), ours).allowed
    assert ask(world(Profile.AAT_01), theirs(), ours).allowed


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"iss": "https://stranger.example"}, Reason.DELEGATOR_MISMATCH),
        ({"del_depth": 2}, Reason.DEPTH_INVALID),
        ({"del_max_depth": 4}, Reason.DEPTH_EXCEEDED),
        ({"exp": NOW + 601}, Reason.LIFETIME_EXTENDED),
        ({"iat": NOW - 1}, Reason.ISSUED_BEFORE_PARENT),
        ({"par_hash": "x"}, Reason.PARENT_MISMATCH),
        ({"jti": "stranger-root"}, Reason.JTI_DUPLICATE),
        ({"tools": GRANT | {"delete": {}}}, Reason.TOOL_ADDED),
        ({"tools": {"search": {"query": {"constraint_type": "wildcard"}}}}, Reason.ARGUMENT_DROPPED),
    ],
)
def test_a_strangers_bad_chain_is_refused(changed: Json, reason: Reason) -> None:
    for profile in Profile:
        here = world(profile)
        here.refused(reason, 1, theirs(**changed), BOB)
        assert len(here.accepted(theirs())) == 2


def test_the_two_tables_differ_where_the_draft_is_stricter() -> None:
    narrower = {"search": {"query": rule("wildcard"), "limit": rule("one_of", values=[1, 2])}}
    world(Profile.AAT_01).refused(Reason.CONSTRAINT_WIDENED, 1, theirs(narrower), BOB)
    assert len(world(Profile.SOUND).accepted(theirs(narrower))) == 2


# -- a stranger's verifier, after the draft's section 7 ----------------------------------------------------


class DeniedByStranger(Exception):
    """The stranger says no."""


def demand(holds: bool, what: str) -> None:
    if not holds:
        raise DeniedByStranger(what)


def stranger_verifies(tokens: list[str], anchor: Json, tool: str, arguments: Json, pop: str, now: int) -> None:
    """Steps 1-7 of section 7, with the draft's table for the types that the tests use."""
    demand(bool(tokens), "1 empty")
    parent: Json | None = None
    for place, token in enumerate(tokens):
        issuer = anchor if parent is None else parent["cnf"]["jwk"]
        try:
            claims = jwt.decode(
                token,
                public(issuer),
                algorithms=["EdDSA"],
                options={"verify_aud": False, "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            raise DeniedByStranger(f"signature {place}") from error
        demand(claims["exp"] > now and claims["iat"] <= now + 30, "window")
        demand(claims["del_depth"] == place <= claims["del_max_depth"], "I2")
        if parent is None:
            demand("par_hash" not in claims, "root")
        else:
            demand(claims["iss"] == URN + thumbprint(parent["cnf"]["jwk"]), "I1")
            demand(claims["del_max_depth"] <= parent["del_max_depth"], "I2")
            demand(claims["exp"] <= parent["exp"] and claims["iat"] >= parent["iat"], "I3")
            demand(contained(tools_of(claims), tools_of(parent)), "I4")
            signing_input = tokens[place - 1].rpartition(".")[0].encode()
            demand(claims["par_hash"] == url64(hashlib.sha256(signing_input).digest()), "I5")
        parent = claims
    leaf = parent or {}
    granted = tools_of(leaf)
    demand(granted is not None and tool in granted, "6 tool")
    rules = (granted or {}).get(tool, {})
    demand(not rules or rules.keys() == arguments.keys(), "6 arguments")
    demand(all(satisfied(one, arguments[name]) for name, one in rules.items()), "6 constraint")
    try:
        claims = jwt.decode(pop, public(leaf["cnf"]["jwk"]), algorithms=["EdDSA"], options={"verify_iat": False})
    except jwt.InvalidTokenError as error:
        raise DeniedByStranger("7 proof") from error
    demand((claims["aat_id"], claims["aat_tool"]) == (leaf["jti"], tool), "7 binding")
    demand(rfc8785.dumps(claims["hta"]) == rfc8785.dumps(arguments) and abs(claims["iat"] - now) <= 30, "7 hta")


def public(jwk: Json) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(jwk["x"] + "="))


def thumbprint(jwk: Json) -> str:
    return url64(hashlib.sha256(rfc8785.dumps({name: jwk[name] for name in ("crv", "kty", "x")})).digest())


def tools_of(claims: Json) -> Json | None:
    """The one entry of the type that the draft defines; another type is not looked at."""
    known = [one for one in claims["authorization_details"] if one["type"] == "attenuating_agent_token"]
    demand(len(known) <= 1, "entries")
    return known[0]["tools"] if known else None


def contained(below: Json | None, above: Json | None) -> bool:
    above = above or {}
    return all(
        tool in above
        and (
            not above[tool]
            or (rules.keys() == above[tool].keys() and all(narrower(rules[n], above[tool][n]) for n in rules))
        )
        for tool, rules in (below or {}).items()
    )


def narrower(one: Json, other: Json) -> bool:
    kind, wider = one["constraint_type"], other["constraint_type"]
    if wider == "wildcard":
        return True
    if wider == "range":
        if kind == "exact":
            return satisfied(other, one["value"])
        return bool(kind == "range" and one.get("max", math.inf) <= other.get("max", math.inf))
    if wider == "one_of":
        if kind == "exact":
            return one["value"] in other["values"]
        return kind == "one_of" and all(value in other["values"] for value in one["values"])
    return one == other


def satisfied(one: Json, value: Any) -> bool:
    match one["constraint_type"]:
        case "wildcard":
            return True
        case "exact":
            return bool(one["value"] == value)
        case "one_of":
            return value in one["values"]
        case "range":
            return isinstance(value, int | float) and one.get("min", -math.inf) <= value <= one.get("max", math.inf)
        case unknown:
            raise DeniedByStranger(f"unknown constraint {unknown}")


OURS = {"mail.read": {"folder": rule("one_of", values=["in", "out"])}, "bank.pay": {"amount": rule("range", max=100)}}
OURS_NARROW = {"bank.pay": {"amount": rule("range", max=50)}}


def proven(token: str, by: Any, **call: Any) -> str:
    leaf = mint.unverified(token)
    return proof.make(by, leaf, "bank.pay", call, audience=PEP, jti="j", iat=NOW)


def anchor() -> Json:
    found: Json = json.loads(ROOT_KEY.key.to_json())
    return found


def test_the_stranger_accepts_our_plain_tokens() -> None:
    first = seal(root(tools=OURS))
    second = seal(child(first, tools=OURS_NARROW), ALICE)
    third = seal(child(second, CAROL, tools={"bank.pay": {"amount": rule("exact", value=7)}}), BOB)
    tokens = [first, second, third]
    stranger_verifies(tokens[:1], anchor(), "bank.pay", {"amount": 100}, proven(first, ALICE, amount=100), NOW)
    stranger_verifies(tokens[:2], anchor(), "bank.pay", {"amount": 50}, proven(second, BOB, amount=50), NOW)
    stranger_verifies(tokens, anchor(), "bank.pay", {"amount": 7}, proven(third, CAROL, amount=7), NOW)
    with pytest.raises(DeniedByStranger, match="6 constraint"):
        stranger_verifies(tokens, anchor(), "bank.pay", {"amount": 8}, proven(third, CAROL, amount=8), NOW)
    with pytest.raises(DeniedByStranger, match="7 proof"):
        stranger_verifies(tokens, anchor(), "bank.pay", {"amount": 7}, proven(third, BOB, amount=7), NOW)


def test_the_stranger_accepts_what_the_authority_issues() -> None:
    here = World()
    issued = here.authority.issue(embedded(), Issue(holder=ALICE.key, grant=mint.grant({"tools": OURS}), lifetime=60))
    text = proven(issued.token, ALICE, amount=1)
    stranger_verifies([issued.token], anchor(), "bank.pay", {"amount": 1}, text, NOW)


@pytest.mark.parametrize(
    "extra",
    [
        {"limits": {"classes": ["read"]}},
        {"limits": {"budget": {"calls": 1}}},
        {"limits": {"approval": [{"when": {"class": "act"}, "threshold": 1, "approvers": ["ann"]}]}},
    ],
)
def test_the_stranger_denies_our_extended_tokens(extra: Json) -> None:
    """He would ignore what he does not know, and permit more than was granted: so he finds no entry at all."""
    first = seal(root(tools=OURS, **extra))
    with pytest.raises(DeniedByStranger, match="6 tool"):
        stranger_verifies([first], anchor(), "bank.pay", {"amount": 5}, proven(first, ALICE, amount=5), NOW)
    plain = seal(root(tools=OURS))
    late = seal(child(plain, tools=OURS_NARROW, **extra), ALICE)
    with pytest.raises(DeniedByStranger, match="6 tool"):
        stranger_verifies([plain, late], anchor(), "bank.pay", {"amount": 5}, proven(late, BOB, amount=5), NOW)
    stranger_verifies([plain], anchor(), "bank.pay", {"amount": 5}, proven(plain, ALICE, amount=5), NOW)


@pytest.mark.parametrize("facts", [{"sub": "alice"}, {"task": "t"}, {"owner": "team"}, {"audience": PEP}])
def test_the_stranger_denies_tokens_with_root_facts(facts: Json) -> None:
    here = World()
    order = Issue(holder=ALICE.key, grant=mint.grant({"tools": OURS}), lifetime=60, **facts)
    issued = here.authority.issue(embedded(), order)
    text = proven(issued.token, ALICE, amount=1)
    with pytest.raises(DeniedByStranger, match="6 tool"):
        stranger_verifies([issued.token], anchor(), "bank.pay", {"amount": 1}, text, NOW)
    assert here.ask(
        [issued.token],
        ALICE,
        "bank.pay",
        {"amount": 1},
        proof=here.proof(issued.token, ALICE, "bank.pay", {"amount": 1}),
    ).allowed
