"""Approvals that nobody gave, or not for this: forged, twice, too late, for something else, by the chain itself."""

from __future__ import annotations

from chain import jcs, jws
from chain.approval import STATEMENT_TYPE
from chain.reason import Reason
from tests.approvals.office import ANN, BEN, BOB, CAROL, CID, Office
from tests.support import MALLORY, NOW, honest, signer


def test_approval_forged() -> None:
    """By another key, taken from a proof, or saying one thing to each reader."""
    office = Office()
    tokens = honest()
    asked = office.waits(tokens)
    honestly = office.statement(asked, ANN)
    payload = jws.split(honestly).payload
    twice = payload.replace(b'"verdict":', b'"verdict":"deny","verdict":')
    forged = [
        office.statement(asked, MALLORY),
        f"{honestly.rpartition('.')[0]}.{office.statement(asked, MALLORY).rpartition('.')[2]}",
        jws.join({"typ": STATEMENT_TYPE}, twice, ANN),
        jws.join({"typ": "aat-pop+jwt"}, payload, ANN),
        jws.join({"typ": STATEMENT_TYPE}, jcs.dumps({"verdict": "approve"}), ANN),
        office.proof(tokens[-1], ANN, "bank.pay"),
    ]
    for text in forged:
        office.unheard(Reason.STATEMENT_INVALID, asked, text, ANN)
        office.waits(tokens)
    office.both(asked)
    office.allowed(tokens, CAROL, "bank.pay")


def test_approval_duplicated() -> None:
    """One person twice, by one key or by two, and one approval for two calls."""
    office = Office()
    tokens = honest()
    asked = office.waits(tokens)
    second = signer("ann's other key")
    office.authority.enrol(office.caller, second.key, office.authority.principal(ANN.key.thumbprint))
    said = office.statement(asked, ANN)
    office.authority.approvals.resolve(office.caller, said, ANN.key)
    office.unheard(Reason.APPROVER_INELIGIBLE, asked, said, ANN)
    office.not_eligible(asked, ANN)
    office.not_eligible(asked, second)
    office.waits(tokens)
    office.says(asked, BEN)
    office.allowed(tokens, CAROL, "bank.pay")
    again = office.waits(tokens)
    office.unheard(Reason.REQUEST_CLOSED, asked, office.statement(asked, CID), CID)
    office.unheard(Reason.STATEMENT_INVALID, again, office.statement(again, ANN, binding=asked.id), ANN)


def test_approval_expired() -> None:
    office = Office()
    tokens = honest()
    asked = office.waits(tokens)
    late = office.statement(asked, CID, exp=NOW + 10)
    office.says(asked, ANN, exp=NOW + 10)
    office.says(asked, BEN)
    office.clock.now = NOW + 10
    office.unheard(Reason.STATEMENT_INVALID, asked, late, CID)
    office.waits(tokens)  # Ann's word has ended
    office.says(asked, CID)
    office.allowed(tokens, CAROL, "bank.pay")


def test_approval_for_other_arguments() -> None:
    office = Office()
    tokens = honest()
    asked = office.waits(tokens, CAROL, "bank.pay", {"amount": 5})
    office.both(asked)
    dearer = office.waits(tokens, CAROL, "bank.pay", {"amount": 5.01})
    office.unheard(Reason.STATEMENT_INVALID, dearer, office.statement(dearer, CID, binding=asked.binding), CID)
    office.unheard(Reason.STATEMENT_INVALID, asked, office.statement(asked, CID, binding=dearer.binding), CID)
    office.waits(tokens[:2], BOB, "bank.pay", {"amount": 5})  # nor for another agent of the chain
    office.allowed(tokens, CAROL, "bank.pay", {"amount": 5})


def test_approval_by_someone_in_the_chain() -> None:
    """Who asks, who handed it on, who works under one of them, and whoever answers for them."""
    office = Office()
    tokens = honest()
    asked = office.waits(tokens)
    worker, colleague = signer("worker"), signer("colleague")
    enrol, agent = office.authority.enrol, office.authority.principal(BOB.key.thumbprint)
    assert agent is not None
    changed = {"id": f"{agent.id}/worker", "kind": "human", "owner": "somebody"}
    enrol(office.caller, worker.key, agent.model_copy(update=changed))
    changed = {"id": "spiffe://example.org/human/colleague", "kind": "human"}
    enrol(office.caller, colleague.key, agent.model_copy(update=changed))
    for key in (CAROL, BOB, worker, colleague, MALLORY):
        office.not_eligible(asked, key)
    office.waits(tokens)
    office.both(asked)
    office.allowed(tokens, CAROL, "bank.pay")


def test_proof_presented_after_an_approval() -> None:
    """A proof is used up when the call has to wait: what people approve later needs a fresh one."""
    office = Office()
    tokens = honest()
    proof = office.proof(tokens[-1], CAROL, "bank.pay")
    asked = office.waits(tokens, CAROL, "bank.pay", proof=proof)
    office.both(asked)
    office.denied(Reason.REPLAY, 2, tokens, CAROL, "bank.pay", proof=proof)
    office.restart()
    office.denied(Reason.REPLAY, 2, tokens, CAROL, "bank.pay", proof=proof)
    office.allowed(tokens, CAROL, "bank.pay")
