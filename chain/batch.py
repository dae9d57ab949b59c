"""What the authority hands to its store: decisions and changes, made whole inside the commit.

The law of this file: everything is decided by the ledger's single writer, in commit order, against the facts as
they stand there. What was revoked a moment before is revoked; of two uses of one nonce the second is a replay; a
batch whose condition fails writes nothing, or the record of its refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from chain import records
from chain.caller import Caller
from chain.case import Verdict
from chain.catalog import Tool
from chain.check import check
from chain.decision import Awaited, Decision, Effect, Finding, decided
from chain.delegation import Chain
from chain.errors import StoreError
from chain.explain import told_to
from chain.ledger import Durability, Store
from chain.live import Live
from chain.reason import Reason
from chain.request import Request
from chain.row import Write
from chain.writing import Moment, Writing

_BEFORE_SIGNATURES = frozenset(
    {Reason.TOKEN_TOO_LARGE, Reason.TOKEN_MALFORMED, Reason.HEADER_UNSUPPORTED, Reason.JTI_DUPLICATE}
)
"""What is asked of every token before the root's signature, so that the hop of the fault shows nothing."""

UNSIGNED = _BEFORE_SIGNATURES | {
    Reason.CHAIN_TOO_DEEP,
    Reason.CHAIN_TOO_LARGE,
    Reason.ALGORITHM_REFUSED,
    Reason.SIGNATURE_INVALID,
}
"""Faults of a child that leave open whether its parent's holder signed it."""


UNPROVEN = frozenset(
    reason for reason in Reason if Reason.PROOF_MISSING.number <= reason.number <= Reason.REPLAY.number
)
"""Faults that leave open whether the caller is the leaf's holder."""


@dataclass(slots=True)
class Asked:
    """One check on its way to a decision.

    Attributes:
        request: what is asked.
        tool: what the catalogue says of the tool.
        tokens, chain: what was presented, where it is authentic.
        named: whether the chain was only named by its digest, and not shown.
        fault: why it is not, otherwise.
        decision: the answer, once the commit has made it.
    """

    request: Request
    tool: Tool
    tokens: Sequence[str] = ()
    chain: Chain | None = None
    fault: Decision | None = None
    decision: Decision | None = None
    named: bool = False

    def told(self, caller: Caller, names: AbstractSet[str]) -> Decision | None:
        """Return the decision as this caller may see it.

        An agent that only names a chain and proves nothing does not learn what it grants, and no agent learns the
        rules that speak on hops of others.

        Args:
            caller: who asked.
            names: what the tokens that it holds may call it.
        """
        decision = self.decision
        if decision is None or not caller.only_agent:
            return decision
        unproven = any(finding.reason in UNPROVEN for finding in decision.findings)
        if self.named and unproven:
            return decision.without_details()
        holders = [] if self.chain is None else [hop.holder for hop in self.chain.hops]
        shown = names if unproven or not holders else {holders[-1]}  # whose proof came with the call
        return told_to(shown, decision, holders)

    @property
    def garbage(self) -> bool:
        """Whether not even a root was shown to be authentic: such chains are counted, not kept."""
        fault = self.fault
        return fault is not None and (fault.hop in (None, 0) or fault.reason in _BEFORE_SIGNATURES)


