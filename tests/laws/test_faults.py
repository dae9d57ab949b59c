"""Whatever the decision needs and cannot have is a denial: each part of the state is made to fail, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from chain import records
from chain.approvals import Approvals
from chain.bundles import default
from chain.control import Controls
from chain.decision import Decision, Effect
from chain.errors import ApprovalError, StoreError
from chain.ledger import decode
from chain.live import Live
from chain.pace import Breaker, Pace
from chain.policy import Policy
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.state import SHADOWABLE, Settings
from chain.store.memory import MemoryStore
from chain.writing import Writing
from tests.budget.counter import calls, metered, standing, under
from tests.laws.facts import AGENT, GATE
from tests.scenarios.service import service
from tests.support import ALICE, BOB, HOME, PEP, Clock, World, root, seal

ERRORS = [RuntimeError("bug"), KeyError("x"), StoreError("the disk"), ApprovalError("odd"), ValueError("odd")]

PARTS: dict[str, tuple[Any, str]] = {
    "clock": (World, "clock"),  # the world's own; see `broken`
    "catalogue": (Live, "catalogue"),
    "revoked": (Live, "revoked"),
    "nonces": (Live, "seen"),
    "registry": (Live, "principal"),
    "parties": (Live, "party"),
    "suspensions": (Controls, "around"),
    "suspended holders": (Live, "stopped"),
    "revoked names": (Controls, "strikes"),
    "pace": (Pace, "rested"),
    "policy of the call": (Policy, "call"),
    "policy of the hops": (Policy, "faults"),
    "purse": (Live, "spent"),
    "store under the purse": (MemoryStore, "stands"),
    "approvals under a root": (Approvals, "under"),
    "approval of the action": (Approvals, "of"),
    "store, who bears a name": (MemoryStore, "named"),
    "store, a delegation": (MemoryStore, "delegation"),
}
"""What a decision reads, and where."""

LATER: dict[str, tuple[Any, str]] = {
    "the record": (records, "decided"),
    "a nonce that is used": (Live, "use"),
    "registering the chain": (Writing, "admit"),
    "the spend": (Writing, "spend"),
    "the count of calls": (Pace, "called"),
}
"""What the commit does once it is decided."""


def situation() -> tuple[World, list[str]]:
    """A chain that needs all of it: a budget, a policy, a suspension of somebody else, an approval under its root."""
    world = World()
    first = metered(calls(9))
    world.authority.policies.activate(world.caller, default())
    world.authority.steering.suspend(world.caller, "agent", "spiffe://example.org/agent/99", "a law")
    assert world.ask([first], ALICE, "bank.pay", {"amount": 1}).effect is Effect.APPROVAL_REQUIRED
    return world, [first, under(first, ALICE, BOB)]


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


def broken(patch: pytest.MonkeyPatch, world: World, part: tuple[Any, str], fail: Callable[..., Any]) -> None:
    owner, name = part
    if owner is World:
        patch.setattr(world.authority._desk, "clock", fail)
    else:
        patch.setattr(owner, name, property(fail) if isinstance(vars(owner)[name], property) else fail)


def snapshot(world: World) -> tuple[object, ...]:
    store, live = world.store, world.authority._desk.live
    assert isinstance(store, MemoryStore)
    return (
        dict(store._standing), set(store._delegations), set(store._revocations), dict(live.controls.suspensions),
        dict(live.purse._uncommitted), set(live.approvals._by_id), dict(live.approvals._roots),
    )  # fmt: skip


def written(world: World, head: int) -> list[tuple[str, str]]:
    """Kind and effect of what was recorded since."""
    found = [decode(data) for data, _ in world.store.records(head + 1)]
    return [(record.kind, str(record.body.get("effect", ""))) for record in found]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("part", [*PARTS, *LATER])
def test_a_part_that_fails_denies(part: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    world, tokens = situation()
    request = world.request(tokens, BOB)
    head, before = world.store.head, snapshot(world)
    with monkeypatch.context() as patch:
        broken(patch, world, (PARTS | LATER)[part], failing(error))
        decision = world.authority.check(world.caller, tokens, request)
    assert decision.effect is Effect.DENY
    assert decision.reason in {Reason.INTERNAL, Reason.STORE_UNAVAILABLE}
    assert (decision.enforced, decision.awaits) == (True, None)
    assert written(world, head) in ([], [("decided", "DENY")])
    assert before == snapshot(world)
    world.allowed(tokens, BOB)


@pytest.mark.parametrize("part", [part for part in PARTS if part != "clock"])
def test_a_part_that_fails_for_one_call_denies_that_one(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a batch in which one call meets the fault, none is let through by it; the others are decided or denied."""
    world, tokens = situation()
    items = [(tokens, world.request(tokens, BOB)) for _ in range(3)]
    owner, name = PARTS[part]
    real, count = vars(owner)[name], iter(range(10**6))
    function = real.fget if isinstance(real, property) else real
    fatal = 2 if part != "revoked" else 1

    def once(*args: object) -> Any:
        if next(count) == fatal:
            raise RuntimeError("bug")
        return function(*args)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, property(once) if isinstance(real, property) else once)
        answers = world.authority.begin_check(world.caller, items).result()
    assert len(answers) == 3
    for answer in answers:
        assert answer.allowed or answer.reason is Reason.INTERNAL
    if next(count) > fatal:
        assert not all(answer.allowed for answer in answers)
    let_through = sum(answer.allowed for answer in answers)
    assert sum(number for number, _ in standing(world.store).values()) == 2 * let_through
    world.allowed(tokens, BOB)


