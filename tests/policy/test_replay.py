"""Recorded checks under another policy: what would flip, and what cannot be told."""

from __future__ import annotations

from typing import Any

import pytest

from chain.decision import Effect
from chain.errors import NotFoundError
from chain.order import Revoke
from chain.policyreplay import MAX_REPLAY, replay
from chain.policyview import Flip, Relation, Replayed
from tests.approvals.office import Office, policy
from tests.policy.folder import ANY_HOP, ANYTHING, activate, agent, bundle, stand, three
from tests.support import ALICE, BOB, CAROL, MALLORY, NOW, World, digest, honest, root, seal

FORBID = '@id("no") forbid (principal, action == Chain::Action::"{}", resource) when {{ {} }};'
GATE = '@id("gate") @approval("{}") forbid (principal, action == Chain::Action::"{}", resource);'


def replayed(world: World, rules: str, most: int = 100, **files: str) -> Replayed:
    after = world.authority.policies.prepare(world.caller, bundle(rules, **files))
    return replay(world.authority._desk, after, most)


def told(found: Replayed) -> list[tuple[str, str, str]]:
    return [(flip.tool, flip.before, flip.after) for flip in reversed(found.flips)]


def test_what_would_flip_is_listed_with_its_record(world: World) -> None:
    activate(world, ANYTHING)
    tokens = three()
    first = world.allowed(tokens, CAROL)
    second = world.allowed(tokens, CAROL, purpose="pay")
    found = replayed(world, ANYTHING + FORBID.format("read", 'context.purpose == "pay"'))
    assert found == Replayed(
        (Flip(second.revision, second.id, "mail.read", "ALLOW", "DENY", "forbidden by `no`"),), 2, 0
    )
    assert replayed(world, ANYTHING) == Replayed((), 2, 0)
    assert first.allowed


@pytest.mark.parametrize(
    ("facts", "condition", "other"),
    [
        ({"purpose": "a.b"}, 'context.purpose == "a.b"', 'context.purpose == "a"'),
        ({"labels": ("x", "y")}, 'context.labels == ["y", "x"]', 'context.labels.contains("z")'),
        ({"intent": "q"}, 'context.intent == "q"', 'context.intent == ""'),
        ({}, 'context.audience == "https://pep.example"', 'context.audience == ""'),
        (
            {"classification": "confidential"},
            'context.classification == "confidential"',
            "false",
        ),
        ({}, 'context.classification == "internal"', 'context.classification == "restricted"'),
        ({}, "context.age == 17", "context.age == 10"),
        ({}, "context.approvals.count == 0", "context.approvals.count > 0"),
        ({}, "context.chain.depth == 2", "context.chain.depth == 1"),
    ],
)
def test_facts_are_those_of_the_record(world: World, facts: dict[str, Any], condition: str, other: str) -> None:
    activate(world, ANYTHING)
    world.clock.now = NOW + 7
    world.allowed(three(), CAROL, **facts)
    world.clock.now = NOW + 400
    assert told(replayed(world, ANYTHING + FORBID.format("read", condition))) == [("mail.read", "ALLOW", "DENY")]
    assert told(replayed(world, ANYTHING + FORBID.format("read", other))) == []


def test_an_amount_is_the_recorded_one(world: World) -> None:
    money = {"catalogue.toml": '[ "bank.pay" ]\nclass = "act"\namount = { argument = "amount", currency = "EUR" }'}
    tokens = [seal(root())]
    over = FORBID.format("act", 'context has amount && context.amount.greaterThan(decimal("50.0"))')
    world.allowed(tokens, ALICE, "bank.pay", {"amount": 60})
    assert replayed_without(world, ANYTHING + over, **money) == Replayed((), 0, 1), "no catalogue said where it stands"
    activate(world, ANYTHING, **money)
    world.allowed(tokens, ALICE, "bank.pay", {"amount": 60})
    world.allowed(tokens, ALICE, "bank.pay", {"amount": 40})
    found = replayed(world, ANYTHING + over, **money)
    assert (told(found), found.replayed, found.skipped) == ([("bank.pay", "ALLOW", "DENY")], 2, 1)
    assert told(replayed(world, ANYTHING + over)) == [], "a catalogue that knows of no amount tells none"


def replayed_without(world: World, rules: str, **files: str) -> Replayed:
    """Where no policy is active, there is none to compare with: name one."""
    policies = world.authority.policies
    with pytest.raises(NotFoundError, match="no policy is active"):
        policies.diff(world.caller, None, bundle(rules, **files), 100)
    return replayed(world, rules, **files)


def test_a_hop_is_asked_too(world: World) -> None:
    activate(world, ANYTHING)
    world.allowed(three(), CAROL)
    rule = FORBID.replace("{}", "delegate", 1)
    found = replayed(world, ANYTHING + rule.format("resource.depth == 2"))
    assert found.flips[0].detail == "hop 2 may not be made: forbidden by `no`"
    assert replayed(world, ANYTHING + rule.format("resource.depth == 3")).flips == ()


def test_a_refusal_of_the_policys_is_lifted_and_one_of_the_chains_is_not(world: World) -> None:
    activate(world, ANYTHING + FORBID.format("read", "true"))
    tokens = three()
    world.ask(tokens, CAROL)
    world.ask(tokens, MALLORY)
    world.ask(tokens, CAROL, "mail.read", {"folder": "trash"})
    assert told(replayed(world, ANYTHING)) == [("mail.read", "DENY", "ALLOW")]
    assert replayed(world, ANYTHING).replayed == 3


