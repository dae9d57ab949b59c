"""Whose word counts, and what is no word: forged, twice, too late, for something else, by somebody in the chain."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chain import jcs, jws
from chain.approval import MAX_STATEMENT, STATEMENT_TYPE, Action, Approval, read, word
from chain.base64url import b64encode
from chain.caller import Role
from chain.control import Named
from chain.enrolment import make as agreement
from chain.errors import ApprovalError, ChainError
from chain.key import KeySigner
from chain.order import Revoke
from chain.principal import Principal
from chain.reason import Reason
from tests.approvals.office import (
    ALICE,
    ANN,
    ANY_HUMAN,
    BEN,
    BOB,
    CAROL,
    CID,
    FORBID_PAY,
    Office,
    barring,
    caller_of,
    honest,
    human,
    policy,
)
from tests.support import HOME, MALLORY, NOW, Json, ec_signer, root, signer

ANN_IS_BARRED = barring(f'principal.id == "{human("ann").id}"')


def payload(asked: Approval, **changed: Any) -> Json:
    made: Json = {
        "aud": HOME,
        "binding": asked.binding,
        "exp": NOW + 600,
        "iat": NOW,
        "request": asked.id,
        "verdict": "approve",
    }
    return {name: value for name, value in (made | changed).items() if value is not None}


def signed(body: Json | bytes, by: KeySigner = ANN, typ: str | None = STATEMENT_TYPE) -> str:
    raw = body if isinstance(body, bytes) else jcs.dumps(body)
    return jws.join({} if typ is None else {"typ": typ}, raw, by)


def duplicate(asked: Approval) -> bytes:
    """The verdict twice: whoever reads the first sees a refusal."""
    return jcs.dumps(payload(asked)).replace(b'"verdict":', b'"verdict":"deny","verdict":')


FORGED: dict[str, Callable[[Approval], str]] = {
    "by another key": lambda asked: signed(payload(asked), MALLORY),
    "unsigned": lambda asked: signed(payload(asked)).rpartition(".")[0] + ".",
    "no jws": lambda asked: "approve",
    "not ascii": lambda asked: signed(payload(asked)) + "é",
    "too large": lambda asked: signed(payload(asked, justification="x" * MAX_STATEMENT)),
    "another type": lambda asked: signed(payload(asked), typ="aat-pop+jwt"),
    "no type": lambda asked: signed(payload(asked), typ=None),
    "a member twice": lambda asked: signed(duplicate(asked)),
    "not canonical": lambda asked: signed(json.dumps(payload(asked)).encode()),
    "unknown member": lambda asked: signed(payload(asked, more=1)),
    "another audience": lambda asked: signed(payload(asked, aud="https://other.example")),
    "another request": lambda asked: signed(payload(asked, binding=b64encode(bytes(32)))),
    "ended": lambda asked: signed(payload(asked, iat=NOW - 60, exp=NOW)),
    "ends before it begins": lambda asked: signed(payload(asked, iat=NOW + 20, exp=NOW + 10)),
    "from the future": lambda asked: signed(payload(asked, iat=NOW + 31)),
    "without an end": lambda asked: signed(payload(asked, exp=None)),
    "an unknown verdict": lambda asked: signed(payload(asked, verdict="maybe")),
    "number as text": lambda asked: signed(payload(asked, exp=str(NOW + 600))),
    "an emergency without a reason": lambda asked: signed(payload(asked, emergency=True)),
    "an emergency that refuses": lambda asked: signed(
        payload(asked, emergency=True, verdict="deny", justification="x")
    ),
    "a reason of two lines": lambda asked: signed(payload(asked, justification="a\nb")),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_is_no_word_changes_nothing(office: Office, name: str) -> None:
    asked = office.waits(honest())
    office.unheard(Reason.STATEMENT_INVALID, asked, FORGED[name](asked), ANN)
    office.waits(honest())
    after = office.authority.approvals.resolve(office.caller, signed(payload(asked)), ANN.key)
    assert [vote.approver for vote in after.votes] == [human("ann").id]


def test_a_word_about_another_request_of_the_same_action(office: Office) -> None:
    tokens = honest()
    old = office.waits(tokens)
    office.both(old)
    office.allowed(tokens, CAROL, "bank.pay")
    asked = office.waits(tokens)
    assert asked.binding == old.binding
    office.unheard(Reason.REQUEST_CLOSED, old, office.statement(old, CID), CID)
    office.unheard(Reason.STATEMENT_INVALID, asked, office.statement(asked, CID, binding=old.id), CID)
    office.both(asked)
    office.allowed(tokens, CAROL, "bank.pay")


def test_a_key_of_the_other_algorithm_speaks_too(office: Office) -> None:
    key = ec_signer("eve")
    office.authority.enrol(office.caller, key.key, human("eve"))
    assert office.says(office.waits(honest()), key).votes[0].key == key.key.thumbprint


@given(st.binary(max_size=200) | st.text(max_size=80).map(str.encode))
def test_garbage_is_no_word(data: bytes) -> None:
    for text in (data.decode("latin-1"), signed(data)):
        with pytest.raises(ApprovalError):
            read(text, ANN.key)


@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5), st.lists, max_leaves=5))
def test_a_payload_of_another_form_is_no_word(value: object) -> None:
    with pytest.raises(ApprovalError):
        read(signed(jcs.dumps(value)), ANN.key)


def test_the_same_person_counts_once(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.says(asked, ANN)
    office.not_eligible(asked, ANN)
    second = signer("ann's other key")
    office.authority.enrol(office.caller, second.key, human("ann"))
    office.not_eligible(asked, second)
    office.waits(tokens)
    office.says(asked, BEN)
    office.allowed(tokens, CAROL, "bank.pay")


def _enrolled(office: Office, name: str, **facts: Any) -> KeySigner:
    key = signer(name)
    office.authority.enrol(office.caller, key.key, Principal(**({"owner": name, "kind": "human"} | facts)))
    return key


NEVER: dict[str, dict[str, Any]] = {
    "an agent": {"id": "spiffe://example.org/agent/9", "kind": "agent"},
    "a service": {"id": "spiffe://example.org/service", "kind": "service"},
    "the requester by another key": {"id": "spiffe://example.org/agent/3"},
    "another agent of the chain by another key": {"id": "spiffe://example.org/agent/1"},
    "beneath an agent of the chain": {"id": "spiffe://example.org/agent/1/helper"},
    "whom an agent of the chain enrolled": {"id": "spiffe://example.org/x", "under": ALICE.key.thumbprint},
    "above an agent of the chain": {"id": "spiffe://example.org/agent"},
    "of the same owner": {"id": "spiffe://example.org/human/eve", "owner": "team"},
    "the owner itself": {"id": "spiffe://example.org/human/owner"},
}


@pytest.mark.parametrize("name", NEVER)
def test_who_never_approves(office: Office, name: str) -> None:
    tokens = honest()
    if name == "the owner itself":
        owned = Principal(id="spiffe://example.org/agent/2", owner="spiffe://example.org/human/owner")
        office.authority.enrol(office.caller, BOB.key, owned)
    asked = office.waits(tokens)
    key = _enrolled(office, name, **NEVER[name])
    office.not_eligible(asked, key)
    office.not_eligible(asked, key, verdict="deny")
    office.both(asked)
    office.allowed(tokens, CAROL, "bank.pay")


@pytest.mark.parametrize("key", [ALICE, BOB, CAROL], ids=["alice", "bob", "carol"])
def test_a_holder_of_the_chain_never_approves(office: Office, key: KeySigner) -> None:
    asked = office.waits(honest())
    office.not_eligible(asked, key)
    office.authority.enrol(office.caller, key.key, human("was-an-agent"))  # whoever it is by now
    office.not_eligible(asked, key)
    office.both(asked)


def test_nobody_enrolled_never_approves(office: Office) -> None:
    asked = office.waits(honest())
    office.not_eligible(asked, MALLORY)
    office.authority.enrol(office.caller, MALLORY.key, human("mallory"))
    assert office.says(asked, MALLORY).state == "pending"


def test_an_agent_cannot_enrol_a_human(office: Office) -> None:
    """So that nobody makes approvers of its own."""
    key = signer("made up")
    alice = caller_of("alice", Role.AGENT, key=ALICE)
    made = Principal(id="spiffe://example.org/agent/1/w", kind="human", owner="team", under=ALICE.key.thumbprint)
    text = agreement(key, made.id, ALICE.key.thumbprint, audience=HOME, jti="1", iat=NOW)
    with pytest.raises(ChainError):
        office.authority.enrol(alice, key.key, made, proof_text=text)
    office.authority.enrol(alice, key.key, made.model_copy(update={"kind": "agent"}), proof_text=text)
    office.not_eligible(office.waits(honest()), key)


def test_one_barred_by_the_policy(office: Office) -> None:
    office.activate(policy(more=ANN_IS_BARRED))
    tokens = honest()
    asked = office.waits(tokens)
    office.not_eligible(asked, ANN)
    office.says(asked, BEN)
    office.says(asked, CID)
    office.allowed(tokens, CAROL, "bank.pay")


def test_the_policy_knows_who_asked(office: Office) -> None:
    """The requester of the rule is whoever asks; for a call, the leaf's holder."""
    office.activate(policy(more=barring('context.requester.id == "spiffe://example.org/agent/3"')))
    office.not_eligible(office.waits(honest()), ANN)
    assert office.says(office.waits(honest()[:2], BOB), ANN).state == "pending"


