"""Every request for approval that is remembered, and what becomes of it.

The law of this file: one request for one action at a time; one word a person; a refusal is final as long as the chain's
root lives; what was used is used. Raw arguments are kept only here, as long as people may have to look at them.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from chain.approval import Approval, State, Vote, missing
from chain.ledger import StandingRow, Store
from chain.waiting import Pays, Waiting

APPROVAL = "approval"
HOP = "approved_hop"
"""Kinds of what stands (`chain.row.StandingRow`)."""

KEPT = 24 * 3600
"""Seconds that a request can still be looked at once it is over."""

KEPT_UNANSWERED = 15 * 60
"""The same, of one that nobody said anything to: whoever floods the people must not fill the memory for a day."""


class Approvals:
    """Requests by id, and the latest one by action. Changed by the ledger's writer alone.

    Attributes:
        waiting: those that are open, and to whom they count.
    """

    def __init__(self, store: Store, pays: Pays) -> None:
        """Read what a restart must know; `pays` tells to whom a request counts."""
        self.waiting = Waiting(pays)
        self._by_id: dict[str, Approval] = {}
        self._latest: dict[str, str] = {}
        self._roots: dict[str, int] = {}
        rows = [msgspec.json.decode(row.body, type=Approval) for row in store.standing(APPROVAL)]
        for approval in sorted(rows, key=lambda approval: approval.opened):
            self._remember(approval)
        self._hops = {bytes.fromhex(row.name): row.expires for row in store.standing(HOP)}

    def under(self, root: str) -> bool:
        """Tell whether anything was asked under a root."""
        return root in self._roots

    def of(self, binding: str) -> Approval | None:
        """Return the latest request for an action."""
        name = self._latest.get(binding)
        return None if name is None else self._by_id.get(name)

    def get(self, name: str) -> Approval | None:
        """Return a request by its id."""
        return self._by_id.get(name)

    def all(self) -> list[Approval]:
        """Return every request that is remembered, newest first."""
        return sorted(self._by_id.values(), key=lambda approval: -approval.opened)

    def approved(self, digest: bytes) -> bool:
        """Tell whether people approved a hop when it was made."""
        return digest in self._hops

    @staticmethod
    def name(binding: str, revision: int) -> str:
        """Return a short id for a request: the same for the same place in the ledger, and not to be guessed from it."""
        return sha256(f"{binding}.{revision}".encode()).hexdigest()[:20]

    def put(self, approval: Approval) -> StandingRow:
        """Keep a request as it is now (writer only)."""
        self._remember(approval)
        return StandingRow(
            APPROVAL, approval.id, msgspec.json.encode(approval), _kept_until(approval), approval.revision
        )

    def vote(self, approval: Approval, vote: Vote, counted: Iterable[Vote], revision: int) -> StandingRow:
        """Take a person's word (writer only).

        Args:
            approval: as it stands.
            vote: the word.
            counted: the approvals before it that still count.
            revision: of the record.
        """
        state: State = "pending"
        if vote.verdict == "deny":
            state = "denied"
        elif not missing(approval.demands, (*counted, vote)):
            state = "approved"
        return self.put(replace(approval, votes=(*approval.votes, vote), state=state, revision=revision))

    def sign_off(self, approval: Approval, vote: Vote, revision: int) -> StandingRow:
        """Note that somebody else reviewed the emergencies that there were (writer only)."""
        return self.put(replace(approval, votes=(*approval.votes, vote), revision=revision))

    def consume(self, approval: Approval, revision: int) -> StandingRow:
        """Use an approval up (writer only)."""
        return self.put(replace(approval, state="consumed", revision=revision))

    def restore(self, name: str, before: Approval | None) -> None:
        """Keep a request as it was, or not at all, where its change is not written after all (writer only)."""
        if before is not None:
            self._remember(before)
        else:
            self._forget(self._by_id[name])

    def approve_hop(self, digest: bytes, ends: int, revision: int) -> StandingRow:
        """Note that people approved a hop (writer only)."""
        self._hops[digest] = ends
        return StandingRow(HOP, digest.hex(), b"1", ends, revision)

    def unapprove_hop(self, digest: bytes) -> None:
        """Forget that people approved a hop, where that is not written after all (writer only)."""
        self._hops.pop(digest, None)

    def sweep(self, now: float) -> None:
        """Forget what nobody can look at any more (writer only)."""
        self.waiting.sweep(now)
        for approval in [one for one in self._by_id.values() if 0 < _kept_until(one) <= now]:
            self._forget(approval)
        for digest in [digest for digest, ends in self._hops.items() if ends <= now]:
            del self._hops[digest]

    def _forget(self, approval: Approval) -> None:
        del self._by_id[approval.id]
        self.waiting.drop(approval.id)
        if self._latest.get(approval.binding) == approval.id:
            del self._latest[approval.binding]
        root = approval.action.root
        self._roots[root] -= 1
        if not self._roots[root]:
            del self._roots[root]

    def _remember(self, approval: Approval) -> None:
        if approval.id not in self._by_id:
            root = approval.action.root
            self._roots[root] = self._roots.get(root, 0) + 1
            self._latest[approval.binding] = approval.id
        self._by_id[approval.id] = approval
        self.waiting.put(approval)


def _kept_until(approval: Approval) -> int:
    """Return seconds after which a request is forgotten; 0 for never, which is while a review is open."""
    if approval.in_review:
        return 0
    over = approval.root_ends if approval.state == "denied" else approval.expires
    return max(over, approval.expires) + (KEPT if approval.votes else KEPT_UNANSWERED)
