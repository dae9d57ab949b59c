"""Who is talking: proofs stolen, swapped, replayed and relayed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from chain import proof
from chain.base64url import b64encode
from chain.caller import Caller, Role
from chain.containment import Profile
from chain.errors import DeniedError, ForbiddenError
from chain.order import Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.store.sqlite import SqliteStore
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    HOME,
    MALLORY,
    NOW,
    PEP,
    ROOT_KEY,
    Json,
    World,
    child,
    digest,
    digest_of,
    forge,
    honest,
    jwk,
    payload_of,
    root,
    rule,
    seal,
    text,
    verifier,
)


def test_stolen_token_with_another_key(world: World) -> None:
    tokens = honest()
    world.denied(Reason.HOLDER_MISMATCH, 2, tokens, MALLORY)
    world.denied(Reason.HOLDER_MISMATCH, 2, tokens, MALLORY, holder=MALLORY.key.thumbprint)
    world.denied(Reason.PROOF_MISSING, 2, tokens, MALLORY, proof=None)
    world.allowed(tokens, CAROL)
    world.allowed(tokens, CAROL, holder=CAROL.key.thumbprint)


def test_parent_presented_by_the_child(world: World) -> None:
    tokens = honest(2)
    world.denied(Reason.HOLDER_MISMATCH, 0, tokens[:1], BOB)
    world.allowed(tokens, BOB)


def test_truncated_chain(world: World) -> None:
    """A prefix carries its own holder's authority, for whoever proves to be that holder; nobody else."""
    first = seal(root())
    second = seal(child(first, tools={"mail.read": {"folder": rule("exact", value="in")}}), ALICE)
    third = seal(child(second, CAROL), BOB)
    for prefix in ([first], [first, second]):
        world.denied(Reason.HOLDER_MISMATCH, len(prefix) - 1, prefix, CAROL, "mail.read", {"folder": "in"})
    # Carol's own proof, made for her leaf, presented with the parent's chain.
    carols = world.proof(third, CAROL)
    world.denied(Reason.HOLDER_MISMATCH, 1, [first, second], CAROL, proof=carols)
    world.allowed([first, second, third], CAROL)
    world.allowed([first], ALICE, "mail.read", {"folder": "out"})


def test_proof_of_another_leaf_of_the_same_holder(world: World) -> None:
    first = seal(root())
    wide, narrow = seal(child(first), ALICE), seal(child(first, exp=NOW + 300), ALICE)
    world.denied(Reason.PROOF_TOKEN_MISMATCH, 1, [first, wide], BOB, proof=world.proof(narrow, BOB))
    # The same jti in both, so that only `ath` tells them apart.
    other = seal(child(first, exp=NOW + 400, jti=payload_of(wide)["jti"]), ALICE)
    world.denied(Reason.PROOF_TOKEN_MISMATCH, 1, [first, wide], BOB, proof=world.proof(other, BOB))
    world.allowed([first, wide], BOB)


def test_proof_tool_swapped(world: World) -> None:
    tokens = honest()
    for made_for, asked in (("mail.read", "bank.pay"), ("bank.pay", "mail.read")):
        arguments = {"amount": 5} if asked == "bank.pay" else {"folder": "in"}
        swapped = world.proof(tokens[-1], CAROL, made_for, arguments)
        world.denied(Reason.PROOF_TOOL_MISMATCH, 2, tokens, CAROL, asked, arguments, proof=swapped)
        world.allowed(tokens, CAROL, asked, arguments)


def test_proof_arguments_swapped(world: World) -> None:
    tokens = honest()
    for made_for, asked in (({"amount": 1}, {"amount": 100}), ({"amount": 5}, {"amount": 5.5}), ({}, {"amount": 5})):
        swapped = world.proof(tokens[-1], CAROL, "bank.pay", made_for)
        world.denied(Reason.PROOF_ARGUMENTS_MISMATCH, 2, tokens, CAROL, "bank.pay", asked, proof=swapped)
    same_number = world.proof(tokens[-1], CAROL, "bank.pay", {"amount": 5})
    world.allowed(tokens, CAROL, "bank.pay", {"amount": 5.0}, proof=same_number)