def test_a_refusal_is_final(office: Office) -> None:
    tokens = honest(first=root(exp=NOW + 3000))
    asked = office.waits(tokens)
    assert office.says(asked, ANN, "deny", justification="no such invoice").state == "denied"
    office.unheard(Reason.REQUEST_CLOSED, asked, office.statement(asked, BEN), BEN)
    office.unheard(Reason.REQUEST_CLOSED, asked, office.statement(asked, ANN), ANN)
    office.denied(Reason.APPROVAL_DENIED, None, tokens, CAROL, "bank.pay")
    office.clock.now = asked.expires  # it does not become good by waiting
    office.denied(Reason.APPROVAL_DENIED, None, tokens, CAROL, "bank.pay")
    office.restart()
    office.denied(Reason.APPROVAL_DENIED, None, tokens, CAROL, "bank.pay")
    office.activate(policy() | {"approvals.cedar": ANY_HUMAN})  # nor because nobody would be asked today
    office.denied(Reason.APPROVAL_DENIED, None, tokens, CAROL, "bank.pay")
    office.allowed(tokens, CAROL, "bank.pay", {"amount": 6})


def test_a_refusal_after_an_approval(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.both(asked)
    assert office.says(asked, ANN, "deny").state == "denied"  # who approved, and looked again
    office.denied(Reason.APPROVAL_DENIED, None, tokens, CAROL, "bank.pay")
    other = office.waits(tokens, CAROL, "bank.pay", {"amount": 6})
    office.both(other)
    assert office.says(other, CID, "deny").state == "denied"
    office.denied(Reason.APPROVAL_DENIED, None, tokens, CAROL, "bank.pay", {"amount": 6})
    used = office.waits(tokens, CAROL, "bank.pay", {"amount": 7})
    office.both(used)
    office.allowed(tokens, CAROL, "bank.pay", {"amount": 7})
    office.unheard(Reason.REQUEST_CLOSED, used, office.statement(used, CID, "deny"), CID)


AFTER: dict[str, Callable[[Office], object]] = {
    "suspended": lambda o: o.authority.steering.suspend(o.caller, "agent", human("ann").id, "away"),
    "quarantined": lambda o: o.authority.steering.suspend(
        o.caller, "agent", human("ann").id, "away", mode="quarantined"
    ),
    "her key revoked": lambda o: o.authority.revoke(o.caller, Revoke(named=Named("key", ANN.key.thumbprint))),
    "all that she holds revoked": lambda o: o.authority.revoke(
        o.caller, Revoke(named=Named("holder", ANN.key.thumbprint))
    ),
    "key of somebody else": lambda o: o.authority.enrol(o.caller, ANN.key, human("eve")),
    "no human any more": lambda o: o.authority.enrol(
        o.caller, ANN.key, Principal(id=human("ann").id, kind="service", owner="ann")
    ),
    "of the agents' owner": lambda o: o.authority.enrol(o.caller, ANN.key, human("ann", "team")),
    "not taken by the policy": lambda o: o.activate(policy(more=ANN_IS_BARRED)),
    "the chain's agent is hers": lambda o: o.authority.enrol(
        o.caller, BOB.key, Principal(id="spiffe://example.org/agent/2", owner="ann")
    ),
}


@pytest.mark.parametrize("name", AFTER)
def test_a_word_whose_author_may_not_give_it_any_more_does_not_count(office: Office, name: str) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.both(asked)
    AFTER[name](office)
    again = office.waits(tokens)
    assert again.id == asked.id
    assert office.says(asked, CID).state == "approved"
    office.allowed(tokens, CAROL, "bank.pay")


def test_a_vote_that_does_not_count_makes_no_number(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.says(asked, ANN)
    office.authority.steering.suspend(office.caller, "agent", human("ann").id, "away")
    assert office.says(asked, BEN).state == "pending"
    decision = office.ask(tokens, CAROL, "bank.pay")
    assert decision.awaits is not None
    assert decision.awaits.approvals == 1
    assert office.says(asked, CID).state == "approved"


def test_the_policy_is_asked_again_when_it_is_used(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.both(asked)
    office.activate(policy(more=FORBID_PAY))
    office.denied(Reason.POLICY_DENIED, None, tokens, CAROL, "bank.pay")
    assert office.authority.approvals.get(office.caller, asked.id).state == "approved"
    office.activate(policy(pay=3))
    again = office.waits(tokens)
    assert (again.id, again.demands[0].threshold, len(again.votes)) == (asked.id, 3, 2)
    assert office.says(again, CID).state == "approved"
    office.allowed(tokens, CAROL, "bank.pay")


def test_a_policy_that_asks_nobody_any_more_uses_nothing_up(office: Office) -> None:
    tokens = honest()
    asked = office.waits(tokens)
    office.both(asked)
    office.activate(policy() | {"approvals.cedar": ANY_HUMAN})
    office.allowed(tokens, CAROL, "bank.pay")
    office.activate(policy())
    office.allowed(tokens, CAROL, "bank.pay")
    assert office.authority.approvals.get(office.caller, asked.id).state == "consumed"


def test_an_authority_that_lies_gets_no_signature(office: Office) -> None:
    """It cannot show one action and have another signed: the hash is of what was shown."""
    asked = office.waits(honest())
    shown = replace(asked, action=replace(asked.action, arguments={"amount": 1}))
    with pytest.raises(ApprovalError, match="not the one"):
        word(shown, ANN, HOME, "approve", now=NOW)
    with pytest.raises(ApprovalError, match="justification"):
        word(asked, ANN, HOME, "approve", now=NOW, emergency=True)
    consistent = replace(shown, binding=shown.action.binding())  # a lie that holds together is about itself alone
    office.unheard(Reason.STATEMENT_INVALID, asked, word(consistent, ANN, HOME, "approve", now=NOW), ANN)
    said = word(asked, ANN, HOME, "approve", now=NOW)
    assert office.authority.approvals.resolve(office.caller, said, ANN.key).votes


@given(st.data())
def test_no_two_actions_have_one_binding(data: st.DataObject) -> None:
    text = st.text(max_size=3)
    members = dict.fromkeys(
        ("subject", "tool", "target", "amount", "purpose", "audience", "root", "classification"), text
    ) | {
        "arguments": st.dictionaries(text, st.integers(0, 2), max_size=2),
        "path": st.lists(text, max_size=2).map(tuple),
        "labels": st.lists(text, max_size=2).map(tuple),
    }
    one, other = (Action(**{name: data.draw(kind) for name, kind in members.items()}) for _ in range(2))
    assert (one.binding() == other.binding()) is (one == other)
