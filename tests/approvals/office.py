"""A world with people in it, who are asked and say something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from chain import bundles
from chain.approval import Approval, Statement, Verdict, sign
from chain.caller import Caller, Role
from chain.decision import Decision, Effect
from chain.errors import ApprovalError
from chain.key import KeySigner, Signer
from chain.ledger import decode
from chain.principal import Principal
from chain.reason import Reason
from tests.support import ALICE, BOB, CAROL, HOLDERS, HOME, Json, World, child, honest, root, seal, signer

ANN, BEN, CID, DAN = map(signer, ("ann", "ben", "cid", "dan"))
PEOPLE = {"ann": ANN, "ben": BEN, "cid": CID, "dan": DAN}


def human(name: str, owner: str = "") -> Principal:
    return Principal(id=f"spiffe://example.org/human/{name}", kind="human", owner=owner or name)


def caller_of(name: str, *roles: Role, key: Signer | None = None) -> Caller:
    holder = None if key is None else key.key.thumbprint
    return Caller(name, frozenset(roles), holder=holder, channel=holder is not None)


def policy(*, pay: int = 2, more: str = "", hops: str = "") -> dict[str, str]:
    """The bundle that ships, where `pay` people approve what is critical; with `more` rules, or others for hops."""
    files = dict(bundles.default())
    text = files["approvals.cedar"].replace('@approval("2")', f'@approval("{pay}")')
    files["approvals.cedar"] = f"{text}\n{more}\n"
    return files | ({"hops.cedar": hops} if hops else {})


ANY_HOP = '@id("hop.any")\npermit (principal, action == Chain::Action::"delegate", resource);\n'
ANY_HUMAN = '@id("approver.any")\npermit (principal, action == Chain::Action::"approve", resource);\n'
GATED_READ = '@id("read.gate") @approval("1")\nforbid (principal, action == Chain::Action::"read", resource);\n'


def barring(who: str) -> str:
    """A rule about who does not approve."""
    return f'@id("approver.barred")\nforbid (principal, action == Chain::Action::"approve", resource) when {{ {who} }};'


FORBID_PAY = """
@id("pay.stopped")
forbid (principal, action == Chain::Action::"act", resource == Chain::Tool::"bank.pay");
"""


@dataclass
class Office(World):
    """An authority with the bundle that ships (two people for `bank.pay`), and four people."""

    bundle: dict[str, str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, key in PEOPLE.items():
            self.authority.enrol(self.caller, key.key, human(name))
        self.said = 0
        self.activate(policy() if self.bundle is None else self.bundle)

    def activate(self, files: dict[str, str]) -> None:
        self.authority.policies.activate(self.caller, files)

    def restart(self) -> None:
        self.authority = self.open()

    def waits(self, tokens: Sequence[str], by: Signer = CAROL, *args: Any, **facts: Any) -> Approval:
        """Ask, and see that people have to approve it."""
        decision = self.ask(tokens, by, *(args or ("bank.pay",)), **facts)
        return self.awaited(decision)

    def awaited(self, decision: Decision) -> Approval:
        assert (decision.effect, decision.reason) == (Effect.APPROVAL_REQUIRED, Reason.APPROVAL_REQUIRED), str(decision)
        assert not decision.allowed
        assert decision.awaits is not None
        found = self.authority.approvals.get(self.caller, decision.awaits.request_id)
        assert (found.binding, found.expires) == (decision.awaits.binding, decision.awaits.expires_at)
        assert found.state == "pending"
        return found

    def statement(self, asked: Approval, by: Signer, verdict: Verdict = "approve", **changed: Any) -> str:
        now = int(self.clock.now)
        made: Json = {
            "aud": HOME,
            "binding": asked.action.binding(),
            "exp": now + 600,
            "iat": now,
            "request": asked.id,
            "verdict": verdict,
        }
        return sign(by, Statement(**made | changed))

    def says(self, asked: Approval, by: KeySigner, verdict: Verdict = "approve", **changed: Any) -> Approval:
        """See a person's word taken."""
        return self.authority.approvals.resolve(self.caller, self.statement(asked, by, verdict, **changed), by.key)

    def both(self, asked: Approval) -> Approval:
        """Two people approve."""
        assert self.says(asked, ANN).state == "pending"
        after = self.says(asked, BEN)
        assert after.state == "approved"
        return after

    def unheard(self, reason: Reason, asked: Approval, text: str, key: KeySigner) -> ApprovalError:
        """See a word refused, recorded, and nothing changed by it."""
        before, head = self.authority.approvals.get(self.caller, asked.id), self.store.head
        with pytest.raises(ApprovalError) as raised:
            self.authority.approvals.resolve(self.caller, text, key.key)
        assert raised.value.reason is reason, str(raised.value)
        assert self.authority.approvals.get(self.caller, asked.id) == before
        (record,) = self.records(head)
        assert (record[0], record[1]["method"], record[1]["reason"]) == ("refused", "ResolveApproval", reason.value)
        assert record[1]["key"] == key.key.thumbprint
        return raised.value

    def not_eligible(self, asked: Approval, by: KeySigner, **changed: Any) -> ApprovalError:
        return self.unheard(Reason.APPROVER_INELIGIBLE, asked, self.statement(asked, by, **changed), by)

    def records(self, after: int = 0, kind: str | None = None) -> list[tuple[str, Json]]:
        found = [decode(data) for data, _ in self.store.records(after + 1, 1000)]
        return [(record.kind, record.body) for record in found if kind in (None, record.kind)]


def gated(*gates: Json) -> list[str]:
    """A chain of three whose root has gates of its own."""
    return honest(first=root(limits={"approval": list(gates)}, home=HOME))


def gate(threshold: int, *people: str, **when: str) -> Json:
    return {
        "when": when or {"tool": "bank.pay"},
        "threshold": threshold,
        "approvers": [human(name).id for name in people],
    }


def leaf_again(tokens: Sequence[str], **changed: Any) -> list[str]:
    """A fresh leaf for the same holder."""
    return [*tokens[:-1], seal(child(tokens[-2], CAROL, **changed), BOB)]


__all__ = ["ALICE", "BOB", "CAROL", "HOLDERS", "Office", "honest"]