def test_proof_stale(world: World) -> None:
    tokens = honest()
    world.denied(Reason.PROOF_STALE, 2, tokens, CAROL, proof=world.proof(tokens[-1], CAROL, iat=NOW - 31))
    world.clock.now = NOW + 0.5
    world.denied(Reason.PROOF_STALE, 2, tokens, CAROL, proof=world.proof(tokens[-1], CAROL, iat=NOW - 30))
    world.clock.now = NOW
    world.allowed(tokens, CAROL, proof=world.proof(tokens[-1], CAROL, iat=NOW - 30))


def test_proof_from_the_future(world: World) -> None:
    tokens = honest()
    early = world.proof(tokens[-1], CAROL, iat=NOW + 31)
    world.denied(Reason.PROOF_STALE, 2, tokens, CAROL, proof=early)
    world.clock.now = NOW + 20
    world.denied(Reason.REPLAY, 2, tokens, CAROL, proof=early)  # refused is used up all the same
    world.allowed(tokens, CAROL, proof=world.proof(tokens[-1], CAROL, iat=NOW + 50))


def test_proof_replayed(world: World) -> None:
    tokens = honest()
    for tool in ("mail.read", "bank.pay"):
        request = world.request(tokens, CAROL, tool)
        assert world.authority.check(world.caller, tokens, request).allowed
        for _ in range(2):
            again = world.authority.check(world.caller, tokens, request)
            assert (again.allowed, again.reason, again.hop) == (False, Reason.REPLAY, 2)


def test_proof_of_two_leaves_with_one_nonce(world: World) -> None:
    """A nonce counts under its leaf: nobody uses up another's."""
    tokens, others = honest(2), honest(1)
    world.allowed(tokens, BOB, proof=world.proof(tokens[-1], BOB, jti="same"))
    world.allowed(others, ALICE, proof=world.proof(others[-1], ALICE, jti="same"))
    world.denied(Reason.REPLAY, 1, tokens, BOB, proof=world.proof(tokens[-1], BOB, jti="same"))


def test_proof_replayed_when_the_clock_steps_back(world: World) -> None:
    """What is forgotten at one moment must not be valid at a moment that the clock may still return to."""
    tokens = honest()
    request = world.request(tokens, CAROL, "bank.pay")
    assert world.authority.check(world.caller, tokens, request).allowed
    for forward in (31, 32):
        world.clock.now = NOW + forward
        world.store.sweep(int(world.clock.now))
        world.clock.now -= 1
        restarted = world.open()
        decision = restarted.check(world.caller, tokens, request)
        assert decision.reason in (Reason.REPLAY, Reason.PROOF_STALE)
    world.allowed(tokens, CAROL, "bank.pay")


def test_single_use_id_replayed_when_the_clock_steps_back(world: World) -> None:
    tokens = [seal(root(exp=NOW + 10))]
    facts: Json = {"holder": ALICE.key.thumbprint, "request_id": "0123456789abcdef"}
    world.allowed(tokens, ALICE, "bank.pay", **facts)
    world.clock.now = NOW + 10.2
    world.store.sweep(int(world.clock.now))
    world.clock.now = NOW + 9.9
    decision = world.open().check(world.caller, tokens, world.request(tokens, ALICE, "bank.pay", **facts))
    assert (decision.allowed, decision.reason) == (False, Reason.REPLAY)
    world.allowed(tokens, ALICE, "bank.pay", **facts | {"request_id": "another-single-use"})


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[World]:
    world = World(store=SqliteStore(tmp_path / "ledger"))
    yield world
    world.store.close()


def test_proof_replayed_concurrently(on_disk: World) -> None:
    tokens = honest()
    for tool in ("mail.read", "bank.pay"):
        request = on_disk.request(tokens, CAROL, tool)

        def ask(_: int, request: Request = request) -> tuple[bool, Reason]:
            decision = on_disk.authority.check(on_disk.caller, tokens, request)
            return decision.allowed, decision.reason

        with ThreadPoolExecutor(8) as pool:
            answers = sorted(pool.map(ask, range(24)))
        assert answers == [(False, Reason.REPLAY)] * 23 + [(True, Reason.ALLOWED)]


