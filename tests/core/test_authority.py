"""The authority as a program uses it: issue, delegate, check, explain, find, revoke, and what it records."""

from __future__ import annotations

from concurrent.futures import Future, InvalidStateError
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from chain import enrolment, mint, proof, records
from chain.caller import Caller, Role
from chain.claims import Intent
from chain.decision import Decision, Effect, Finding, denied
from chain.errors import (
    ChainError,
    DeniedError,
    ExcessError,
    ForbiddenError,
    InvalidRequestError,
    InvalidTokenError,
    NotFoundError,
    StoreError,
)
from chain.grant import Grant
from chain.ledger import Batch, decode
from chain.mint import grant
from chain.order import Issue, Revoke
from chain.pending import done, then
from chain.prefix import PrefixCache
from chain.principal import Principal
from chain.questions import MAX_BATCH
from chain.reason import Reason
from chain.recent import Recent
from chain.request import Request
from chain.store.memory import MemoryStore
from chain.token import Verifier
from chain.view import Query
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    HOME,
    ISSUER,
    MALLORY,
    NOW,
    PEP,
    Entropy,
    Json,
    World,
    child,
    digest,
    digest_of,
    honest,
    root,
    seal,
    verifier,
)

GRANT = grant({"tools": {"mail.read": {}, "bank.pay": {}}})


@pytest.fixture
def world() -> World:
    return World()


def order(**changed: Any) -> Issue:
    return replace(Issue(holder=ALICE.key, grant=GRANT, lifetime=600), **changed)


def agent(key: Any, **changed: Any) -> Caller:
    return replace(Caller("agent", frozenset({Role.AGENT}), holder=key.key.thumbprint, channel=True), **changed)


def kinds(world: World) -> list[str]:
    return [decode(data).kind for data, _ in world.store.records() if decode(data).kind != "enrolled"]


def test_a_root_is_issued_with_all_its_facts(world: World) -> None:
    intent = Intent(digest="d", alg="sha-256", salt="s")
    made = world.authority.issue(
        world.caller, order(sub="ann", owner="team", task="t-1", intent=intent, audience=(PEP, HOME), max_depth=2)
    )
    chain = world.accepted([made.token])
    assert chain.facts == ("ann", "team", "t-1", "d", HOME)
    assert (chain.issuer, chain.root, chain.leaf.id) == (ISSUER, chain.leaf, made.id)
    assert (made.hop, made.parent, made.holder, made.task) == (0, None, ALICE.key.thumbprint, "t-1")
    assert (made.iat, made.exp, made.status) == (NOW, NOW + 600, "active")
    assert made.id in repr(chain.leaf)
    assert world.authority.get(world.caller, digest(made.token)) == made
    assert world.authority.revision == made.revision == world.store.head


def test_orders_out_of_bounds(world: World) -> None:
    big = replace_tools({f"t{n}": {} for n in range(257)})
    for wrong, error in (
        (order(lifetime=0), InvalidRequestError),
        (order(lifetime=-1), InvalidRequestError),
        (order(lifetime=90 * 86_400 + 1), InvalidRequestError),
        (order(grant=big), InvalidRequestError),
        (order(max_depth=65), InvalidTokenError),
        (order(audience=()), InvalidTokenError),
        (order(sub="x" * 1_025), InvalidTokenError),
    ):
        with pytest.raises(error):
            world.authority.issue(world.caller, wrong)
    with pytest.raises(ForbiddenError, match="no issuer's key"):
        World(signer=None).authority.issue(world.caller, order())
    with pytest.raises(ForbiddenError):
        world.authority.issue(agent(ALICE), order())
    assert kinds(world) == []


def replace_tools(tools: Json) -> Any:
    return Grant(tools=tools)


def test_a_jti_that_comes_twice_issues_nothing() -> None:
    """An entropy source that repeats itself is a fault outside; it must not make two tokens of one name."""

    class Stuck(Entropy):
        def __call__(self, size: int) -> bytes:
            return bytes(size)

    world = World(entropy=Stuck())
    first = world.authority.issue(world.caller, order())
    with pytest.raises(DeniedError) as raised:
        world.authority.issue(world.caller, order(lifetime=601))
    assert raised.value.reason is Reason.JTI_DUPLICATE
    assert kinds(world) == ["issued", "refused"]
    world.allowed([first.token], ALICE)


