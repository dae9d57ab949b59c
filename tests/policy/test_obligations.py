"""Obligations: what a permit demands of whoever lets the call happen; who does not know it, denies."""

from __future__ import annotations

from typing import Any

import pytest

from chain.approval import word
from chain.caller import embedded
from chain.client import Local, Session, guard
from chain.decision import Decision, Effect, Obligation
from chain.errors import DeniedError, PolicyError
from chain.ledger import decode
from chain.principal import Principal
from chain.reason import Reason
from tests.policy.folder import activate, bundle, policy
from tests.support import ALICE, HOME, NOW, PEP, World, honest, root, seal, signer

HOPS = '@id("hop") permit (principal, action == Chain::Action::"delegate", resource);'
STEP_UP = """
@id("act.step-up") @obligation("step-up") @parameters("{\\"acr_value\\":\\"phr\\",\\"max_age\\":60}")
permit (principal, action == Chain::Action::"act", resource);
@id("read") permit (principal, action == Chain::Action::"read", resource);
@id("read.logged") @obligation("log") permit (principal, action == Chain::Action::"read", resource)
when { context.labels.contains("untrusted_input") };
"""
OWED = Obligation(id="step-up", parameters={"acr_value": "phr", "max_age": 60})


@pytest.fixture
def world() -> World:
    made = World()
    activate(made, HOPS + STEP_UP)
    return made


def test_a_permit_that_determined_the_answer_states_its_obligation(world: World) -> None:
    tokens = [seal(root())]
    acted = world.allowed(tokens, ALICE, "bank.pay")
    assert acted.obligations == (OWED,)
    assert world.allowed(tokens, ALICE).obligations == ()
    read = world.allowed(tokens, ALICE, labels=("untrusted_input",))
    assert read.obligations == (Obligation(id="log"),)
    bodies = [decode(data).body for data, _ in world.store.records(kind="decided")]
    assert [body.get("obligations") for body in bodies] == [["step-up"], None, ["log"]]


def test_a_denial_states_none(world: World) -> None:
    decision = world.ask([seal(root())], ALICE, "bank.pay", {"amount": 101})
    assert (decision.effect, decision.obligations) == (Effect.DENY, ())
    assert world.allowed([seal(root())], ALICE, "bank.pay").obligations == (OWED,)


def test_a_session_keeps_it_or_the_tool_does_not_run(world: World) -> None:
    ran: list[int] = []

    @guard("bank.pay")
    def pay(amount: int) -> None:
        ran.append(amount)

    door = Local(world.authority, embedded(PEP))
    facts: dict[str, Any] = {"signer": ALICE, "tokens": [seal(root())], "audience": PEP, "door": door}
    facts["clock"] = world.clock
    with Session(**facts), pytest.raises(DeniedError) as raised:
        pay(5)
    assert raised.value.reason is Reason.OBLIGATION_UNKNOWN
    with Session(keepers={"step-up": lambda _owed: False}, **facts), pytest.raises(DeniedError):
        pay(5)
    kept: list[Obligation] = []
    with Session(keepers={"step-up": lambda owed: kept.append(owed) is None}, **facts):
        pay(7)
    assert (ran, kept) == ([7], [OWED])


def test_one_that_waits_for_people_is_owed_once_they_approved() -> None:
    gate = '@id("gate") @approval("1") forbid (principal, action == Chain::Action::"act", resource);'
    approver = '@id("ok") permit (principal, action == Chain::Action::"approve", resource);'
    world = World()
    activate(world, HOPS + STEP_UP + gate + approver)
    tokens = honest(1)
    waiting: Decision = world.ask(tokens, ALICE, "bank.pay")
    assert (waiting.effect, waiting.obligations) == (Effect.APPROVAL_REQUIRED, ())
    assert waiting.awaits is not None
    ann = signer("ann")
    world.authority.enrol(world.caller, ann.key, Principal(id="spiffe://example.org/h/ann", kind="human", owner="ann"))
    asked = world.authority.approvals.get(world.caller, waiting.awaits.request_id)
    said = word(asked, ann, HOME, "approve", now=NOW)
    world.authority.approvals.resolve(world.caller, said, ann.key)
    assert world.allowed(tokens, ALICE, "bank.pay").obligations == (OWED,)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ('@obligation("log") forbid (principal, action == Chain::Action::"act", resource);', "only a `permit`"),
        ('@obligation("log") permit (principal, action == Chain::Action::"delegate", resource);', "only a `permit`"),
        ('@obligation("log") permit (principal, action, resource);', "only a `permit`"),
        ('@obligation("") permit (principal, action == Chain::Action::"act", resource);', "has a name"),
        ('@obligation("a b") permit (principal, action == Chain::Action::"act", resource);', "has a name"),
        (
            '@obligation("log") @parameters("[]") permit (principal, action == Chain::Action::"act", resource);',
            "one JSON object",
        ),
        (
            '@obligation("log") @parameters("{") permit (principal, action == Chain::Action::"act", resource);',
            "@parameters",
        ),
        ('@parameters("{}") permit (principal, action == Chain::Action::"act", resource);', "no obligation"),
    ],
)
def test_an_obligation_that_could_not_be_kept_is_refused(rule: str, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        policy(bundle(HOPS + '@id("x") ' + rule))
    policy(bundle(HOPS + '@id("x") @obligation("log") permit (principal, action == Chain::Action::"act", resource);'))
