"""Whom the authority signs for, and that what it signed is trusted no more than what a stranger signed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chain import mint
from chain.caller import Caller, Role
from chain.claims import Confirmation
from chain.control import Named
from chain.errors import ChainError, ConflictError, DeniedError, ExcessError, ForbiddenError, InvalidRequestError
from chain.order import Delegate, Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.view import Enrolled
from tests.approvals.office import ANY_HOP, policy
from tests.custody.keeping import ANN, BEN, LIMITS, NARROW, Keeping, Known, order
from tests.support import ALICE, BOB, HOME, MALLORY, NOW, PEP, TOOLS, Json, child, digest, root, rule, seal

OPERATOR = Caller("op", frozenset({Role.OPERATOR}))


@pytest.fixture
def world() -> Keeping:
    return Keeping()


def test_a_stranger_accepts_what_was_signed_and_the_chain_goes_on(world: Keeping) -> None:
    first = world.root(limits={"classes": ["read"]})
    reading = {"tools": {"mail.read": TOOLS["mail.read"]}}
    tokens = world.hand(world.on_channel(ANN), [first], order(reading, holder=world.ben, max_depth=5, audience=PEP))
    leaf = world.accepted(tokens).leaf
    assert (leaf.holder, leaf.claims.del_max_depth, leaf.audience) == (world.ben.thumbprint, 5, {PEP})
    assert (leaf.iat, leaf.exp, leaf.claims.jti[14]) == (NOW, NOW + 300, "7")
    tokens = world.hand(world.on_channel(BEN), tokens, order(reading))
    assert world.accepted(tokens).leaf.holder == BOB.key.thumbprint
    world.allowed(tokens, BOB)
    tokens = [*tokens, seal(child(tokens[-1], ALICE), BOB)]  # and a holder of its own key goes on
    world.allowed(tokens, ALICE)
    request = Request(tool="mail.read", arguments={"folder": "in"}, audience=PEP, holder=world.ben.thumbprint)
    assert world.authority.check(world.caller, tokens[:2], request).allowed
    assert [body["caller"] for body in world.records("enrolled")[-2:]] == ["custody", "custody"]


def test_a_holder_may_be_an_id_and_ends_the_chain(world: Keeping) -> None:
    tokens = world.hand(world.on_channel(ANN), [world.root()], order(holder=Confirmation(spiffe=BEN.id)))
    assert world.accepted(tokens).leaf.holder == BEN.id
    with pytest.raises(DeniedError) as refused:
        world.hand(world.on_channel(BEN), tokens, order())
    assert refused.value.reason is Reason.HOLDER_MISMATCH


ATTACKS: dict[str, tuple[Callable[[Keeping], Caller], type[ChainError], Reason]] = {
    "another agent's hop": (lambda w: w.on_channel(BEN), DeniedError, Reason.HOLDER_MISMATCH),
    "a secret instead of a channel": (lambda w: w.on_channel(ANN, channel=False), DeniedError, Reason.PROOF_MISSING),
    "a name that is not the channel's": (
        lambda w: w.on_channel(ANN, holder=w.ben.thumbprint), DeniedError, Reason.HOLDER_MISMATCH
    ),
    "a channel that is not the name's": (
        lambda w: w.on_channel(BEN, holder=w.ann.thumbprint), DeniedError, Reason.HOLDER_MISMATCH
    ),
    "a caller's name": (lambda w: w.on_channel(BEN, name=ANN.id), DeniedError, Reason.HOLDER_MISMATCH),
    "an id beside another's key": (lambda w: w.on_channel(BEN, spiffe=ANN.id), DeniedError, Reason.HOLDER_MISMATCH),
    "an agent with a key of its own": (
        lambda w: w.on_channel(ANN, custody=None, holder=ALICE.key.thumbprint), ForbiddenError, Reason.PERMISSION_DENIED
    ),
    "who knows the thumbprint": (lambda w: w.on_channel(ANN, custody=None), ForbiddenError, Reason.PERMISSION_DENIED),
    "whose key is kept nowhere": (
        lambda w: w.on_channel(ANN, custody=Principal(id=f"{ANN.id}/sub", owner="team")),
        DeniedError,
        Reason.HOLDER_MISMATCH,
    ),
    "an operator": (lambda w: w.on_channel(ANN, roles=OPERATOR.roles), ForbiddenError, Reason.PERMISSION_DENIED),
    "the program that embeds it": (lambda w: w.caller, ForbiddenError, Reason.PERMISSION_DENIED),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_signs_for_nobody_but_whom_the_channel_proves(world: Keeping, attack: str) -> None:
    assert len(ATTACKS) == 11
    who, kind, reason = ATTACKS[attack]
    parent, before = [world.root()], len(world.records("refused"))
    with pytest.raises(kind) as refused:
        world.hand(who(world), parent, order())
    assert refused.value.reason is reason
    recorded = world.records("refused")[before:]
    assert len(recorded) == (kind is DeniedError)
    assert world.records("delegated") == []
    world.accepted(world.hand(world.on_channel(ANN), parent, order()))
    assert len(world.records("delegated")) == 1


def test_another_key_of_the_same_agent_is_not_the_one_that_is_kept(world: Keeping) -> None:
    """The channel proves who holds it, since it is enrolled for Ann; and still nothing here signs with it."""
    world.authority.enrol(OPERATOR, MALLORY.key, ANN)
    own = world.root(MALLORY.key)
    ann = world.on_channel(ANN, spiffe=ANN.id)
    with pytest.raises(DeniedError) as refused:
        world.hand(ann, [own], order())
    assert refused.value.reason is Reason.HOLDER_MISMATCH
    assert "kept for the caller" in refused.value.decision.findings[0].detail
    narrower = child(own, tools=NARROW["tools"], limits=LIMITS)
    assert world.authority.delegate(ann, [own], seal(narrower, MALLORY)).hop == 1  # she signs it herself
    assert world.hand(ann, [world.root()], order())


def test_a_key_that_was_given_to_somebody_else_signs_no_more(world: Keeping) -> None:
    ann, parent = world.on_channel(ANN), [world.root()]
    world.hand(ann, parent, order())
    world.authority.enrol(OPERATOR, world.ann, BEN)
    assert world.authority.custody.holder(ANN.id) is None
    for caller in (ann, world.on_channel(ANN), world.on_channel(BEN, holder=world.ann.thumbprint)):
        with pytest.raises(DeniedError):
            world.hand(caller, parent, order())
    world.authority.enrol(OPERATOR, world.ann, ANN)
    world.hand(ann, parent, order())


def test_an_agent_that_asks_for_its_key_does_not_take_back_what_an_operator_gave_away(world: Keeping) -> None:
    """Whose a key is, operators say: asking for one's own must not undo it, in no way."""
    custody, caller = world.authority.custody, world.on_channel(ANN)
    world.authority.enrol(OPERATOR, world.ann, BEN)
    for asker in (caller, replace(caller, holder=None)):
        with pytest.raises(ForbiddenError, match="given to somebody else"):
            custody.own_key(asker)
    assert world.authority.principal(world.ann.thumbprint) == BEN
    world.authority.enrol(OPERATOR, world.ann, ANN)
    assert custody.own_key(caller) == world.ann


