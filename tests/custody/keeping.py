"""An authority that keeps the keys of two agents: in memory, or in a directory that opens cheaply."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from chain import mint
from chain.caller import Caller, Role
from chain.custody import Custodian
from chain.identity.custody import CustodyFolder, open_folder
from chain.identity.sealed import MIN_MEMORY, MIN_OPS, Cost
from chain.key import KeySigner, PublicKey
from chain.ledger import decode
from chain.order import Delegate
from chain.principal import Principal
from tests.support import BOB, PEP, TOOLS, Json, World, root, rule, seal, signer

PASSPHRASE = b"correct horse battery"
CHEAP = Cost(MIN_OPS, MIN_MEMORY)
"""Each guess costs the least that is accepted: the suite must stay fast."""

ANN, BEN = (Principal(id=f"spiffe://example.org/kept/{name}", owner="team") for name in ("ann", "ben"))
LIMITS: Json = {
    "classes": ["read", "act"],
    "classification": "internal",
    "purposes": ["travel"],
    "budget": {"calls": 10},
    "approval": [{"when": {"tool": "bank.pay"}, "threshold": 1, "approvers": ["spiffe://example.org/people/dana"]}],
}
NARROW: Json = {
    "tools": {"bank.pay": {"amount": rule("range", max=50)}},
    "limits": {"classes": ["act"], "purposes": ["travel.trains"]},
}


class Known:
    """A holder of whom only the public key is known."""

    def __init__(self, key: PublicKey) -> None:
        self.key = key

    def sign(self, data: bytes) -> bytes:
        raise AssertionError("nobody here holds this key")


def opened(folder: Path, **options: Any) -> CustodyFolder:
    return open_folder(folder, PASSPHRASE, CHEAP, **options)


class Drawer:
    """Keeps keys in memory."""

    def __init__(self) -> None:
        self.held: dict[str, KeySigner] = {}

    def find(self, agent: str) -> KeySigner | None:
        return self.held.get(agent)

    def make(self, agent: str) -> KeySigner:
        return self.held.setdefault(agent, signer(f"kept for {agent}"))


class Keeping(World):
    """A world whose authority keeps the keys of Ann and Ben."""

    def __init__(self, custodian: Custodian | None = None, **options: Any) -> None:
        super().__init__(custodian=custodian or Drawer(), **options)
        self.ann, self.ben = (self.authority.custody.keep(agent) for agent in (ANN, BEN))

    def on_channel(self, agent: Principal, **changed: Any) -> Caller:
        """Who calls on a channel that proves it to be this agent."""
        holder = self.authority.custody.holder(agent.id)
        caller = Caller(agent.id, frozenset({Role.AGENT}), PEP, holder, channel=True, custody=agent)
        return replace(caller, **changed)

    def root(self, key: PublicKey | None = None, **claims: Any) -> str:
        """A root for Ann, or whoever holds that key."""
        return seal(root(Known(key or self.ann), **{"tools": TOOLS, "limits": LIMITS, **claims}))

    def hand(self, caller: Caller, parent: list[str], order: Delegate, key: str | None = None) -> list[str]:
        """Order a child, and return its chain."""
        return [*parent, self.authority.delegate(caller, parent, order, None, key).token]

    def records(self, kind: str) -> list[Json]:
        return [decode(data).body for data, _ in self.store.records(kind=kind)]


def order(terms: Json | None = None, **changed: Any) -> Delegate:
    """What is ordered for Bob, who holds his own key."""
    given = {"holder": BOB.key, "grant": mint.grant(terms or NARROW), "lifetime": 300}
    return Delegate(**{**given, **changed})
