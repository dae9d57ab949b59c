"""Every bound of a grant, a token, a proof and a memory, on both sides: the last that is taken, the first refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from chain import check, proof
from chain import claims as wire
from chain.catalog import Catalogue
from chain.claims import Intent
from chain.constraint import AnyConstraint
from chain.containment import MAX_STEPS, Containment, UndecidedError
from chain.errors import ConflictError, InvalidRequestError, InvalidTokenError, StoreError
from chain.judge import _Offline
from chain.ledger import Batch, Durability
from chain.live import Live
from chain.mint import grant
from chain.once import REPLY_LIFETIME
from chain.order import Issue
from chain.pending import Finished
from chain.proof import MAX_PROOF, ProofError
from chain.reason import Reason
from chain.state import Nonce, Settings
from chain.store.memory import MemoryStore
from chain.token import MAX_CHAIN, MAX_TOKEN, Verifier, require_sizes
from tests.support import (
    ALICE,
    BOB,
    EXTENDED,
    NOW,
    PEP,
    TOOLS,
    Json,
    World,
    child,
    entry,
    root,
    rule,
    seal,
    text,
    verifier,
)

Made = Callable[[Any], Json]


def gate(approvers: list[str] | None = None, threshold: int = 1) -> Json:
    return {"when": {"tool": "t"}, "threshold": threshold, "approvers": ["a"] if approvers is None else approvers}


def money(value: str, currency: str = "EUR", argument: str = "amount") -> Json:
    return {"budget": {"amount": {"value": value, "currency": currency, "argument": argument}}}


def extended(**claims: object) -> Json:
    return {"authorization_details": [entry(TOOLS, kind=EXTENDED)], **claims}


LIMIT: dict[str, tuple[Made, Any, Any]] = {
    "purposes": (lambda size: {"purposes": [f"p{n}" for n in range(size)]}, 64, 65),
    "a purpose": (lambda size: {"purposes": ["p" * size]}, 256, 257),
    "purpose in one line": (lambda name: {"purposes": [name]}, "a.b", "a.b\n"),
    "classes": (lambda size: {"classes": (["read", "write", "act"] * 2)[:size]}, 3, 4),
    "classification": (lambda size: {"classification": "c" * size}, 1024, 1025),
    "gates": (lambda size: {"approval": [gate()] * size}, 64, 65),
    "no gates": (lambda size: {"approval": [gate()] * size}, 1, 0),
    "approvers": (lambda size: {"approval": [gate([f"a{n}" for n in range(size)])]}, 64, 65),
    "no approvers": (lambda size: {"approval": [gate(["a"] * size)]}, 1, 0),
    "threshold": (lambda number: {"approval": [gate(["a", "b"], number)]}, 2, 3),
    "no threshold": (lambda number: {"approval": [gate(["a", "b"], number)]}, 1, 0),
    "highest threshold": (lambda number: {"approval": [gate([f"a{n}" for n in range(64)], number)]}, 64, 65),
    "calls": (lambda number: {"budget": {"calls": number}}, 2**53 - 1, 2**53),
    "no calls": (lambda number: {"budget": {"calls": number}}, 0, -1),
    "digits": (lambda size: money("9" * size), 18, 19),
    "fraction": (lambda size: money("0." + "9" * size), 9, 10),
    "empty fraction": (lambda size: money("1." + "9" * size), 1, 0),
    "leading zero": (money, "0", "00"),
    "amount in one line": (money, "1", "1\n"),
    "long currency": (lambda size: money("1", "E" * size), 8, 9),
    "short currency": (lambda size: money("1", "E" * size), 3, 2),
    "currency in one line": (lambda code: money("1", code), "EUR", "EUR\n"),
    "argument": (lambda size: money("1", argument="a" * size), 1024, 1025),
    "no argument": (lambda size: money("1", argument="a" * size), 1, 0),
}

CLAIM: dict[str, tuple[Made, Any, Any]] = {
    "jti": (lambda size: {"jti": "j" * size}, 256, 257),
    "no jti": (lambda size: {"jti": "j" * size}, 1, 0),
    "iss": (lambda size: {"iss": "i" * size}, 1024, 1025),
    "no iss": (lambda size: {"iss": "i" * size}, 1, 0),
    "sub": (lambda size: {"sub": "s" * size}, 1024, 1025),
    "aud": (lambda size: {"aud": [f"a{n}" for n in range(size)]}, 64, 65),
    "no aud": (lambda size: {"aud": ["a"] * size}, 1, 0),
    "exp": (lambda exp: {"exp": exp}, 2**53 - 1, 2**53),
    "lifetime": (lambda life: {"exp": NOW - 10 + life}, 1, 0),
    "iat": (lambda iat: {"iat": iat}, 0, -1),
    "entries": (lambda size: {"authorization_details": [entry(TOOLS), *[{"type": "x"}] * (size - 1)]}, 16, 17),
    "own entries": (lambda size: {"authorization_details": [entry(TOOLS)] * size}, 1, 2),
    "intent": (lambda alg: extended(intent={"digest": "d", "alg": alg, "salt": "s"}), "sha-256", ""),
    "members of the intent": (lambda name: extended(intent={"digest": "d", "alg": "a", name: "s"}), "salt", "solt"),
}


@pytest.mark.parametrize(("made", "last", "first"), LIMIT.values(), ids=LIMIT)
def test_limits(made: Made, last: Any, first: Any) -> None:
    grant({"tools": {}, "limits": made(last)})
    with pytest.raises(InvalidRequestError):
        grant({"tools": {}, "limits": made(first)})


@pytest.mark.parametrize(("made", "last", "first"), CLAIM.values(), ids=CLAIM)
def test_claims(made: Made, last: Any, first: Any) -> None:
    assert wire.decode(text(root() | made(last)))[1] is not None
    with pytest.raises(ValueError, match=r".+"):
        wire.decode(text(root() | made(first)))


def test_sizes_of_a_chain() -> None:
    full = ["x" * MAX_TOKEN] * (MAX_CHAIN // MAX_TOKEN)
    require_sizes(full)
    require_sizes(["x"] * 65)
    for tokens, reason in (
        ([*full, "x"], Reason.CHAIN_TOO_LARGE),
        (["x" * (MAX_TOKEN + 1)], Reason.TOKEN_TOO_LARGE),
        (["x"] * 66, Reason.CHAIN_TOO_DEEP),
        ([], Reason.CHAIN_EMPTY),
    ):
        with pytest.raises(InvalidTokenError) as raised:
            require_sizes(tokens)
        assert raised.value.reason is reason
    assert (MAX_TOKEN, MAX_CHAIN) == (65_536, 262_144)  # AAT-01 s4.3.1


def test_the_depth_that_a_deployment_allows() -> None:
    shallow = Verifier(verifier().anchors, verifier(max_depth=3).rules)
    assert len(shallow.verify([seal(root(del_max_depth=3))])) == 1
    with pytest.raises(InvalidTokenError, match="above 3"):
        shallow.verify([seal(root(del_max_depth=4))])


def test_size_of_a_proof() -> None:
    assert MAX_PROOF == 131_072
    with pytest.raises(ProofError, match="three parts"):
        proof.read("x" * MAX_PROOF, ALICE.key)
    with pytest.raises(ProofError, match="too large"):
        proof.read("x" * (MAX_PROOF + 1), ALICE.key)


@pytest.mark.parametrize("bound", ["min", "max"])
def test_an_exclusive_bound_leaves_out_itself(bound: str) -> None:
    inside = 6 if bound == "min" else 4
    for inclusive in (True, False):
        limits = rule("range", **{bound: 5, f"{bound}_inclusive": inclusive})
        range_ = grant({"tools": {"t": {"x": limits}}}).tools["t"]["x"]
        assert range_.permits(inside)
        assert range_.permits(5) is inclusive
        assert not range_.permits(10 - inside)


def test_one_of_several_purposes_suffices() -> None:
    world = World()
    first = seal(root(limits={"purposes": ["travel", "mail"]}))
    for declared in ("travel", "mail.sort"):
        world.allowed([first], ALICE, purpose=declared)
    world.denied(Reason.PURPOSE_MISMATCH, 0, [first], ALICE, purpose="shopping")
    world.accepted([first, seal(child(first, limits={"purposes": ["mail.sort", "travel"]}), ALICE)])
    for wider in (["shopping"], ["mail", "shopping"]):
        wrong = seal(child(first, limits={"purposes": wider}), ALICE)
        world.refused(Reason.PURPOSE_WIDENED, 1, [first, wrong])


def test_each_gate_is_kept_by_one_of_several() -> None:
    two = [gate(["a", "b"], 1), gate(["a", "b"], 1) | {"when": {"class": "act"}}]
    both, one = ({"tools": {}, "limits": {"approval": gates}} for gates in (two, two[:1]))
    assert grant(both).covers(grant(both))
    assert grant(one).covers(grant(both))
    assert not grant(both).covers(grant(one))


def test_every_value_and_every_alternative_must_be_narrower() -> None:
    def narrower(parent: Json, asked: Json) -> bool:
        made = grant({"tools": {"t": {"parent": parent, "child": asked}}}).tools["t"]
        return Containment().holds(made["parent"], made["child"])

    def choice(*numbers: int) -> Json:
        return rule("any", constraints=[rule("range", min=number, max=number) for number in numbers])

    for parent in (rule("range", max=2), rule("any", constraints=[rule("range", max=2)])):
        assert narrower(parent, rule("one_of", values=[1, 2]))
        assert not narrower(parent, rule("one_of", values=[1, 3]))
        assert narrower(parent, choice(1, 2))
        assert not narrower(parent, choice(1, 3))


def test_depth_is_that_of_the_deepest_clause() -> None:
    """A shallow clause beside a deep one hides nothing."""

    def nested(levels: int) -> Json:
        deep = rule("wildcard")
        for _ in range(levels - 1):
            deep = rule("any", constraints=[rule("wildcard"), deep, rule("wildcard")])
        return {"bank.pay": {"amount": deep}}

    world = World()
    world.allowed([seal(root(tools=nested(32)))], ALICE, "bank.pay")
    world.refused(Reason.CONSTRAINT_INVALID, 0, [seal(root(tools=nested(33)))])


def test_a_chain_ends_with_its_first_hop_to_end() -> None:
    first = seal(root())
    tokens = [first, seal(child(first, exp=NOW + 60), ALICE)]
    world = World()
    assert world.accepted(tokens[:1]).expires == NOW + 600
    assert world.accepted(tokens).expires == NOW + 60


@pytest.mark.parametrize(
    ("tools", "durability"),
    [
        (["mail.read", "mail.read"], Durability.WRITTEN),
        (["mail.read", "bank.pay"], Durability.SYNCED),
        (["bank.pay", "mail.read"], Durability.SYNCED),
    ],
)
def test_one_act_makes_its_whole_batch_power_safe(tools: list[str], durability: Durability) -> None:
    world, kept = World(), list[Durability]()
    commit = world.store.commit

    def watched(batch: Batch) -> Future[int]:
        kept.append(batch.durability)
        return commit(batch)

    tokens = [seal(root())]
    asked = [(tokens, world.request(tokens, ALICE, tool)) for tool in tools]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(world.store, "commit", watched)
        decisions = world.authority.begin_check(world.caller, asked).result()
    assert all(decision.allowed for decision in decisions)
    assert kept == [durability]


@pytest.mark.parametrize("kind", ["all", "any"])
def test_size_of_a_value_for_many_clauses(kind: str) -> None:
    """Three constraints, so a third of the steps: an array of that many values, itself included."""
    clauses = rule(kind, constraints=[rule("wildcard"), rule("wildcard")])
    permits = grant({"tools": {"t": {"x": clauses}}}).tools["t"]["x"].permits
    most = MAX_STEPS // 3 - 1
    for size, taken in ((most, True), (most + 1, False)):
        assert permits([1] * size) is taken
        assert permits({str(n): n for n in range(size)}) is taken


@pytest.mark.parametrize("kind", ["all", "any"])
def test_values_of_a_child_against_clauses_are_counted(kind: str) -> None:
    """Every value is asked of every clause: as many steps as values times values, whatever the answer."""

    def pair(size: int) -> tuple[AnyConstraint, AnyConstraint]:
        values = rule("one_of", values=list(range(size)))
        made = grant({"tools": {"t": {"parent": rule(kind, constraints=[values]), "child": values}}}).tools["t"]
        return made["parent"], made["child"]

    assert Containment().holds(*pair(300))
    with pytest.raises(UndecidedError):
        Containment().holds(*pair(400))


def test_how_long_a_nonce_is_kept() -> None:
    """As long as its proof could be used again, and two seconds more."""
    world = World()
    tokens = [seal(root())]
    chain, live = world.accepted(tokens), world.authority._desk.live
    used = check.check(chain, world.request(tokens, ALICE), live, NOW).nonce
    assert used is not None
    assert used.expires == NOW + 32
    single = world.request(tokens, ALICE, "bank.pay", holder=ALICE.key.thumbprint, request_id="0123456789abcdef")
    used = check.check(chain, single, live, NOW).nonce
    assert used is not None
    assert used.expires == NOW + 602


def test_how_long_an_idempotency_key_is_kept() -> None:
    world = World()
    made = world.authority.issue(world.caller, order(60), "k")
    row = world.store.reply(world.caller.name, "Issue", "k")
    assert row is not None
    assert (row.revision, row.expires) == (made.revision, NOW + REPLY_LIFETIME)
    world.clock.now = NOW + REPLY_LIFETIME - 1
    assert world.authority.issue(world.caller, order(60), "k").id == made.id
    with pytest.raises(ConflictError):
        world.authority.issue(world.caller, order(61), "k")
    world.clock.now = NOW + REPLY_LIFETIME
    assert world.authority.issue(world.caller, order(61), "k").id != made.id


def order(lifetime: int) -> Issue:
    return Issue(holder=ALICE.key, grant=grant({"tools": TOOLS}), lifetime=lifetime, audience=PEP)


def test_a_fingerprint_covers_all_that_is_asked() -> None:
    asked = order(60)
    others: list[Json] = [
        {"holder": BOB.key},
        {"grant": grant({"tools": {}})},
        {"lifetime": 61},
        {"max_depth": 7},
        {"audience": None},
        {"sub": "a"},
        {"owner": "a"},
        {"task": "a"},
        {"intent": Intent("d", "a", "s")},
        {"listed": True},
    ]
    bound = {msgspec.json.encode(one.asked) for one in (asked, *(replace(asked, **other) for other in others))}
    assert len(bound) == 11
    assert order(60).asked == asked.asked


def test_a_nonce_that_is_kept_longer_stays_when_its_first_time_comes() -> None:
    live = Live(MemoryStore(), Settings(), Catalogue(), NOW)
    live.use(Nonce(b"leaf", "again", NOW + 10))
    live.use(Nonce(b"leaf", "once", NOW + 10))
    live.use(Nonce(b"leaf", "again", NOW + 1000))
    live.sweep(NOW + 100)
    assert (live.seen(b"leaf", "again"), live.seen(b"leaf", "once")) == (True, False)


def test_a_finished_answer_passes_on_what_it_waits_for() -> None:
    waited: Future[int] = Future()
    finished = Finished(waited, lambda number: number + 1)
    told: list[int] = []
    finished.add_done_callback(lambda future: told.append(future.result()))
    assert not finished.done()
    waited.set_result(1)
    assert (finished.done(), finished.exception(), finished.result(), told) == (True, None, 2, [2])
    failed: Future[int] = Future()
    failed.set_exception(StoreError("gone"))
    broken = Finished(failed, lambda number: number + 1)
    assert isinstance(broken.exception(), StoreError)
    with pytest.raises(StoreError):
        broken.result()


def test_offline_nobody_is_known_and_nothing_was_used() -> None:
    offline = _Offline(Settings(require_enrolment=False), Catalogue(), frozenset())
    assert offline.principal(ALICE.key.thumbprint) is None
    assert not offline.seen(b"leaf", "nonce")
