"""Chain: the open authority for chains of agents.

Every hop from one agent to the next is a signed delegation that can only be narrower than the one before; every
action is decided afresh, against every hop of its chain, as things stand now. The whole of it in process:

    import os, time
    from chain import Authority, Issue, KeySigner, Principal, TrustAnchor, Verifier, embedded
    from chain.client import Local, Session, guard
    from chain.mint import grant
    from chain.store.memory import MemoryStore

    idp, bot = KeySigner.from_seed(os.urandom(32)), KeySigner.from_seed(os.urandom(32))
    anchors = Verifier([TrustAnchor(idp.key, "https://idp.example")])
    authority = Authority(MemoryStore(), anchors, clock=time.time, entropy=os.urandom,
                          audience="https://chain.example", signer=idp, issuer="https://idp.example")
    program = embedded("https://bank.example")
    authority.enrol(program, bot.key, Principal(id="spiffe://example.org/bot", owner="treasury"))
    up_to_100 = grant({"tools": {"bank.transfer": {"amount": {"constraint_type": "range", "max": 100}}},
                       "limits": {"purposes": ["allowance"]}})
    order = Issue(holder=bot.key, grant=up_to_100, owner="treasury", task="june", lifetime=600)
    root = authority.issue(program, order)

    @guard("bank.transfer")
    def transfer(amount):
        print("sent", amount)

    with Session(signer=bot, tokens=[root.token], audience="https://bank.example", purpose="allowance",
                 door=Local(authority, program)):
        transfer(20)      # sent 20
        transfer(5000)    # raises DeniedError: the action is not authorized

Everything named here is pure: no file, socket or clock is touched but through what the caller hands in. Stores are in
`chain.store`, clients, sessions and the guard in `chain.client`, the service in `chain.service`.
"""

from chain.anchor import TrustAnchor
from chain.authority import Authority
from chain.caller import Caller, Role, embedded
from chain.catalog import Catalogue
from chain.decision import Decision, Effect
from chain.errors import (
    ApprovalRequiredError,
    ChainError,
    DeniedError,
    ExcessError,
    InvalidTokenError,
    UnreachableError,
)
from chain.grant import Grant
from chain.key import KeySigner, PublicKey, Signer
from chain.order import Issue, Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.state import Settings
from chain.token import Rules, Verifier

__all__ = [
    "ApprovalRequiredError",
    "Authority",
    "Caller",
    "Catalogue",
    "ChainError",
    "Decision",
    "DeniedError",
    "Effect",
    "ExcessError",
    "Grant",
    "InvalidTokenError",
    "Issue",
    "KeySigner",
    "Principal",
    "PublicKey",
    "Reason",
    "Request",
    "Revoke",
    "Role",
    "Rules",
    "Settings",
    "Signer",
    "TrustAnchor",
    "UnreachableError",
    "Verifier",
    "embedded",
]