def test_an_agent_that_asks_for_its_key_changes_nobody_who_answers_for_it(world: Keeping) -> None:
    custody, other = world.authority.custody, ANN.model_copy(update={"owner": "audit"})
    world.authority.enrol(OPERATOR, world.ann, other)
    before = world.store.head
    for caller in (world.on_channel(ANN), world.on_channel(other)):
        assert custody.own_key(caller) == world.ann
    assert (world.authority.principal(world.ann.thumbprint), world.store.head) == (other, before)
    assert custody.keep(ANN) == world.ann  # the configuration may: it is read once, at the start
    assert world.authority.principal(world.ann.thumbprint) == ANN


def test_what_an_operator_gave_away_meanwhile_is_not_taken_back_in_the_commit(world: Keeping) -> None:
    custody, change = world.authority.custody, world.authority._desk.change
    late = Principal(id="spiffe://example.org/kept/late", owner="team")
    asked = custody._enrolling(world.ann, late, anew=False)  # when nobody had it yet
    with pytest.raises(ForbiddenError, match="given to somebody else"):
        change(asked, None, Enrolled).result()
    assert change(custody._enrolling(world.ann, ANN, anew=False), None, Enrolled).result().principal == ANN.id
    assert world.authority.principal(world.ann.thumbprint) == ANN


def test_a_proof_beside_an_order_is_refused(world: Keeping) -> None:
    parent = [world.root()]
    with pytest.raises(InvalidRequestError, match="takes no proof"):
        world.authority.delegate(world.on_channel(ANN), parent, order(), "eyJ")
    assert world.hand(world.on_channel(ANN), parent, order())


