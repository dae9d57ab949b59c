"""What might lift a finding: proposals about live facts, the policy, and what people approve.

The law of this file: as in chain/remedy.py. To take a rule out of the policy is proposed last and weighs most: somebody
wrote it for a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from math import ceil

from chain import ruling
from chain.applied import Situation, apply, text
from chain.control import ORDINARY, Suspension
from chain.decision import Finding
from chain.explain import Change
from chain.principal import SCHEME, Principal
from chain.reason import Reason
from chain.remedy import REMEDIES, Proposal, case, lower
from chain.state import MAX_SKEW

LIVES = (28_800, 3_600, 900, 300)
"""Seconds that a hop might live instead, where a rule may find it too long-lived."""

HALVINGS = 12
"""Questions by which the largest amount is sought that a rule lets pass."""


def wait(situation: Situation) -> Iterator[Proposal]:
    """Later: when every hop was issued, and its holder has rested."""
    issued = max(hop.iat for hop in situation.chain.hops) - MAX_SKEW
    rest = situation.state.rested(situation.chain, situation.now)
    then = max(issued, ceil(situation.now + rest))
    yield (_state("time", text(int(situation.now)), text(then), f"wait for {then - int(situation.now)} s"),)


def _state(field: str, before: str, after: str, words: str) -> Change:
    return Change("state", field, before, after, words)


def suspension(situation: Situation) -> Iterator[Proposal]:
    """Everything that stops the call is lifted."""
    state, now = situation.state, situation.now
    found: dict[tuple[str, str], Suspension] = {}
    around = state.controls.around(situation.chain.facts.txn, situation.request.tool)
    names = (name for hop in situation.chain.hops for name in hop.names)
    stopping = (one for name in names for one in state.stopped(name, now))
    for one in (*around, *stopping):
        if one.at(now):
            found[one.scope, one.name] = one
    yield tuple(
        _state(f"suspensions.{scope}:{name}", text(one.mode), "", f"lift what is {one.mode}: {scope} `{name}`")
        for (scope, name), one in sorted(found.items())
    )


def revocation(situation: Situation) -> Iterator[Proposal]:
    """What was revoked is granted anew, as it was."""
    chain, state = situation.chain, situation.state
    single = [
        _state(f"hops.{hop.hop}.revoked", "true", "false", f"grant hop {hop.hop} anew, as it was before it was revoked")
        for hop in chain.hops
        if hop.digest in state.revoked
    ]
    named = {("issuer", chain.issuer), ("task", chain.facts.txn or "")}
    named |= {("key", name) for hop in chain.hops for name in (hop.signer, hop.certifier)} | {
        ("holder", name) for hop in chain.hops for name in hop.names
    }
    struck = [
        _state(f"struck.{kind}:{name}", "true", "false", f"grant anew what was revoked with {kind} `{name}`")
        for kind, name in sorted(named & state.controls.struck)
    ]
    yield (*single, *struck)


def enrolment(situation: Situation) -> Iterator[Proposal]:
    """Every holder is somebody, in the trust domain of those who are."""
    known = [one.principal for one in case(situation).parties if one.principal is not None]
    domain, owner = ("example", "nobody") if not known else (known[0].trust_domain, known[0].owner)
    unknown = dict.fromkeys(hop.holder for hop in situation.chain.hops if not situation.state.principal(hop.holder))
    steps = []
    for holder in unknown:
        name = holder if holder.startswith(SCHEME) else f"{SCHEME}{domain}/agent/{holder}"
        principal = Principal(id=name, owner=owner)
        words = f"enrol the holder of hop {_hop_of(situation, holder)}"
        steps.append(_state(f"enrolments.{holder}", "", text(principal.model_dump(exclude_none=True)), words))
    if steps:
        yield tuple(steps)


def _hop_of(situation: Situation, holder: str) -> int:
    return next(hop.hop for hop in situation.chain.hops if hop.holder == holder)


def approval(situation: Situation) -> Iterator[Proposal]:
    """Enough people approve the call."""
    verdict = situation.verdict()
    need = 1 if verdict.want is None else max(demand.threshold for demand in verdict.want.demands)
    had = 0 if verdict.want is None else verdict.want.votes
    words = f"{need} {'person approves' if need == 1 else 'people approve'} this very call"
    yield (Change("approval", "approvals", text(had), text(need), words),)


def hop_approval(situation: Situation) -> Iterator[Proposal]:
    """People approve the hops that the policy wants approved."""
    policy = situation.state.policy
    waiting = () if policy is None else policy.faults(situation.chain, case(situation).parties)
    yield tuple(
        Change(
            "approval",
            f"hops.{place}.approval",
            "0",
            text(max(gate.threshold for gate in outcome.gates)),
            f"hop {place} is made once more, and people approve it",
        )
        for place, outcome in waiting
        if outcome.gates and not situation.state.approved(situation.chain.hops[place].digest)
    )


def labels(situation: Situation) -> Iterator[Proposal]:
    """None are stated."""
    stated = situation.request.labels
    if stated:
        words = "state no labels, where the prompt deserves none"
        yield (Change("request", "labels", text(list(stated)), "[]", words),)


def amounts(situation: Situation) -> Iterator[Proposal]:
    """Seek the largest amount below the one asked that no rule speaks against."""
    where, asked = situation.state.catalogue.tool(situation.request.tool).amount, case(situation).amount
    if where is None or asked is None:
        return
    low, high = Decimal(0), asked
    if _refused(situation, where.argument, low):
        return
    for _ in range(HALVINGS):
        middle = (low + high) / 2 if high - low <= 1 else Decimal(ceil((low + high) / 2))
        low, high = (low, middle) if _refused(situation, where.argument, middle) else (middle, high)
    yield from lower(situation, where.argument, low)


def _refused(situation: Situation, name: str, amount: Decimal) -> bool:
    tried = apply(Change("request", f"arguments.{name}", "", text(f"{amount:f}"), ""), situation)
    found = tried.answered(ruling.policy).findings
    return any(of_the_call(finding) or finding.reason is Reason.AMOUNT_UNREADABLE for finding in found)


def of_the_call(finding: Finding) -> bool:
    """Tell whether a rule of the policy speaks against the call itself."""
    return finding.reason is Reason.POLICY_DENIED and finding.hop is None


def shorter(situation: Situation) -> Iterator[Proposal]:
    """Every hop lives less long."""
    for life in LIVES:
        steps = tuple(
            Change("grant", f"hops.{hop.hop}.exp", text(hop.exp), text(hop.iat + life), f"hop {hop.hop} lives {life} s")
            for hop in situation.chain.hops
            if hop.exp - hop.iat > life
        )
        if steps and all(hop.iat + life > situation.now for hop in situation.chain.hops):
            yield steps


def calm(situation: Situation) -> Iterator[Proposal]:
    """Nobody whom a holder stands for is at risk."""
    standings = situation.state.controls.standings
    people = [one.principal.id for one in case(situation).parties if one.principal and one.standing != ORDINARY]
    risky = {name for name, standing in standings.items() if standing.risk != "low"}
    named = sorted(name for name in risky if any(f"{person}/".startswith(f"{name}/") for person in people))
    if named:
        yield tuple(
            _state(f"principals.{name}.risk", text(standings[name].risk), text("low"), f"the risk of `{name}` is low")
            for name in named
        )


def rules(situation: Situation) -> Iterator[Proposal]:
    """Take out the rules that speak against it, or, where none permits it, the policy."""
    policy = situation.state.policy
    if policy is None:
        return
    parties = case(situation).parties
    found = [outcome.rules for _, outcome in policy.faults(situation.chain, parties) if not outcome.gates]
    verdict = situation.answered(ruling.policy)
    if any(map(of_the_call, verdict.findings)):
        found.append(verdict.rules)
    named = sorted({rule for one in found for rule in one})
    if named:
        yield tuple(
            _state(f"policy.rules.{name}", text(name), "", f"the policy has no rule `{name}`") for name in named
        )
    yield (_state("policy", text(policy.digest), "", "no policy is active"),)


RELIEFS: dict[Reason, tuple[Callable[[Situation], Iterator[Proposal]], ...]] = {
    **REMEDIES,
    Reason.NOT_YET_VALID: (wait,),
    Reason.RATE_LIMITED: (wait,),
    Reason.REVOKED: (revocation,),
    Reason.SUSPENDED: (suspension,),
    Reason.QUARANTINED: (suspension,),
    Reason.HOLDER_UNKNOWN: (enrolment,),
    Reason.POLICY_DENIED: (shorter, enrolment, calm, rules),
    Reason.POLICY_ERROR: (shorter, enrolment, calm, rules),
    Reason.HOP_UNAPPROVED: (hop_approval,),
    Reason.APPROVAL_REQUIRED: (approval,),
    Reason.APPROVAL_THROTTLED: (approval,),
}
"""Finding -> everything that proposes a change because of it, what is mildest first."""

OF_THE_CALL: dict[Reason, tuple[Callable[[Situation], Iterator[Proposal]], ...]] = {
    Reason.POLICY_DENIED: (labels, amounts),
}
"""What proposes a change first, where a finding is about the call itself and about none of its hops."""
