"""Facts that are only supposed.

The law of this file: nothing is written. A supposition stands in front of the live facts and answers in their place
where it says something; else the live ones answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import msgspec

from chain.approval import Action, Approval
from chain.budget import Spent
from chain.catalog import Catalogue
from chain.control import ORDINARY, Controls, Party, Scope, Suspension
from chain.delegation import Chain, Delegation
from chain.grant import Grant
from chain.live import Live
from chain.outcome import PolicyView
from chain.principal import Principal
from chain.roster import line
from chain.state import Settings
from chain.statuslist import Reference

SUPPOSED = "supposed"
"""The author of what nobody suspended."""

ENOUGH = 64
"""People who are supposed to approve: as many as a gate can ask for."""


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
        people: how many of them a rule is told of that counts them; who they are, no rule knows.
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
    people: int = ENOUGH
    audience: str | None = None
    restore: frozenset[bytes] = frozenset()
    pardon: frozenset[tuple[str, str]] = frozenset()
    lift: frozenset[tuple[str, str]] = frozenset()
    enrol: tuple[tuple[str, Principal], ...] = ()
    trust: frozenset[str] = frozenset()
    approve: frozenset[bytes] = frozenset()
    without_rules: frozenset[str] = frozenset()

    @property
    def rules(self) -> tuple[PolicyView | None, bool, frozenset[str]]:
        """What it says of the policy."""
        return self.policy, self.without_policy, self.without_rules


AS_IT_IS = Hypothesis()


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


class Supposed:
    """The live facts with a hypothesis in front of them (`chain.state.State`).

    Its policy remembers nothing from before: what is supposed must not be answered from what was, nor be remembered
    for what is.

    Attributes:
        live: facts.
        hypothesis: what is supposed.
        known: controls, as they stood when the first hypothesis was made.
        controls: those, but for what is supposed.
        policy: the one that is supposed; made when it is asked first.
    """

    def __init__(self, live: Live, hypothesis: Hypothesis, before: Supposed | None = None) -> None:
        """Suspend, lift, revoke and trust what is supposed to be.

        Args:
            live: facts.
            hypothesis: what is supposed.
            before: facts that were taken already, under another hypothesis.
        """
        self.live = live
        self.hypothesis = hypothesis
        self.known: Controls = _taken(live.controls) if before is None else before.known
        self.controls = _supposed(self.known, hypothesis)
        self._policy: PolicyView | None = None
        self._ready = False

    def under(self, hypothesis: Hypothesis) -> Supposed:
        """Return the same facts under another hypothesis; the same policy goes on with what it remembers."""
        made = Supposed(self.live, hypothesis, self)
        if hypothesis.rules == self.hypothesis.rules:
            made.ask(self.policy)
        return made

    def ask(self, policy: PolicyView | None) -> None:
        """Go on with a policy that was asked before, of the same rules and about the same chain."""
        self._policy, self._ready = policy, True

    @property
    def policy(self) -> PolicyView | None:
        """The one that is supposed."""
        if not self._ready:
            self.ask(self._made())
        return self._policy

    def _made(self) -> PolicyView | None:
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
        found = line(thumbprint, self.principal)
        if not found:
            return Party(thumbprint, None, ORDINARY)
        return Party(thumbprint, found[0], self.controls.standing(found[0], found[1:]))

    def stopped(self, thumbprint: str, now: float) -> Iterator[Suspension]:
        """Yield what stops whoever holds a key, or an agent that it works under, supposed or not."""
        over = self.controls.over(thumbprint, line(thumbprint, self.principal))
        yield from (one for one in over if one.at(now))

    def rested(self, chain: Chain, now: float) -> float:
        """Return how many seconds a holder would have to wait; nothing is forgotten of what it did."""
        return self.live.rested(chain, now)

    def spent(self, digest: bytes) -> Spent:
        """Return what was used up of a budget."""
        return self.live.spent(digest)

    def asked_under(self, root: str) -> bool:
        """Tell whether anybody asked for an approval."""
        return self.live.asked_under(root)

    def approval(self, binding: str) -> Approval | None:
        """Return the latest request for approval of an action."""
        return self.live.approval(binding)

    def crowded(self, asker: str, action: Action, now: float) -> str | None:
        """Return why people would not be asked; nothing is forgotten of what waits for them."""
        return self.live.crowded(asker, action, now)

    def approved(self, digest: bytes) -> bool:
        """Tell whether people approved a hop."""
        supposed = self.hypothesis
        return supposed.approved or digest in supposed.approve or self.live.approved(digest)

    def invalid(self, hop: Delegation, where: Reference, now: float) -> bool | None:
        """Tell what the own status list says."""
        return self.live.invalid(hop, where, now)


def _taken(known: Controls) -> Controls:
    """Return a copy that does not change: whoever tries many hypotheses tries them on the same facts."""
    return Controls(known.suspensions.copy(), known.struck.copy(), known.standings.copy())


def _supposed(known: Controls, supposed: Hypothesis) -> Controls:
    if not (supposed.lift or supposed.suspend or supposed.trust or supposed.pardon):
        return known
    suspensions, standings = known.suspensions.copy(), known.standings.copy()
    for key in supposed.lift:
        suspensions.pop(key, None)
    for scope, name in supposed.suspend:
        suspensions[scope, name] = Suspension(scope, name, "suspended", SUPPOSED, SUPPOSED, 0)
    for name in supposed.trust & standings.keys():
        standings[name] = msgspec.structs.replace(standings[name], risk="low")
    return Controls(suspensions, known.struck - supposed.pardon, standings)
