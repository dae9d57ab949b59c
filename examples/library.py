"""An authority inside a program: issue, delegate, check, revoke.

Run: python examples/library.py
"""

import os
import time

from chain import (
    Authority,
    Catalogue,
    ExcessError,
    Issue,
    KeySigner,
    Principal,
    TrustAnchor,
    Verifier,
    embedded,
)
from chain.client import Local, Session
from chain.mint import grant
from chain.store.memory import MemoryStore

ISSUER = "https://idp.example"
MAIL = "https://mail.example"

idp, planner, reader = (KeySigner.from_seed(os.urandom(32)) for _ in range(3))
authority = Authority(
    MemoryStore(),
    Verifier([TrustAnchor(idp.key, ISSUER)]),
    clock=time.time,
    entropy=os.urandom,
    audience="https://chain.example",
    signer=idp,
    issuer=ISSUER,
    catalogue=Catalogue.model_validate({"mail.read": "read", "mail.send": "write"}),
)
program = embedded(MAIL)
for name, key in {"planner": planner.key, "reader": reader.key}.items():
    authority.enrol(program, key, Principal(id=f"spiffe://example.org/{name}", owner="office"))

# A human's task: read two folders and send mail, for ten minutes.
folders = {"constraint_type": "one_of", "values": ["inbox", "sent"]}
task = grant({"tools": {"mail.read": {"folder": folders}, "mail.send": {}}, "limits": {"purposes": ["reporting"]}})
order = Issue(holder=planner.key, grant=task, lifetime=600, sub="alice", owner="office", task="summary")
root = authority.issue(program, order)
planning = Session(
    signer=planner, tokens=[root.token], audience=MAIL, door=Local(authority, program), purpose="reporting"
)

# The planner hands on less than it has; more is refused with the field and both values.
inbox = {"constraint_type": "exact", "value": "inbox"}
handed = planning.delegate(reader.key, grant({"tools": {"mail.read": {"folder": inbox}}}), lifetime=60)
reading = planning.as_holder(reader, handed.tokens)
try:
    reading.delegate(reader.key, grant({"tools": {"mail.read": {"folder": folders}}}))
except ExcessError as excess:
    print("refused:", excess.detail)

# Every call is decided afresh, against every hop.
print("inbox:", reading.check("mail.read", {"folder": "inbox"}))
print("sent: ", reading.check("mail.read", {"folder": "sent"}))
print("send: ", reading.check("mail.send", {"to": "bob"}))

# Revoking fells what was handed on, and leaves the rest.
print("fallen:", planning.revoke(handed.delegation.id, "done").count)
print("inbox:", reading.check("mail.read", {"folder": "inbox"}))
print("planner:", planning.check("mail.read", {"folder": "sent"}))
authority.close()