def test_delegation_end_to_end(world: World) -> None:
    first = world.authority.issue(world.caller, order(task="t-1", sub="ann"))
    leaf = mint.unverified(first.token)
    narrow = grant({"tools": {"bank.pay": {}}, "limits": {"classes": ["act"]}})
    claims = mint.child_claims(leaf, narrow, BOB.key, jti="bob-1", now=NOW, lifetime=10_000, max_depth=3)
    assert (claims.exp, claims.del_max_depth) == (first.exp, 3)  # clamped to the parent
    token = mint.derive(leaf, claims, ALICE)
    made = world.authority.delegate(agent(ALICE), [first.token], token)
    assert (made.hop, made.parent, made.task) == (1, first.id, "t-1")
    world.allowed([first.token, token], BOB, "bank.pay")
    by_digest = world.authority.check(world.caller, digest(token), world.request([token], BOB, "bank.pay"))
    assert by_digest.allowed
    assert kinds(world) == ["issued", "delegated", "decided", "decided"]
    below = mint.child_claims(
        mint.unverified(token), narrow, CAROL.key, jti="c", now=NOW - 5, lifetime=5, audience=(PEP,)
    )
    assert below.iat == NOW
    third = mint.derive(mint.unverified(token), below, BOB)
    made = world.authority.delegate(agent(BOB), digest(token), third)
    assert world.accepted([first.token, token, third]).leaf.audience == frozenset({PEP})


def test_a_child_that_asks_for_more_is_not_signed(world: World) -> None:
    narrow = mint.unverified(
        seal(root(tools={"mail.read": {}}, limits={"classification": "internal"}, del_max_depth=1))
    )
    claims = mint.child_claims(narrow, GRANT, BOB.key, jti="x", now=NOW, lifetime=60)
    with pytest.raises(ExcessError) as raised:
        mint.derive(narrow, claims, ALICE)
    assert (raised.value.field, raised.value.hop) == ("tools.bank.pay", 1)
    fits = grant({"tools": {"mail.read": {}}})
    leaf = mint.unverified(
        mint.derive(narrow, mint.child_claims(narrow, fits, BOB.key, jti="y", now=NOW, lifetime=9), ALICE)
    )
    assert leaf.grant.limits == narrow.grant.limits  # restated, since an absent limit would be none
    with pytest.raises(ExcessError, match="del_depth"):
        mint.child_claims(leaf, fits, CAROL.key, jti="z", now=NOW, lifetime=9)
    nobody = mint.unverified(seal(root(limits={"classes": ["read"]}, cnf={"spiffe": "spiffe://a/b"})))
    with pytest.raises(InvalidTokenError, match="without a key"):
        mint.child_claims(nobody, fits, CAROL.key, jti="z", now=NOW, lifetime=9)
    with pytest.raises(InvalidTokenError):
        mint.unverified("x")
    empty = mint.unverified(seal(root(authorization_details=[])))
    bare = replace_details(mint.child_claims(empty, replace_tools({}), BOB.key, jti="e", now=NOW, lifetime=9))
    assert mint.unverified(mint.derive(empty, bare, ALICE)).entry is None


def replace_details(claims: Any) -> Any:
    return msgspec.structs.replace(claims, authorization_details=())