def test_proof_replayed_after_a_restart(tmp_path: Path) -> None:
    tokens = honest()
    world = World(store=SqliteStore(tmp_path / "ledger"))
    spent = [world.request(tokens, CAROL, tool) for tool in ("mail.read", "bank.pay")]
    fresh = [world.request(tokens, CAROL, tool) for tool in ("mail.read", "bank.pay")]
    assert all(world.authority.check(world.caller, tokens, request).allowed for request in spent)
    world.authority.close()
    world.store = SqliteStore(tmp_path / "ledger")
    restarted = world.open()
    for request in spent:
        decision = restarted.check(world.caller, tokens, request)
        assert (decision.allowed, decision.reason, decision.hop) == (False, Reason.REPLAY, 2)
    assert all(restarted.check(world.caller, tokens, request).allowed for request in fresh)
    restarted.close()


def test_one_nonce_twice_in_a_batch(world: World) -> None:
    tokens = honest()
    request, other = world.request(tokens, CAROL, "bank.pay"), world.request(tokens, CAROL, "bank.pay")
    calls = [(tokens, request), (tokens, other), (tokens, request)]
    decisions = world.authority.begin_check(world.caller, calls).result()
    assert [(d.allowed, d.reason) for d in decisions] == [
        (True, Reason.ALLOWED),
        (True, Reason.ALLOWED),
        (False, Reason.REPLAY),
    ]


def test_keyed_retry_counted_as_a_second_permission(world: World) -> None:
    """`Check` takes no idempotency key: the same call again is a replay, over the proof and over the channel."""
    tokens = honest()
    facts: Json = {"holder": CAROL.key.thumbprint, "request_id": "0123456789abcdef"}
    world.allowed(tokens, CAROL, "bank.pay", **facts)
    world.denied(Reason.REPLAY, 2, tokens, CAROL, "bank.pay", **facts)
    world.denied(Reason.REQUEST_ID_MISSING, 2, tokens, CAROL, "bank.pay", holder=CAROL.key.thumbprint)
    world.allowed(tokens, CAROL, "bank.pay", **facts | {"request_id": "fedcba9876543210"})
    world.allowed(tokens, CAROL, holder=CAROL.key.thumbprint)  # a read needs none


def test_proof_relayed_to_another_enforcement_point(world: World) -> None:
    tokens = honest()
    for audience in ("https://other.example", PEP + "/", PEP.upper(), HOME):
        relayed = world.proof(tokens[-1], CAROL, audience=audience)
        world.denied(Reason.PROOF_AUDIENCE_MISMATCH, 2, tokens, CAROL, proof=relayed)
    world.denied(Reason.AUDIENCE_MISSING, 2, tokens, CAROL, audience=None, proof=world.proof(tokens[-1], CAROL))
    world.allowed(tokens, CAROL, proof=world.proof(tokens[-1], CAROL))


def test_proof_for_check_used_on_delegate(world: World) -> None:
    first = seal(root())
    leaf = seal(child(first), ALICE)
    for_check = world.proof(first, ALICE, "mail.read", audience=HOME)
    for_revoke = world.proof(first, ALICE, proof.REVOKE, {"target": digest_of(leaf)}, HOME)
    for_another = world.proof(first, ALICE, proof.DELEGATE, {"child": digest_of(first)}, HOME)
    for_the_gate = world.proof(first, ALICE, proof.DELEGATE, {"child": digest_of(leaf)}, PEP)
    for wrong, reason in (
        (for_check, Reason.PROOF_TOOL_MISMATCH),
        (for_revoke, Reason.PROOF_TOOL_MISMATCH),
        (for_another, Reason.PROOF_ARGUMENTS_MISMATCH),
        (for_the_gate, Reason.PROOF_AUDIENCE_MISMATCH),
    ):
        with pytest.raises(DeniedError) as raised:
            world.authority.delegate(world.caller, [first], leaf, wrong)
        assert (raised.value.reason, raised.value.decision.hop) == (reason, 0)
    right = world.proof(first, ALICE, proof.DELEGATE, {"child": digest_of(leaf)}, HOME)
    world.denied(Reason.TOOL_NOT_GRANTED, 0, [first], ALICE, proof.DELEGATE, {"child": digest_of(leaf)}, proof=right)
    right = world.proof(first, ALICE, proof.DELEGATE, {"child": digest_of(leaf)}, HOME)
    assert world.authority.delegate(world.caller, [first], leaf, right).hop == 1


