"""More requests for approval than one page holds, and several for one action after each other."""

from __future__ import annotations

from chain.approval import Action, Approval, Demand
from chain.approvals import KEPT_UNANSWERED, Approvals
from chain.caller import Role
from chain.search import MAX_FOUND
from chain.store.memory import MemoryStore
from tests.approvals.office import ANN, Office, caller_of
from tests.support import NOW


def asked(number: int, binding: str, *, expires: int = NOW + 600) -> Approval:
    action = Action(
        subject="spiffe://example.org/agent/1",
        tool="bank.pay",
        arguments={},
        target="",
        amount="",
        purpose="",
        audience="",
        labels=(),
        classification="",
        root="r",
        path=("h",),
    )
    return Approval(
        id=f"request-{number}",
        binding=binding,
        action=action,
        demands=(Demand("policy:p", 1),),
        holder="h",
        owners=(),
        parties=(),
        root_ends=NOW + 9000,
        created=NOW,
        expires=expires,
        opened=number,
    )


def test_all_requests_are_found_also_where_they_fill_several_pages(office: Office) -> None:
    for number in range(MAX_FOUND + 2):
        office.authority._desk.live.approvals.put(asked(number, f"b{number}"))
    caller = caller_of("ann", Role.APPROVER, key=ANN)
    page = office.authority.approvals.page(caller)
    assert (len(page.approvals), page.next != "") == (MAX_FOUND, True)
    found = office.authority.approvals.find(caller, "pending")
    assert [one.opened for one in found] == list(range(MAX_FOUND + 1, -1, -1))
    assert office.authority.approvals.find(caller, "denied") == []


def test_an_action_that_was_asked_about_again_keeps_its_latest_request() -> None:
    approvals = Approvals(MemoryStore(), lambda asker, _action: asker)
    approvals.put(asked(1, "same"))
    approvals.put(asked(2, "same", expires=NOW + 900))
    approvals.sweep(NOW + 600 + KEPT_UNANSWERED)
    latest = approvals.of("same")
    assert (approvals.get("request-1"), latest) == (None, approvals.get("request-2"))
    assert latest is not None
    assert approvals.under("r")
    approvals.sweep(NOW + 900 + KEPT_UNANSWERED)
    assert (approvals.of("same"), approvals.get("request-2"), approvals.under("r")) == (None, None, False)