def test_labels_of_ones_own(world: World) -> None:
    labels = ("open", "closed", "sealed")
    parent = mint.unverified(seal(root(limits={"classification": "closed"})))
    lower = grant({"tools": {"mail.read": {}}, "limits": {"classification": "open"}})
    lower = grant(
        {
            "tools": {"mail.read": {"folder": {"constraint_type": "exact", "value": "in"}}},
            "limits": {"classification": "open"},
        }
    )
    claims = mint.child_claims(parent, lower, BOB.key, jti="x", now=NOW, lifetime=60)
    assert mint.unverified(mint.derive(parent, claims, ALICE, labels=labels)).grant.limits.classification == "open"
    with pytest.raises(ExcessError):
        mint.derive(parent, claims, ALICE)
    higher = grant({"tools": {}, "limits": {"classification": "sealed"}})
    claims = mint.child_claims(parent, higher, BOB.key, jti="x", now=NOW, lifetime=60)
    with pytest.raises(ExcessError):
        mint.derive(parent, claims, ALICE, labels=labels)


def test_a_refused_delegation_is_recorded_and_not_stored(world: World) -> None:
    first = seal(root())
    wide = seal(child(first, tools={"bank.pay": {}}), ALICE)
    with pytest.raises(ExcessError) as raised:
        world.authority.delegate(agent(ALICE), [first], wide)
    assert raised.value.field == "tools.bank.pay.amount"
    record = decode(world.store.records()[-1][0])
    assert (record.kind, record.body["reason"], record.body["field"]) == (
        "refused",
        "argument_dropped",
        raised.value.field,
    )
    assert world.store.delegation(digest(wide)) is None
    late = seal(child(first, iat=NOW - 100), ALICE)
    with pytest.raises(InvalidTokenError, match="issued_before_parent"):
        world.authority.delegate(agent(ALICE), [first], late)
    assert "field" not in decode(world.store.records()[-1][0]).body
    head = world.store.head
    for unsigned in ("garbage", seal(child(first), MALLORY)):  # nothing shows that Alice asked: counted, not recorded
        with pytest.raises(InvalidTokenError):
            world.authority.delegate(agent(ALICE), [first], unsigned)
    assert (world.store.head, world.authority.garbage) == (head, 2)
    with pytest.raises(InvalidTokenError, match="digest_unknown"):
        world.authority.delegate(agent(ALICE), digest(first), wide)


def test_a_batch_stops_where_it_is_told(world: World) -> None:
    tokens = honest(1)
    good = [(tokens, world.request(tokens, ALICE)) for _ in range(3)]
    bad = (tokens, world.request(tokens, ALICE, "bank.pay", {"amount": 101}))
    calls = [good[0], bad, good[1]]
    until_deny = world.authority.begin_check(world.caller, calls, stop=Effect.DENY).result()
    assert [decision.allowed for decision in until_deny] == [True, False]
    until_allow = world.authority.begin_check(world.caller, [bad, good[1], good[2]], stop=Effect.ALLOW).result()
    assert [decision.allowed for decision in until_allow] == [False, True]
    assert world.authority.begin_check(world.caller, [good[2]]).result()[0].allowed
    with pytest.raises(InvalidRequestError):
        world.authority.begin_check(world.caller, [bad] * (MAX_BATCH + 1))


def test_explain_lays_every_hop_open_and_writes_nothing(world: World) -> None:
    tokens = honest(2, root(limits={"classes": ["read"], "budget": {"calls": 1}}))
    head = world.store.head
    request = world.request(tokens, BOB, "bank.pay", {"amount": 500})
    explained = world.authority.explain(world.caller, tokens, request)
    again = world.authority.explain(world.caller, tokens, request)
    assert explained == again
    assert world.store.head == head
    assert explained.decision.reason is Reason.CONSTRAINT_VIOLATED
    assert [hop.hop for hop in explained.hops] == [0, 1]
    assert any("bank.pay" in line for line in explained.hops[0].granted)
    assert any("classes" in line for line in explained.hops[0].granted)
    assert {finding.hop for finding in explained.hops[1].findings} == {1}
    broken = world.authority.explain(world.caller, ["x"], request)
    assert (broken.hops, broken.decision.reason) == ((), Reason.TOKEN_MALFORMED)
    opened = honest(1, root(tools={"mail.read": {}}))
    narrowed = [
        *opened,
        seal(child(opened[0], tools={"mail.read": {"folder": {"constraint_type": "wildcard"}}}), ALICE),
    ]
    lost = world.authority.explain(world.caller, narrowed, world.request(narrowed, BOB)).hops[1].lost
    assert lost[0].field.startswith("tools.mail.read")
    assert (
        "with any arguments"
        in world.authority.explain(world.caller, opened, world.request(opened, ALICE)).hops[0].granted[0]
    )