def test_delegate_without_proof(world: World) -> None:
    first = seal(root())
    leaf = seal(child(first), ALICE)
    agent = Caller("bob", frozenset({Role.AGENT}), holder=BOB.key.thumbprint, channel=True)
    unproven = replace(agent, holder=ALICE.key.thumbprint, channel=False)
    for caller, reason in ((agent, Reason.HOLDER_MISMATCH), (unproven, Reason.PROOF_MISSING)):
        with pytest.raises(DeniedError) as raised:
            world.authority.delegate(caller, [first], leaf)
        assert (raised.value.reason, raised.value.decision.hop) == (reason, 0)
    by_bob = world.proof(first, BOB, proof.DELEGATE, {"child": digest_of(leaf)}, HOME)
    with pytest.raises(DeniedError) as raised:
        world.authority.delegate(world.caller, [first], leaf, by_bob)
    assert raised.value.reason is Reason.HOLDER_MISMATCH
    assert world.store.delegation(digest(leaf)) is None
    alice = replace(agent, holder=ALICE.key.thumbprint)
    assert world.authority.delegate(alice, [first], leaf).holder == BOB.key.thumbprint


def test_revoke_without_proof(world: World) -> None:
    first, second, third = honest()
    world.allowed([first, second, third], CAROL)
    agent = Caller("bob", frozenset({Role.AGENT}), holder=BOB.key.thumbprint)
    order = Revoke(digest(third))
    with pytest.raises(ForbiddenError):
        world.authority.revoke(agent, order)
    arguments = {"target": digest_of(third)}
    for claimed, reason in (
        (None, Reason.PROOF_MISSING),
        (world.proof(second, CAROL, proof.REVOKE, arguments, HOME), Reason.HOLDER_MISMATCH),
        (world.proof(second, BOB, proof.REVOKE, {"target": digest_of(second)}, HOME), Reason.PROOF_ARGUMENTS_MISMATCH),
        (world.proof(second, BOB, proof.DELEGATE, arguments, HOME), Reason.PROOF_TOOL_MISMATCH),
    ):
        with pytest.raises(DeniedError) as raised:
            world.authority.revoke(agent, order, [first, second], claimed)
        assert raised.value.reason is reason
    world.allowed([first, second, third], CAROL)
    right = world.proof(second, BOB, proof.REVOKE, arguments, HOME)
    assert world.authority.revoke(agent, order, [first, second], right).count == 1
    world.denied(Reason.REVOKED, 2, [first, second, third], CAROL)
    world.allowed([first, second], BOB)


def test_proof_denied_once_and_presented_again(world: World) -> None:
    tokens = honest()
    over = world.proof(tokens[-1], CAROL, "bank.pay", {"amount": 101})
    world.denied(Reason.CONSTRAINT_VIOLATED, 0, tokens, CAROL, "bank.pay", {"amount": 101}, proof=over)
    unknown = seal(root(MALLORY))
    held = world.proof(unknown, MALLORY, "bank.pay", {"amount": 5})
    world.denied(Reason.HOLDER_UNKNOWN, 0, [unknown], MALLORY, "bank.pay", {"amount": 5}, proof=held)
    world.authority.enrol(world.caller, MALLORY.key, Principal(id="spiffe://example.org/m", owner="team"))
    world.denied(Reason.REPLAY, 0, [unknown], MALLORY, "bank.pay", {"amount": 5}, proof=held)
    world.allowed([unknown], MALLORY, "bank.pay", {"amount": 5})


