"""Hops that people have to approve: asked when they are made, a recorded fact from then on."""

from __future__ import annotations

import pytest

from chain.approval import Approval
from chain.caller import Role
from chain.decision import Effect
from chain.errors import DeniedError, StoreError
from chain.mint import grant
from chain.order import Issue
from chain.reason import Reason
from chain.view import Delegated
from chain.writing import Writing
from tests.approvals.office import ALICE, ANN, ANY_HOP, BEN, BOB, CAROL, Office, barring, caller_of, honest, policy
from tests.support import NOW, TOOLS, child, root, seal

GATED = '@id("NAME") @approval("1")\nforbid (principal, action == Chain::Action::"delegate", resource) when { WHEN };'


def gating(when: str, name: str = "hop.gated") -> dict[str, str]:
    return policy(hops=ANY_HOP + GATED.replace("WHEN", when).replace("NAME", name))


def hand(office: Office, parent: list[str], made: str) -> Delegated:
    alice = caller_of("alice", Role.AGENT, key=ALICE)
    return office.authority.delegate(alice, parent, made)


def held_back(office: Office, error: pytest.ExceptionInfo[DeniedError]) -> Approval:
    return office.awaited(error.value.decision)


def test_a_hop_waits_for_people_and_is_made_once_they_approved() -> None:
    office = Office(bundle=gating("resource.depth == 1"))
    first, second = honest(2)
    with pytest.raises(DeniedError) as raised:
        hand(office, [first], second)
    asked = held_back(office, raised)
    assert (asked.action.tool, asked.action.subject) == ("chain:delegate", "spiffe://example.org/agent/1")
    assert asked.action.arguments["until"] == NOW + 600  # with its parent, however often it is signed anew
    assert office.store.delegation(office.accepted([first, second]).leaf.digest) is None
    office.not_eligible(asked, ALICE)
    office.not_eligible(asked, BOB)  # whom it would be given to
    assert office.says(asked, ANN).state == "approved"
    made = hand(office, [first], second)
    (consumed,) = [body for _, body in office.records(0, "approval_consumed")]
    assert consumed["hop"] == made.id
    office.allowed([first, second], BOB)


def test_one_that_ends_with_its_parent_is_one_request_however_often_it_is_signed() -> None:
    office = Office(bundle=gating("resource.depth == 1"))
    first = seal(root())
    asked = []
    for age in (3, 2, 1):  # the client cuts it to what is left of the parent, a second less each time
        with pytest.raises(DeniedError) as raised:
            hand(office, [first], seal(child(first, BOB, iat=NOW - age), ALICE))
        asked.append(held_back(office, raised).id)
    assert len(set(asked)) == 1
    with pytest.raises(DeniedError) as raised:
        hand(office, [first], seal(child(first, BOB, exp=NOW + 300), ALICE))
    assert held_back(office, raised).id not in asked  # this one is another, since it says for how long
    office.says(office.authority.approvals.get(office.caller, asked[0]), ANN)
    assert hand(office, [first], seal(child(first, BOB, iat=NOW), ALICE)).hop == 1


def test_it_is_not_asked_about_again() -> None:
    office = Office(bundle=gating("resource.depth == 1"))
    first, second = honest(2)
    with pytest.raises(DeniedError) as raised:
        hand(office, [first], second)
    office.says(held_back(office, raised), ANN)
    hand(office, [first], second)
    hand(office, [first], second)  # presented once more
    office.activate(gating("resource.depth >= 1", "hop.gated-anew"))
    office.allowed([first, second], BOB)
    office.restart()
    office.allowed([first, second], BOB)
    third = seal(child(second, CAROL), BOB)
    office.denied(Reason.HOP_UNAPPROVED, 2, [first, second, third], CAROL)  # this one never was
    office.activate(policy(hops=ANY_HOP))
    office.allowed([first, second, third], CAROL)


def test_what_is_only_presented_was_never_approved() -> None:
    office = Office(bundle=gating("resource.depth == 2"))
    tokens = honest()
    office.denied(Reason.HOP_UNAPPROVED, 2, tokens, CAROL)
    assert office.authority.approvals.find(office.caller) == []
    office.allowed(tokens[:2], BOB)


def test_an_approval_is_for_one_hop_as_it_was_shown() -> None:
    office = Office(bundle=gating("resource.depth == 1"))
    first = seal(root())
    second = seal(child(first, BOB, exp=NOW + 60), ALICE)
    with pytest.raises(DeniedError) as raised:
        hand(office, [first], second)
    office.says(held_back(office, raised), ANN)
    others = {
        "longer": child(first, BOB),
        "to somebody else": child(first, CAROL, exp=NOW + 60),
        "more": child(first, BOB, exp=NOW + 60, tools={"mail.read": TOOLS["mail.read"]}),
        "deeper": child(first, BOB, exp=NOW + 60, del_max_depth=3),
        "elsewhere": child(first, BOB, exp=NOW + 60, aud="https://pep.example"),
    }
    for name, payload in others.items():
        with pytest.raises(DeniedError) as raised:
            hand(office, [first], seal(payload, ALICE))
        assert raised.value.decision.effect is Effect.APPROVAL_REQUIRED, name
    hand(office, [first], seal(child(first, BOB, exp=NOW + 60, jti="another"), ALICE))
    with pytest.raises(DeniedError):  # once
        hand(office, [first], seal(child(first, BOB, exp=NOW + 60, jti="yet another"), ALICE))


