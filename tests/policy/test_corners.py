"""What the engine, a ledger or a bundle never does of itself, and which must still permit nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cedarpy
import msgspec
import pytest

from chain import bundle as bundles
from chain import engine as engines
from chain.bundle import load
from chain.caller import Role
from chain.errors import DeniedError, NotFoundError, PolicyError
from chain.outcome import Asked, Judged
from chain.policydiff import diff
from chain.policyload import restored
from chain.policymodel import Mentioned
from chain.policyview import Activated, Relation
from chain.reason import Reason
from chain.row import StandingRow
from chain.state import LABELS
from chain.statement import Statement
from tests.approvals.office import ANN, Office, caller_of
from tests.policy.folder import ANY_CALL, ANY_HOP, ANYTHING, activate, bundle, parties, policy, three
from tests.support import ALICE, BOB, CAROL, World, honest, root, seal

GATE = '@id("gate") @approval("1") forbid (principal, action == Chain::Action::"{}", resource);'

ASKED = Asked("mail.read", "", "", "", (), "internal", 0, None)


def test_a_rule_is_one_policy_and_no_template() -> None:
    two = Statement(7, "permit (principal, action, resource); forbid (principal, action, resource);")
    with pytest.raises(PolicyError, match=r"rules\.cedar:7: is not one policy"):
        bundles._body("rules.cedar", two)
    assert bundles._body("rules.cedar", Statement(7, "permit (principal, action, resource);"))["effect"] == "permit"


def test_rules_that_the_engine_counts_otherwise_are_not_taken() -> None:
    rules = list(load(bundle(ANY_CALL)).rules.values())
    assert engines._policies(rules).ids == {"policy0": "call"}
    with pytest.raises(PolicyError, match="1 rules, but the engine reads 2"):
        engines._policies([replace(rules[0], text=rules[0].text * 2)])


def test_an_interrupt_ends_the_process_and_is_no_outcome(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, chain = ASKED, world.verifier.verify([seal(root())])
    known = policy()
    assert known.call(chain, parties(world, chain), asked).permitted

    def interrupted(*_: Any) -> cedarpy.AuthzResult:
        raise KeyboardInterrupt

    monkeypatch.setattr(cedarpy, "is_authorized", interrupted)
    with pytest.raises(KeyboardInterrupt):
        known.call(chain, parties(world, chain), asked)


def test_an_error_behind_a_gate_is_a_fault(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rules were asked without an error; the plain ones alone are asked again, and err."""
    asked, chain = ASKED, world.verifier.verify([seal(root())])
    gated = policy(bundle(ANYTHING + GATE.format("read")))
    outcome = gated.call(chain, parties(world, chain), asked)
    assert (outcome.permitted, [gate.rule for gate in outcome.gates]) == (False, ["gate"])
    whole = gated._engine.slices["read"].all.parsed
    ask = cedarpy.is_authorized

    def errs(request: Any, rules: Any, entities: Any) -> cedarpy.AuthzResult:
        result = ask(request, rules, entities)
        if rules is not whole:
            result._authz_resp["diagnostics"]["errors"] = ["policy0: overflow"]
        return result

    monkeypatch.setattr(cedarpy, "is_authorized", errs)
    outcome = gated.call(chain, parties(world, chain), asked)
    assert (outcome.permitted, outcome.gates, outcome.fault is None) == (False, (), False)