def test_an_agent_finds_its_own_lineage_and_nothing_else(world: World) -> None:
    first = seal(root(limits={"classes": ["read"]}, txn="t-1"))
    bobs = seal(child(first, BOB), ALICE)
    carols = seal(child(first, CAROL), ALICE)
    below = seal(child(bobs, MALLORY), BOB)
    for token in (bobs, carols):
        world.authority.delegate(agent(ALICE), [first], token)
    world.authority.delegate(agent(BOB), [first, bobs], below)

    def found(caller: Caller, **query: Any) -> set[str]:
        page = world.authority.find(caller, Query(**query))
        return {one.id for one in page.delegations}

    ids = {
        name: digest_of(token) for name, token in (("root", first), ("bob", bobs), ("carol", carols), ("below", below))
    }
    everything = set(ids.values())
    assert found(world.caller) == found(world.caller, task="t-1") == everything
    assert found(world.caller, down=digest(first)) == everything - {ids["root"]}
    assert found(world.caller, up=digest(below)) == {ids["root"], ids["bob"]}
    assert found(world.caller, holder=CAROL.key.thumbprint) == {ids["carol"]}
    assert found(world.caller, task="other") == set()
    assert found(agent(BOB)) == {ids["bob"]}
    assert found(agent(BOB), holder=CAROL.key.thumbprint) == {ids["bob"]}
    assert found(agent(BOB), down=digest(bobs)) == {ids["below"]}
    assert found(agent(BOB), down=digest(first)) == {ids["bob"], ids["below"]}  # and not the sibling
    assert found(agent(ALICE), down=digest(first)) == everything - {ids["root"]}
    assert found(agent(MALLORY), up=digest(below)) == {ids["root"], ids["bob"]}
    for query in ({"down": digest(carols)}, {"up": digest(carols)}, {"down": b"x" * 32}):
        with pytest.raises(NotFoundError):
            found(agent(BOB), **query)
    keyless = agent(BOB, holder=None)
    assert found(keyless) == set()
    with pytest.raises(NotFoundError):
        world.authority.get(keyless, digest(first))
    page = world.authority.find(world.caller, Query(limit=1))
    assert page.after
    rest = world.authority.find(world.caller, Query(after=page.after))
    assert {one.id for one in (*page.delegations, *rest.delegations)} == everything
    world.authority.revoke(world.caller, Revoke(digest(bobs), "done"))
    assert found(world.caller, status="revoked") == {ids["bob"], ids["below"]}
    world.clock.now = NOW + 600
    assert found(world.caller, status="active") == set()
    assert found(world.caller, status="expired") == {ids["root"], ids["carol"]}


def test_revocation_tells_what_falls(world: World) -> None:
    tokens = honest()
    world.allowed(tokens, CAROL)
    head = world.store.head
    would = world.authority.revoke(world.caller, Revoke(digest(tokens[1])), dry_run=True)
    assert (set(would.fallen), would.count, would.revision) == ({digest_of(tokens[1]), digest_of(tokens[2])}, 2, 0)
    assert world.store.head == head
    world.allowed(tokens, CAROL)
    did = world.authority.revoke(world.caller, Revoke(digest(tokens[1]), "leaked"), key="k")
    assert did.fallen == would.fallen
    assert world.authority.revoke(world.caller, Revoke(digest(tokens[1]), "leaked"), key="k") == did
    assert decode(world.store.records(did.revision, 1)[0][0]).body["cause"] == "leaked"


def test_a_wide_revocation_pages_through_the_store(world: World) -> None:
    first = seal(root())
    world.allowed([first], ALICE)
    for number in range(1_001):
        world.authority.delegate(agent(ALICE), [first], seal(child(first, BOB, jti=f"n{number}"), ALICE))
    would = world.authority.revoke(world.caller, Revoke(digest(first)), dry_run=True)
    assert would.count == 1_002


