"""Which tokens, in which order: the shape of the chain."""

from __future__ import annotations

from itertools import permutations
from threading import Event, Thread
from typing import Any

import pytest

from chain.anchor import TrustAnchor
from chain.containment import Profile
from chain.errors import InvalidTokenError
from chain.jws import Frame
from chain.key import PublicKey
from chain.reason import Reason
from chain.token import Rules, Verifier
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    EXTENDED,
    ISSUER,
    MALLORY,
    NOW,
    PLAIN,
    ROOT_KEY,
    TOOLS,
    World,
    child,
    digest,
    digest_of,
    entry,
    honest,
    payload_of,
    root,
    seal,
    verifier,
)


def test_wrong_par_hash(world: World) -> None:
    first = seal(root())
    for wrong in (digest_of(seal(root(jti="other"))), "", first.rpartition(".")[2], digest_of(first) + "="):
        world.refused(Reason.PARENT_MISMATCH, 1, [first, seal(child(first, par_hash=wrong), ALICE)])
    world.refused(Reason.PARENT_MISMATCH, 1, [first, seal(child(first, par_hash=None), ALICE)])
    world.refused(Reason.CLAIM_INVALID, 0, [seal(root(par_hash=digest_of(first)))], ALICE)
    world.allowed([first, seal(child(first), ALICE)], BOB)


def test_splice_onto_a_compatible_parent(world: World) -> None:
    narrow, wide = seal(root(jti="narrow")), seal(root(jti="wide", exp=NOW + 900))
    leaf = seal(child(narrow), ALICE)
    world.refused(Reason.PARENT_MISMATCH, 1, [wide, leaf])
    world.allowed([narrow, leaf], BOB)


def test_tokens_of_two_roots(world: World) -> None:
    ours, theirs = honest(), [seal(root(BOB, jti="theirs"))]
    world.refused(Reason.SIGNATURE_INVALID, 1, [ours[0], theirs[0]], BOB)
    world.refused(Reason.SIGNATURE_INVALID, 1, [theirs[0], ours[1]], BOB)
    world.refused(Reason.DELEGATOR_MISMATCH, 1, [seal(root(ROOT_KEY, jti="own")), theirs[0]], BOB)
    world.allowed(ours, CAROL)
    world.allowed(theirs, BOB)


def test_missing_link(world: World) -> None:
    tokens = honest()
    world.refused(Reason.SIGNATURE_INVALID, 1, [tokens[0], tokens[2]], CAROL)
    # One key at two hops: then only the claims show the gap.
    first = seal(root(ALICE))
    second = seal(child(first, ALICE), ALICE)
    third = seal(child(second, BOB), ALICE)
    world.refused(Reason.DEPTH_INVALID, 1, [first, third])
    world.allowed(tokens, CAROL)
    world.allowed([first, second, third], BOB)


def test_shuffled_links(world: World) -> None:
    tokens = honest()
    for order in permutations(range(3)):
        shuffled = [tokens[place] for place in order]
        if order != (0, 1, 2):
            hop = 0 if order[0] else 1
            world.refused(Reason.SIGNATURE_INVALID if hop else Reason.ANCHOR_UNKNOWN, hop, shuffled, CAROL)
    world.allowed(tokens, CAROL)


def test_reversed_chain(world: World) -> None:
    tokens = honest()
    world.refused(Reason.ANCHOR_UNKNOWN, 0, tokens[::-1], ALICE)
    world.allowed(tokens, CAROL)


def test_duplicate_link(world: World) -> None:
    first, second, third = honest()
    world.refused(Reason.JTI_DUPLICATE, 1, [first, first, second], BOB)
    world.refused(Reason.JTI_DUPLICATE, 2, [first, second, second], BOB)
    world.refused(Reason.JTI_DUPLICATE, 3, [first, second, third, first], BOB)
    world.refused(Reason.JTI_DUPLICATE, 1, [first, seal(child(first, jti=payload_of(first)["jti"]), ALICE)], BOB)
    world.allowed([first, second, third], CAROL)


def test_orphan_link(world: World) -> None:
    tokens = honest()
    world.refused(Reason.ANCHOR_UNKNOWN, 0, [tokens[2]], CAROL)
    # Signed by the anchor's own key and still no root: its depth says so.
    first = seal(root(ROOT_KEY))
    orphan = seal(child(first), ROOT_KEY)
    world.refused(Reason.CHAIN_INCOMPLETE, 0, [orphan])
    world.allowed([first, orphan], BOB)


def test_empty_chain(world: World) -> None:
    world.refused(Reason.CHAIN_EMPTY, None, [], ALICE)
    world.allowed(honest(1), ALICE)


