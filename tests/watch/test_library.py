"""What is told to whom, from where on, and whether a chain stands: through the library."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain.caller import Caller, Role
from chain.errors import CursorError, ExcessError, ForbiddenError, InvalidRequestError, InvalidTokenError, StoreError
from chain.ledger import Durability
from chain.order import Revoke
from chain.reason import Reason
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from chain.watch import KINDS, PAGE, STANDS, Told
from tests.support import ALICE, BOB, CAROL, MALLORY, PEP, World, child, digest, honest, root, seal
from tests.watch.filling import fill

PACKAGE = Path(__file__).parents[2] / "chain"
AUDITOR = Caller("auditor", frozenset({Role.AUDITOR}))
OPERATOR = Caller("operator", frozenset({Role.OPERATOR}))
ISSUER = Caller("issuer", frozenset({Role.ISSUER}))
POINT = Caller("point", frozenset({Role.ENFORCEMENT_POINT}), audience=PEP)
OTHER = Caller("other", frozenset({Role.ENFORCEMENT_POINT}), audience=PEP)
AGENT = Caller("bob", frozenset({Role.AGENT}), audience=PEP, holder=BOB.key.thumbprint)
STRANGER = Caller("mallory", frozenset({Role.AGENT}), audience=PEP, holder=MALLORY.key.thumbprint)
APPROVER = Caller("approver", frozenset({Role.APPROVER}))


@pytest.fixture
def world() -> World:
    return World()


def all_of(world: World, caller: Caller, after: int = 0, kinds: tuple[str, ...] = (), limit: int = 7) -> list[Told]:
    told: list[Told] = []
    while True:
        page = world.authority.watch.records(caller, after, kinds, limit)
        told += page.records
        if page.revision == after:
            return told
        after = page.revision


def test_the_kinds_are_those_that_are_written() -> None:
    """Every kind that the package writes can be asked for."""
    written = set()
    for file in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            place = {"record": 0, "Record": 1}.get(name)
            if place is not None and place < len(node.args) and isinstance(node.args[place], ast.Constant):
                written.add(node.args[place].value)
    assert {"decided", "revoked", "suspended"} <= written
    assert written <= KINDS


def test_auditors_and_operators_are_told_the_records_as_they_are_stored(world: World) -> None:
    tokens = honest()
    world.allowed(tokens, CAROL)
    stored = [json.loads(data) for data, _ in world.store.records()]
    for caller in (AUDITOR, OPERATOR):
        told = all_of(world, caller)
        assert [(one.revision, one.kind, one.time, one.members) for one in told] == [
            (one["revision"], one["kind"], one["time"], one["body"]) for one in stored
        ]


@pytest.mark.parametrize("caller", [ISSUER, OTHER], ids=lambda caller: caller.name)
def test_others_are_told_what_changes_what_is_allowed_and_no_details_of_strangers_calls(
    world: World, caller: Caller
) -> None:
    tokens = honest()
    world.caller = POINT
    world.allowed(tokens, CAROL, labels=("tainted",))
    world.authority.revoke(OPERATOR, Revoke(digest(tokens[0]), "stolen"))
    full = {one.revision: one for one in all_of(world, AUDITOR)}
    told = all_of(world, caller)
    assert [one.revision for one in told] == list(full)
    for one in told:
        if one.kind == "decided":
            assert one.members.keys() == {"id", "effect", "leaf"}
        elif one.kind == "admitted":
            assert full[one.revision].members == one.members | {"grant": full[one.revision].members["grant"]}
            assert "grant" not in one.members
        else:
            assert one == full[one.revision]
    own = next(one for one in all_of(world, POINT) if one.kind == "decided")
    assert own == full[own.revision]
    assert own.members["caller"] == "point"


def test_a_refusal_of_others_is_told_without_its_details(world: World) -> None:
    tokens = honest(2)
    wide = seal(child(tokens[-1], CAROL, tools={"mail.read": {}, "bank.pay": {}, "mail.burn": {}}), BOB)
    with pytest.raises(ExcessError):
        world.authority.delegate(AGENT, tokens, wide, world.proof(tokens[-1], BOB, "chain:delegate", {"child": "x"}))
    (full,) = all_of(world, AUDITOR, kinds=("refused",))
    (told,) = all_of(world, POINT, kinds=("refused",))
    assert full.members.keys() >= {"asked", "granted", "reason", "holder", "caller"}
    assert told.members.keys() == {"method", "leaf"}


@pytest.mark.parametrize("caller", [AGENT, STRANGER, APPROVER], ids=lambda caller: caller.name)
def test_an_agent_cannot_read_the_ledger(world: World, caller: Caller) -> None:
    with pytest.raises(ForbiddenError):
        world.authority.watch.records(caller, 0, ("decided",))
    assert world.authority.watch.records(POINT, 0).records


def test_an_approver_follows_what_people_are_asked_and_nothing_else(world: World) -> None:
    kinds = ("decided", "approval_requested", "revoked", "approval_resolved", "approval_consumed")
    fill(world.store, 20, kinds)
    mine = {"approval_requested", "approval_resolved", "approval_consumed"}
    told = all_of(world, APPROVER)
    assert {one.kind for one in told} == mine
    assert [one.kind for one in all_of(world, APPROVER, kinds=("approval_resolved",))] == ["approval_resolved"] * 4
    for kind in sorted(KINDS - mine):
        with pytest.raises(ForbiddenError):
            world.authority.watch.records(APPROVER, 0, (kind,))
    with pytest.raises(InvalidRequestError):
        world.authority.watch.records(APPROVER, 0, ("nothing",))
    both = Caller("both", frozenset({Role.APPROVER, Role.AGENT}))
    assert all_of(world, both) == told
    for caller in (AGENT, STRANGER):
        with pytest.raises(ForbiddenError):
            world.authority.watch.records(caller, 0)


@given(cursor=st.integers(0, 60), limit=st.integers(1, PAGE), kinds=st.sets(st.sampled_from(["revoked", "lifted"])))
def test_every_cursor_goes_on_without_a_gap_or_a_repeat(cursor: int, limit: int, kinds: set[str]) -> None:
    world = World(enrolled=())
    fill(world.store, 60, ("decided", "revoked", "lifted"))
    wanted = kinds or {"decided", "revoked", "lifted"}
    told = all_of(world, AUDITOR, cursor, tuple(kinds), limit)
    expected = [
        revision for revision in range(cursor + 1, 61) if ("decided", "revoked", "lifted")[revision % 3] in wanted
    ]
    assert [one.revision for one in told] == expected


def test_a_cursor_from_the_future_is_refused(world: World) -> None:
    head = world.authority.watch.head
    with pytest.raises(CursorError) as raised:
        world.authority.watch.records(AUDITOR, head + 1)
    assert raised.value.reason is Reason.CURSOR_INVALID
    assert world.authority.watch.records(AUDITOR, head) == ((), head)


@pytest.mark.parametrize("kinds", [("decided", "dreamt"), ("",), ("DECIDED",)])
def test_an_unknown_kind_is_refused(world: World, kinds: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequestError):
        world.authority.watch.records(AUDITOR, 0, kinds)
    assert world.authority.watch.records(AUDITOR, 0, ("enrolled", "enrolled")).records


@pytest.mark.parametrize("limit", [0, -1, PAGE + 1])
def test_a_page_is_bounded(world: World, limit: int) -> None:
    with pytest.raises(InvalidRequestError):
        world.authority.watch.records(AUDITOR, 0, limit=limit)


def test_only_what_survives_power_loss_is_told(tmp_path: Path) -> None:
    class Lagging(SqliteStore):
        kept: int | None = None

        @property
        def synced(self) -> int:
            return super().synced if self.kept is None else self.kept

    store = Lagging(tmp_path / "ledger")
    world = World(store=store)
    try:
        store.kept = store.synced
        fill(store, 3, ("revoked",), durability=Durability.WRITTEN)
        page = world.authority.watch.records(AUDITOR, store.kept)
        assert page == ((), store.kept)
        assert world.authority.watch.records(AUDITOR, store.head) == ((), store.head)  # not the future
        store.kept += 2
        page = world.authority.watch.records(AUDITOR, store.kept - 2)
        assert (len(page.records), page.revision) == (2, store.kept)
        store.kept = None
    finally:
        world.authority.close()


def test_who_asks_for_the_revision(world: World) -> None:
    for caller in (AUDITOR, AGENT, APPROVER):
        assert world.authority.watch.revision(caller) == world.store.synced
    with pytest.raises(ForbiddenError):
        world.authority.watch.revision(Caller("nobody", frozenset()))


def test_records_hold_no_token_and_no_proof(world: World) -> None:
    tokens = honest()
    request = world.request(tokens, CAROL)
    assert world.authority.check(world.caller, tokens, request).allowed
    text = b"".join(one.body for one in all_of(world, AUDITOR))
    for secret in (*tokens, request.proof or "?"):
        assert secret.encode() not in text
        for part in secret.split("."):
            assert part.encode() not in text


def stands(world: World, tokens: list[str]) -> tuple[bool, Reason, int | None]:
    stand = world.authority.watch.standing(POINT, tokens)
    return stand.stands, stand.reason, stand.hop


FINE = (True, Reason.ALLOWED, None)


def test_a_chain_stands_until_it_is_revoked(world: World) -> None:
    tokens = honest()
    world.allowed(tokens, CAROL)
    assert world.authority.watch.standing(POINT, tokens) == STANDS
    assert world.authority.watch.standing(POINT, digest(tokens[-1])) == STANDS
    world.authority.revoke(OPERATOR, Revoke(digest(tokens[1]), "stolen"))
    assert stands(world, tokens) == (False, Reason.REVOKED, 1)
    assert stands(world, tokens[:1]) == FINE
    world.denied(Reason.REVOKED, 1, tokens, CAROL)


@pytest.mark.parametrize("after", [0.0, 1.0])
def test_a_chain_stands_until_its_first_hop_expires(world: World, after: float) -> None:
    tokens = honest()
    leaf = min(hop.exp for hop in world.accepted(tokens).hops)
    world.clock.now = leaf - 1
    assert stands(world, tokens) == FINE
    world.clock.now = leaf + after
    assert stands(world, tokens)[:2] == (False, Reason.EXPIRED)


SUSPENSIONS: list[tuple[str, str, Any]] = [
    ("everything", "", None),
    ("agent", "spiffe://example.org/agent/2", 1),  # Bob, who holds hop 1
    ("trust_domain", "example.org", 0),
    ("task", "task-7", None),
]


@pytest.mark.parametrize(("scope", "name", "hop"), SUSPENSIONS, ids=[scope for scope, *_ in SUSPENSIONS])
def test_a_suspended_chain_does_not_stand_and_stands_again(
    world: World, scope: str, name: str, hop: int | None
) -> None:
    tokens = honest(3, root(limits={"classes": ["read"]}, txn="task-7"))
    assert stands(world, tokens) == FINE
    world.authority.steering.suspend(OPERATOR, scope, name, "incident")
    assert stands(world, tokens) == (False, Reason.SUSPENDED, hop)
    world.authority.steering.resume(OPERATOR, scope, name, "over")
    assert stands(world, tokens) == FINE


def test_a_quarantined_chain_stands_because_it_may_read(world: World) -> None:
    tokens = honest()
    world.authority.steering.suspend(OPERATOR, "everything", "", "incident", "quarantined")
    assert stands(world, tokens) == FINE
    world.allowed(tokens, CAROL)


def test_a_suspended_tool_is_no_suspended_chain(world: World) -> None:
    tokens = honest()
    world.authority.steering.suspend(OPERATOR, "tool", "mail.read", "incident")
    assert stands(world, tokens) == FINE
    world.denied(Reason.SUSPENDED, None, tokens, CAROL)


def test_a_suspension_that_ends_by_itself(world: World) -> None:
    tokens = honest()
    world.authority.steering.suspend(OPERATOR, "everything", "", "incident", lifetime=10)
    assert stands(world, tokens)[0] is False
    world.clock.now += 10
    assert stands(world, tokens) == FINE


def test_a_clock_behind_the_ledger_vouches_for_nothing(world: World) -> None:
    tokens = honest()
    world.allowed(tokens, CAROL)
    world.clock.now -= 2
    assert stands(world, tokens)[:2] == (False, Reason.CLOCK_BEHIND)
    world.clock.now += 2
    assert stands(world, tokens) == FINE


def test_a_stopped_ledger_vouches_for_nothing() -> None:
    class Breaking(MemoryStore):
        broken = False

        def _write(self, write: Any) -> None:
            if self.broken:
                raise StoreError("no disk")
            super()._write(write)

    store = Breaking()
    world = World(store=store)
    tokens = honest()
    assert stands(world, tokens) == FINE
    store.broken = True
    world.ask(tokens, CAROL)
    assert stands(world, tokens)[:2] == (False, Reason.STORE_UNAVAILABLE)


def test_who_may_know_how_a_chain_stands(world: World) -> None:
    tokens = honest()
    world.allowed(tokens, CAROL)
    watch = world.authority.watch
    named = digest(tokens[-1])
    for caller in (POINT, AUDITOR, OPERATOR, ISSUER, AGENT):
        assert watch.standing(caller, named) == STANDS
    assert watch.standing(STRANGER, tokens) == STANDS  # whoever has the tokens could present them
    with pytest.raises(ForbiddenError):
        watch.standing(STRANGER, named)
    with pytest.raises(ForbiddenError):
        watch.standing(APPROVER, tokens)


def test_what_is_no_chain_does_not_stand(world: World) -> None:
    tokens = honest()
    with pytest.raises(InvalidTokenError):
        world.authority.watch.standing(POINT, digest(tokens[-1]))  # never registered
    broken = [*tokens[:-1], seal(root(), ALICE)]
    with pytest.raises(InvalidTokenError):
        world.authority.watch.standing(POINT, broken)
    assert stands(world, tokens) == FINE
