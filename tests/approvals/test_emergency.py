"""Break-glass: it replaces the number of approvals and nothing else, and somebody else has to sign it off."""

from __future__ import annotations

import pytest

from chain.errors import ApprovalError
from chain.reason import Reason
from chain.state import EMERGENCY_LIFETIME
from tests.approvals.office import (
    ANN,
    BEN,
    CAROL,
    CID,
    FORBID_PAY,
    Office,
    gate,
    gated,
    honest,
    human,
    policy,
)
from tests.support import NOW

GLASS = {"emergency": True, "justification": "the bank closes at five"}
NO_GLASS = (
    '@id("no.glass")\nforbid (principal, action == Chain::Action::"approve", resource) when { context.emergency };'
)


def test_it_stands_for_every_other_approver(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    after = office.says(asked, ANN, **GLASS)
    assert (after.state, after.votes[0].until) == ("approved", NOW + EMERGENCY_LIFETIME)
    head = office.store.head
    office.allowed(tokens, CAROL, "bank.pay")
    assert office.records(head, "approval_consumed")
    (record,) = [body for _, body in office.records(0, "approval_resolved")]
    assert (record["emergency"], record["justification"]) == (True, GLASS["justification"])
    assert office.waits(tokens).id != asked.id  # once


def test_it_has_the_shortest_life(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.says(asked, ANN, exp=NOW + 600, **GLASS)
    office.clock.now = NOW + EMERGENCY_LIFETIME - 1
    fresh = office.waits(tokens, CAROL, "bank.pay", {"amount": 6})
    office.says(fresh, ANN, **GLASS)
    office.allowed(tokens, CAROL, "bank.pay", {"amount": 6})
    office.clock.now = NOW + EMERGENCY_LIFETIME
    assert office.waits(tokens).id == asked.id  # people may still approve it in the ordinary way
    assert office.says(asked, BEN).state == "pending"
    assert office.says(asked, CID).state == "approved"
    office.allowed(tokens, CAROL, "bank.pay")


def test_it_replaces_nothing_else(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.says(asked, ANN, **GLASS)
    office.activate(policy(more=FORBID_PAY))
    office.denied(Reason.POLICY_DENIED, None, tokens, CAROL, "bank.pay")
    office.activate(policy())
    office.authority.steering.suspend(office.caller, "tool", "bank.pay", "broken")
    office.denied(Reason.SUSPENDED, None, tokens, CAROL, "bank.pay")
    office.authority.steering.resume(office.caller, "tool", "bank.pay", "mended")
    office.denied(Reason.CONSTRAINT_VIOLATED, 0, tokens, CAROL, "bank.pay", {"amount": 101})
    office.waits(tokens, CAROL, "bank.pay", {"amount": 6})
    office.allowed(tokens, CAROL, "bank.pay")


def test_whoever_may_not_approve_breaks_no_glass(office: Office) -> None:
    asked = office.waits(honest())
    office.not_eligible(asked, CAROL, **GLASS)
    office.activate(policy(more=NO_GLASS))
    office.not_eligible(asked, ANN, **GLASS)
    assert office.says(asked, ANN).state == "pending"


def test_a_gate_that_names_its_people_takes_nobody_elses_glass(office: Office) -> None:
    tokens = gated(gate(2, "ben", "cid"))
    asked = office.waits(tokens)
    after = office.says(asked, ANN, **GLASS)
    assert (after.state, after.expires) == ("pending", asked.expires)
    office.waits(tokens)
    assert office.says(asked, BEN, **GLASS).state == "approved"
    office.allowed(tokens, CAROL, "bank.pay")


def test_a_refusal_stops_it(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.says(asked, ANN, **GLASS)
    assert office.says(asked, BEN, "deny").state == "denied"
    office.denied(Reason.APPROVAL_DENIED, None, tokens, CAROL, "bank.pay")
    office.waits(tokens, CAROL, "bank.pay", {"amount": 6})


@pytest.mark.parametrize("used", [True, False], ids=["used", "not used"])
def test_it_is_reviewed_by_somebody_else(office: Office, used: bool) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.unheard(Reason.REQUEST_CLOSED, asked, office.statement(asked, BEN, "sign_off"), BEN)
    office.says(asked, ANN, **GLASS)
    if used:
        office.allowed(tokens, CAROL, "bank.pay")
    office.clock.now = asked.expires + 7 * 86400
    office.restart()
    find = office.authority.approvals.find
    (open_,) = find(office.caller, in_review=True)
    assert (open_.id, open_.state) == (asked.id, "consumed" if used else "expired")
    office.not_eligible(open_, ANN, verdict="sign_off")  # not by the same person
    office.not_eligible(open_, CAROL, verdict="sign_off")  # nor by an agent of the chain
    after = office.says(open_, BEN, "sign_off", justification="seen, was right")
    assert after.signed_off is not None
    assert (after.signed_off.approver, after.state) == (human("ben").id, open_.state)
    assert find(office.caller, in_review=True) == []
    office.unheard(Reason.REQUEST_CLOSED, after, office.statement(after, CID, "sign_off"), CID)


def test_a_request_brought_up_to_date_keeps_its_review(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.says(asked, ANN, **GLASS)
    office.clock.now = NOW + EMERGENCY_LIFETIME
    signed = office.says(asked, CID, "sign_off")
    office.activate(policy(pay=3))
    again = office.waits(tokens)
    assert signed.signed_off is not None
    assert (again.id, again.signed_off) == (asked.id, signed.signed_off)


def test_nothing_is_reviewed_before_it_is_over(office: Office) -> None:
    used, unused, refused = (office.waits(honest(), CAROL, "bank.pay", {"amount": amount}) for amount in (1, 2, 3))
    for asked in (used, unused, refused):
        office.says(asked, ANN, **GLASS)
        office.unheard(Reason.REQUEST_CLOSED, asked, office.statement(asked, BEN, "sign_off"), BEN)
    office.allowed(honest(), CAROL, "bank.pay", {"amount": 1})
    office.says(refused, CID, "deny")
    for asked, state in ((used, "consumed"), (refused, "denied")):
        after = office.says(asked, BEN, "sign_off")
        assert (after.state, after.in_review) == (state, False)
    office.clock.now = NOW + EMERGENCY_LIFETIME
    assert office.says(unused, BEN, "sign_off").state == "pending"
    decision = office.denied(Reason.APPROVAL_DENIED, None, honest(), CAROL, "bank.pay", {"amount": 3})
    assert human("cid").id in str(decision.findings[0].detail)  # not whoever reviewed it afterwards


def test_a_review_covers_what_there_was_and_no_later_emergency(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.says(asked, ANN, **GLASS)
    office.clock.now = NOW + EMERGENCY_LIFETIME
    assert not office.says(asked, BEN, "sign_off").in_review
    office.not_eligible(asked, BEN, **GLASS)  # whoever reviewed it breaks no glass
    office.not_eligible(asked, BEN)  # nor approves
    again = office.says(asked, CID, **GLASS)
    assert (again.state, again.in_review, again.signed_off) == ("approved", True, None)
    office.allowed(tokens, CAROL, "bank.pay")
    office.restart()
    (open_,) = office.authority.approvals.find(office.caller, in_review=True)
    for person in (ANN, CID):
        office.not_eligible(open_, person, verdict="sign_off")  # nobody reviews what he had a part in
    after = office.says(open_, BEN, "sign_off")
    assert after.signed_off is not None
    assert (after.in_review, after.signed_off.approver) == (False, human("ben").id)
    assert [vote.verdict for vote in after.votes] == ["approve", "sign_off", "approve", "sign_off"]


def test_whoever_approved_in_the_ordinary_way_reviews_no_emergency_of_it(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.says(asked, BEN)
    office.says(asked, ANN, **GLASS)
    office.allowed(tokens, CAROL, "bank.pay")
    office.not_eligible(asked, BEN, verdict="sign_off")
    assert not office.says(asked, CID, "sign_off").in_review


def test_whoever_reviewed_may_still_refuse(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.says(asked, ANN, **GLASS)
    office.clock.now = NOW + EMERGENCY_LIFETIME
    office.says(asked, BEN, "sign_off")
    assert office.says(asked, BEN, "deny").state == "denied"


def test_without_a_justification_there_is_none(office: Office) -> None:
    asked = office.waits(honest())
    with pytest.raises(ValueError, match="justification"):
        office.statement(asked, ANN, emergency=True)
    with pytest.raises(ApprovalError):
        office.authority.approvals.resolve(office.caller, "x", ANN.key)
    assert office.says(asked, ANN, **GLASS).emergency


def test_a_late_review_does_not_hide_a_refusal_behind_it(office: Office) -> None:
    """Two requests for one action within one second: after a restart, too, the later one is the one that holds."""
    tokens = honest()
    first = office.waits(tokens)
    office.says(first, ANN, **GLASS)
    office.allowed(tokens, CAROL, "bank.pay")
    second = office.waits(tokens)
    assert (second.created, second.binding) == (first.created, first.binding)
    office.says(second, CID, "deny")
    office.says(office.authority.approvals.get(office.caller, first.id), BEN, "sign_off")
    for _ in range(2):
        office.denied(Reason.APPROVAL_DENIED, None, tokens, CAROL, "bank.pay")
        office.restart()
    office.waits(tokens, CAROL, "bank.pay", {"amount": 6})