def test_depth_skipped(world: World) -> None:
    first = seal(root())
    for depth in (0, 2, 3):
        world.refused(Reason.DEPTH_INVALID, 1, [first, seal(child(first, del_depth=depth), ALICE)])
    world.allowed([first, seal(child(first), ALICE)], BOB)


def test_depth_over_maximum(world: World) -> None:
    first = seal(root())
    world.refused(Reason.DEPTH_EXCEEDED, 1, [first, seal(child(first, del_max_depth=9), ALICE)])
    world.refused(Reason.DEPTH_INVALID, 1, [first, seal(child(first, del_max_depth=0), ALICE)])
    world.refused(Reason.DEPTH_EXCEEDED, 0, [seal(root(del_max_depth=65))], ALICE)
    world.allowed([seal(root(jti="deep", del_max_depth=64))], ALICE)
    world.allowed([first, seal(child(first, del_max_depth=1), ALICE)], BOB)


def test_terminal_redelegated(world: World) -> None:
    first = seal(root(del_max_depth=1))
    second = seal(child(first), ALICE)
    third = seal(child(second, CAROL), BOB)
    world.refused(Reason.DEPTH_EXCEEDED, 2, [first, second, third], CAROL)
    longer = seal(root(jti="longer", del_max_depth=2))
    middle = seal(child(longer, jti="middle"), ALICE)
    world.allowed([longer, middle, seal(child(middle, CAROL), BOB)], CAROL)
    world.allowed([first, second], BOB)


def test_lifetime_extended(world: World) -> None:
    first = seal(root())
    error = world.refused(Reason.LIFETIME_EXTENDED, 1, [first, seal(child(first, exp=NOW + 601), ALICE)])
    assert (error.field, error.parent, error.child) == ("exp", f"until {NOW + 600}", f"until {NOW + 601}")  # type: ignore[attr-defined]
    world.allowed([first, seal(child(first, exp=NOW + 600), ALICE)], BOB)


def test_expired_ancestor_under_a_fresh_leaf(world: World) -> None:
    first = seal(root())
    middle = seal(child(first, exp=NOW + 100), ALICE)
    leaf = seal(child(middle, CAROL, iat=NOW + 99), BOB)
    tokens = [first, middle, leaf]
    world.clock.now = NOW + 99.5
    world.allowed(tokens, CAROL)
    world.clock.now = NOW + 100
    decision = world.denied(Reason.EXPIRED, 1, tokens, CAROL)
    assert [finding.hop for finding in decision.findings] == [1, 2]
    fresh = seal(child(middle, CAROL, iat=NOW + 99, exp=NOW + 600), BOB)
    world.refused(Reason.LIFETIME_EXTENDED, 2, [first, middle, fresh], CAROL)


def test_child_older_than_its_parent(world: World) -> None:
    first = seal(root())
    world.refused(Reason.ISSUED_BEFORE_PARENT, 1, [first, seal(child(first, iat=NOW - 11), ALICE)])
    world.allowed([first, seal(child(first, iat=NOW - 10), ALICE)], BOB)


def test_token_of_the_future(world: World) -> None:
    first = seal(root(iat=NOW + 31))
    world.denied(Reason.NOT_YET_VALID, 0, [first], ALICE)
    world.clock.now = NOW + 1
    world.allowed([first], ALICE)


def test_immortal_token(world: World) -> None:
    ninety = 90 * 24 * 3600
    world.denied(Reason.LIFETIME_EXCEEDED, 0, [seal(root(iat=NOW, exp=NOW + ninety + 1))], ALICE)
    world.allowed([seal(root(jti="long", iat=NOW, exp=NOW + ninety))], ALICE)


def test_middle_token_with_both_entry_types(world: World) -> None:
    first = seal(root())
    both = [entry(TOOLS, kind=PLAIN), entry(TOOLS, {"classes": ["read"]}, EXTENDED)]
    for details in (both, both[::-1], [both[0], both[0]], [both[1], both[1]]):
        middle = seal(child(first, authorization_details=details), ALICE)
        leaf_payload = child(first, CAROL, jti="leaf", del_depth=2, par_hash=digest_of(middle))
        leaf_payload["iss"] = leaf_payload["iss"].replace(ALICE.key.thumbprint, BOB.key.thumbprint)
        world.refused(Reason.CLAIM_INVALID, 1, [first, middle, seal(leaf_payload, BOB)], CAROL)
    foreign = [{"type": "payment_initiation", "amount": 1}, both[0], {"type": "other", "tools": 7}]
    middle = seal(child(first, authorization_details=foreign), ALICE)
    world.allowed([first, middle], BOB)


