"""What is revoked by name falls with all beneath it, for good, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chain import enrolment
from chain.anchor import TrustAnchor
from chain.caller import Caller, Role
from chain.control import Named, Strike
from chain.errors import ConflictError, DeniedError, ForbiddenError, InvalidRequestError, NotFoundError
from chain.key import KeySigner
from chain.order import Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from chain.token import Verifier
from chain.view import Query, Revoked
from tests.control.material import agent, worker
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    HOME,
    ISSUER,
    MALLORY,
    NOW,
    PEP,
    ROOT_KEY,
    World,
    child,
    digest_of,
    ec_signer,
    honest,
    payload_of,
    root,
    seal,
    signer,
)

ISSUING = Caller("issuer", frozenset({Role.ISSUER}))
OTHER_ISSUER, OTHER_KEY = "https://other.example", ec_signer("other issuer")
LIMITS = {"classes": ["read", "act"]}
ANCHORS = (TrustAnchor(ROOT_KEY.key, ISSUER), TrustAnchor(OTHER_KEY.key, OTHER_ISSUER))


def world_of(**given: object) -> World:
    return World(verifier=Verifier(ANCHORS), **given)  # type: ignore[arg-type]


def by(kind: Strike, name: str, cause: str = "") -> Revoke:
    return Revoke(cause=cause, named=Named(kind, name))


class Tree:
    """Delegations with their tokens, each admitted by a call of its holder."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chains: dict[str, tuple[list[str], KeySigner]] = {}

    def root(self, holder: KeySigner, by: KeySigner = ROOT_KEY, **claims: Any) -> str:
        return self._add([seal(root(holder, limits=LIMITS, **claims), by)], holder)

    def under(self, parent: str, holder: KeySigner) -> str:
        tokens, above = self.chains[parent]
        made = child(tokens[-1], holder, jti=f"hop-{len(self.chains)}")
        return self._add([*tokens, seal(made, above)], holder)

    def _add(self, tokens: list[str], holder: KeySigner) -> str:
        self.world.allowed(tokens, holder)
        name = digest_of(tokens[-1])
        self.chains[name] = tokens, holder
        return name

    def dead(self) -> set[str]:
        """Ask for every one of them."""
        found = set()
        for name, (tokens, holder) in self.chains.items():
            decision = self.world.ask(tokens, holder)
            if not decision.allowed:
                assert decision.reason is Reason.REVOKED, str(decision)
                found.add(name)
        return found

    def holders(self, name: str) -> list[str]:
        return [payload_of(token)["cnf"]["jwk"]["x"] for token in self.chains[name][0]]


@pytest.fixture
def tree() -> Tree:
    """Two tasks, two issuers, and Bob in the middle of one branch of each."""
    tree = Tree(world_of())
    one = tree.root(ALICE, txn="t1", jti="one")
    two = tree.root(ALICE, OTHER_KEY, iss=OTHER_ISSUER, txn="t2", jti="two")
    for top in (one, two):
        bob = tree.under(top, BOB)
        tree.under(bob, CAROL)
        tree.under(top, CAROL)
    return tree


def expected(tree: Tree, kind: str) -> set[str]:
    names = list(tree.chains)
    one, two = names[0], names[1]
    return {
        "holder": {name for name in names if len(tree.chains[name][0]) > 1 and BOB.key.jwk.x in tree.holders(name)},
        "task": {name for name in names if tree.chains[name][0][0] == tree.chains[one][0][0]},
        "issuer": {name for name in names if tree.chains[name][0][0] == tree.chains[two][0][0]},
        "key": {name for name in names if tree.chains[name][0][0] == tree.chains[two][0][0]},
        "maker": {name for name in names if len(tree.chains[name][0]) > 1},
    }[kind]


CASES: list[tuple[str, Strike, str]] = [
    ("holder", "holder", BOB.key.thumbprint),
    ("holder", "holder", agent(2)),
    ("task", "task", "t1"),
    ("issuer", "issuer", OTHER_ISSUER),
    ("key", "key", OTHER_KEY.key.thumbprint),
    ("maker", "key", ALICE.key.thumbprint),
]


@pytest.mark.parametrize(("what", "kind", "name"), CASES)
def test_a_name_fells_exactly_what_bears_it(tree: Tree, what: str, kind: Strike, name: str) -> None:
    falls, world = expected(tree, what), tree.world
    assert 0 < len(falls) < len(tree.chains)
    assert tree.dead() == set()
    head = world.store.head
    dry = world.authority.revoke(ISSUING, by(kind, name), dry_run=True)
    assert (set(dry.fallen), dry.count, dry.revision, dry.at_least) == (falls, len(falls), 0, False)
    assert world.store.head == head
    assert tree.dead() == set()
    done = world.authority.revoke(ISSUING, by(kind, name, "because"))
    assert (done.fallen, done.count) == (dry.fallen, dry.count)
    assert done.revision > head
    assert tree.dead() == falls
    world.authority = world.open()
    assert tree.dead() == falls
    seen = {one.id: one.status for one in world.authority.find(ISSUING, Query(limit=1000)).delegations}
    assert {one for one, status in seen.items() if status == "revoked"} == falls
    assert {one for one, status in seen.items() if status == "active"} == tree.chains.keys() - falls