def test_a_repeated_enrolment_is_answered_again(world: World) -> None:
    mine = Principal(id="spiffe://example.org/alice", owner="team")
    world.authority.enrol(world.caller, ALICE.key, mine)
    worker = Principal(id="spiffe://example.org/alice/w", owner="team", under=ALICE.key.thumbprint)
    agreed = enrolment.make(MALLORY, worker.id, ALICE.key.thumbprint, audience=HOME, jti="j", iat=NOW)
    one = world.authority.enrol(agent(ALICE), MALLORY.key, worker, key="k", proof_text=agreed)
    assert world.authority.enrol(agent(ALICE), MALLORY.key, worker, key="k", proof_text=agreed) == one
    with pytest.raises(ForbiddenError, match="enrolled already"):
        world.authority.enrol(agent(ALICE), MALLORY.key, worker)
    assert world.authority.principal(MALLORY.key.thumbprint) == worker
    assert world.authority.principal("nobody") is None


class BrokenStore(MemoryStore):
    """Fails when told."""

    fails: Exception | None = None

    def commit(self, batch: Batch) -> Future[int]:
        if self.fails is None:
            return super().commit(batch)
        future: Future[int] = Future()
        future.set_exception(self.fails)
        return future


@pytest.mark.parametrize(
    ("error", "reason"),
    [(StoreError("disk full"), Reason.STORE_UNAVAILABLE), (RuntimeError("bug"), Reason.INTERNAL)],
)
def test_what_cannot_be_recorded_is_not_permitted(error: Exception, reason: Reason) -> None:
    store = BrokenStore()
    world = World(store=store)
    tokens = honest(1)
    world.allowed(tokens, ALICE)
    store.fails = error
    world.denied(reason, None, tokens, ALICE)
    for change in (
        lambda: world.authority.issue(world.caller, order()),
        lambda: world.authority.revoke(world.caller, Revoke(digest(tokens[0]))),
    ):
        with pytest.raises(StoreError):
            change()
    store.fails = None
    world.allowed(tokens, ALICE)


def test_a_closed_authority_permits_nothing(world: World) -> None:
    tokens = honest(1)
    world.allowed(tokens, ALICE)
    world.authority.close()
    world.denied(Reason.STORE_UNAVAILABLE, None, tokens, ALICE)


