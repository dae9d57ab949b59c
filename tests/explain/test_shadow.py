"""Shadow mode: what is denied and not enforced, what never is, what it costs, who lets it through, and the report."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from chain import mint
from chain.client import AsyncLocal, AsyncSession, Client, Local, Session, guard
from chain.decision import Decision, Effect, Finding, decided
from chain.errors import ConfigurationError, DeniedError
from chain.ledger import decode
from chain.pace import Breaker
from chain.reason import Reason
from chain.service.compose import compose
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.shadow import Count, report
from chain.state import SHADOWABLE, Settings
from chain.store.memory import MemoryStore
from tests.client.running import secret, serving, settings
from tests.explain.cases import ACT, HOP, PAYS, ROWS, Row, policy
from tests.explain.denied import Denied, approve, ruled
from tests.support import ALICE, BOB, HOME, NOW, PEP, ROOT_KEY, World, child, root, seal

SHADOW = Settings(shadow=SHADOWABLE)
NEVER = f"forbid ({ACT});"


def shadowed(denied: Denied) -> Denied:
    """The same estate, not ready yet."""
    live = denied.world.authority._desk.live
    live.settings = replace(live.settings, shadow=SHADOWABLE)
    return denied


def unclassed(world: World, **limits: Any) -> Denied:
    """A payment under a leaf that may only read."""
    above = seal(root(limits={"classes": ["read", "act"]} | limits, home=HOME))
    leaf = seal(child(above, BOB, limits={"classes": ["read"]} | limits), ALICE)
    return Denied(world, [above, leaf], BOB)


def body(world: World, revision: int) -> dict[str, Any]:
    return decode(world.store.records(revision, 1)[0][0]).body


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in SHADOWABLE])
def test_nothing_else_can_be_put_in_shadow(reason: Reason) -> None:
    with pytest.raises(ConfigurationError, match=reason.value):
        Settings(shadow=frozenset({reason}))


def test_policy_and_class_can() -> None:
    assert Settings(shadow=SHADOWABLE).shadow == {Reason.CLASS_NOT_GRANTED, Reason.POLICY_DENIED}


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_denial_is_enforced_unless_all_of_it_is_in_shadow(row: Row) -> None:
    decision = shadowed(row.make()).ask()
    assert not decision.allowed
    with pytest.raises(DeniedError):
        decision.require()
    found = {finding.reason for finding in decision.findings}
    assert decision.enforced is not (found <= SHADOWABLE)
    assert decision.enforced is (row.reason not in SHADOWABLE)


def test_one_finding_beside_keeps_it_enforced() -> None:
    denied = shadowed(unclassed(World()))
    assert not denied.ask().enforced
    assert replace(denied, arguments={"amount": 500}).ask().enforced
    denied.world.authority.steering.suspend(denied.world.caller, "tool", "bank.pay", "a test")
    decision = denied.ask()
    assert (decision.enforced, decision.effect, decision.reason) == (True, Effect.DENY, Reason.SUSPENDED)


def test_without_shadow_it_is_enforced() -> None:
    assert unclassed(World()).ask().enforced
    decision = policy(never=NEVER).ask()
    assert (decision.enforced, decision.reason) == (True, Reason.POLICY_DENIED)


def test_a_forged_or_unproven_chain_is_never_in_shadow() -> None:
    denied = shadowed(unclassed(World()))
    assert replace(denied, tokens=[denied.tokens[0], denied.tokens[1][:-8] + "AAAAAAAA"]).ask().enforced
    assert replace(denied, by=ALICE).ask().enforced
    used = denied.request()
    check = denied.world.authority.check
    assert not check(denied.world.caller, denied.tokens, used).enforced
    assert check(denied.world.caller, denied.tokens, used).reason is Reason.REPLAY


def test_delegating_is_never_in_shadow() -> None:
    denied = shadowed(policy(deep=f"forbid ({HOP}) when {{ resource.depth > 1 }};"))
    leaf = mint.unverified(denied.tokens[-1])
    claims = mint.child_claims(leaf, leaf.grant, ALICE.key, jti="j" * 16, now=NOW, lifetime=60)
    token = mint.token.sign(claims, BOB)
    world = denied.world
    proof = world.proof(denied.tokens[-1], BOB, "chain:delegate", {"child": mint.unverified(token).id}, HOME)
    with pytest.raises(DeniedError) as refused:
        world.authority.delegate(world.caller, denied.tokens, token, proof)
    assert (refused.value.reason, refused.value.decision.enforced) == (Reason.POLICY_DENIED, True)
    called = replace(denied, tokens=[*denied.tokens, token], by=ALICE).ask()
    assert (called.enforced, called.reason) == (False, Reason.POLICY_DENIED)


def test_budgets_are_spent_and_the_record_says_so() -> None:
    denied = unclassed(World(settings=SHADOW), budget={"calls": 1})
    first = denied.ask()
    assert (first.effect, first.reason, first.enforced) == (Effect.DENY, Reason.CLASS_NOT_GRANTED, False)
    record = body(denied.world, first.revision)
    assert (record["enforced"], record["effect"], len(record["spent"])) == (False, "DENY", 2)
    second = denied.ask()
    assert (second.reason, second.enforced) == (Reason.BUDGET_EXCEEDED, True)
    record = body(denied.world, second.revision)
    assert "enforced" not in record
    assert "spent" not in record


def test_an_approval_is_asked_for_and_used_up() -> None:
    denied = shadowed(Denied(ruled(World(), two=f'@approval("2") forbid ({ACT});'), unclassed(World()).tokens, BOB))
    waits = denied.ask()
    assert (waits.effect, waits.enforced) == (Effect.APPROVAL_REQUIRED, True)
    approve(denied.world, waits)
    through = denied.ask()
    assert (through.effect, through.reason, through.enforced) == (Effect.DENY, Reason.CLASS_NOT_GRANTED, False)
    assert body(denied.world, through.revision)["approval"] == waits.awaits.request_id  # type: ignore[union-attr]
    assert denied.ask().effect is Effect.APPROVAL_REQUIRED


def test_a_gate_holds_although_a_rule_forbids_it_as_well() -> None:
    """Without this, what is forbidden altogether would go through where what is only held back does not."""
    gate = f'@approval("2") forbid ({ACT});'
    denied = shadowed(policy(never=NEVER, two=gate))
    waits = denied.ask()
    assert (waits.effect, waits.enforced) == (Effect.APPROVAL_REQUIRED, True)
    assert {finding.reason for finding in waits.findings} == {Reason.POLICY_DENIED, Reason.APPROVAL_REQUIRED}
    approve(denied.world, waits)
    through = denied.ask()
    assert (through.reason, through.enforced) == (Reason.POLICY_DENIED, False)
    assert policy(never=NEVER, two=gate).ask().reason is Reason.POLICY_DENIED


def test_what_goes_through_trips_no_breaker() -> None:
    tokens = unclassed(World()).tokens
    for shadow, last in ((SHADOWABLE, Reason.CLASS_NOT_GRANTED), (frozenset(), Reason.SUSPENDED)):
        world = World(settings=Settings(shadow=shadow), breaker=Breaker(denials=2))
        decisions = [Denied(world, tokens, BOB).ask() for _ in range(4)]
        assert decisions[-1].reason is last


@pytest.fixture
def ran() -> list[int]:
    return []


def session(denied: Denied, *, shadow: bool | None = None) -> Session:
    world = denied.world
    door = Local(world.authority, world.caller)
    more = {} if shadow is None else {"shadow": shadow}
    return Session(
        signer=denied.by,
        tokens=denied.tokens,
        audience=PEP,
        door=door,
        clock=world.clock,
        entropy=world.entropy,
        **more,
    )


def test_only_a_session_that_was_told_to_lets_it_through(ran: list[int]) -> None:
    @guard("bank.pay")
    def pay(amount: int) -> None:
        ran.append(amount)

    denied = unclassed(World(settings=SHADOW))
    with session(denied, shadow=True) as told:
        pay(5)
        decision = told.require("bank.pay", {"amount": 5})
        assert not decision.allowed
        assert not decision
        with pytest.raises(DeniedError):
            pay(500)
    for shadow in (None, False):
        with session(denied, shadow=shadow), pytest.raises(DeniedError):
            pay(6)
    enforced = unclassed(World())
    with session(enforced, shadow=True), pytest.raises(DeniedError):
        pay(7)
    assert ran == [5]


def test_so_does_one_for_asyncio(ran: list[int]) -> None:
    @guard("bank.pay")
    async def pay(amount: int) -> None:
        ran.append(amount)

    denied = unclassed(World(settings=SHADOW))
    world = denied.world

    async def run(*, shadow: bool) -> None:
        door = AsyncLocal(world.authority, world.caller)
        async with AsyncSession(
            signer=BOB,
            tokens=denied.tokens,
            audience=PEP,
            door=door,
            clock=world.clock,
            entropy=world.entropy,
            shadow=shadow,
        ):
            await pay(5)

    asyncio.run(run(shadow=True))
    with pytest.raises(DeniedError):
        asyncio.run(run(shadow=False))
    assert ran == [5]


@pytest.mark.parametrize(
    ("reasons", "through"),
    [
        ((Reason.POLICY_DENIED,), True),
        ((Reason.CLASS_NOT_GRANTED, Reason.POLICY_DENIED), True),
        ((Reason.CLASS_NOT_GRANTED, Reason.POLICY_ERROR), False),
        ((Reason.REVOKED,), False),
        ((Reason.POLICY_DENIED, Reason.BUDGET_EXCEEDED), False),
        ((), False),
    ],
)
def test_a_server_is_not_believed_beyond_policy_and_class(reasons: tuple[Reason, ...], *, through: bool) -> None:
    findings = tuple(Finding(reason=reason, hop=None, detail="x") for reason in reasons)
    decision = Decision(effect=Effect.DENY, reason=Reason.POLICY_DENIED, findings=findings, enforced=False)

    class Said(Local):
        def check(self, presented: object, request: object) -> Decision:
            return decision

    denied = unclassed(World())
    holding = replace(session(denied, shadow=True), door=Said(denied.world.authority, denied.world.caller))
    if through:
        assert holding.require("bank.pay", {"amount": 5}) is decision
    else:
        with pytest.raises(DeniedError):
            holding.require("bank.pay", {"amount": 5})


def test_what_is_enforced_is_the_reason_that_is_told() -> None:
    shadow = Finding(reason=Reason.POLICY_DENIED, hop=None, detail="x")
    waits = Finding(reason=Reason.APPROVAL_REQUIRED, hop=None, detail="y")
    assert decided((shadow, waits), 0, shadow=SHADOWABLE).effect is Effect.APPROVAL_REQUIRED
    assert decided((shadow, waits), 0).effect is Effect.DENY
    assert not decided((shadow,), 0, shadow=SHADOWABLE).enforced


def test_the_configuration_names_kinds_and_no_reasons() -> None:
    told: dict[str, Any] = {"ledger": "memory", "audience": "x"}
    assert ServeSettings.model_validate(told).shadow == frozenset()
    assert ServeSettings.model_validate(told | {"shadow": ["policy", "class"]}).shadow == {"policy", "class"}
    with pytest.raises(ValidationError):
        ServeSettings.model_validate(told | {"shadow": ["revocation"]})


def quiet(directory: Path) -> ServeSettings:
    """A server that was told to shadow both kinds."""
    return settings(directory).model_copy(update={"shadow": frozenset({"policy", "class"})})


def test_a_service_shadows_what_it_was_told_to(tmp_path: Path, ran: list[int]) -> None:
    @guard("bank.pay")
    def pay(amount: int) -> None:
        ran.append(amount)

    told = quiet(tmp_path)
    authority = compose(told, MemoryStore(), signer=ROOT_KEY)
    tokens = _lasting()
    with serving(lambda: ChainServer(authority, told, log=io.StringIO())) as server:
        with Client(server.address, secret("point"), timeout=20) as door:
            for shadow in (True, False):
                with Session(signer=BOB, tokens=tokens, audience=PEP, door=door, shadow=shadow):
                    if shadow:
                        pay(5)
                    else:
                        with pytest.raises(DeniedError):
                            pay(6)
        operator = Client(server.address, secret("operator"), timeout=20)
        with operator as client, client.watch(0, ["decided"], until_now=True) as news:
            counted = report((one.revision, one.members) for one in news)
    assert ran == [5]
    assert (counted.decided, counted.shadowed, counted.untold) == (2, 2, 0)
    assert [(one.name, one.calls) for one in counted.counts["reason"]] == [("class_not_granted", 2)]
    assert [(one.name, one.calls) for one in counted.counts["tool"]] == [("bank.pay", 2)]
    assert [(one.name, one.calls) for one in counted.counts["principal"]] == [("spiffe://example.org/1", 2)]
    assert counted.counts["rule"] == ()


def _lasting() -> list[str]:
    """The chain of `unclassed`, by the clock of this machine."""
    now = int(time.time())
    above = seal(root(limits={"classes": ["read", "act"]}, home=HOME, iat=now - 5, exp=now + 600))
    return [above, seal(child(above, BOB, limits={"classes": ["read"]}), ALICE)]


def test_the_report_counts_what_went_through() -> None:
    world = ruled(World(catalogue=PAYS, settings=SHADOW), never=NEVER)
    denied = unclassed(world)
    last = [denied.ask() for _ in range(3)][-1]
    assert replace(denied, arguments={"amount": 500}).ask().enforced
    assert replace(denied, tool="mail.read", arguments={"folder": "in"}).ask().allowed
    records = [(record.revision, record.body) for record in _decided(world)]
    counted = report(records)
    assert (counted.decided, counted.shadowed, counted.revision) == (5, 3, records[-1][0])
    assert counted.counts == {
        "reason": (Count("class_not_granted", 3, last.revision), Count("policy_denied", 3, last.revision)),
        "rule": (Count("never", 3, last.revision),),
        "tool": (Count("bank.pay", 3, last.revision),),
        "principal": (Count("spiffe://example.org/agent/2", 3, last.revision),),
    }
    assert report([]) == (0, 0, 0, 0, {"reason": (), "rule": (), "tool": (), "principal": ()})
    odd = report([(1, {"enforced": False}), (2, {"enforced": False, "findings": 3, "tool": 4}), (3, {"enforced": 0})])
    assert (odd.decided, odd.shadowed, odd.untold) == (3, 2, 3)


def _decided(world: World) -> Iterator[Any]:
    for data, _ in world.store.records(1, 1000):
        record = decode(data)
        if record.kind == "decided":
            yield record
