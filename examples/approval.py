"""A payment that waits for two people: what a program does, and what they do.

Run it: python examples/approval.py
"""

from __future__ import annotations

import os
import time

from chain import (
    ApprovalRequiredError,
    Authority,
    Catalogue,
    Issue,
    KeySigner,
    Principal,
    TrustAnchor,
    Verifier,
    embedded,
)
from chain.approval import word
from chain.bundles import default
from chain.client import Local, Session, guard
from chain.mint import grant
from chain.store.memory import MemoryStore

AUTHORITY, BANK = "https://chain.example", "https://bank.example"
office, clerk, ann, ben = (KeySigner.from_seed(os.urandom(32)) for _ in range(4))
program = embedded(BANK)


def opened() -> Authority:
    """An authority under the policy that ships, which knows what the tool is and who is who."""
    tools = {"bank.transfer": {"class": "act", "amount": {"argument": "amount", "currency": "EUR"}}}
    authority = Authority(
        MemoryStore(),
        Verifier([TrustAnchor(office.key, "https://office.example")]),
        clock=time.time,
        entropy=os.urandom,
        audience=AUTHORITY,
        signer=office,
        issuer="https://office.example",
        catalogue=Catalogue.model_validate(tools),
    )
    authority.policies.activate(program, default())
    authority.enrol(program, clerk.key, Principal(id="spiffe://office.example/clerk", owner="accounts"))
    for name, key in (("ann", ann), ("ben", ben)):
        person = Principal(id=f"spiffe://office.example/people/{name}", kind="human", owner=name)
        authority.enrol(program, key.key, person)
    return authority


@guard("bank.transfer")
def transfer(amount: int, to: str) -> None:
    """What must not happen unseen."""
    print("sent", amount, "to", to)


def main() -> None:
    """Ask, wait for two people, ask again."""
    authority = opened()
    paying = grant({"tools": {"bank.transfer": {}}, "limits": {"purposes": ["suppliers"]}})
    root = authority.issue(
        program, Issue(holder=clerk.key, grant=paying, owner="accounts", task="invoice 7", lifetime=600)
    )
    door = Local(authority, program)
    session = Session(signer=clerk, tokens=[root.token], audience=BANK, door=door, purpose="suppliers")
    awaits = None
    with session:
        try:
            transfer(250, "ACME")
        except ApprovalRequiredError as waiting:
            print("the model sees:", waiting)
            awaits = waiting.decision.awaits
        if awaits is None:
            raise SystemExit("it should have waited for people")
        for person in (ann, ben):  # each on a machine of their own; `chain approvals approve` does the same
            request = authority.approvals.get(program, awaits.request_id)
            print("asked about:", request.action.tool, request.action.arguments, "for", request.action.subject)
            said = word(request, person, AUTHORITY, "approve", now=time.time())
            print("now it is", authority.approvals.resolve(program, said, person.key).state)
        transfer(250, "ACME")
        try:
            transfer(250, "ACME")
        except ApprovalRequiredError:
            print("once: the next one has to be approved anew")


if __name__ == "__main__":
    main()