GATE: Json = LIMITS["approval"][0]
BEYOND: dict[str, tuple[Json, dict[str, Any], str]] = {
    "tool": ({"tools": {"mail.send": {}}}, {}, "tools.mail.send"),
    "constraint": ({"tools": {"bank.pay": {"amount": rule("range", max=101)}}}, {}, "tools.bank.pay.amount"),
    "argument dropped": ({"tools": {"bank.pay": {}}}, {}, "tools.bank.pay.amount"),
    "argument added": (
        {"tools": {"bank.pay": {"amount": rule("range", max=1), "to": rule("wildcard")}}}, {}, "tools.bank.pay.to"
    ),
    "class": (NARROW | {"limits": {"classes": ["act", "write"]}}, {}, "limits.classes"),
    "classification": (NARROW | {"limits": {"classification": "restricted"}}, {}, "limits.classification"),
    "purpose": (NARROW | {"limits": {"purposes": ["travelling"]}}, {}, "limits.purposes"),
    "budget": (NARROW | {"limits": {"budget": {"calls": 11}}}, {}, "limits.budget.calls"),
    "gate": (NARROW | {"limits": {"approval": [GATE | {"when": {"tool": "mail.read"}}]}}, {}, "limits.approval"),
    "audience": (NARROW, {"audience": ("https://else.example",)}, "aud"),
    "depth": (NARROW, {"max_depth": 9}, "del_max_depth"),
}  # fmt: skip


@pytest.mark.parametrize("what", BEYOND)
def test_what_asks_for_more_is_refused_by_its_field_and_stored_nowhere(world: Keeping, what: str) -> None:
    assert len(BEYOND) == 11
    grant, changed, field = BEYOND[what]
    parent = [world.root(aud=[HOME, PEP])]
    before = world.store.head
    with pytest.raises(ExcessError) as refused:
        world.hand(world.on_channel(ANN), parent, order(grant, **changed))
    error = refused.value
    assert error.field == field, str(error)
    assert (error.hop, bool(error.parent), bool(error.child)) == (1, True, True)
    (body,) = world.records("refused")
    assert (body["field"], body["granted"], body["asked"]) == (field, error.parent, error.child)
    assert body["caller"] == ANN.id
    assert world.store.head == before + 1
    narrow = order(NARROW, audience=PEP, max_depth=7)
    assert world.accepted(world.hand(world.on_channel(ANN), parent, narrow)).leaf.hop == 1


def test_nothing_goes_beneath_the_last_hop_and_nothing_outlives_its_parent(world: Keeping) -> None:
    last = [world.root(del_max_depth=0)]
    with pytest.raises(ExcessError) as refused:
        world.hand(world.on_channel(ANN), last, order())
    assert (refused.value.field, refused.value.reason) == ("del_depth", Reason.DEPTH_EXCEEDED)
    assert len(world.records("refused")) == 1
    tokens = world.hand(world.on_channel(ANN), [world.root()], order(lifetime=100_000))
    assert world.accepted(tokens).leaf.exp == NOW + 600


@pytest.mark.parametrize("changed", [{"lifetime": 0}, {"lifetime": -1}, {"grant": mint.Grant(tools={"": {}})}])
def test_what_is_no_order_is_an_error(world: Keeping, changed: Json) -> None:
    before = world.store.head
    with pytest.raises(InvalidRequestError):
        world.hand(world.on_channel(ANN), [world.root()], order(**changed))
    assert world.store.head == before
    world.hand(world.on_channel(ANN), [world.root()], order(lifetime=1))


def _expire(world: Keeping, _parent: str) -> None:
    world.clock.now += 600


def _revoke(world: Keeping, parent: str) -> None:
    world.authority.revoke(OPERATOR, Revoke(digest(parent)))


def _suspend(world: Keeping, _parent: str) -> None:
    world.authority.steering.suspend(OPERATOR, "agent", ANN.id, "odd")


def _suspend_domain(world: Keeping, _parent: str) -> None:
    world.authority.steering.suspend(OPERATOR, "trust_domain", ANN.trust_domain, "odd")


def _revoke_holder(world: Keeping, _parent: str) -> None:
    world.authority.revoke(OPERATOR, Revoke(named=Named("holder", ANN.id)))


def _revoke_key(world: Keeping, _parent: str) -> None:
    world.authority.revoke(OPERATOR, Revoke(named=Named("key", world.ann.thumbprint)))


STOPS: list[tuple[Callable[[Keeping, str], None], Reason]] = [
    (_expire, Reason.EXPIRED),
    (_revoke, Reason.REVOKED),
    (_suspend, Reason.SUSPENDED),
    (_suspend_domain, Reason.SUSPENDED),
    (_revoke_holder, Reason.REVOKED),
    (_revoke_key, Reason.REVOKED),
]


