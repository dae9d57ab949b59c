"""One call while it is being decided, and the verdict on it.

The law of this file: a question reads the case and adds findings; what the call would use up it names here, and only
the commit takes it. Nothing is ever taken back out of the findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from hashlib import sha256
from typing import Any, Generic, NamedTuple, Self, TypeAlias, TypeVar, overload

from chain import approval as approvals
from chain import jcs
from chain.approval import Action, Approval, Demand, Vote
from chain.base64url import b64encode
from chain.budget import Spend, UnreadableError, read
from chain.control import Party
from chain.decision import Decision, Finding, Obligation, decided, shadowed
from chain.delegation import Chain
from chain.errors import clip
from chain.grant import rank
from chain.outcome import Judged
from chain.reason import Reason
from chain.request import Request
from chain.state import Nonce, State

MAX_FINDINGS = 64
"""Findings of one decision: the first is the reason, and a hostile request must not choose how long a record is."""


class Want(NamedTuple):
    """What people would have to approve for the call to stand.

    Attributes:
        action: what they are asked about.
        binding: its hash.
        demands: every gate that concerns it, met or not.
        standing: the request for it that is under way already, if there is one.
        votes: approvals of it that count so far.
    """

    action: Action
    binding: str
    demands: tuple[Demand, ...]
    standing: Approval | None
    votes: int = 0


class Verdict(NamedTuple):
    """A decision, and what must be committed for it to stand.

    Attributes:
        findings: the faults of every hop, the first `MAX_FINDINGS`; none means ALLOW.
        at: seconds, the instant of the decision.
        nonce: used up, whatever the effect.
        proven: whether the caller was shown to be the leaf's holder; only then is a chain registered.
        spends: taken from budgets, where the call stands.
        used: the approval that is consumed, where the call stands.
        want: what has to be approved, where nothing else speaks against the call.
        rules: of the policy that determined its answer to the call itself.
        obligations: that come with its permission.
        shadow: reasons that do not stop a call (`chain.state.Settings`).
        label: effective label of the data.
        amount: money that the call moves with its currency; empty where it moves none.
    """

    findings: tuple[Finding, ...]
    at: float
    nonce: Nonce | None
    proven: bool
    spends: tuple[Spend, ...] = ()
    used: Approval | None = None
    want: Want | None = None
    rules: tuple[str, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    shadow: frozenset[Reason] = frozenset()
    label: str = ""
    amount: str = ""

    @property
    def decision(self) -> Decision:
        """The answer, not yet recorded."""
        return decided(self.findings, self.at, shadow=self.shadow, obligations=self.obligations)

    @property
    def goes_through(self) -> bool:
        """Whether the call may happen: allowed, or refused in shadow only."""
        return shadowed(self.findings, self.shadow)


T = TypeVar("T")


class _once(Generic[T]):  # noqa: N801 - used as a decorator, like `property`
    """A property that is worked out once. `functools.cached_property` takes a lock for it, up to Python 3.11."""

    def __init__(self, work: Callable[[Any], T]) -> None:
        self._work = work
        self._name = work.__name__
        self.__doc__ = work.__doc__

    @overload
    def __get__(self, case: None, owner: type) -> Self: ...

    @overload
    def __get__(self, case: object, owner: type) -> T: ...

    def __get__(self, case: object | None, owner: type) -> T | Self:
        if case is None:
            return self
        value = self._work(case)
        setattr(case, self._name, value)  # by `vars(case)` it would cost a dict of its own for every call
        return value


class Case:
    """One call while it is being decided.

    Attributes:
        chain, request, state, now: what is decided.
        tool: what the catalogue says.
        findings: so far, of `against_it` in all.
        leans: whether a rule permits it only for the sake of the people who approved.
        unproven: whether the caller was asked to show that it is the holder, and did not.
        nonce, proven, spends, used, want, rules, obligations: of the verdict.
        demands: gates of the policy that hold the call back.
        handover: whether it is the chain's last hop itself that is asked about, and not a call under it.
    """

    nonce: Nonce | None = None
    against_it = 0
    proven = False
    unproven = False
    leans = False
    spends: tuple[Spend, ...] = ()
    used: Approval | None = None
    want: Want | None = None
    rules: tuple[str, ...] = ()
    obligations: tuple[Obligation, ...] = ()

    def __init__(self, chain: Chain, request: Request, state: State, now: float, *, handover: bool = False) -> None:
        self.chain = chain
        self.request = request
        self.state = state
        self.now = now
        self.handover = handover
        self.tool = state.catalogue.tool(request.tool)
        self.findings: list[Finding] = []
        self.demands: list[Demand] = []

    def against(self, reason: Reason, hop: int | None, detail: str) -> None:
        """Add a finding.

        Beyond `MAX_FINDINGS` one more of a reason that is there already says nothing new. The first of a reason always
        stands: nobody can fill the list with what is harmless, and so keep out what is not.
        """
        self.against_it += 1
        findings = self.findings
        if len(findings) >= MAX_FINDINGS:
            reasons = [finding.reason for finding in findings]
            if reason in reasons:
                return
            again = max(place for place, known in enumerate(reasons) if known in reasons[:place])
            del findings[again]
        findings.append(Finding(reason=reason, hop=hop, detail=clip(detail)))

    def verdict(self) -> Verdict:
        """Return what came of it."""
        return Verdict(
            tuple(self.findings),
            self.now,
            self.nonce,
            self.proven,
            self.spends,
            self.used,
            self.want,
            self.rules,
            self.obligations,
            self.state.settings.shadow,
            self.state.settings.labels[self.label],
            "" if self.tool.amount is None else self.money,
        )

    @property
    def goes_through(self) -> bool:
        """Whether nothing so far stops the call."""
        return not self.findings or shadowed(self.findings, self.state.settings.shadow)

    @_once
    def parties(self) -> tuple[Party, ...]:
        """Who holds each hop."""
        party = self.state.party
        return tuple([party(hop.holder) for hop in self.chain.hops])

    @_once
    def label(self) -> int:
        """Place of the data's label: the higher of catalogue and enforcement point; the highest where none says."""
        labels = self.state.settings.labels
        highest = place = len(labels) - 1
        said, stated = self.tool.classification, self.request.classification
        if said is not None:
            known = rank(said, labels)
            place = highest if known is None else known
        if stated is not None:
            known = rank(stated, labels)
            other = highest if known is None else known
            place = other if said is None else max(place, other)
        return place

    @_once
    def amount(self) -> Decimal | None:
        """Money that the call moves, where the catalogue says which argument tells; None where that cannot be read."""
        where = self.tool.amount
        if where is None:
            return None
        try:
            return read(self.request.arguments, where.argument)
        except UnreadableError:
            return None

    @property
    def money(self) -> str:
        """`amount` with its currency; empty where it moves none."""
        return "" if self.amount is None else f"{self.amount:f} {currency(self)}".strip()

    @property
    def asker(self) -> str:
        """Thumbprint of the key that asks: the leaf's holder, or whoever makes the last hop; empty for an issuer."""
        hops = self.chain.hops
        if not self.handover:
            return hops[-1].holder
        return hops[-2].holder if len(hops) > 1 else ""

    @_once
    def action(self) -> Action:
        """What people would be asked to approve."""
        request, asker = self.request, self.state.party(self.asker)
        return Action(
            subject=(asker.thumbprint or self.chain.issuer) if asker.principal is None else asker.principal.id,
            tool=request.tool,
            arguments=request.arguments,
            target=self.tool.target or "",
            amount=self.money,
            purpose=request.purpose or "",
            audience=request.audience or "",
            labels=request.labels,
            classification=self.state.settings.labels[self.label],
            root=self.root,
            path=approvals.path(self.chain),
        )

    @property
    def root(self) -> str:
        """What an approval hangs from: the root's identity; of one that is only being issued, what is asked for."""
        if not self.handover or len(self.chain) > 1:
            return self.chain.root.id
        asked = {"issuer": self.chain.issuer, **self.request.arguments}
        return b64encode(sha256(jcs.dumps(asked)).digest())

    @_once
    def binding(self) -> str:
        """Hash of `action`."""
        return self.action.binding()

    @_once
    def asked(self) -> Approval | None:
        """The request for approval of this very call, if one is under way, granted or refused."""
        if not self.state.asked_under(self.root):
            return None
        found = self.state.approval(self.binding)
        return None if found is None else found.at(self.now)

    @_once
    def votes(self) -> tuple[Vote, ...]:
        """The approvals of this very call that count now; each is judged again."""
        asked = self.asked
        if asked is None or asked.state not in ("pending", "approved"):
            return ()
        return tuple(eligible(asked, self.parties, self.state, self.now))