def test_entities_that_the_engine_does_not_take_are_a_fault(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = world.verifier.verify([seal(root())])
    known, people = policy(), parties(world, chain)
    judged = Judged(people[0], people[0], (), "mail.read", "subject", "task", "", None, emergency=False)
    assert known.hop(chain, people, ()).permitted
    assert known.approver(judged).permitted

    def refused(_: str) -> None:
        raise ValueError("no entity")

    monkeypatch.setattr(known._engine, "entities", refused)
    for outcome in (known.hop(chain, people, ()), known.approver(judged)):
        assert (outcome.permitted, outcome.fault) == (False, "the question cannot be put to the policy")


def test_a_ledger_without_the_files_of_its_policy_does_not_open() -> None:
    class Lacking:
        files: bytes | None = None

        def stands(self, kind: str, name: str) -> StandingRow | None:
            active = msgspec.json.encode(Activated("abc", "", "somebody", 1, 1))
            body = active if name != "abc" else self.files
            return None if body is None else StandingRow(kind, name, body, 0, 1)

    ledger, known = Lacking(), policy().catalogue
    with pytest.raises(NotFoundError, match="`abc` of the active policy is not in the ledger"):
        restored(ledger, known, LABELS)  # type: ignore[arg-type]
    ledger.files = msgspec.json.encode(bundle())
    assert restored(ledger, known, LABELS) is not None  # type: ignore[arg-type]


def test_an_attribute_called_amount_need_not_be_one() -> None:
    said = Mentioned(frozenset({"amount"}), {"amount": frozenset({"much", "2.5"})})
    assert said.amounts() == (None, "1", "2.4999", "2.5", "2.5001")


@pytest.mark.parametrize("gone", ["chain", "hop"])
def test_a_check_that_cannot_be_told_is_skipped(gone: str) -> None:
    office = Office()
    activate(office, ANYTHING)
    office.allowed(three(), CAROL)
    rules = ANYTHING + GATE.format("delegate")
    diff = office.authority.policies.diff
    if gone == "chain":
        office.authority._desk.resolve = lambda _: (_ for _ in ()).throw(NotFoundError("gone"))  # type: ignore[method-assign]
        found = diff(office.caller, None, bundle(rules), replay=9)
        assert (found.replay.replayed, found.replay.skipped) == (0, 1)
        return
    found = diff(office.caller, None, bundle(rules), replay=9)
    assert [flip.detail.partition(":")[0] for flip in found.replay.flips] == ["hop 0 needs an approval that it has not"]


def test_what_has_no_amount_that_can_be_read_still_comes_to_nothing(world: World) -> None:
    pays = '["bank.pay"]\nclass = "act"\nclassification = "internal"\namount = {argument = "amount", currency = "EUR"}'
    activate(world, ANYTHING, **{bundles.CATALOGUE: pays})
    tokens = [seal(root(tools={"bank.pay": {}}))]
    world.denied(Reason.AMOUNT_UNREADABLE, None, tokens, ALICE, "bank.pay", {"amount": "a lot"})
    world.allowed(tokens, ALICE, "bank.pay", {"amount": "1"})
    after = bundle(ANYTHING, **{bundles.CATALOGUE: pays})
    found = world.authority.policies.diff(world.caller, bundle(ANY_HOP), after, replay=9)
    assert (found.replay.flips, found.replay.replayed, found.replay.skipped) == ((), 2, 0)


def test_a_hop_that_people_approved_stands_under_the_other_policy_too() -> None:
    gated = GATE.format("delegate").replace("resource);", "resource) when { resource.depth == 1 };")
    office = Office(bundle=bundle(ANYTHING + gated))
    first, second = honest(2)
    alice = caller_of("alice", Role.AGENT, key=ALICE)
    with pytest.raises(DeniedError) as raised:
        office.authority.delegate(alice, [first], second)
    office.says(office.awaited(raised.value.decision), ANN)
    office.authority.delegate(alice, [first], second)
    office.allowed([first, second], BOB)
    found = office.authority.policies.diff(
        office.caller, None, bundle(ANYTHING + gated.replace('"gate"', '"other"')), 9
    )
    assert (found.replay.flips, found.replay.replayed) == ((), 1)


def test_a_rule_about_somebody_who_cannot_be_changes_nothing() -> None:
    rule = '@id("no") forbid (principal == Chain::Principal::"{}", action == Chain::Action::"read", resource);'
    found = diff(policy(), policy(bundle(ANYTHING + rule.format("nonsense"))))
    assert (found.relation, found.tried) == (Relation.EQUAL, 3)
    found = diff(policy(), policy(bundle(ANYTHING + rule.format("spiffe://example.org/a"))))
    assert (found.relation, found.witnesses[0].after.rules) == (Relation.NARROWER, ("no",))