def test_others_in_a_batch_are_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    world, tokens = situation()
    items = [(tokens, world.request(tokens, BOB, arguments={"folder": folder})) for folder in ("in", "bad", "out")]
    real = Policy.call

    def picky(policy: Policy, chain: Any, parties: Any, asked: Any) -> Any:
        if picky.next() == 1:
            raise RuntimeError("bug")
        return real(policy, chain, parties, asked)

    picky.next = iter(range(3)).__next__  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setattr(Policy, "call", picky)
        answers = world.authority.begin_check(world.caller, items).result()
    assert [answer.reason for answer in answers] == [Reason.ALLOWED, Reason.INTERNAL, Reason.ALLOWED]
    assert [answer.revision > 0 for answer in answers] == [True] * 3  # the denial is in the ledger too
    assert "bug" not in str(answers[1])


def test_a_fault_is_never_in_shadow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that breaks stops calls also where its refusals are not enforced yet."""
    world = World(settings=Settings(shadow=SHADOWABLE))
    tokens = [seal(root())]
    world.authority.policies.activate(world.caller, default())
    world.allowed(tokens, ALICE)
    with monkeypatch.context() as patch:
        patch.setattr(Policy, "call", failing(RuntimeError("bug")))
        decision = world.ask(tokens, ALICE)
    assert (decision.effect, decision.reason, decision.enforced) == (Effect.DENY, Reason.INTERNAL, True)


def test_a_request_for_approval_that_is_not_written_is_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    tokens = [seal(root(ALICE, {"bank.pay": {}}, {"approval": [GATE]}, home=HOME))]
    before = snapshot(world)
    with monkeypatch.context() as patch:
        patch.setattr(records, "decided", failing(RuntimeError("bug")))
        assert world.ask(tokens, ALICE, "bank.pay").reason is Reason.INTERNAL
    assert before == snapshot(world)
    assert world.authority.approvals.find(world.caller) == []
    assert world.ask(tokens, ALICE, "bank.pay").effect is Effect.APPROVAL_REQUIRED
    assert len(world.authority.approvals.find(world.caller)) == 1


def test_a_trip_that_is_not_written_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that fails after its first denial tripped the breaker: the suspension never was."""
    world = World(breaker=Breaker(denials=1))
    tokens = [seal(root())]
    items = [(tokens, world.request(tokens, ALICE, "bank.rob", {})), (tokens, world.request(tokens, ALICE))]
    real, made = records.decided, iter((True, False))
    with monkeypatch.context() as patch:
        patch.setattr(records, "decided", lambda *args: real(*args) if next(made) else {"no JSON": object()})
        answers = world.authority.begin_check(world.caller, items).result()
    assert [answer.reason for answer in answers] == [Reason.INTERNAL] * 2
    assert world.authority.steering.suspensions(world.caller) == []
    world.allowed(tokens, ALICE)
    world.denied(Reason.TOOL_NOT_GRANTED, 0, tokens, ALICE, "bank.rob", {})
    world.denied(Reason.SUSPENDED, 0, tokens, ALICE)


@pytest.mark.parametrize("part", ["policy of the call", "suspended holders", "registry", "approvals under a root"])
def test_a_part_that_fails_denies_over_grpc(part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A denial with its reason, and no error of the transport; the next call is decided as ever."""
    with service(tmp_path, MemoryStore(), Clock()) as door:
        door.enrol(ALICE.key, Principal(id=AGENT(1), owner="team"))
        door.policy(default())
        door.suspend("agent", AGENT(99), "suspended", 0)
        token = door.issue(ALICE.key, {"tools": {"mail.read": {}, "bank.pay": {}}}, 600).token
        assert token is not None

        def ask(tool: str) -> str:
            made = {"tool": tool, "arguments": {}, "audience": PEP, "proof": maker.proof(token, ALICE, tool, {})}
            outcome = door.check([token], made)
            return f"{outcome.effect} {outcome.reason}"

        maker = World()
        assert ask("mail.read") == "ALLOW allowed"
        assert ask("bank.pay") == "APPROVAL_REQUIRED approval_required"
        with monkeypatch.context() as patch:
            owner, name = PARTS[part]
            patch.setattr(owner, name, failing(RuntimeError("bug")))
            assert [ask("mail.read"), ask("bank.pay")] == ["DENY internal"] * 2
        assert ask("mail.read") == "ALLOW allowed"


class Refusing(MemoryStore):
    """A disk that refuses."""

    refuses = False

    def commit(self, batch: Any) -> Future[int]:
        if not self.refuses:
            return super().commit(batch)
        future: Future[int] = Future()
        future.set_exception(StoreError("no space left"))
        return future


@pytest.mark.parametrize("tool", ["mail.read", "bank.pay"])
def test_a_store_that_refuses_permits_nothing(tool: str) -> None:
    store = Refusing()
    world = World(store=store)
    tokens = [seal(root())]
    store.refuses = True
    world.denied(Reason.STORE_UNAVAILABLE, None, tokens, ALICE, tool)
    store.refuses = False
    world.allowed(tokens, ALICE, tool)


def _explained(world: World, tokens: list[str], request: Request) -> Decision:
    return world.authority.explain(world.caller, tokens, request).decision


@pytest.mark.parametrize("part", PARTS)
def test_nothing_is_explained_as_allowed_by_a_fault(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever explains reads the same facts; one that it meets and cannot read is an error or a denial."""
    world, tokens = situation()
    request, met = world.request(tokens, BOB), []

    def fail(*_: object, **__: object) -> Any:
        met.append(part)
        raise RuntimeError("bug")

    assert _explained(world, tokens, request).allowed
    with monkeypatch.context() as patch:
        broken(patch, world, PARTS[part], fail)
        try:
            permitted = _explained(world, tokens, request).allowed
        except RuntimeError:
            permitted = False
    assert not (met and permitted)
    assert _explained(world, tokens, request).allowed