def test_a_bug_inside_a_commit_is_a_denial(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = honest(1)

    def broken(*_: object, **__: object) -> Json:
        raise RuntimeError("bug")

    monkeypatch.setattr(records, "decided", broken)
    world.denied(Reason.INTERNAL, None, tokens, ALICE)
    monkeypatch.undo()
    world.allowed(tokens, ALICE)


def test_answers_on_their_way() -> None:
    waiting: Future[int] = Future()
    doubled = then(waiting, lambda value: value * 2, lambda _: -1)
    assert not doubled.done()
    waiting.set_result(21)
    assert doubled.result(1) == 42
    failing: Future[int] = Future()
    rescued = then(failing, lambda value: value, lambda _: -1)
    failing.set_exception(ValueError("x"))
    assert rescued.result(1) == -1
    cancelled: Future[int] = Future()
    stopped = then(cancelled, lambda value: value, lambda _: -1)
    cancelled.set_exception(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        stopped.result(1)

    def raising(_: int) -> int:
        raise RuntimeError("a bug in an answer")

    with pytest.raises(RuntimeError):
        then(done(1), raising, lambda _: -1).result(1)
    assert done(5).result() == 5


def test_bounded_memories_forget_the_oldest() -> None:
    recent: Recent[int, int] = Recent(2)
    for number in range(5):
        recent.put(number, number)
    assert [recent.get(number) for number in range(5)] == [None, None, 2, 3, 4]
    cache = PrefixCache(1)
    tokens = honest()
    verified = [verifier().verify(tokens[:length]) for length in (1, 2, 3)]
    for length, chain in enumerate(verified, 1):
        cache.put(tuple(tokens[:length]), chain)
    assert cache.get(verified[0].leaf.digest) is None
    assert cache.get(verified[1].leaf.digest) == (tuple(tokens[:2]), verified[1])
    assert Verifier(verifier().anchors).recall(verified[0].leaf.digest) is None


def test_spent_nonces_are_swept_only_when_they_are_useless(world: World) -> None:
    tokens = honest(1)
    spent = [world.request(tokens, ALICE) for _ in range(9)]
    live = world.authority._desk.live
    for request in spent:
        assert world.authority.check(world.caller, tokens, request).allowed
    assert len(live._nonces) == 9
    for request in spent:
        assert world.authority.check(world.caller, tokens, request).reason is Reason.REPLAY
    world.clock.now = NOW + 60
    for _ in range(2):
        world.allowed(tokens, ALICE)
    assert len(live._nonces) <= 2


def test_decisions_in_words() -> None:
    finding = Finding(reason=Reason.EXPIRED, hop=1, detail="expired at 5")
    whole = Finding(reason=Reason.CHAIN_EMPTY, hop=None, detail="no token was presented")
    refusal = denied(finding, whole, at=1)
    assert str(refusal) == "DENY: hop 1: expired at 5 (expired); no token was presented (chain_empty)"
    assert str(Decision(effect=Effect.ALLOW, reason=Reason.ALLOWED)) == "ALLOW"
    assert str(ChainError("a bug")) == "a bug (internal)"
    assert (
        str(ExcessError(Reason.TOOL_ADDED, 2, "tools", "`a`", "`b`"))
        == "hop 2: `tools` asks `b` where hop 1 grants `a` (tool_added)"
    )
    approval = Decision(effect=Effect.APPROVAL_REQUIRED, reason=Reason.STATE_UNAVAILABLE)
    assert not approval


def test_requests_out_of_form() -> None:
    for wrong in (
        {"tool": ""},
        {"tool": "t", "arguments": {"a": float("nan")}},
        {"tool": "t", "unknown": 1},
        {"tool": "t", "request_id": "short"},
        {"tool": "t", "arguments": [1]},
    ):
        with pytest.raises(ValueError, match="validation error"):
            Request.model_validate(wrong)


def test_a_proof_too_large(world: World) -> None:
    tokens = [seal(root(tools={"mail.read": {}}))]
    world.denied(Reason.PROOF_INVALID, 0, tokens, ALICE, "mail.read", {"x": "y" * 100_000})
    world.allowed(tokens, ALICE, "mail.read", {"x": "y" * 90_000})
    with pytest.raises(ValueError, match="finite"):
        proof.make(ALICE, mint.unverified(tokens[0]), "t", {"a": float("inf")}, audience=PEP, jti="j", iat=NOW)


def test_an_answer_that_is_there_already() -> None:
    answer = done(5)
    assert (answer.done(), answer.running(), answer.cancelled(), answer.cancel()) == (True, False, False, False)
    assert answer.exception() is None
    assert then(answer, str, lambda _: "").result() == "5"
    failing: Future[int] = Future()
    failing.set_exception(StoreError("x"))

    def refuse(error: Exception) -> int:
        raise error

    refused = then(failing, lambda value: value, refuse)
    assert isinstance(refused.exception(), StoreError)
    with pytest.raises(StoreError):
        refused.result()
    with pytest.raises(InvalidStateError):
        type(answer)().result()


def test_a_commit_that_fails_midway_leaves_nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next check of the same chain registers it, because the first one never reached the ledger."""
    world = World()
    tokens, head = honest(2), world.store.head
    with monkeypatch.context() as spoilt:
        spoilt.setattr("chain.records.decided", lambda *_: {"not JSON": object()})
        broken = world.ask(tokens, BOB)
    assert (broken.effect, broken.reason) == (Effect.DENY, Reason.INTERNAL)
    assert world.store.head == head
    assert world.ask(tokens, BOB).allowed
    assert [decode(data).kind for data, _ in world.store.records(head + 1)] == ["admitted", "admitted", "decided"]
