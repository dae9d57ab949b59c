"""What is stopped is stopped from the next call on, wherever it stands in a chain, until somebody lets it go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from chain import enrolment
from chain.base64url import b64encode
from chain.caller import Caller, Role, embedded
from chain.control import Suspension
from chain.errors import DeniedError, ForbiddenError, InvalidRequestError, NotFoundError
from chain.key import KeySigner
from chain.ledger import Store
from chain.mint import grant
from chain.order import Issue, Revoke
from chain.principal import Principal
from chain.proof import DELEGATE, REVOKE
from chain.reason import Reason
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from tests.control.material import agent, enrols, plain, worker
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    HOME,
    MALLORY,
    NOW,
    ROOT_KEY,
    World,
    chain_of,
    child,
    digest,
    honest,
    root,
    signer,
)

OPERATOR = Caller("op", frozenset({Role.OPERATOR}))
READ, ACT = "mail.read", "bank.pay"
LIMITS = {"classes": ["read", "act"]}


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """A store that a restart finds again."""
    if request.param == "memory":
        kept = MemoryStore()
        return lambda: kept
    return lambda: SqliteStore(tmp_path / "ledger")


def in_task() -> list[str]:
    """A chain of three hops in task t1."""
    return honest(first=root(limits=LIMITS, txn="t1"))


SCOPES = [
    ("agent", agent(1), 0),
    ("agent", agent(2), 1),
    ("agent", agent(3), 2),
    ("agent", CAROL.key.thumbprint, 2),
    ("trust_domain", "example.org", 0),
    ("task", "t1", None),
    ("everything", "", None),
]
TWINS = {"agent": agent(0), "trust_domain": "other.org", "task": "t2", "tool": ACT}


@pytest.mark.parametrize(("scope", "name", "hop"), [*SCOPES, ("tool", READ, None)])
def test_each_scope_stops_the_next_call(scope: str, name: str, hop: int | None) -> None:
    world, tokens = World(), in_task()
    steering = world.authority.steering
    world.allowed(tokens, CAROL)
    if scope in TWINS:
        steering.suspend(OPERATOR, scope, TWINS[scope], "another one")
        world.allowed(tokens, CAROL)
    steering.suspend(OPERATOR, scope, name, "because")
    denied = world.denied(Reason.SUSPENDED, hop, tokens, CAROL)
    assert "is suspended" in denied.findings[0].detail
    steering.resume(OPERATOR, scope, name, "it is well again")
    world.allowed(tokens, CAROL)


@pytest.mark.parametrize(("scope", "name", "hop"), SCOPES)
def test_each_scope_in_quarantine_still_reads_and_hands_nothing_on(scope: str, name: str, hop: int | None) -> None:
    world, tokens = World(), in_task()
    world.allowed(tokens, CAROL, ACT)
    world.authority.steering.suspend(OPERATOR, scope, name, "because", "quarantined")
    world.allowed(tokens, CAROL)
    world.denied(Reason.QUARANTINED, hop, tokens, CAROL, ACT)
    with pytest.raises(DeniedError) as raised:
        delegate(world, tokens, CAROL, MALLORY)
    assert raised.value.decision.reason is Reason.QUARANTINED
    world.authority.steering.resume(OPERATOR, scope, name, "it is well again")
    world.allowed(tokens, CAROL, ACT)
    assert delegate(world, tokens, CAROL, MALLORY)


def delegate(world: World, tokens: list[str], by: KeySigner, to: KeySigner) -> str:
    made = chain_of(lambda _: child(tokens[-1], to), first=None, by=[by])[-1]
    agreed = world.proof(tokens[-1], by, DELEGATE, {"child": b64encode(digest(made))}, HOME)
    return world.authority.delegate(world.caller, tokens, made, agreed).id


def test_a_suspended_holder_hands_nothing_on_and_gets_nothing() -> None:
    world, tokens = World(), in_task()
    assert delegate(world, tokens, CAROL, ALICE)
    for name in (agent(1), agent(3)):
        world.authority.steering.suspend(OPERATOR, "agent", name, "because")
        with pytest.raises(DeniedError) as raised:
            delegate(world, tokens, CAROL, BOB)
        assert raised.value.decision.reason is Reason.SUSPENDED
        world.authority.steering.resume(OPERATOR, "agent", name, "over")
    world.authority.steering.suspend(OPERATOR, "agent", agent(2), "because")
    order = Issue(holder=BOB.key, grant=grant({"tools": {READ: {}}}), lifetime=60)
    with pytest.raises(DeniedError):
        world.authority.issue(world.caller, order)
    world.authority.steering.resume(OPERATOR, "agent", agent(2), "over")
    assert world.authority.issue(world.caller, order).holder == BOB.key.thumbprint


@pytest.mark.parametrize(
    ("scope", "name", "mode", "reason"),
    [
        ("agent", agent(1), "suspended", Reason.SUSPENDED),
        ("agent", agent(1), "quarantined", Reason.QUARANTINED),
        ("everything", "", "suspended", Reason.SUSPENDED),
    ],
)
def test_a_suspended_agent_enrols_nobody(scope: str, name: str, mode: str, reason: Reason) -> None:
    world = World()
    alice = Caller("alice", frozenset({Role.AGENT}), None, ALICE.key.thumbprint)

    def enrol(number: int) -> str:
        key = signer(f"worker {number}")
        principal = Principal(id=f"{agent(1)}/w{number}", owner="team", under=ALICE.key.thumbprint)
        agreed = enrolment.make(
            key, principal.id, ALICE.key.thumbprint, audience=HOME, jti=f"w{number}", iat=int(world.clock.now)
        )
        return world.authority.enrol(alice, key.key, principal, proof_text=agreed).principal

    assert enrol(1)
    world.authority.steering.suspend(OPERATOR, scope, name, "because", mode)
    with pytest.raises(DeniedError) as raised:
        enrol(2)
    assert raised.value.decision.reason is reason
    worker(world, signer("by an operator"), "spiffe://example.org/new")  # operators go on
    world.authority.steering.resume(OPERATOR, scope, name, "over")
    assert enrol(2)


def test_a_suspended_agent_still_revokes_its_own() -> None:
    world, tokens = World(), honest()
    world.allowed(tokens, CAROL)
    world.authority.steering.suspend(OPERATOR, "agent", agent(2), "because")
    target = digest(tokens[2])
    agreed = world.proof(tokens[1], BOB, REVOKE, {"target": b64encode(target)}, HOME)
    bob = Caller("bob", frozenset({Role.AGENT}), None, BOB.key.thumbprint)
    assert world.authority.revoke(bob, Revoke(target), tokens[:2], agreed).count == 1


def test_workers_stop_with_their_agent_by_id_and_by_enrolment() -> None:
    world = World(enrolled=(BOB,))
    worker(world, ALICE, f"{agent(0)}/worker")
    worker(world, CAROL, "spiffe://elsewhere.org/worker", under=BOB.key.thumbprint)
    worker(world, MALLORY, "spiffe://example.org/agent/01")  # begins alike, and works under nobody
    chains = {key: [chain_of(first=root(key))[0]] for key in (ALICE, CAROL, MALLORY)}
    for key, tokens in chains.items():
        world.allowed(tokens, key)
    world.authority.steering.suspend(OPERATOR, "agent", agent(0), "because")
    world.denied(Reason.SUSPENDED, 0, chains[ALICE], ALICE)
    world.denied(Reason.SUSPENDED, 0, chains[CAROL], CAROL)
    world.allowed(chains[MALLORY], MALLORY)


def test_a_suspension_ends_by_itself_and_not_before() -> None:
    world, tokens = World(), honest()
    told = world.authority.steering.suspend(OPERATOR, "agent", agent(3), "because", lifetime=60)
    assert told.until == NOW + 60
    world.clock.now = NOW + 59
    world.denied(Reason.SUSPENDED, 2, tokens, CAROL)
    assert [one.name for one in world.authority.steering.suspensions(OPERATOR)] == [agent(3)]
    world.clock.now = NOW + 60
    world.allowed(tokens, CAROL)
    assert world.authority.steering.suspensions(OPERATOR) == []
    with pytest.raises(NotFoundError):
        world.authority.steering.resume(OPERATOR, "agent", agent(3), "late")


def test_what_ended_is_forgotten_in_memory_too() -> None:
    world, tokens = World(), honest()
    for place in range(50):
        world.authority.steering.suspend(OPERATOR, "task", f"t{place}", "because", lifetime=10)
    world.authority.steering.suspend(OPERATOR, "task", "t0", "because", lifetime=3000)
    world.clock.now = NOW + 100
    for _ in range(3):
        world.allowed(tokens, CAROL)
    assert list(world.authority._desk.live.controls.suspensions) == [("task", "t0")]


def test_to_stop_something_again_never_lets_it_go_on() -> None:
    world, tokens = World(), honest()
    steering = world.authority.steering
    steering.suspend(OPERATOR, "agent", agent(3), "for good")
    told = steering.suspend(OPERATOR, "agent", agent(3), "a while, reading", "quarantined", 5)
    assert (told.mode, told.until) == ("suspended", 0)
    world.clock.now = NOW + 100
    world.denied(Reason.SUSPENDED, 2, tokens, CAROL)
    steering.resume(OPERATOR, "agent", agent(3), "over")
    steering.suspend(OPERATOR, "agent", agent(3), "a while, reading", "quarantined", 50)
    told = steering.suspend(OPERATOR, "agent", agent(3), "a little more", "quarantined", 10)
    assert (told.mode, told.until) == ("quarantined", NOW + 150)
    world.clock.now = NOW + 150
    told = steering.suspend(OPERATOR, "agent", agent(3), "what ended does not count", "quarantined", 10)
    assert (told.mode, told.until) == ("quarantined", NOW + 160)


def test_a_clock_that_is_behind_keeps_nobody_from_stopping_and_ends_nothing_early() -> None:
    world, tokens = World(), honest()
    world.allowed(tokens, CAROL)
    world.clock.now = NOW - 5000
    told = world.authority.steering.suspend(OPERATOR, "agent", agent(3), "because", lifetime=60)
    assert told.until == NOW + 60
    world.clock.now = NOW + 1
    world.denied(Reason.SUSPENDED, 2, tokens, CAROL)


def test_it_survives_a_restart_with_its_author_and_cause(open_store: Callable[[], Store]) -> None:
    world, tokens = World(store=open_store()), honest()
    first = world.authority.steering.suspend(OPERATOR, "agent", agent(2), "because")
    second = world.authority.steering.suspend(OPERATOR, "everything", "", "stop, now", "quarantined", 500)
    world.authority.steering.suspend(OPERATOR, "tool", ACT, "over soon")
    world.authority.steering.resume(OPERATOR, "tool", ACT, "over")
    if not isinstance(world.store, MemoryStore):
        world.authority.close()
        world.store = open_store()
    world.authority = world.open()
    assert world.authority.steering.suspensions(OPERATOR) == [plain(first), plain(second)]
    assert (first.author, first.cause, second.name) == ("op", "because", "*")
    world.denied(Reason.SUSPENDED, 1, tokens, CAROL)
    world.authority.steering.resume(OPERATOR, "agent", agent(2), "over")
    world.allowed(tokens, CAROL)
    world.denied(Reason.QUARANTINED, None, tokens, CAROL, ACT)
    world.clock.now = NOW + 500
    world.allowed(tokens, CAROL, ACT)
    world.authority.close()


def test_what_is_recorded_says_who_and_why() -> None:
    world = World()
    world.authority.steering.suspend(OPERATOR, "task", "t1", "because", lifetime=60)
    world.authority.steering.resume(OPERATOR, "task", "t1", "over")
    bodies = [
        json.loads(data)["body"] for kind in ("suspended", "lifted") for data, _ in world.store.records(kind=kind)
    ]
    suspended = {"scope": "task", "name": "t1", "mode": "suspended", "cause": "because", "author": "op"}
    assert bodies == [suspended | {"until": NOW + 60}, {"scope": "task", "name": "t1", "cause": "over", "author": "op"}]


def test_the_same_key_stops_once() -> None:
    world = World()
    told = [world.authority.steering.suspend(OPERATOR, "task", "t1", "because", key="k") for _ in range(2)]
    assert told[0] == told[1]
    assert len(world.store.records(kind="suspended")) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"scope": "planet"}, {"scope": ""}, {"name": ""}, {"name": "x" * 2049}, {"cause": ""}, {"cause": "x" * 1025},
        {"name": f"{agent(1)}/"}, {"name": "agent/1"}, {"name": "A" * 42}, {"name": "spiffe://example.org"},
        {"name": "spiffe://Example.org/agent"}, {"name": f" {agent(1)}"}, {"name": "spiffe://example.org/a/../b"},
        {"scope": "trust_domain", "name": "spiffe://example.org"}, {"scope": "trust_domain", "name": "Example.org"},
        {"scope": "trust_domain", "name": "example.org/"}, {"scope": "tool", "name": f"{READ} "},
        {"scope": "tool", "name": f"\u00a0{READ}"}, {"scope": "task", "name": "t\x1b1"},
        {"scope": "task", "name": "t\x85"}, {"scope": "task", "name": " "},
        {"cause": "two\nlines"}, {"mode": "paused"}, {"mode": ""}, {"lifetime": -1}, {"lifetime": 10**10},
    ],
)  # fmt: skip
def test_what_is_not_well_formed_stops_nothing(wrong: dict[str, object]) -> None:
    world = World()
    right: dict[str, object] = {"scope": "agent", "name": agent(1), "cause": "because", "mode": "suspended"}
    with pytest.raises(InvalidRequestError):
        world.authority.steering.suspend(OPERATOR, **(right | wrong))  # type: ignore[arg-type]
    assert world.authority.steering.suspensions(OPERATOR) == []
    assert isinstance(world.authority.steering.suspend(OPERATOR, **right), Suspension)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.OPERATOR])
def test_only_operators_steer(role: Role) -> None:
    world, caller = World(), Caller("somebody", frozenset({role}), "https://pep.example")
    steering = world.authority.steering
    with pytest.raises(ForbiddenError):
        steering.suspend(caller, "agent", agent(1), "because")
    steering.suspend(embedded(), "agent", agent(1), "because")
    with pytest.raises(ForbiddenError):
        steering.resume(caller, "agent", agent(1), "because")
    with pytest.raises(ForbiddenError):
        steering.signal(caller, "a.b.c")
    if role is Role.AUDITOR:
        assert len(steering.suspensions(caller)) == 1
    else:
        with pytest.raises(ForbiddenError):
            steering.suspensions(caller)


def test_a_suspension_of_a_task_reaches_no_root_that_names_none() -> None:
    world, plain = World(), honest()
    world.authority.steering.suspend(OPERATOR, "task", "t1", "because")
    world.allowed(plain, CAROL)
    world.denied(Reason.SUSPENDED, None, in_task(), CAROL)


def test_what_cannot_be_a_name_is_told_what_one_looks_like() -> None:
    suspend = World().authority.steering.suspend
    for scope, name, words in (
        ("agent", "agent/3", "an agent is named by its SPIFFE id, `spiffe://DOMAIN/PATH`, or by its key's thumbprint"),
        ("trust_domain", "spiffe://example.org", "a trust domain is named in lower-case letters"),
        ("task", "t1 ", "a task's name neither begins nor ends with white space"),
        ("tool", "mail.read\t", "a tool's name neither begins nor ends with white space"),
    ):
        with pytest.raises(InvalidRequestError, match=words):
            suspend(OPERATOR, scope, name, "because")


def test_it_tells_how_many_enrolled_keys_it_stops() -> None:
    """They are those that are stopped, and no others."""
    world = World()
    beneath, elsewhere, inner, fresh = map(signer, ("beneath", "elsewhere", "inner", "fresh"))
    worker(world, beneath, f"{agent(1)}/helper")
    worker(world, elsewhere, "spiffe://elsewhere.org/helper", under=ALICE.key.thumbprint)
    enrols(world, elsewhere, inner, "spiffe://elsewhere.org/helper/inner")
    keys = (ROOT_KEY, ALICE, BOB, CAROL, beneath, elsewhere, inner, fresh)
    chains = {key: [chain_of(first=root(key))[0]] for key in keys}
    for scope, name, count in (
        ("agent", agent(1), 4),
        ("agent", f"{agent(1)}/helper", 1),
        ("agent", ALICE.key.thumbprint, 3),
        ("agent", elsewhere.key.thumbprint, 2),
        ("agent", fresh.key.thumbprint, 0),
        ("agent", "spiffe://example.org/agent", 7),
        ("agent", "spiffe://example.org/nobody", 0),
        ("trust_domain", "example.org", 7),
        ("trust_domain", "elsewhere.org", 2),
        ("trust_domain", "nobody.org", 0),
        ("task", "t1", None),
        ("tool", "bank.pay", None),
        ("everything", "", None),
    ):
        told = world.authority.steering.suspend(OPERATOR, scope, name, "because")
        assert told.keys == count, (scope, name)
        if count is not None:
            stopped = [key for key in keys if not world.ask(chains[key], key).allowed]
            assert len([key for key in stopped if key is not fresh]) == count, (scope, name)
            assert (fresh in stopped) is (name == fresh.key.thumbprint)
        world.authority.steering.resume(OPERATOR, scope, name, "over")


def test_a_repeated_order_tells_whether_it_still_stands() -> None:
    world, tokens = World(), honest()
    steering = world.authority.steering
    first = steering.suspend(OPERATOR, "everything", "", "stop", key="k")
    steering.resume(OPERATOR, "everything", "", "over")
    again = steering.suspend(OPERATOR, "everything", "", "stop", key="k")
    assert (first.lifted, again.lifted, again.revision) == (False, True, first.revision)
    world.allowed(tokens, CAROL)
    assert steering.suspend(OPERATOR, "everything", "", "stop").revision > first.revision
    assert not steering.suspend(OPERATOR, "everything", "", "stop", key="k").lifted  # stopped anew, by another order
    world.denied(Reason.SUSPENDED, None, tokens, CAROL)
    ended = steering.suspend(OPERATOR, "task", "t1", "a while", lifetime=10, key="l")
    world.clock.now = NOW + 10
    assert steering.suspend(OPERATOR, "task", "t1", "a while", lifetime=10, key="l").lifted
    assert not ended.lifted


def test_what_stands_is_resumed_by_whatever_name_it_has() -> None:
    """Also by one that nothing is stopped by any more."""
    world = World()
    odd = Suspension("agent", "agent/3", "suspended", "because", "op", NOW)
    world.authority._desk.live.controls.suspend(odd)
    assert world.authority.steering.resume(OPERATOR, "agent", "agent/3", "over").name == "agent/3"