@pytest.mark.parametrize(("what", "kind", "name"), CASES)
def test_parents_stand_before_their_children(tree: Tree, what: str, kind: Strike, name: str) -> None:
    fallen = tree.world.authority.revoke(ISSUING, by(kind, name), dry_run=True).fallen
    depths = {one.id: one for one in tree.world.authority.find(ISSUING, Query(limit=1000)).delegations}
    for place, one in enumerate(fallen):
        parent = depths[one].parent
        assert parent not in fallen[place:]
    assert set(fallen) == expected(tree, what)


def test_it_holds_for_whatever_comes_later(tree: Tree) -> None:
    world = tree.world
    world.authority.revoke(ISSUING, by("task", "t1"))
    world.authority.revoke(ISSUING, by("key", OTHER_KEY.key.thumbprint))
    late = [seal(root(CAROL, limits=LIMITS, txn="t1", jti="late"))]
    world.denied(Reason.REVOKED, 0, late, CAROL)
    world.allowed([seal(root(CAROL, limits=LIMITS, txn="t3", jti="other"))], CAROL)
    offline = [seal(root(CAROL, iss=OTHER_ISSUER, jti="late"), OTHER_KEY)]
    world.denied(Reason.REVOKED, 0, offline, CAROL)


def test_a_principal_is_the_keys_that_are_enrolled_for_it_now() -> None:
    world = world_of()
    second, third = signer("second"), signer("third")
    worker(world, second, agent(1))
    chains = {key: [seal(root(key, jti=key.key.thumbprint))] for key in (ALICE, second, third, BOB)}
    for key, tokens in chains.items():
        world.allowed(tokens, key)
    assert world.authority.revoke(ISSUING, by("holder", agent(1))).count == 2
    worker(world, third, agent(1))
    for key, tokens in chains.items():
        if key in (ALICE, second):
            world.denied(Reason.REVOKED, 0, tokens, key)
        else:
            world.allowed(tokens, key)
    (record,) = [json.loads(data)["body"] for data, _ in world.store.records(kind="revoked")]
    names = sorted((ALICE.key.thumbprint, second.key.thumbprint, agent(1)))
    assert record == {"kind": "holder", "name": agent(1), "names": names, "cause": "", "caller": "issuer"}
    with pytest.raises(NotFoundError):
        world.authority.revoke(ISSUING, by("holder", "spiffe://example.org/nobody"))
    with pytest.raises(NotFoundError):
        world.authority.revoke(ISSUING, by("holder", "spiffe://example.org/nobody"), dry_run=True)


@pytest.mark.parametrize("role", [Role.AGENT, Role.ENFORCEMENT_POINT, Role.AUDITOR, Role.APPROVER])
@pytest.mark.parametrize("dry_run", [False, True])
def test_others_may_not(role: Role, *, dry_run: bool) -> None:
    world, tokens = world_of(), honest()
    caller = Caller("somebody", frozenset({role}), PEP, CAROL.key.thumbprint, channel=True)
    with pytest.raises(ForbiddenError):
        world.authority.revoke(caller, by("holder", CAROL.key.thumbprint), dry_run=dry_run)
    world.allowed(tokens, CAROL)
    operator = Caller("op", frozenset({Role.OPERATOR}))
    assert isinstance(world.authority.revoke(operator, by("holder", CAROL.key.thumbprint), dry_run=dry_run), Revoked)


@pytest.mark.parametrize(
    "order",
    [
        by("holder", ""), by("holder", "short"), by("holder", "!" * 43), by("key", agent(1)), by("key", "A" * 44),
        by("task", ""), by("task", "x" * 2049), by("issuer", ""), by("planet", "earth"),  # type: ignore[arg-type]
        Revoke(bytes(32), named=Named("task", "t1")),
    ],
)  # fmt: skip
def test_what_cannot_be_a_name_revokes_nothing(order: Revoke) -> None:
    world = world_of()
    with pytest.raises(InvalidRequestError):
        world.authority.revoke(ISSUING, order)
    assert world.store.records(kind="revoked") == []
    assert world.authority.revoke(ISSUING, by("task", "t1")).revision > 0


def test_what_came_later_is_not_counted_when_it_is_asked_again(tree: Tree) -> None:
    world, order = tree.world, by("task", "t1")
    first = world.authority.revoke(ISSUING, order, key="k")
    world.ask([seal(root(CAROL, limits=LIMITS, txn="t1", jti="late"))], CAROL)  # refused, and registered
    assert world.authority.revoke(ISSUING, order, key="k") == first
    assert world.authority.revoke(ISSUING, order, dry_run=True).count == first.count + 1