def test_nothing_granted_in_the_middle(world: World) -> None:
    first = seal(root())
    empty = seal(child(first, authorization_details=[]), ALICE)
    world.refused(Reason.CLAIM_INVALID, 1, [first, empty])
    leaf = child(first, CAROL, jti="leaf", del_depth=2, par_hash=digest_of(empty))
    leaf["iss"] = leaf["iss"].replace(ALICE.key.thumbprint, BOB.key.thumbprint)
    world.refused(Reason.TOOL_ADDED, 2, [first, empty, seal(leaf, BOB)], CAROL)
    world.allowed([first, seal(child(first), ALICE)], BOB)


@pytest.mark.parametrize("fact", ["sub", "txn", "owner", "home", "intent"])
def test_root_fact_below_the_root(world: World, fact: str) -> None:
    value: Any = {"digest": "d", "alg": "sha-256", "salt": "s"} if fact == "intent" else "first"
    other: Any = {"digest": "e", "alg": "sha-256", "salt": "s"} if fact == "intent" else "second"
    extended = [entry(TOOLS, kind=EXTENDED)]
    facts = {"intent": "d"} if fact == "intent" else {}
    # Introduced below an extended root, and below a plain one.
    for first in (seal(root(authorization_details=extended)), seal(root(jti="plain"))):
        below = child(first, authorization_details=extended, **{fact: value})
        world.refused(Reason.FACT_CHANGED, 1, [first, seal(below, ALICE)])
    # Changed, however little; dropping and repeating are allowed.
    first = seal(root(jti="fact", authorization_details=extended, **{fact: value}))
    world.refused(Reason.FACT_CHANGED, 1, [first, seal(child(first, **{fact: other}), ALICE)])
    world.allowed([first, seal(child(first, **{fact: value}), ALICE)], BOB, **facts)
    world.allowed([first, seal(child(first, jti="bare"), ALICE)], BOB, **facts)
    # In plain tokens they say nothing, so they are no claim to anything either.
    plain = seal(root(jti="also-plain", **{fact: value}))
    assert world.accepted([plain]).facts == (None,) * 5


def test_extension_dropped(world: World) -> None:
    first = seal(root(limits={"classes": ["read", "act"]}))
    plain = seal(child(first, authorization_details=[entry(TOOLS)]), ALICE)
    world.refused(Reason.EXTENSION_DROPPED, 1, [first, plain])
    world.allowed([first, seal(child(first), ALICE)], BOB)
    plain_root = seal(root(jti="plain"))
    narrower = seal(child(plain_root, limits={"classes": ["read"]}), ALICE)
    world.allowed([plain_root, narrower], BOB)


def test_limits_in_a_plain_entry(world: World) -> None:
    world.refused(Reason.CLAIM_INVALID, 0, [seal(root(limits={"classes": ["read"]}) | plain_with_limits())], ALICE)
    for unknown in ({"colour": "red"}, {"classes": ["read"], "colour": "red"}):
        world.refused(Reason.CLAIM_INVALID, 0, [seal(root(limits=unknown))], ALICE)
    world.allowed([seal(root(limits={"classes": ["read"]}))], ALICE)


def plain_with_limits() -> dict[str, object]:
    return {"authorization_details": [entry(TOOLS, {"classes": ["read"]}, PLAIN)]}


def test_warm_cache_with_a_corrupt_signature(world: World) -> None:
    tokens = honest()
    world.allowed(tokens, CAROL)
    for hop in range(3):
        head, _, signature = tokens[hop].rpartition(".")
        corrupt = [*tokens[:hop], f"{head}.{'A' * len(signature)}", *tokens[hop + 1 :]]
        reason = Reason.ANCHOR_UNKNOWN if hop == 0 else Reason.SIGNATURE_INVALID
        world.refused(reason, hop, corrupt, CAROL)
    world.allowed(tokens, CAROL)


def test_warm_cache_with_a_leaf_alone(world: World) -> None:
    tokens = honest()
    world.allowed(tokens, CAROL)
    world.refused(Reason.ANCHOR_UNKNOWN, 0, tokens[2:], CAROL)
    world.refused(Reason.ANCHOR_UNKNOWN, 0, tokens[1:], CAROL)
    world.refused(Reason.SIGNATURE_INVALID, 1, [tokens[0], tokens[2]], CAROL)
    world.allowed(tokens, CAROL)