@pytest.mark.parametrize(("stop", "reason"), STOPS)
def test_what_stops_an_agent_stops_what_is_signed_for_it(
    world: Keeping, stop: Callable[[Keeping, str], None], reason: Reason
) -> None:
    parent = world.root()
    world.hand(world.on_channel(ANN), [parent], order())
    stop(world, parent)
    before = len(world.records("delegated"))
    with pytest.raises(DeniedError) as refused:
        world.hand(world.on_channel(ANN), [parent], order())
    assert refused.value.reason is reason
    assert len(world.records("delegated")) == before
    assert world.records("refused")[-1]["reason"] == reason.value


def test_a_retried_order_is_the_same_child_and_another_one_is_none(world: Keeping) -> None:
    ann, parent = world.on_channel(ANN), [world.root()]
    first = world.hand(ann, parent, order(), "k1")
    world.clock.now += 5
    assert world.hand(ann, parent, order(), "k1") == first
    world.authority = world.open()
    assert world.hand(world.on_channel(ANN), parent, order(), "k1") == first
    assert len(world.records("delegated")) == 1
    for changed in ({"lifetime": 299}, {"holder": ALICE.key}, {"max_depth": 3}, {"audience": PEP}):
        with pytest.raises(ConflictError):
            world.hand(ann, parent, order(**changed), "k1")
    with pytest.raises(ConflictError):
        world.hand(ann, [world.root(exp=NOW + 500)], order(), "k1")
    assert world.hand(ann, parent, order(), "k2") != first
    world.clock.now = NOW + 601  # the parent has ended, and the answer stands
    assert world.hand(ann, parent, order(), "k1") == first
    for other in (world.on_channel(BEN, name=ANN.id), world.on_channel(ANN, channel=False)):
        with pytest.raises(DeniedError):  # by the caller's name, without the caller's key
            world.hand(other, parent, order(), "k1")


def test_an_idempotency_key_is_one_agents_own(world: Keeping) -> None:
    to_ben = world.hand(world.on_channel(ANN), [world.root()], order(holder=world.ben), "k")
    world.hand(world.on_channel(BEN), to_ben, order(), "k")
    assert len(world.records("delegated")) == 2


def test_the_policy_and_people_are_asked_as_about_any_hop(world: Keeping) -> None:
    ann, parent = world.on_channel(ANN), [world.root()]
    rules = '@id("no")\nforbid (principal, action == Chain::Action::"delegate", resource) when { resource.depth == 1 };'
    world.hand(ann, parent, order())
    world.authority.policies.activate(OPERATOR, policy(hops=ANY_HOP + rules))
    with pytest.raises(DeniedError) as refused:
        world.hand(ann, parent, order())
    assert refused.value.reason is Reason.POLICY_DENIED
    gated = rules.replace('@id("no")', '@id("no") @approval("1")')
    world.authority.policies.activate(OPERATOR, policy(hops=ANY_HOP + gated))
    waiting = set()
    for _ in range(2):
        with pytest.raises(DeniedError) as refused:
            world.hand(ann, parent, order())
        assert refused.value.decision.awaits is not None
        waiting.add(refused.value.decision.awaits.request_id)
    assert len(waiting) == 1  # the same request, however often it is signed anew


def test_without_a_custodian_nothing_is_kept(world: Keeping) -> None:
    ann, parent = world.on_channel(ANN), [world.root()]
    assert world.authority.custody.own_key(ann) == world.ann
    world.custodian = None
    world.authority = world.open()
    with pytest.raises(ForbiddenError):
        world.hand(ann, parent, order())
    with pytest.raises(ChainError, match="no keys are kept"):
        world.authority.custody.own_key(ann)


def test_only_an_agent_on_its_channel_learns_its_own_key(world: Keeping) -> None:
    custody = world.authority.custody
    assert custody.own_key(world.on_channel(BEN)) == world.ben
    new = Principal(id="spiffe://example.org/kept/new", owner="team")
    fresh = replace(world.on_channel(BEN), custody=new, holder=None)
    for caller, reason in (
        (replace(fresh, channel=False), Reason.PERMISSION_DENIED),
        (replace(fresh, roles=OPERATOR.roles), Reason.PERMISSION_DENIED),
        (replace(fresh, custody=None), Reason.NOT_FOUND),
    ):
        with pytest.raises(ChainError) as refused:
            custody.own_key(caller)
        assert refused.value.reason is reason
        assert custody.holder(new.id) is None
    key = custody.own_key(fresh)
    assert custody.own_key(fresh) == key
    assert world.authority.principal(key.thumbprint) == new
    assert custody.holder(new.id) == key.thumbprint


def test_an_order_says_all_that_it_is_bound_to() -> None:
    whole = Delegate(holder=BOB.key, grant=mint.grant(NARROW), lifetime=1, max_depth=2, audience=PEP)
    assert len(whole.asked) == len(Delegate.__dataclass_fields__)
    assert seal(root(Known(BOB.key)))