def test_the_same_key_revokes_once_and_no_other_name() -> None:
    world = world_of()
    told = [world.authority.revoke(ISSUING, by("task", "t1", "why"), key="k") for _ in range(2)]
    assert told[0] == told[1]
    with pytest.raises(ConflictError):
        world.authority.revoke(ISSUING, by("issuer", "t1", "why"), key="k")


def test_the_count_has_a_cap(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.fall.MAX_COUNTED", 2)
    monkeypatch.setattr("chain.fall.MAX_LISTED", 1)
    told = tree.world.authority.revoke(ISSUING, by("key", ALICE.key.thumbprint), dry_run=True)
    assert (len(told.fallen), told.count, told.at_least) == (1, 3, True)
    monkeypatch.setattr("chain.fall.MAX_ROOTS", 1)
    few = tree.world.authority.revoke(ISSUING, by("key", OTHER_KEY.key.thumbprint), dry_run=True)
    assert few.at_least  # the cap of the count
    monkeypatch.setattr("chain.fall.MAX_COUNTED", 100)
    tree.root(BOB, OTHER_KEY, iss=OTHER_ISSUER, jti="another")
    told = tree.world.authority.revoke(ISSUING, by("key", OTHER_KEY.key.thumbprint))
    assert (told.count, told.at_least) == (4, True)
    assert len(tree.dead()) == 5  # what was not counted fell all the same


def test_a_key_of_any_issuer_fells_its_roots() -> None:
    world = World(verifier=Verifier([TrustAnchor(ROOT_KEY.key, ISSUER), TrustAnchor(OTHER_KEY.key)]))
    tree = Tree(world)
    tree.root(ALICE, jti="mine")
    theirs = tree.root(ALICE, OTHER_KEY, iss="https://anybody.example", jti="theirs")
    below = tree.under(theirs, BOB)
    told = world.authority.revoke(ISSUING, by("key", OTHER_KEY.key.thumbprint))
    assert set(told.fallen) == tree.dead() == {theirs, below}


def test_what_has_ended_or_came_later_is_not_counted() -> None:
    world = world_of()
    tree = Tree(world)
    for number in range(3):
        tree.root(ALICE, txn="t1", jti=f"r{number}", exp=NOW + 50 + number)
    world.clock.now = NOW + 51
    assert world.authority.revoke(ISSUING, by("task", "t1")).count == 1


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_thousand_nodes(store: str, tmp_path: Path) -> None:
    """A random tree of 1,000 delegations: a principal in its midst is revoked, and exactly its descendants fall."""
    world = world_of(store=MemoryStore() if store == "memory" else SqliteStore(tmp_path / "ledger"))
    chance, keys = Random(23), [signer(f"holder {number}") for number in range(60)]
    nodes: list[tuple[list[str], KeySigner]] = []
    for number in range(1000):
        key = chance.choice(keys)
        if number < 10:
            nodes.append(([seal(root(key, jti=f"n{number}"))], key))
            continue
        tokens, above = chance.choice([node for node in nodes if len(node[0]) < 8])
        nodes.append(([*tokens, seal(child(tokens[-1], key, jti=f"n{number}"), above)], key))

    def asked() -> list[bool]:
        calls = [
            (
                tokens,
                Request(tool="mail.read", arguments={"folder": "in"}, audience=PEP, holder=key.key.thumbprint),
            )
            for tokens, key in nodes
        ]
        return [decision.allowed for decision in world.authority.begin_check(world.caller, calls).result()]

    assert all(asked())
    target = keys[7]
    falls = {
        digest_of(tokens[-1])
        for tokens, _ in nodes
        if any(payload_of(token)["cnf"]["jwk"]["x"] == target.key.jwk.x for token in tokens)
    }
    assert 10 < len(falls) < 900
    told = world.authority.revoke(ISSUING, by("holder", target.key.thumbprint))
    assert (set(told.fallen), told.count, told.at_least) == (falls, len(falls), False)
    alive = asked()
    assert {digest_of(tokens[-1]) for (tokens, _), yes in zip(nodes, alive, strict=True) if not yes} == falls
    world.authority.close()


def test_an_agent_under_a_revoked_name_enrols_nobody() -> None:
    world = world_of()
    alice = Caller("alice", frozenset({Role.AGENT}), None, ALICE.key.thumbprint)
    principal = Principal(id=f"{agent(1)}/w", owner="team", under=ALICE.key.thumbprint)
    agreed = enrolment.make(MALLORY, principal.id, ALICE.key.thumbprint, audience=HOME, jti="w", iat=NOW)
    world.authority.revoke(ISSUING, by("holder", agent(1)))
    with pytest.raises(DeniedError) as raised:
        world.authority.enrol(alice, MALLORY.key, principal, proof_text=agreed)
    assert raised.value.decision.reason is Reason.REVOKED