def test_a_write_that_fails_takes_back_that_a_hop_was_approved(monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office(bundle=gating("resource.depth == 1"))
    first, second = honest(2)
    with pytest.raises(DeniedError) as raised:
        hand(office, [first], second)
    after = office.says(held_back(office, raised), ANN)
    monkeypatch.setattr(Writing, "fan_out", lambda _self: 1 // 0)
    with pytest.raises(StoreError):
        hand(office, [first], second)
    monkeypatch.undo()
    again = office.authority.approvals.get(office.caller, after.id)
    assert (again.state, again.votes, again.revision) == ("approved", after.votes, after.revision)
    office.denied(Reason.HOP_UNAPPROVED, 1, [first, second], BOB)
    hand(office, [first], second)
    office.allowed([first, second], BOB)


def test_what_was_approved_is_remembered_as_long_as_the_hop_lives() -> None:
    office = Office(bundle=gating("resource.depth == 1"))
    first, second = honest(2)
    with pytest.raises(DeniedError) as raised:
        hand(office, [first], second)
    office.says(held_back(office, raised), ANN)
    made = hand(office, [first], second)
    known = office.authority._desk.live.approvals
    digest = office.accepted([first, second]).leaf.digest
    office.clock.now = made.exp - 1
    office.allowed([first, second], BOB)
    for wait in (1, 61, 122):
        assert known.approved(digest) is (wait < 122)
        office.clock.now = made.exp + wait
        office.denied(Reason.EXPIRED, 0, [first, second], BOB)


def test_who_asks_for_a_hop_is_who_hands_it_on() -> None:
    office = Office(bundle=gating("resource.depth == 1"))
    first, second = honest(2)
    with pytest.raises(DeniedError) as raised:
        hand(office, [first], second)
    asked = held_back(office, raised)
    for agent, eligible in ((1, False), (2, True)):
        rule = barring(f'context.requester.id == "spiffe://example.org/agent/{agent}"')
        office.activate(policy(hops=gating("resource.depth == 1")["hops.cedar"], more=rule))
        if eligible:
            assert office.says(asked, ANN).state == "approved"
        else:
            office.not_eligible(asked, ANN)
    hand(office, [first], second)


def test_a_refused_hop_is_refused_for_good() -> None:
    office = Office(bundle=gating("resource.depth == 1"))
    first, second = honest(2)
    with pytest.raises(DeniedError) as raised:
        hand(office, [first], second)
    office.says(held_back(office, raised), ANN, "deny")
    with pytest.raises(DeniedError) as raised:
        hand(office, [first], second)
    assert raised.value.reason is Reason.APPROVAL_DENIED
    with pytest.raises(DeniedError) as raised:
        hand(office, [first], seal(child(first, CAROL), ALICE))
    office.says(held_back(office, raised), ANN)
    hand(office, [first], seal(child(first, CAROL), ALICE))


def test_whoever_does_not_hold_the_parent_asks_nobody() -> None:
    office = Office(bundle=gating("resource.depth == 1"))
    first, second = honest(2)
    with pytest.raises(DeniedError) as raised:
        office.authority.delegate(caller_of("bob", Role.AGENT, key=BOB), [first], second)
    assert raised.value.reason is Reason.HOLDER_MISMATCH
    assert office.authority.approvals.find(office.caller) == []


def test_a_root_waits_too() -> None:
    office = Office(bundle=gating("resource.depth == 0"))
    order = Issue(holder=ALICE.key, grant=grant({"tools": TOOLS}), lifetime=600, sub="dana", task="t")
    with pytest.raises(DeniedError) as raised:
        office.authority.issue(office.caller, order)
    asked = held_back(office, raised)
    assert (asked.action.arguments["sub"], asked.action.arguments["txn"]) == ("dana", "t")
    office.says(asked, ANN)
    for other in ({"sub": "erin"}, {"task": "u"}, {"lifetime": 601}, {"holder": BOB.key}, {"max_depth": 2}):
        with pytest.raises(DeniedError) as raised:
            office.authority.issue(office.caller, Issue(**vars_of(order) | other))
        office.says(held_back(office, raised), BEN, "deny")  # so that no more than one waits
    root_ = office.authority.issue(office.caller, order)
    office.allowed([root_.token], ALICE)
    with pytest.raises(DeniedError):
        office.authority.issue(office.caller, order)


def vars_of(order: Issue) -> dict[str, object]:
    return {name: getattr(order, name) for name in order.__dataclass_fields__}
