"""A call that needs people: it waits, visibly, until enough of them approved that very call, and is allowed once."""

from __future__ import annotations

from concurrent.futures import Future
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from chain import records
from chain.approval import Approval
from chain.caller import Role
from chain.decision import Effect
from chain.enrolment import make as agreement
from chain.errors import ForbiddenError, NotFoundError
from chain.principal import Principal
from chain.reason import Reason
from chain.state import Settings
from chain.store.sqlite import SqliteStore
from tests.approvals.office import (
    ALICE,
    ANN,
    ANY_HOP,
    ANY_HUMAN,
    BEN,
    BOB,
    CAROL,
    CID,
    DAN,
    FORBID_PAY,
    GATED_READ,
    Office,
    caller_of,
    gate,
    gated,
    honest,
    human,
    leaf_again,
    policy,
)
from tests.support import HOME, MALLORY, NOW, UP_TO_100, child, root, seal, signer


def test_it_waits_and_is_never_allowed_nor_silently_denied(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    assert (asked.created, asked.expires) == (NOW, NOW + 900)
    assert [(demand.source, demand.threshold) for demand in asked.demands] == [("policy:approval.critical", 2)]
    for _ in range(3):
        assert office.waits(tokens) == asked  # the same request, however often it is asked
    assert office.says(asked, ANN).state == "pending"
    decision = office.ask(tokens, CAROL, "bank.pay")
    assert decision.effect is Effect.APPROVAL_REQUIRED
    assert decision.awaits is not None
    assert (decision.awaits.approvals, decision.awaits.threshold) == (1, 2)
    assert office.says(asked, BEN).state == "approved"
    office.allowed(tokens, CAROL, "bank.pay")
    assert office.authority.approvals.get(office.caller, asked.id).state == "consumed"
    assert office.waits(tokens).id != asked.id  # used once


def test_what_nobody_has_to_approve_opens_no_request(office: Office) -> None:
    office.allowed(honest(), CAROL)
    assert office.authority.approvals.find(office.caller) == []


def test_who_may_look_and_who_may_speak(office: Office) -> None:
    asked = office.waits(honest())
    word = office.statement(asked, ANN)
    desk = office.authority.approvals
    for role in (Role.AGENT, Role.ISSUER, Role.ENFORCEMENT_POINT):
        for method in (desk.find, lambda who: desk.get(who, asked.id)):
            with pytest.raises(ForbiddenError):
                method(caller_of("x", role))
    for role in (Role.AUDITOR, Role.OPERATOR):
        assert desk.get(caller_of("x", role), asked.id) == asked
        with pytest.raises(ForbiddenError):
            desk.resolve(caller_of("x", role), word, ANN.key)
    with pytest.raises(ForbiddenError):  # an approver with a key of its own speaks with that one
        desk.resolve(caller_of("ben", Role.APPROVER, key=BEN), word, ANN.key)
    with pytest.raises(NotFoundError):
        desk.get(office.caller, "nothing")
    assert desk.resolve(caller_of("ann", Role.APPROVER, key=ANN), word, ANN.key).state == "pending"


def test_a_word_for_an_unknown_request_is_refused(office: Office) -> None:
    asked = office.waits(honest())
    with pytest.raises(NotFoundError):
        office.says(asked, ANN, request="nothing")
    assert office.says(asked, ANN).state == "pending"


def test_a_retry_under_one_key_is_one_word(office: Office) -> None:
    asked = office.waits(honest())
    word = office.statement(asked, ANN)
    first = office.authority.approvals.resolve(office.caller, word, ANN.key, "once")
    assert office.authority.approvals.resolve(office.caller, word, ANN.key, "once") == first
    assert len(first.votes) == 1


def test_an_unproven_caller_opens_no_request(office: Office) -> None:
    tokens = honest()
    stolen = office.proof(tokens[-1], MALLORY, "bank.pay")
    office.denied(Reason.HOLDER_MISMATCH, 2, tokens, CAROL, "bank.pay", proof=stolen)
    office.denied(Reason.PROOF_MISSING, 2, tokens, CAROL, "bank.pay", proof=None)
    assert office.authority.approvals.find(office.caller) == []
    office.waits(tokens)


def test_nobody_is_asked_about_what_something_else_stops(office: Office) -> None:
    office.denied(Reason.CONSTRAINT_VIOLATED, 0, honest(), CAROL, "bank.pay", {"amount": 101})
    office.activate(policy(more=FORBID_PAY))
    office.denied(Reason.POLICY_DENIED, None, honest(), CAROL, "bank.pay")
    assert office.authority.approvals.find(office.caller) == []
    office.activate(policy())
    office.waits(honest())


def _changed(tokens: list[str], office: Office) -> dict[str, Approval]:
    """Each member of the action, changed once."""
    other_root = honest(first=root(exp=NOW + 599))
    other_path = [*tokens[:2], seal(child(tokens[1], ALICE), BOB)]
    anywhere = {"audience": "https://other.example"}
    proof = office.proof(tokens[-1], CAROL, "bank.pay", {"amount": 5}, audience="https://other.example")
    return {
        "a cent": office.waits(tokens, CAROL, "bank.pay", {"amount": 5.01}),
        "purpose": office.waits(tokens, CAROL, "bank.pay", purpose="travel"),
        "audience": office.waits(tokens, CAROL, "bank.pay", proof=proof, **anywhere),
        "root": office.waits(other_root),
        "path and subject": office.waits(other_path, ALICE),
        "path": office.waits(tokens[:2], BOB),
    }


def test_every_member_of_the_action_needs_its_own_approval(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.both(asked)
    others = _changed(tokens, office)
    assert len({asked.binding, *(one.binding for one in others.values())}) == 1 + len(others)
    for one in others.values():  # a word on one is no word on another
        office.unheard(Reason.STATEMENT_INVALID, one, office.statement(one, CID, binding=asked.binding), CID)
    office.allowed(tokens, CAROL, "bank.pay")


def test_another_target_is_another_action(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.both(asked)
    catalogue = '["bank.pay"]\nclass = "act"\nclassification = "internal"\ntarget = "other-bank"\n'
    office.activate(policy() | {"catalogue.toml": catalogue})
    moved = office.waits(tokens)
    assert (asked.action.target, moved.action.target) == ("", "other-bank")
    assert moved.binding != asked.binding
    office.activate(policy())
    office.allowed(tokens, CAROL, "bank.pay")


def test_another_amount_by_the_catalogue_is_another_action(office: Office) -> None:
    tokens = honest()
    named = (
        '["bank.pay"]\nclass = "act"\nclassification = "internal"\namount = {argument = "amount", currency = "CUR"}\n'
    )
    seen = set()
    for currency in ("EUR", "USD"):
        office.activate(policy() | {"catalogue.toml": named.replace("CUR", currency)})
        asked = office.waits(tokens)
        assert asked.action.amount == f"5 {currency}"
        seen.add(asked.binding)
    assert len(seen) == 2


def test_another_tool_of_the_same_arguments_is_another_action(office: Office) -> None:
    tools = {"bank.pay": {"amount": UP_TO_100}, "bank.wire": {"amount": UP_TO_100}}
    tokens = honest(first=root(tools=tools))
    office.both(office.waits(tokens))
    office.waits(tokens, CAROL, "bank.wire", {"amount": 5})
    office.allowed(tokens, CAROL, "bank.pay")


def test_a_fresh_leaf_of_the_same_path_uses_what_was_approved_for_the_old_one(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.both(asked)
    fresh = leaf_again(tokens, exp=NOW + 60)
    office.allowed(fresh, CAROL, "bank.pay")
    assert office.waits(tokens).id != asked.id


def test_an_approval_outlives_a_restart_and_is_used_once_across_it(tmp_path: Path) -> None:
    office = Office(store=SqliteStore(tmp_path))
    tokens = honest()
    asked = office.waits(tokens)
    office.says(asked, ANN)
    office.authority.close()
    office.store = SqliteStore(tmp_path)
    office.restart()
    assert office.says(asked, BEN).state == "approved"
    office.authority.close()
    office.store = SqliteStore(tmp_path)
    office.restart()
    office.allowed(tokens, CAROL, "bank.pay")
    office.authority.close()
    office.store = SqliteStore(tmp_path)
    office.restart()
    assert office.waits(tokens).id != asked.id
    office.authority.close()


def test_a_request_ends(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.clock.now = NOW + 500
    tokens = honest(first=root(exp=NOW + 3000))
    long = office.waits(tokens)
    assert office.says(long, ANN, exp=long.expires + 600).state == "pending"
    office.clock.now = long.expires - 1
    assert office.says(long, BEN, exp=long.expires + 600).state == "approved"
    office.clock.now = long.expires
    closed = office.authority.approvals.get(office.caller, long.id)
    assert closed.state == "expired"
    office.unheard(Reason.REQUEST_CLOSED, asked, office.statement(asked, CID), CID)
    again = office.waits(tokens)
    assert again.id != long.id
    assert again.votes == ()


def test_a_word_ends(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.says(asked, ANN, exp=NOW + 30)
    assert office.says(asked, BEN).state == "approved"
    office.clock.now = NOW + 30
    assert office.authority.approvals.get(office.caller, asked.id).state == "pending"
    assert office.waits(tokens).id == asked.id
    assert office.says(asked, CID).state == "approved"
    office.allowed(tokens, CAROL, "bank.pay")


def test_a_flood_is_throttled_and_only_of_who_floods() -> None:
    office = Office(settings=Settings(max_waiting=3))
    tokens = honest()
    for amount in (1, 2, 3):
        asked = office.waits(tokens, CAROL, "bank.pay", {"amount": amount})
    office.denied(Reason.APPROVAL_THROTTLED, None, tokens, CAROL, "bank.pay", {"amount": 4})
    office.waits(tokens, CAROL, "bank.pay", {"amount": 3})  # one that waits already is not one more
    office.waits(tokens[:2], BOB, "bank.pay", {"amount": 4})
    office.says(asked, ANN, "deny")
    office.waits(tokens, CAROL, "bank.pay", {"amount": 4})


def test_nobody_runs_up_anothers_count() -> None:
    office = Office(settings=Settings(max_waiting=2))
    tokens = honest()
    for amount in range(1, 9):
        stolen = office.proof(tokens[-1], MALLORY, "bank.pay", {"amount": amount})
        office.denied(Reason.HOLDER_MISMATCH, 2, tokens, CAROL, "bank.pay", {"amount": amount}, proof=stolen)
    office.waits(tokens, CAROL, "bank.pay", {"amount": 1})
    office.waits(tokens, CAROL, "bank.pay", {"amount": 2})


def test_a_batch_uses_one_approval_once(office: Office) -> None:
    tokens = honest()
    office.both(office.waits(tokens))
    items = [(tokens, office.request(tokens, CAROL, "bank.pay")) for _ in range(3)]
    decisions = office.authority.begin_check(office.caller, items).result()
    assert [one.effect for one in decisions] == [Effect.ALLOW, Effect.APPROVAL_REQUIRED, Effect.APPROVAL_REQUIRED]
    second, third = (one.awaits for one in decisions[1:])
    assert second is not None
    assert second == third


def test_a_read_that_uses_an_approval_up_survives_power_loss() -> None:
    """The class of the tool would let it be written alone, and a power cut would then bring the approval back."""
    office = Office(bundle=policy(more=GATED_READ))
    tokens = honest()
    office.says(office.waits(tokens, CAROL, "mail.read"), ANN)
    seen = []
    commit = office.store.commit
    office.store.commit = lambda batch: (seen.append(batch.durability), commit(batch))[1]  # type: ignore[method-assign]
    office.allowed(tokens, CAROL)
    assert [durability.name for durability in seen] == ["SYNCED"]


def test_what_an_auditor_reads(office: Office) -> None:
    tokens = honest(first=root(limits={"classes": ["act"]}, sub="dana", txn="task-1", home=HOME))
    head = office.store.head
    asked = office.waits(tokens)
    office.both(asked)
    decision = office.allowed(tokens, CAROL, "bank.pay")
    kinds = [kind for kind, _ in office.records(head)]
    assert [kind for kind in kinds if kind.startswith("approval")] == [
        "approval_requested", "approval_resolved", "approval_resolved", "approval_consumed",
    ]  # fmt: skip
    requested, first, second, consumed = (body for kind, body in office.records(head) if kind.startswith("approval"))
    assert (requested["id"], requested["tool"], requested["task"]) == (asked.id, "bank.pay", "task-1")
    assert "amount" not in requested.get("arguments", {})  # by digest
    assert [one["approver"] for one in (first, second)] == [human("ann").id, human("ben").id]
    assert [one["state"] for one in (first, second)] == ["pending", "approved"]
    assert first["statement"].count(".") == 2  # the signed word itself, with its key
    assert first["jwk"] == ANN.key.to_json()
    assert consumed == {"id": asked.id, "binding": asked.binding}
    (decided,) = [body for kind, body in office.records(head, "decided") if body["id"] == decision.id]
    assert decided["approval"] == asked.id


def test_gates_of_the_token_and_of_the_policy_hold_together(office: Office) -> None:
    tokens = gated(gate(1, "cid"), gate(2, "ann", "cid", "dan", **{"class": "act"}))
    asked = office.waits(tokens)
    assert [one.source for one in asked.demands] == [
        "policy:approval.critical",
        *(f"hop:{hop}:{number}" for hop in range(3) for number in range(2)),
    ]
    for person, state in ((ANN, "pending"), (BEN, "pending"), (CID, "approved")):
        assert office.says(asked, person).state == state
    office.allowed(tokens, CAROL, "bank.pay")


def test_a_gate_of_any_hop_holds_and_names_its_people() -> None:
    office = Office(bundle=policy() | {"approvals.cedar": ANY_HUMAN})
    first, second = gated(gate(1, "ann", "ben"))[:2]
    limits = {"approval": [gate(1, "ann", "ben"), gate(1, "dan", **{"class": "act"})]}
    third = seal(child(second, CAROL, limits=limits), BOB)
    narrow = [first, second, third]
    asked = office.waits(narrow)
    assert office.says(asked, CID).state == "pending"  # one whom no gate names
    assert office.says(asked, DAN).state == "pending"
    assert office.says(asked, BEN).state == "approved"
    office.allowed(narrow, CAROL, "bank.pay")
    office.allowed(narrow, CAROL)  # no gate concerns reading


def test_gates_that_another_authority_keeps_are_refused(office: Office) -> None:
    tokens = honest(first=root(limits={"approval": [gate(1, "ann")]}, home="https://elsewhere.example"))
    office.denied(Reason.STATE_UNAVAILABLE, 0, tokens, CAROL, "bank.pay")
    office.waits(gated(gate(1, "ann")))


def test_lists_by_state(office: Office) -> None:
    tokens = honest()
    waiting = office.waits(tokens, CAROL, "bank.pay", {"amount": 1})
    denied = office.waits(tokens, CAROL, "bank.pay", {"amount": 2})
    office.says(denied, ANN, "deny")
    find = office.authority.approvals.find
    assert [one.id for one in find(office.caller)] == [denied.id, waiting.id]
    assert [one.id for one in find(office.caller, "pending")] == [waiting.id]
    assert [one.id for one in find(office.caller, "denied")] == [denied.id]
    assert find(office.caller, "approved") == []
    assert find(office.caller, in_review=True) == []


def test_what_is_over_is_forgotten_after_a_day_and_a_review_is_not() -> None:
    office = Office(bundle=policy(hops=ANY_HOP))
    tokens = honest(first=root(exp=NOW + 3 * 86400))
    old = office.waits(tokens, CAROL, "bank.pay", {"amount": 1})
    review = office.waits(tokens, CAROL, "bank.pay", {"amount": 2})
    office.says(review, ANN, emergency=True, justification="the bank closes")
    denied = office.waits(tokens, CAROL, "bank.pay", {"amount": 3})
    office.says(denied, ANN, "deny")
    for wait in (1, 61):
        office.clock.now = old.expires + 86400 + wait
        office.allowed(tokens, CAROL)
    find = office.authority.approvals.find
    assert {one.id for one in find(office.caller)} == {review.id, denied.id}
    assert [one.id for one in find(office.caller, in_review=True)] == [review.id]
    office.denied(Reason.APPROVAL_DENIED, None, tokens, CAROL, "bank.pay", {"amount": 3})


def test_workers_share_the_count_of_the_agent_they_work_under() -> None:
    office = Office(settings=Settings(max_waiting=2))
    alice = caller_of("alice", Role.AGENT, key=ALICE)
    chains = {}
    for name in ("w1", "w2", "w3"):
        worker = signer(name)
        own = Principal(id=f"spiffe://example.org/agent/1/{name}", owner="team", under=ALICE.key.thumbprint)
        text = agreement(worker, own.id, ALICE.key.thumbprint, audience=HOME, jti=name, iat=NOW)
        office.authority.enrol(alice, worker.key, own, proof_text=text)
        first = seal(root())
        chains[name] = [first, seal(child(first, worker), ALICE)]
    office.waits(chains["w1"], signer("w1"))
    office.waits(chains["w2"], signer("w2"))
    office.denied(Reason.APPROVAL_THROTTLED, None, chains["w3"], signer("w3"), "bank.pay")
    office.denied(Reason.APPROVAL_THROTTLED, None, [chains["w1"][0]], ALICE, "bank.pay")
    office.waits(honest()[:2], BOB)


def test_shadow_keeps_no_call_from_waiting_and_lets_none_through_unapproved() -> None:
    """What is refused in shadow only is not enforced; the gate of the grant is."""
    office = Office(settings=Settings(shadow=frozenset({Reason.POLICY_DENIED})), bundle=policy(more=FORBID_PAY))
    tokens = gated(gate(1, "ann"))
    asked = office.waits(tokens)
    assert [one.source for one in asked.demands] == ["policy:approval.critical", "hop:0:0", "hop:1:0", "hop:2:0"]
    office.both(asked)
    decision = office.denied(Reason.POLICY_DENIED, None, tokens, CAROL, "bank.pay")
    assert decision.enforced is False
    assert office.authority.approvals.get(office.caller, asked.id).state == "consumed"
    assert office.ask(tokens, CAROL, "bank.pay").enforced is True
    office.waits(tokens)


def test_an_approval_that_comes_while_a_read_is_on_its_way_is_not_used_by_it() -> None:
    """That read was begun with too little durability for using anything up."""
    office = Office(bundle=policy(more=GATED_READ))
    tokens, held = honest(), []
    commit = office.store.commit
    office.store.commit = lambda batch: (held.append(batch), Future())[1]  # type: ignore[method-assign]
    office.authority.begin_check(office.caller, [(tokens, office.request(tokens, CAROL))])
    office.store.commit = commit  # type: ignore[method-assign]
    office.says(office.waits(tokens, CAROL, "mail.read"), ANN)
    commit(held[0]).result()
    (decision,) = [body for _, body in office.records(0, "decided")[-1:]]
    assert (decision["effect"], decision["reason"]) == ("DENY", "store_unavailable")
    office.allowed(tokens, CAROL)


def test_a_write_that_fails_takes_back_what_it_used(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if it had never been tried: nothing was allowed, and the approval is still there."""
    tokens = honest()
    after = office.both(office.waits(tokens))
    items = [(tokens, office.request(tokens, CAROL, "bank.pay", {"amount": amount})) for amount in (5, 6)]
    real, made = records.decided, count()

    def breaking(*facts: Any) -> Any:
        if next(made):
            raise ValueError("the second record cannot be made")
        return real(*facts)

    monkeypatch.setattr(records, "decided", breaking)
    decisions = office.authority.begin_check(office.caller, items).result()
    assert [one.effect for one in decisions] == [Effect.DENY] * 2
    monkeypatch.undo()
    assert office.authority.approvals.find(office.caller) == [after]  # and nobody is asked about the second
    office.allowed(tokens, CAROL, "bank.pay")
