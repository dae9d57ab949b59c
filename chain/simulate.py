"""What if? The same decision, under facts that are only supposed.

The law of this file: nothing is written and nothing is used up. A supposition stands in front of the live facts and
answers in their place where it says something; the questions are those of every call, but that the holder counts as
proven.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

import msgspec

from chain import check as checks
from chain import claims as wire
from chain import mint, ruling
from chain.approval import Approval
from chain.budget import Spent
from chain.case import Case, Question, Verdict
from chain.catalog import Catalogue
from chain.control import ORDINARY, Controls, Party, Scope, Suspension
from chain.decision import Awaited, Decision, Effect, refused
from chain.delegation import Chain, Delegation, require_link
from chain.errors import InvalidTokenError
from chain.explain import HopExplanation
from chain.grant import Grant
from chain.live import MAX_UNDER, Live
from chain.outcome import PolicyView
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.state import Settings
from chain.statuslist import Reference
from chain.token import Rules

SUPPOSED = "supposed"
"""The author of what nobody suspended."""

_TAKEN: tuple[Question, ...] = (checks.holder, checks.rate)
"""What is taken as given: that the holder asks, and not too often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """How things would stand otherwise; what is absent stands as it does.

    Attributes:
        delegate: grants of further hops beneath the leaf, held by the leaf's own holder.
        revoke: digests of delegations that would be revoked.
        policy: the one that would be active, unless `without_policy`.
        without_policy: none would be active.
        at: seconds; None for now.
        suspend: what would be suspended.
        approved: enough people would have approved; what people refused stays refused.
        audience: the enforcement point that would ask; None for the request's own.
        restore: digests of delegations that would not be revoked.
        pardon: revocations by name that would not stand.
        lift: suspensions that would not stand.
        enrol: who would hold which key, by thumbprint.
        trust: ids of principals whose own risk would be low.
        approve: digests of hops that people would have approved.
        without_rules: ids of rules that the policy would not have.
    """

    delegate: tuple[Grant, ...] = ()
    revoke: frozenset[bytes] = frozenset()
    policy: PolicyView | None = None
    without_policy: bool = False
    at: float | None = None
    suspend: tuple[tuple[Scope, str], ...] = ()
    approved: bool = False
    audience: str | None = None
    restore: frozenset[bytes] = frozenset()
    pardon: frozenset[tuple[str, str]] = frozenset()
    lift: frozenset[tuple[str, str]] = frozenset()
    enrol: tuple[tuple[str, Principal], ...] = ()
    trust: frozenset[str] = frozenset()
    approve: frozenset[bytes] = frozenset()
    without_rules: frozenset[str] = frozenset()


AS_IT_IS = Hypothesis()


class Simulation(NamedTuple):
    """A decision as things stand, and as they would.

    Attributes:
        now, then: the decisions; neither is recorded.
        hops: the chain under the hypothesis, laid open.
    """

    now: Decision
    then: Decision
    hops: tuple[HopExplanation, ...]


class _Gone(AbstractSet[bytes]):
    """What is revoked under a hypothesis, without a copy of what is."""

    def __init__(self, known: AbstractSet[bytes], supposed: Hypothesis) -> None:
        self._known = known
        self._supposed = supposed

    def __contains__(self, digest: object) -> bool:
        supposed = self._supposed
        return digest in supposed.revoke or (digest in self._known and digest not in supposed.restore)

    def __iter__(self) -> Iterator[bytes]:
        yield from self._supposed.revoke
        yield from (one for one in self._known if one in self and one not in self._supposed.revoke)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(slots=True)