def test_facts_stated_beside_the_proof(world: World) -> None:
    """Purpose, intent and labels are the agent's words: nobody on the way puts others in its mouth."""
    tokens = honest()
    signed = {"purpose": "travel", "labels": ("tainted",)}
    for stated in ({}, {"purpose": "travel"}, {"purpose": "billing", "labels": ("tainted",)}, {"intent": "x"}):
        made = world.proof(tokens[-1], CAROL, facts={"purpose": "travel", "labels": ["tainted"]})
        world.denied(Reason.PROOF_CONTEXT_MISMATCH, 2, tokens, CAROL, proof=made, **stated)
    silent = world.proof(tokens[-1], CAROL)
    world.denied(Reason.PROOF_CONTEXT_MISMATCH, 2, tokens, CAROL, proof=silent, **signed)
    world.allowed(tokens, CAROL, **signed)


def test_facts_stated_beside_the_proof_of_a_plain_holder() -> None:
    """The draft knows no `ctx`; a holder who made one all the same is held to it."""
    world = World(verifier=verifier(profile=Profile.AAT_01))
    tokens = honest()
    made = world.proof(tokens[-1], CAROL, facts={"purpose": "travel"})
    world.denied(Reason.PROOF_CONTEXT_MISMATCH, 2, tokens, CAROL, proof=made, purpose="billing")
    world.allowed(tokens, CAROL, proof=world.proof(tokens[-1], CAROL), purpose="billing")
    world.allowed(tokens, CAROL, purpose="travel")


def test_intent_of_another_task(world: World) -> None:
    intent = {"digest": "abc", "alg": "sha-256", "salt": "s"}
    tokens = [seal(root(limits={"classes": ["read"]}, intent=intent))]
    world.denied(Reason.INTENT_MISMATCH, 0, tokens, ALICE, intent="abd")
    world.denied(Reason.INTENT_MISSING, 0, tokens, ALICE)
    world.allowed(tokens, ALICE, intent="abc")


def test_token_taken_for_a_proof(world: World) -> None:
    tokens = honest()
    for wrong in (tokens[0], tokens[2], seal(root(), CAROL), "", "a.b.c", tokens[2] + "\n", "é"):
        world.denied(Reason.PROOF_INVALID, 2, tokens, CAROL, proof=wrong)
    claims = payload_of(world.proof(tokens[-1], CAROL))
    untyped = seal(claims, CAROL, {})
    world.denied(Reason.PROOF_INVALID, 2, tokens, CAROL, proof=untyped)
    spaced = seal(b" " + text(claims), CAROL, {"typ": "aat-pop+jwt"})
    world.denied(Reason.PROOF_INVALID, 2, tokens, CAROL, proof=spaced)
    unsigned = forge({"alg": "none", "typ": "aat-pop+jwt"}, claims, b"")
    world.denied(Reason.PROOF_INVALID, 2, tokens, CAROL, proof=unsigned)
    world.refused(Reason.HEADER_UNSUPPORTED, 0, [world.proof(tokens[-1], ROOT_KEY)], CAROL)
    world.allowed(tokens, CAROL)


def test_certificate_that_nothing_proves(world: World) -> None:
    bound = root(limits={"classes": ["read"]})
    for member in ({"x5t#S256": b64encode(bytes(32))}, {"spiffe": "spiffe://example.org/a"}):
        both = [seal(bound | {"jti": "both", "cnf": bound["cnf"] | member})]
        world.denied(Reason.HOLDER_MISMATCH, 0, both, ALICE)
        alone = [seal(bound | {"jti": "alone", "cnf": member})]
        world.denied(Reason.HOLDER_MISMATCH, 0, alone, ALICE)
        below = child(both[0])
        below["par_hash"] = digest_of(alone[0])
        world.refused(Reason.DELEGATOR_MISMATCH, 1, [*alone, seal(below, ALICE)])
        plain = root()
        world.refused(Reason.CLAIM_INVALID, 0, [seal(plain | {"cnf": plain["cnf"] | member})], ALICE)
    odd = (
        {"x5t#S256": "abc"},
        {"x5t#S256": "=" * 43},
        {"spiffe": "spiffe://example.org"},
        {"spiffe": "spiffe://Example.org/a"},
    )
    for nobody in ({}, {"jwk": None}, None, "x", {"jwk": jwk(ALICE), "kid": "x"}, *odd):
        world.refused(Reason.CLAIM_INVALID, 0, [seal(root() | {"cnf": nobody})], ALICE)
    world.allowed([seal(bound)], ALICE)