def eligible(asked: Approval, parties: tuple[Party, ...], state: State, now: float) -> Iterable[Vote]:
    """Yield the approvals of a request whose authors may still approve it.

    Args:
        asked: the request.
        parties: holders of its chain.
        state: live facts.
        now: seconds.
    """
    for vote in asked.standing(now):
        if barred(asked, vote.key, vote, parties, state, now) is None:
            yield vote


def barred(asked: Approval, key: str, vote: Vote, parties: tuple[Party, ...], state: State, now: float) -> str | None:
    """Return why a person's word on a request does not count now, or None."""
    party = state.party(key)
    agents = [one.principal for one in parties if one.principal is not None]
    why = approvals.ineligible(asked, key, party.principal, agents)
    if why is not None:
        return why
    if party.principal is None or party.principal.id != vote.approver:
        return "the approver's key belongs to somebody else by now"
    revoked = not state.controls.struck.isdisjoint((("holder", key), ("key", key)))
    if revoked or next(iter(state.stopped(key, now)), None) is not None:
        return f"`{vote.approver}` is suspended or revoked"
    if state.policy is None:
        return None
    action = asked.action
    judged = Judged(
        approver=party,
        requester=state.party(asked.holder),
        ancestors=parties,
        tool=action.tool,
        subject=asked.sub,
        task=asked.task,
        purpose=action.purpose,
        amount=_decimal(action.amount),
        emergency=vote.emergency,
        currency=action.amount.partition(" ")[2],
    )
    outcome = state.policy.approver(judged)
    return None if outcome.permitted else f"the policy does not take `{vote.approver}` for it: {outcome.words}"


def currency(case: Case) -> str:
    """Return the currency of a call's amount, by the catalogue or by the argument that it names."""
    where = case.tool.amount
    if where is None:
        return ""
    if where.currency is not None:
        return where.currency
    stated = case.request.arguments.get(where.currency_argument or "")
    return stated if isinstance(stated, str) else ""


def _decimal(text: str) -> Decimal | None:
    return Decimal(text.partition(" ")[0]) if text else None


Question: TypeAlias = Callable[[Case], None]