class Deciding:
    """Checks to be decided together, in order, until `stop` is met.

    Attributes:
        durability: SYNCED where one of them may write, act or use something up, else WRITTEN (DESIGN.md, durability
            classes).
    """

    __slots__ = ("_asked", "_caller", "_id", "_live", "_moment", "_stop", "_store", "durability")

    def __init__(
        self,
        asked: Sequence[Asked],
        caller: str,
        live: Live,
        store: Store,
        moment: Callable[[], Moment],
        new_id: Callable[[], str],
        stop: Effect | None = None,
    ) -> None:
        self._asked = asked
        self._caller = caller
        self._live = live
        self._store = store
        self._moment = moment
        self._id = new_id
        self._stop = stop
        reads = all(item.tool.action_class == "read" and not _uses_up(item.chain, live) for item in asked)
        self.durability = Durability.WRITTEN if reads else Durability.SYNCED

    def prepare(self, first: int) -> Write:
        """Decide, and say what to write."""
        with Writing(first, self._moment(), self._live, self._store) as writing:
            for item in self._asked:
                item.decision = self._decide(item, writing)
                if item.decision.effect is self._stop:
                    break
        return writing.write

    def _decide(self, item: Asked, writing: Writing) -> Decision:
        if item.fault is not None and item.garbage:
            return item.fault
        live = self._live
        verdict = None if item.chain is None else self._answer(item, item.chain, writing)
        findings = verdict.findings if verdict is not None else item.fault.findings if item.fault is not None else ()
        shadow = live.settings.shadow
        told: dict[str, Any] = {"policy": "" if live.policy is None else live.policy.digest}
        if verdict is not None:
            told |= {"rules": verdict.rules, "obligations": verdict.obligations}
            told["awaits"] = self._settle(item, verdict, writing)
        decision = decided(findings, writing.at.now, self._id(), writing.revision, shadow=shadow, **told)
        holder = None if item.chain is None else live.principal(item.chain.leaf.holder)
        body = records.decided(decision, item.request, self._caller, item.tool, item.chain, holder, verdict)
        if item.chain is not None and live.controls.standings:
            body |= records.posture((hop.hop, live.party(hop.holder).standing) for hop in item.chain.hops)
        writing.record("decided", body)
        writing.fan_out()
        if verdict is not None and verdict.proven and item.chain is not None:
            denied = decision.effect is Effect.DENY and decision.enforced
            writing.pace(item.chain, findings, denied=denied)
        return decision

    def _answer(self, item: Asked, chain: Chain, writing: Writing) -> Verdict:
        tool = self._live.catalogue.tool(item.request.tool)
        if self.durability is Durability.WRITTEN and tool.action_class != "read":
            # Another policy came with another catalogue while this was on its way, with too little durability.
            detail = f"`{item.request.tool}` has become {tool.action_class}; ask again"
            finding = Finding(reason=Reason.STORE_UNAVAILABLE, hop=None, detail=detail)
            return Verdict((finding,), writing.at.now, None, proven=False)
        item.tool = tool
        try:
            verdict = check(chain, item.request, self._live, writing.at.now)
        except Exception as error:  # noqa: BLE001 - a question that cannot be answered is a denial, of this call alone
            reason = error.reason if isinstance(error, StoreError) else Reason.INTERNAL
            finding = Finding(reason=reason, hop=None, detail="what the decision needs could not be read")
            return Verdict((finding,), writing.at.now, None, proven=False)
        if self.durability is Durability.WRITTEN and verdict.used is not None:
            detail = "its approval came while it was on its way; ask again"
            finding = Finding(reason=Reason.STORE_UNAVAILABLE, hop=None, detail=detail)
            verdict = verdict._replace(findings=(finding, *verdict.findings), used=None)
        writing.use(verdict)
        if verdict.proven:
            clash = writing.admit(chain, item.tokens, "admitted", self._caller)
            if clash is not None:
                return verdict._replace(findings=(clash, *verdict.findings))
        return verdict

    @staticmethod
    def _settle(item: Asked, verdict: Verdict, writing: Writing) -> Awaited | None:
        """Take what the call costs, or ask people about it; do neither for one that nobody proved to be asking."""
        if verdict.goes_through:
            writing.spend(verdict)
            return None
        if verdict.want is None or not verdict.proven or item.chain is None:
            return None
        if verdict.decision.effect is not Effect.APPROVAL_REQUIRED:
            return None
        return writing.ask_people(item.chain, verdict.want, item.chain.leaf.holder)


def _uses_up(chain: Chain | None, live: Live) -> bool:
    """Tell whether a call may spend or use an approval, which has to survive power loss for a read too."""
    return chain is not None and (chain.stateful or live.approvals.under(chain.root.id))
