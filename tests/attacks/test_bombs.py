"""Much work for little: size, nesting, matching. What is bounded is counted here in steps, never in seconds."""

from __future__ import annotations

from typing import Any

import pytest

from chain.anchor import TrustAnchor
from chain.base64url import b64encode
from chain.constraint import MAX_CLAUSES, AnyConstraint, AnyOf
from chain.containment import MAX_STEPS, Containment, Profile, UndecidedError
from chain.key import PublicKey
from chain.mint import grant
from chain.reason import Reason
from chain.token import MAX_CHAIN, MAX_TOKEN, Verifier
from chain.trust import MAX_TRIALS
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    ISSUER,
    MALLORY,
    ROOT_KEY,
    TOOLS,
    Json,
    World,
    child,
    forge,
    honest,
    root,
    rule,
    seal,
    signer,
    text,
    verifier,
)


def exact(value: Any) -> Json:
    return rule("exact", value=value)


def both(*clauses: Json) -> Json:
    return rule("all", constraints=list(clauses))


def either(*clauses: Json) -> Json:
    return rule("any", constraints=list(clauses))


def made(value: Json) -> AnyConstraint:
    return grant({"tools": {"t": {"x": value}}}).tools["t"]["x"]


def test_size_bomb(world: World) -> None:
    first = seal(root())
    just = seal(root(jti="just", filler="x" * 48_000))
    assert len(just) < MAX_TOKEN
    world.allowed([just], ALICE)
    over = seal(root(filler="x" * 49_200))
    world.refused(Reason.TOKEN_TOO_LARGE, 0, [over], ALICE)
    world.refused(Reason.TOKEN_TOO_LARGE, 1, [first, "x" * (MAX_TOKEN + 1)], ALICE)
    world.refused(Reason.CHAIN_TOO_LARGE, None, ["x" * MAX_TOKEN] * (MAX_CHAIN // MAX_TOKEN) + ["x"], ALICE)
    world.refused(Reason.CHAIN_TOO_DEEP, None, ["x"] * 66, ALICE)


def test_longest_chain(world: World) -> None:
    tokens = [seal(root(del_max_depth=64, tools={"mail.read": TOOLS["mail.read"]}))]
    for _ in range(64):
        tokens.append(seal(child(tokens[-1], ALICE), ALICE))
    world.allowed(tokens, ALICE)
    more = [*tokens, seal(child(tokens[-1], ALICE), ALICE)]
    world.refused(Reason.CHAIN_TOO_DEEP, None, more, ALICE)


def test_many_tools_and_arguments(world: World) -> None:
    world.refused(Reason.GRANT_TOO_LARGE, 0, [seal(root(tools={f"t{n}": {} for n in range(257)}))], ALICE)
    world.allowed([seal(root(tools={f"t{n}": {} for n in range(256)}))], ALICE, "t0", {})
    many = {f"a{n}": rule("wildcard") for n in range(65)}
    world.refused(Reason.GRANT_TOO_LARGE, 0, [seal(root(tools={"t": many}))], ALICE)
    del many["a64"]
    world.allowed([seal(root(tools={"t": many}))], ALICE, "t", dict.fromkeys(many, 1))


@pytest.mark.parametrize("levels", [33, 100, 490, 900])
def test_nesting_bomb(world: World, levels: int) -> None:
    decision = world.ask([seal(nested(levels))], ALICE, holder=ALICE.key.thumbprint)
    # Beyond what the decoder can nest, it is no longer the constraint that is blamed.
    possible = {Reason.CONSTRAINT_INVALID} | ({Reason.CLAIM_INVALID, Reason.TOKEN_MALFORMED} if levels > 300 else set())
    assert (decision.allowed, decision.hop) == (False, 0)
    assert decision.reason in possible
    deep: Json = rule("wildcard")
    for _ in range(31):
        deep = both(deep)
    world.allowed([seal(root(tools={"bank.pay": {"amount": deep}}))], ALICE, "bank.pay")


def nested(levels: int) -> bytes:
    inner = b'{"constraint_type":"wildcard"}'
    opening = b'{"constraint_type":"all","constraints":['
    bomb = opening * (levels - 1) + inner + b"]}" * (levels - 1)
    return text(root()).replace(b'{"constraint_type":"range","max":100}', bomb)


@pytest.mark.parametrize("levels", [100, 1_000, 5_000, 15_000])
@pytest.mark.parametrize("place", ["header", "payload", "jwk", "entry", "status", "proof"])
def test_nested_json_bomb(world: World, levels: int, place: str) -> None:
    """However deep, wherever: a refusal with a reason, never an exception of the interpreter."""
    bomb = b"[" * levels + b"]" * levels
    payload, header = text(root()), b'{"alg":"EdDSA","typ":"aat+jwt"}'
    proof = None
    if place == "header":
        header = header[:-1] + b',"x":' + bomb + b"}"
    elif place == "payload":
        payload = payload[:-1] + b',"x":' + bomb + b"}"
    elif place == "jwk":
        payload = payload.replace(b'"kty"', b'"x5c":' + bomb + b',"kty"')
    elif place == "entry":
        payload = payload.replace(
            b'"authorization_details":[', b'"authorization_details":[{"type":"x","y":' + bomb + b"},"
        )
    elif place == "status":
        payload = payload[:-1] + b',"status":' + bomb + b"}"
    else:
        proof = forge(b'{"alg":"EdDSA","typ":"aat-pop+jwt","x":' + bomb + b"}", {}, bytes(64))
    signing_input = f"{b64encode(header)}.{b64encode(payload)}"
    token = f"{signing_input}.{b64encode(ROOT_KEY.sign(signing_input.encode()))}"
    if place == "proof":
        decision = world.ask([token], ALICE, proof=proof)
        assert decision.reason in (Reason.PROOF_INVALID, Reason.HOLDER_MISMATCH)
    else:
        decision = world.ask([token], ALICE, holder=ALICE.key.thumbprint)
    if levels == 100 and place not in ("proof", "status"):
        assert decision.allowed  # unknown members are a stranger's business
    else:
        assert not decision.allowed
        assert decision.reason is not Reason.INTERNAL


def test_poisoned_call_in_a_batch(world: World) -> None:
    """One hostile call takes no other with it, and the ledger holds what memory says it holds."""
    tokens = honest()
    bomb = forge(b'{"alg":"EdDSA","typ":"aat-pop+jwt","x":' + b"[" * 9_000 + b"]" * 9_000 + b"}", {}, bytes(64))
    calls = [
        (tokens, world.request(tokens, CAROL)),
        (tokens, world.request(tokens, CAROL, proof=bomb)),
        (tokens, world.request(tokens, CAROL)),
    ]
    decisions = world.authority.begin_check(world.caller, calls).result()
    assert [decision.reason for decision in decisions] == [Reason.ALLOWED, Reason.PROOF_INVALID, Reason.ALLOWED]
    leaf = world.accepted(tokens).leaf
    assert world.store.delegation(leaf.digest) is not None


def matching(clauses: int) -> tuple[Json, Json]:
    """Two `all` whose clauses match only one way, found last: each one placed pushes all before it on."""
    parents = [rule("one_of", values=[n, n + 1]) for n in range(clauses)] + [rule("one_of", values=[0])]
    children = [exact(n) for n in range(clauses + 1)]
    return both(*parents), both(*children)


@pytest.mark.parametrize("profile", Profile)
def test_matching_bomb(profile: Profile) -> None:
    world = World(verifier=verifier(profile=profile))
    first = seal(root(tools={"t": {}}))

    def chain(above: Json, below: Json) -> list[str]:
        second = seal(child(first, tools={"t": {"x": above}}), ALICE)
        return [first, second, seal(child(second, CAROL, tools={"t": {"x": below}}), BOB)]

    # Backtracking takes 4.4 s for ten hopeless clauses.
    hopeless = chain(both(*[rule("one_of", values=[7, 8])] * 200, exact(9)), both(*[exact(7)] * 201))
    world.refused(
        Reason.CONSTRAINT_WIDENED if profile is Profile.SOUND else Reason.CONTAINMENT_UNDECIDED, 2, hopeless, CAROL
    )
    few = chain(both(*[rule("one_of", values=[7, 8])] * 30, exact(9)), both(*[exact(7)] * 31))
    world.refused(Reason.CONSTRAINT_WIDENED, 2, few, CAROL)
    if profile is Profile.AAT_01:
        assert len(world.accepted(chain(*matching(100)))) == 3
    assert len(world.accepted(chain(both(exact(1), exact(1)), both(exact(1), exact(1), exact(1))))) == 3


def test_matching_needs_distinct_clauses() -> None:
    world = World(verifier=verifier(profile=Profile.AAT_01))
    first = seal(root(tools={"bank.pay": {"amount": both(rule("range", max=9), rule("range", max=10))}}))
    one = {"bank.pay": {"amount": both(rule("range", max=5))}}
    world.refused(Reason.CONSTRAINT_WIDENED, 1, [first, seal(child(first, tools=one), ALICE)])
    two = {"bank.pay": {"amount": both(rule("range", max=5), rule("range", max=5))}}
    world.allowed([first, seal(child(first, tools=two), ALICE)], BOB, "bank.pay", {"amount": 5})


def steps(profile: Profile, above: Json, below: Json) -> int:
    """Return the steps spent, or a number above the cap where it was reached."""
    asked = Containment(profile)
    try:
        asked.holds(made(above), made(below))
    except UndecidedError:
        return MAX_STEPS + 1
    return MAX_STEPS - asked._steps


BOMBS: dict[str, tuple[Json, Json]] = {
    "long sets under many alternatives": (
        rule("subset", allowed=[1] * 15_000),
        either(*[either(*[rule("subset", allowed=[1])] * 200)] * 4),
    ),
    "large values against many alternatives": (
        either(*[either(*[rule("one_of", values=[[n]]) for n in range(200)])] * 4),
        rule("one_of", values=[[1] * 15_000]),
    ),
    "nested choices": (
        either(*[either(*[exact(n) for n in range(250)])] * 4),
        either(*[either(*[exact(n) for n in range(250)])] * 4),
    ),
    "long augmenting paths": matching(250),
    "excluded sets": (
        either(*[rule("not_one_of", excluded=list(range(n, n + 20))) for n in range(250)]),
        either(*[rule("not_one_of", excluded=list(range(n, n + 20))) for n in range(250)]),
    ),
}


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("name", BOMBS)
def test_containment_bomb(profile: Profile, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is counted where it is done: comparisons and matches never outrun the steps by much."""
    above, below = BOMBS[name]
    calls = 0
    plain = AnyOf.contains

    def counted(self: AnyOf, child: Any, within: Containment) -> bool:
        nonlocal calls
        calls += 1
        return plain(self, child, within)

    monkeypatch.setattr(AnyOf, "contains", counted)
    spent = steps(profile, above, below)
    assert calls <= spent
    first = seal(root(tools={"t": {}}))
    second = seal(child(first, tools={"t": {"x": above}}), ALICE)
    third = seal(child(second, CAROL, tools={"t": {"x": below}}), BOB)
    world = World(verifier=verifier(profile=profile))
    if spent > MAX_STEPS:
        world.refused(Reason.CONTAINMENT_UNDECIDED, 2, [first, second, third], CAROL)
    world.allowed([first], ALICE, "t", {"x": 1})


def test_argument_bomb(world: World) -> None:
    """A large argument before many clauses is refused, not compared with each."""
    many = either(*[rule("one_of", values=[[n]]) for n in range(200)])
    tokens = [seal(root(tools={"t": {"x": many}}))]
    large = [[1]] * 2_000
    world.denied(Reason.CONSTRAINT_VIOLATED, 0, tokens, ALICE, "t", {"x": large})
    world.allowed(tokens, ALICE, "t", {"x": [7]})
    open_tokens = [seal(root(tools={"t": {"x": rule("wildcard")}}))]
    world.allowed(open_tokens, ALICE, "t", {"x": large})


def test_refusal_that_grows_with_the_grant(world: World) -> None:
    """A hostile grant does not choose how long a record or a gRPC trailer is."""
    long = rule("one_of", values=[f"{n:050}" for n in range(600)])
    first = seal(root(tools={"t": {"x": rule("exact", value="y")}}))
    error = world.refused(Reason.CONSTRAINT_WIDENED, 1, [first, seal(child(first, tools={"t": {"x": long}}), ALICE)])
    assert len(str(error)) < 1_500
    decision = world.denied(Reason.CONSTRAINT_VIOLATED, 0, [seal(root(tools={"t": {"x": long}}))], ALICE, "t", {"x": 1})
    assert len(str(decision)) < 1_500
    short = world.denied(Reason.CONSTRAINT_VIOLATED, 0, [first], ALICE, "t", {"x": 1})
    assert '"y"' in str(short)
    world.allowed([first], ALICE, "t", {"x": "y"})


def test_clauses_bomb(world: World) -> None:
    world.refused(
        Reason.CONSTRAINT_INVALID, 0, [seal(root(tools={"t": {"x": both(*[rule("wildcard")] * 257)}}))], ALICE
    )
    world.allowed([seal(root(tools={"t": {"x": both(*[rule("wildcard")] * MAX_CLAUSES)}}))], ALICE, "t", {"x": 1})


def test_anchors_tried_for_a_stranger(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    anchors = [TrustAnchor(signer(f"anchor {n}").key, f"https://{n}.example") for n in range(MAX_TRIALS + 16)]
    trusting = Verifier([*anchors, TrustAnchor(ROOT_KEY.key, ISSUER)])
    tried = 0
    verify = PublicKey.verify

    def counted(self: PublicKey, signature: bytes, data: bytes) -> bool:
        nonlocal tried
        tried += 1
        return verify(self, signature, data)

    monkeypatch.setattr(PublicKey, "verify", counted)
    other = World(verifier=trusting)
    decision = other.ask([seal(root(iss="https://nobody.example"), MALLORY)], ALICE, holder=ALICE.key.thumbprint)
    assert (decision.reason, tried) == (Reason.ANCHOR_UNKNOWN, MAX_TRIALS)
    tried = 0
    assert other.ask([seal(root())], ALICE, holder=ALICE.key.thumbprint).allowed
    assert tried == 1  # the issuer's own key comes first