class Supposed:
    """The live facts with a hypothesis in front of them (`chain.state.State`).

    Its policy remembers nothing from before: what is supposed must not be answered from what was, nor be remembered
    for what is.
    """

    live: Live
    hypothesis: Hypothesis
    controls: Controls = field(init=False)
    policy: PolicyView | None = field(init=False)

    def __post_init__(self) -> None:
        """Suspend, lift, revoke and trust what is supposed to be."""
        known, supposed = self.live.controls, self.hypothesis
        suspensions = known.suspensions.copy()
        for key in supposed.lift:
            suspensions.pop(key, None)
        for scope, name in supposed.suspend:
            suspensions[scope, name] = Suspension(scope, name, "suspended", SUPPOSED, SUPPOSED, 0)
        standings = known.standings.copy()
        for name in supposed.trust & standings.keys():
            standings[name] = msgspec.structs.replace(standings[name], risk="low")
        self.controls = Controls(suspensions, known.struck - supposed.pardon, standings)
        self.policy = self._policy()

    def _policy(self) -> PolicyView | None:
        supposed = self.hypothesis
        policy = self.live.policy if supposed.policy is None else supposed.policy
        if policy is None or supposed.without_policy:
            return None
        return policy.without(supposed.without_rules) if supposed.without_rules else policy.fresh()

    @property
    def settings(self) -> Settings:
        """As they are."""
        return self.live.settings

    @property
    def catalogue(self) -> Catalogue:
        """By the supposed policy's bundle, or as it is."""
        return self.live.configured if self.policy is None else self.policy.catalogue

    @property
    def revoked(self) -> AbstractSet[bytes]:
        """What is revoked, and what is supposed to be."""
        supposed, known = self.hypothesis, self.live.revoked
        return _Gone(known, supposed) if supposed.revoke or supposed.restore else known

    def seen(self, digest: bytes, nonce: str) -> bool:
        """Tell whether a proof or request id was used before."""
        return self.live.seen(digest, nonce)

    def principal(self, thumbprint: str) -> Principal | None:
        """Return who a key belongs to, supposed or not."""
        for key, principal in self.hypothesis.enrol:
            if key == thumbprint:
                return principal
        return self.live.principal(thumbprint)

    def party(self, thumbprint: str) -> Party:
        """Return who holds a key, and how they stand."""
        found = self._up(thumbprint)
        if not found:
            return Party(thumbprint, None, ORDINARY)
        return Party(thumbprint, found[0], self.controls.standing(found[0], found[1:]))

    def _up(self, thumbprint: str) -> list[Principal]:
        """Return who holds a key, and the agents that enrolled it, nearest first, as `Live` finds them."""
        found: list[Principal] = []
        while len(found) < MAX_UNDER and (principal := self.principal(thumbprint)) is not None:
            found.append(principal)
            thumbprint = principal.under or ""
        return found

    def stopped(self, thumbprint: str, now: float) -> Iterator[Suspension]:
        """Yield what stops whoever holds a key, or an agent that enrolled it, supposed or not."""
        own = self.controls.suspensions.get(("agent", thumbprint))
        over = (one for principal in self._up(thumbprint) for one in self.controls.over(principal))
        yield from (one for one in (*(() if own is None else (own,)), *over) if one.at(now))

    def rested(self, thumbprint: str, now: float) -> float:
        """Return how many seconds a holder would have to wait; nothing is forgotten of what it did."""
        return self.live.rested(thumbprint, now)

    def spent(self, digest: bytes) -> Spent:
        """Return what was used up of a budget."""
        return self.live.spent(digest)

    def asked_under(self, root: str) -> bool:
        """Tell whether anybody asked for an approval."""
        return self.live.asked_under(root)

    def approval(self, binding: str) -> Approval | None:
        """Return the latest request for approval of an action."""
        return self.live.approval(binding)

    def waiting(self, thumbprint: str, now: float) -> int:
        """Return how many requests wait for people."""
        return self.live.waiting(thumbprint, now)

    def approved(self, digest: bytes) -> bool:
        """Tell whether people approved a hop."""
        supposed = self.hypothesis
        return supposed.approved or digest in supposed.approve or self.live.approved(digest)

    def invalid(self, hop: Delegation, where: Reference, now: float) -> bool | None:
        """Tell what the own status list says."""
        return self.live.invalid(hop, where, now)


def decide(
    chain: Chain, request: Request, state: Supposed, now: float, taken: tuple[Question, ...] = _TAKEN
) -> Verdict:
    """Decide a call of which some is taken as given.

    Args:
        chain: verified, or supposed (`extended`).
        request: what is asked; its proof is not looked at.
        state: facts.
        now: seconds.
        taken: questions that are not asked.
    """
    asked = [question for question in checks.QUESTIONS if question not in taken]
    if state.hypothesis.approved:
        asked = [_unrefused if question is ruling.approval else question for question in asked]
    return checks.check(chain, request, state, now, tuple(asked))


def _unrefused(case: Case) -> None:
    """Take it that enough people approved the call, unless somebody refused it: a refusal is final."""
    if case.asked is not None and case.asked.state == "denied":
        ruling.approval(case)


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


def extended(chain: Chain, grants: tuple[Grant, ...], rules: Rules, now: float) -> Chain:
    """Return a chain with further hops that nobody signed.

    Args:
        chain: verified.
        grants: of the hops, each beneath the one before; the holder stays the leaf's.
        rules: of the verifier.
        now: seconds.

    Raises:
        InvalidTokenError: a hop asks for more than its parent grants, or may not be made.
    """
    for grant in grants:
        chain = _beneath(chain, grant, rules, now)
    return chain


def _beneath(chain: Chain, grant: Grant, rules: Rules, now: float) -> Chain:
    leaf = chain.leaf
    holder, hop = leaf.key, leaf.hop + 1
    if holder is None:
        raise InvalidTokenError(Reason.DELEGATOR_MISMATCH, hop, "a holder without a key cannot delegate")
    if leaf.exp <= now:
        raise InvalidTokenError(Reason.EXPIRED, leaf.hop, f"expired at {leaf.exp}")
    try:
        made = mint.child_claims(
            leaf, grant, holder, jti=f"{SUPPOSED}-{hop}", now=int(now), lifetime=leaf.exp - leaf.iat
        )
        payload = msgspec.json.encode(made)
        claims, entry = wire.decode(payload)
        require_link(chain.hops, claims, entry, rules.profile, rules.labels)
        digest = sha256(payload).digest()
        return Chain(Delegation(digest, claims, entry, holder, rules.labels, holder.thumbprint), chain)
    except ValueError as error:
        raise InvalidTokenError(Reason.CLAIM_INVALID, hop, f"{error}") from None


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
