"""What one request may cost: found by review, each with its allowed twin. Work is counted, never timed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from chain import jcs, mint
from chain.anchor import TrustAnchor
from chain.caller import Caller, Role
from chain.case import MAX_FINDINGS
from chain.constraint import OneOf
from chain.containment import Containment
from chain.errors import InvalidTokenError
from chain.grant import MAX_NAME
from chain.order import Issue
from chain.prefix import PrefixCache
from chain.reason import Reason
from chain.request import MAX_ARGUMENT_BYTES, MAX_ARGUMENT_NAMES, MAX_LABELS, MAX_VALUES, Request
from chain.token import Verifier
from tests.support import ALICE, BOB, ISSUER, MALLORY, NOW, PEP, ROOT_KEY, World, digest, honest, root, seal, signer


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("fits", "too_much"),
    [
        ({"a": "x" * 1000}, {"a": "x" * MAX_ARGUMENT_BYTES}),
        ({f"a{n}": 1 for n in range(MAX_ARGUMENT_NAMES)}, {f"a{n}": 1 for n in range(MAX_ARGUMENT_NAMES + 1)}),
        ({"a": [0] * (MAX_VALUES - 2)}, {"a": [0] * (MAX_VALUES - 1)}),
    ],
)
def test_arguments_are_bounded(fits: dict[str, Any], too_much: dict[str, Any]) -> None:
    assert Request(tool="mail.read", arguments=fits).arguments == fits
    with pytest.raises(ValidationError, match="more than"):
        Request(tool="mail.read", arguments=too_much)


def test_labels_are_bounded() -> None:
    assert len(Request(tool="mail.read", labels=("tainted",) * MAX_LABELS).labels) == MAX_LABELS
    with pytest.raises(ValidationError):
        Request(tool="mail.read", labels=("tainted",) * (MAX_LABELS + 1))


def test_findings_are_bounded(world: World) -> None:
    tokens = honest(3)
    flood = {f"{'n' * 300}{n}": 1 for n in range(MAX_ARGUMENT_NAMES)}
    decision = world.ask(tokens, ALICE, "mail.read", flood)
    assert (decision.reason, len(decision.findings)) == (Reason.ARGUMENT_NOT_GRANTED, MAX_FINDINGS)
    assert max(len(finding.detail) for finding in decision.findings) < 200
    assert world.ask(tokens[:1], ALICE).allowed


def test_a_compound_value_is_made_a_key_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    parent, child_rule = OneOf(values=([0] * 1000, 7)), OneOf(values=(7,) * 1000)
    made = 0
    key = jcs.key

    def counted(value: Any) -> Any:
        nonlocal made
        made += jcs.size(value)
        return key(value)

    monkeypatch.setattr(jcs, "key", counted)
    assert Containment().compare(parent, child_rule)
    assert not Containment().compare(parent, OneOf(values=(7, 8)))
    assert made < 10_000


@pytest.mark.parametrize(
    "tools", [{"t" * (MAX_NAME + 1): {}}, {"t": {"a" * (MAX_NAME + 1): {"constraint_type": "wildcard"}}}]
)
def test_names_are_bounded(tools: dict[str, Any]) -> None:
    trusting = Verifier([TrustAnchor(ROOT_KEY.key, ISSUER)])
    assert trusting.verify([seal(root(tools={"t" * MAX_NAME: {"a" * MAX_NAME: {"constraint_type": "wildcard"}}}))])
    with pytest.raises(InvalidTokenError) as raised:
        trusting.verify([seal(root(tools=tools))])
    assert (raised.value.reason, raised.value.hop) == (Reason.CLAIM_INVALID, 0)
    assert len(str(raised.value)) < 2 * MAX_NAME + 200


def test_what_is_remembered_is_bounded_by_bytes() -> None:
    tokens = tuple(honest(1))
    chain = Verifier([TrustAnchor(ROOT_KEY.key, ISSUER)]).verify(tokens)
    roomy, tight = PrefixCache(1_000_000), PrefixCache(1_000)
    for cache in (roomy, tight):
        cache.put(tokens, chain)
        for number in range(3):
            cache._put(bytes([number]) * 32, (("x" * 50_000,), chain))
    assert roomy.get(digest(tokens[0])) is not None
    assert tight.get(digest(tokens[0])) is None


def test_a_proof_from_the_far_future_is_not_remembered_for_ever(world: World) -> None:
    tokens = honest(1)
    far = world.proof(tokens[0], ALICE, iat=jcs.MAX_INTEGER)
    decision = world.ask(tokens, ALICE, proof=far)
    assert decision.reason is Reason.PROOF_STALE
    (nonce,) = world.store.nonces(0)
    assert nonce.expires <= NOW + 100
    assert world.ask(tokens, ALICE).allowed


def test_a_key_among_many_is_found_by_its_name() -> None:
    others = [TrustAnchor(signer(f"other {number}").key) for number in range(100)]
    world = World(verifier=Verifier([*others, TrustAnchor(ROOT_KEY.key, ISSUER)]))
    order = Issue(holder=ALICE.key, grant=mint.grant({"tools": {"mail.read": {}}}), lifetime=60)
    issued = world.authority.issue(world.caller, order).token
    assert world.ask([issued], ALICE).allowed
    named = {"typ": "aat+jwt", "kid": ROOT_KEY.key.thumbprint}
    with pytest.raises(InvalidTokenError, match="signature_invalid"):
        world.verifier.verify([seal(root(), MALLORY, named)])


def test_an_agent_that_only_names_a_chain_does_not_learn_what_it_grants(world: World) -> None:
    tokens = [seal(root(tools={"mail.read": {"folder": {"constraint_type": "exact", "value": "secret-project"}}}))]
    assert world.ask(tokens, ALICE, "mail.read", {"folder": "secret-project"}).allowed
    stranger = Caller("bob", frozenset({Role.AGENT}), audience=PEP, holder=BOB.key.thumbprint, channel=True)
    asked = Request(tool="mail.read", arguments={"folder": "guess"}, audience=PEP, holder=BOB.key.thumbprint)
    told = world.authority.check(stranger, digest(tokens[0]), asked)
    assert [finding.reason for finding in told.findings] == [Reason.CONSTRAINT_VIOLATED, Reason.HOLDER_MISMATCH]
    assert "secret-project" not in str(told)
    shown = world.authority.check(stranger, tokens, asked)  # who holds the token can read it
    assert "secret-project" in str(shown)
