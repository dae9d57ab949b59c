"""What if? The same decision, under facts that are only supposed.

The law of this file: nothing is written and nothing is used up. The questions are those of every call, but that the
holder counts as proven.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from chain import check as checks
from chain import ruling
from chain.approval import Vote
from chain.beneath import extended
from chain.case import Case, Question, Verdict, eligible
from chain.decision import Awaited, Decision, Effect, refused
from chain.delegation import Chain
from chain.errors import InvalidTokenError
from chain.explain import HopExplanation
from chain.live import Live
from chain.request import Request
from chain.supposed import AS_IT_IS, Hypothesis, Supposed
from chain.token import Rules

_SOMEBODY = "spiffe://supposed.example/human"
"""Names of the people who are only supposed to have approved; no rule names them."""

_TAKEN: tuple[Question, ...] = (checks.holder, checks.rate)
"""What is taken as given: that the holder asks, and not too often."""


class Simulation(NamedTuple):
    """A decision as things stand, and as they would.

    Attributes:
        now, then: the decisions; neither is recorded.
        hops: the chain under the hypothesis, laid open.
    """

    now: Decision
    then: Decision
    hops: tuple[HopExplanation, ...]


class _Approved(Case):
    """A call that enough people approved, unless somebody refused it: a refusal is final."""

    def __init__(self, chain: Chain, request: Request, state: Supposed, now: float) -> None:
        super().__init__(chain, request, state, now)
        self._people = state.hypothesis.people

    @property
    def votes(self) -> tuple[Vote, ...]:
        """Those who did, and as many who are only supposed to have as were missing."""
        asked, at = self.asked, int(self.now)
        if asked is not None and asked.state == "denied":
            return ()
        counts = asked is not None and asked.state in ("pending", "approved")
        real = list(eligible(asked, self.parties, self.state, self.now)) if asked is not None and counts else []
        more = range(len(real), self._people)
        return (*real, *(Vote(f"{_SOMEBODY}/{place}", "", "approve", at, at) for place in more))


def decide(
    chain: Chain, request: Request, state: Supposed, now: float, taken: tuple[Question, ...] = _TAKEN
) -> Verdict:
    """Decide a call of which some is taken as given.

    Args:
        chain: verified, or supposed (`chain.beneath`).
        request: what is asked; its proof is not looked at.
        state: facts.
        now: seconds.
        taken: questions that are not asked.
    """
    return ask(chain, request, state, now, [question for question in checks.QUESTIONS if question not in taken])


def ask(chain: Chain, request: Request, state: Supposed, now: float, questions: Iterable[Question]) -> Verdict:
    """Ask some questions about a call; of one that is supposed to be approved, nobody is asked to approve it.

    Args:
        chain, request, state, now: as of `decide`.
        questions: in their order.
    """
    approved = state.hypothesis.approved
    case = _Approved(chain, request, state, now) if approved else Case(chain, request, state, now)
    for question in questions:
        if not (approved and question is ruling.approval and not _refused(case)):
            question(case)
    return case.verdict()


def _refused(case: Case) -> bool:
    return case.asked is not None and case.asked.state == "denied"


def told(verdict: Verdict, state: Supposed) -> Decision:
    """Return the decision of a verdict that is not recorded, with what spoke and the request that waits already."""
    digest = "" if state.policy is None else state.policy.digest
    more: dict[str, object] = {"policy": digest, "rules": verdict.rules}
    want, decision = verdict.want, verdict.decision
    if want is not None and want.standing is not None and decision.effect is Effect.APPROVAL_REQUIRED:
        more["awaits"] = Awaited(
            request_id=want.standing.id,
            binding=want.binding,
            expires_at=want.standing.expires,
            threshold=max(demand.threshold for demand in want.demands),
            approvals=want.votes,
        )
    return decision.model_copy(update=more)


def spoke(chain: Chain, state: Supposed) -> list[tuple[str, ...]]:
    """Return for every hop the ids of the policy's rules that determine whether it may be made, asked afresh."""
    if state.policy is None:
        return [() for _ in chain.hops]
    found, above, parties = [], None, tuple(state.party(hop.holder) for hop in chain.hops)
    for hop in chain.hops:
        above = Chain(hop, above)
        found.append(state.policy.hop(above, parties[: hop.hop + 1], ()).rules)
    return found


def simulate(
    chain: Chain, request: Request, live: Live, hypothesis: Hypothesis, rules: Rules, now: float
) -> tuple[Decision, Decision, Chain, Supposed]:
    """Decide a call as things stand, and as they would.

    Args:
        chain: verified.
        request: what is asked.
        live: facts.
        hypothesis: what is supposed.
        rules: of the verifier.
        now: seconds.

    Returns:
        Both decisions, the chain under the hypothesis (where it cannot be made, the chain as it is), and the facts.
    """
    if hypothesis.audience is not None:
        request = request.model_copy(update={"audience": hypothesis.audience})
    actual, state = Supposed(live, AS_IT_IS), Supposed(live, hypothesis)
    before = told(decide(chain, request, actual, now), actual)
    then = now if hypothesis.at is None else hypothesis.at
    try:
        supposed = extended(chain, hypothesis.delegate, rules, then)
    except InvalidTokenError as error:
        return before, refused(error, then), chain, state
    return before, told(decide(supposed, request, state, then), state), supposed, state