def test_warm_cache_with_a_removed_anchor() -> None:
    tokens = honest()
    world = World()
    world.allowed(tokens, CAROL)
    # The same store, opened again by an authority that trusts others: nothing of what was verified stays.
    leaf = world.accepted(tokens).leaf.digest
    gone = World(store=world.store, verifier=Verifier([TrustAnchor(MALLORY.key, ISSUER)]), signer=None)
    gone.refused(Reason.ANCHOR_UNKNOWN, 0, tokens, CAROL)
    by_digest = gone.authority.check(gone.caller, leaf, gone.request(tokens, CAROL))
    assert (by_digest.allowed, by_digest.reason, by_digest.hop) == (False, Reason.ANCHOR_UNKNOWN, 0)
    rebound = Verifier([TrustAnchor(ROOT_KEY.key, "https://b.example")])
    World(store=world.store, verifier=rebound, signer=None).refused(Reason.ISSUER_MISMATCH, 0, tokens, CAROL)
    again = World(store=world.store)
    assert again.authority.check(
        again.caller, leaf, again.request(tokens, CAROL, proof=again.proof(tokens[-1], CAROL, jti="fresh"))
    ).allowed


def test_warm_cache_with_an_anchor_removed_while_it_runs(world: World) -> None:
    tokens = honest()
    world.allowed(tokens, CAROL)
    leaf, anchors = world.accepted(tokens).leaf.digest, world.verifier.anchors
    batch = world.authority.chains()
    assert not isinstance(batch.resolve(tokens), InvalidTokenError)
    world.verifier.replace([TrustAnchor(MALLORY.key, ISSUER)])
    world.refused(Reason.ANCHOR_UNKNOWN, 0, tokens, CAROL)
    world.refused(Reason.ANCHOR_UNKNOWN, 0, tokens[:1], ALICE)
    for presented in (tokens, leaf):
        remembered = batch.resolve(presented)
        assert isinstance(remembered, InvalidTokenError)
        assert remembered.reason is Reason.ANCHOR_UNKNOWN
    by_digest = world.authority.check(world.caller, leaf, world.request(tokens, CAROL))
    assert (by_digest.allowed, by_digest.reason) == (False, Reason.ANCHOR_UNKNOWN)
    world.verifier.replace(anchors)
    world.allowed(tokens, CAROL)


def test_verification_that_a_swap_overtakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An anchor goes while a chain is verified under it: that chain is never found in the memory that came."""
    tokens = honest()
    checked, anchors = Verifier([TrustAnchor(ROOT_KEY.key, ISSUER)]), [TrustAnchor(MALLORY.key, ISSUER)]
    signed_by = Frame.signed_by
    calls = []

    def swap(frame: Frame, key: PublicKey) -> bool:
        holds = signed_by(frame, key)
        calls.append(key)
        if len(calls) == 2:
            checked.replace(anchors)
        return holds

    monkeypatch.setattr(Frame, "signed_by", swap)
    assert len(checked.verify(tokens)) == 3  # it was begun under the anchors that held then
    assert len(calls) == 3
    for presented in (tokens, tokens[:2], tokens[:1]):
        with pytest.raises(InvalidTokenError) as refused:
            checked.verify(presented)
        assert refused.value.reason is Reason.ANCHOR_UNKNOWN
        assert checked.recall(digest(presented[-1])) is None
    checked.replace([TrustAnchor(ROOT_KEY.key, ISSUER)])
    World(verifier=checked).allowed(tokens, CAROL)


def test_swaps_under_many_verifications() -> None:
    """Whoever asks after a swap is answered by the anchors that came with it, however many ask meanwhile."""
    tokens, ours, theirs = honest(), [TrustAnchor(ROOT_KEY.key, ISSUER)], [TrustAnchor(MALLORY.key, ISSUER)]
    shared, stop = Verifier(ours), Event()
    told: list[str] = []

    def ask() -> None:
        while not stop.is_set():
            try:
                shared.verify(tokens)
                told.append("chain")
            except InvalidTokenError as error:
                told.append(error.reason.value)

    threads = [Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        shared.replace(theirs)
        with pytest.raises(InvalidTokenError):
            shared.verify(tokens)
        shared.replace(ours)
        assert len(shared.verify(tokens)) == 3
    stop.set()
    for thread in threads:
        thread.join()
    assert set(told) <= {"chain", "anchor_unknown"}
    assert len(told) > 0
    World(verifier=shared).allowed(tokens, CAROL)


def test_warm_cache_with_another_profile() -> None:
    first = seal(root(tools={"mail.read": {"folder": {"constraint_type": "not_one_of", "excluded": ["out"]}}}))
    exact = {"mail.read": {"folder": {"constraint_type": "exact", "value": "in"}}}
    tokens = [first, seal(child(first, tools=exact), ALICE)]
    World().allowed(tokens, BOB)
    strict = World(verifier=verifier(profile=Profile.AAT_01))
    strict.refused(Reason.CONSTRAINT_WIDENED, 1, tokens)
    strict.allowed([first], ALICE)
    assert strict.verifier.rules == Rules(profile=Profile.AAT_01)