def test_a_gate_waits_for_people(world: World) -> None:
    activate(world, ANYTHING)
    world.allowed([seal(root())], ALICE)
    found = replayed(world, ANYTHING + GATE.format(2, "read"))
    assert told(found) == [("mail.read", "ALLOW", "APPROVAL_REQUIRED")]
    assert found.flips[0].detail == "`gate` takes 2"
    assert told(replayed(world, ANYTHING + GATE.format(2, "act"))) == []


def test_whom_people_approved_counts() -> None:
    office = Office()
    asked = office.waits(three())
    office.both(asked)
    office.allowed(three(), CAROL, "bank.pay")
    same = replay(office.authority._desk, office.authority.policies.prepare(office.caller, policy()), 100)
    assert (told(same), same.replayed) == ([], 2)
    open_ = replayed(office, ANYTHING)
    assert told(open_) == [("bank.pay", "APPROVAL_REQUIRED", "ALLOW")]
    stricter = replayed(office, ANYTHING + GATE.format(3, "act"))
    assert told(stricter) == [("bank.pay", "ALLOW", "APPROVAL_REQUIRED")]


def test_a_gate_of_the_chain_still_holds(world: World) -> None:
    gate = {"when": {"tool": "bank.pay"}, "threshold": 1, "approvers": ["spiffe://example.org/human/ann"]}
    activate(world, ANYTHING + GATE.format(1, "act"))
    world.authority.enrol(world.caller, BOB.key, world.authority.principal(BOB.key.thumbprint))
    tokens = [seal(root(limits={"approval": [gate]}, home="https://chain.example"))]
    assert world.ask(tokens, ALICE, "bank.pay", {"amount": 5}).effect is Effect.APPROVAL_REQUIRED
    assert told(replayed(world, ANYTHING)) == []


def test_principals_are_taken_as_they_are_now(world: World) -> None:
    activate(world, ANYTHING)
    world.allowed([seal(root())], ALICE)
    rule = FORBID.format("read", 'principal.risk == "high"')
    assert told(replayed(world, ANYTHING + rule)) == []
    stand(world, agent(1), risk="high")
    assert told(replayed(world, ANYTHING + rule)) == [("mail.read", "ALLOW", "DENY")]


def test_a_revocation_since_then_changes_nothing_of_it(world: World) -> None:
    activate(world, ANYTHING)
    token = seal(root())
    world.allowed([token], ALICE)
    world.authority.revoke(world.caller, Revoke(digest(token), "test"))
    world.ask([token], ALICE)
    assert told(replayed(world, ANYTHING + FORBID.format("read", "true"))) == [("mail.read", "ALLOW", "DENY")]


def test_what_was_never_registered_is_skipped(world: World) -> None:
    activate(world, ANYTHING)
    tokens = [seal(root(exp=NOW + 300))]
    world.ask(tokens, MALLORY)
    world.ask(tokens, ALICE, proof=None, holder=None)
    found = replayed(world, ANY_HOP)
    assert (found.replayed, found.skipped) == (2, 0), "what the chain refuses needs no chain to be told"
    world.ask([tokens[0][:-4] + "AAAA"], ALICE)
    assert replayed(world, ANY_HOP).replayed == 2


def test_only_the_last_ones_are_decided_anew(world: World) -> None:
    activate(world, ANYTHING)
    tokens = [seal(root())]
    decisions = [world.allowed(tokens, ALICE) for _ in range(5)]
    found = replayed(world, ANY_HOP, 2)
    assert [flip.revision for flip in found.flips] == [decisions[4].revision, decisions[3].revision]
    assert replayed(world, ANY_HOP, MAX_REPLAY + 1).replayed == 5
    assert replayed(world, ANY_HOP, 0) == Replayed()


def test_pages_of_the_ledger_leave_no_record_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.policyreplay.PAGE", 3)
    activate(world, ANYTHING)
    decisions = [world.allowed([seal(root())], ALICE) for _ in range(10)]
    found = replayed(world, ANY_HOP)
    assert [flip.id for flip in found.flips] == [one.id for one in reversed(decisions)]


def test_the_comparison_itself_is_told_beside_it(world: World) -> None:
    activate(world, ANYTHING)
    decision = world.allowed([seal(root())], ALICE)
    diff = world.authority.policies.diff
    found = diff(world.caller, None, bundle(ANY_HOP))
    assert (found.relation, found.replay) == (Relation.NARROWER, Replayed())
    found = diff(world.caller, None, bundle(ANY_HOP), 10)
    assert (found.relation, [flip.id for flip in found.replay.flips]) == (Relation.NARROWER, [decision.id])
    found = diff(world.caller, bundle(ANY_HOP), bundle(ANY_HOP), 10)
    assert (found.relation, found.tried) == (Relation.EQUAL, 0), "the very same rules cannot differ"


def test_what_flips_under_the_first_one_too_is_not_the_seconds_doing(world: World) -> None:
    activate(world, ANYTHING)
    world.allowed(honest(), CAROL)
    narrow = ANYTHING + '@id("no") forbid (principal, action == Chain::Action::"read", resource);'
    activate(world, narrow)
    found = world.authority.policies.diff(world.caller, bundle(narrow), bundle(narrow), replay=10)
    assert (found.replay.flips, found.replay.drifted, found.replay.replayed) == ((), 1, 1)
    other = world.authority.policies.diff(world.caller, bundle(ANYTHING), bundle(narrow), replay=10)
    assert ([flip.after for flip in other.replay.flips], other.replay.drifted) == (["DENY"], 0)
