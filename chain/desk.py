"""What every call of an authority needs: trusted chains, one reading of the clock, one way to commit.

The law of this file: stored tokens are verified like any others, because a row is no proof; a clock that is behind
the ledger decides nothing; a change under an idempotency key is made once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import count
from typing import TypeAlias, TypeVar

import msgspec

from chain import check as checks
from chain import counterfactual
from chain import explain as explaining
from chain import simulate as simulating
from chain.anchor import Ceiling
from chain.applied import Situation
from chain.base64url import b64encode
from chain.batch import Asked, Deciding
from chain.caller import Caller, Role
from chain.catalog import Catalogue
from chain.change import Compose
from chain.decision import Decision, Effect, Finding, denied, refused
from chain.delegation import Chain
from chain.errors import ChainError, ForbiddenError, InvalidTokenError, NotFoundError, StoreError
from chain.explain import Explanation, agents_may_see, all_may_see
from chain.ledger import Store, decode
from chain.lineage import Lineage
from chain.live import Live
from chain.meter import Meter
from chain.once import AnsweredError, Changing, Once
from chain.pace import Breaker
from chain.pending import done, then
from chain.policyload import restored
from chain.reason import Reason
from chain.request import Request
from chain.simulate import Simulation
from chain.state import Settings
from chain.supposed import AS_IT_IS, Hypothesis, Supposed
from chain.timeline import REPLAYED, RESUMED, Resuming, Timeline
from chain.token import Verifier
from chain.writing import Moment

Presented: TypeAlias = Sequence[str] | bytes
"""A chain: its tokens, root first; or the digest of a leaf that this authority has registered."""

Clock: TypeAlias = Callable[[], float]
"""Seconds since the epoch."""

Entropy: TypeAlias = Callable[[int], bytes]
"""That many unguessable bytes."""

Resolved: TypeAlias = tuple[Chain, Sequence[str]] | InvalidTokenError
"""A trusted chain with its tokens, or why there is none."""

R = TypeVar("R")

SWEEP_EVERY = 60
"""Seconds of the ledger's time between two sweeps of what expired in the store."""


class Chains:
    """The chains of one batch: each is resolved once, also where it is refused.

    A chain stays authentic while the anchors are the same; whether it was revoked meanwhile is asked in the commit.
    """

    def __init__(self, desk: Desk) -> None:
        """Begin with none."""
        self._desk = desk
        self._trust = desk.verifier.trust
        self._known: dict[Presented, Resolved] = {}

    def resolve(self, presented: Presented) -> Resolved:
        """Return a chain, or why there is none."""
        trust = self._desk.verifier.trust
        if trust is not self._trust:
            self._trust, self._known = trust, {}
        key = presented if isinstance(presented, bytes) else tuple(presented)
        known = self._known.get(key)
        if known is None:
            try:
                known = self._desk.resolve(presented)
            except InvalidTokenError as error:
                known = error
            self._known[key] = known
        return known


class Desk:
    """The authority's own tools.

    Attributes:
        store, verifier, clock, entropy: as given.
        live: the facts, rebuilt from the store.
        lineage: questions about stored delegations.
        meter: how many calls were decided how.
        garbage: presented chains of which not even the root was authentic; counted, not recorded.
    """

    def __init__(  # noqa: PLR0913 - the outside world, by name
        self,
        store: Store,
        verifier: Verifier,
        clock: Clock,
        entropy: Entropy,
        settings: Settings,
        catalogue: Catalogue,
        *,
        steady: Clock | None,
        resume: bool,
        breaker: Breaker | None = None,
    ) -> None:
        """Rebuild the live facts.

        Args:
            store, verifier, clock, entropy, settings, catalogue: the authority's.
            steady: seconds that pass however the clock is set; None where there is no such thing.
            resume: accept a clock that lies behind the ledger, and record it.
            breaker: when a holder is slowed down or stopped.
        """
        self.store = store
        self.verifier = verifier
        self.clock = clock
        self.entropy = entropy
        self._time = self._believed(resume=resume)
        now = clock()
        since = min(now, self._time.floor / 1000) if self._time.floor else now
        self.live = Live(store, settings, catalogue, since, breaker)
        self.live.policy = restored(store, catalogue, settings.labels)
        self._steady = steady
        self._origin = now - (0.0 if steady is None else steady())
        self._next_sweep = 0.0
        self.lineage = Lineage(store, self.live, lambda: verifier.known)
        self.garbage = 0
        self.meter = Meter(steady)
        self._prefix, self._numbers = b64encode(entropy(9)), count(1)

    def resolve(self, presented: Presented) -> tuple[Chain, Sequence[str]]:
        """Return a trusted chain with its tokens; stored tokens are verified like any others.

        Raises:
            InvalidTokenError: not authentic, or a digest that was never registered.
        """
        if not isinstance(presented, bytes):
            return self.verifier.verify(presented), presented
        known = self.verifier.recall(presented)
        if known is not None and self.live.registered.get(presented) is not None:
            return known[1], known[0]  # what was only ever presented is remembered too, and is not registered
        tokens = self.lineage.tokens(presented)
        if tokens is None:
            raise InvalidTokenError(Reason.DIGEST_UNKNOWN, None, "no chain with this digest is registered here")
        return self.verifier.verify(tokens), tokens

    def asked(self, presented: Presented, request: Request, now: float, chains: Chains | None = None) -> Asked:
        """Return a check ready to be decided: with its chain, or with the reason why there is none."""
        tool = self.live.catalogue.tool(request.tool)
        try:
            known = self.resolve(presented) if chains is None else chains.resolve(presented)
        except InvalidTokenError as error:
            known = error
        if isinstance(known, InvalidTokenError):
            item = Asked(request, tool, fault=refused(known, now))
            self.garbage += item.garbage
            return item
        chain, tokens = known
        return Asked(request, tool, tokens, chain, named=isinstance(presented, bytes))

    def begin(
        self,
        calls: Sequence[tuple[Presented, Request]],
        caller: Caller,
        at_least: int,
        stop: Effect | None,
        chains: Chains | None,
    ) -> Future[list[Decision]]:
        """Decide calls together (`Authority.begin_check`)."""
        now, began = self.clock(), self.meter.start()
        if at_least > self.store.head:
            unknown = unanswered(Reason.REVISION_UNKNOWN, f"revision {at_least} is not known here", now)
            self.meter.refused(unknown, len(calls))
            return done([unknown] * len(calls))
        if chains is None and len(calls) > 1:
            chains = Chains(self)
        asked = [self.asked(presented, request, now, chains) for presented, request in calls]
        return self.decide(asked, caller, now, stop, began)

    def explain(self, caller: Caller, presented: Presented, request: Request) -> Explanation:
        """Decide and lay every hop open (`Authority.explain`)."""
        now = self.clock()
        item = self.asked(presented, request, now)
        if item.chain is None:
            fault = unanswered(Reason.INTERNAL, "no chain", now) if item.fault is None else item.fault
            return Explanation(fault, ())
        names = self.live.names_of(caller)
        own = any(hop.holder in names for hop in item.chain.hops)
        if Role.AGENT in caller.roles and not caller.sees_all and not own:
            raise ForbiddenError("the chain is not this caller's")
        state = Supposed(self.live, AS_IT_IS)  # its policy is asked afresh, and remembers nothing from before
        unshown = request.proof is None and not request.shown
        overseen = unshown and not caller.roles.isdisjoint({Role.AUDITOR, Role.OPERATOR})
        asked = tuple(one for one in checks.QUESTIONS if not (overseen and one is checks.holder))
        decision = simulating.told(checks.check(item.chain, request, state, now, asked), state)
        requested = f"`{request.tool}` {request.canonical_arguments.decode()}"
        spoke = simulating.spoke(item.chain, state)
        told = explaining.explain(item.chain, decision, requested, request.tool, spoke)
        situation = Situation(item.chain, request, state, now, self.verifier.rules, self._ceilings(item.chain))
        agent = caller.only_agent
        changes = counterfactual.suggested(decision, situation, agents_may_see if agent else all_may_see)
        told = told._replace(changes=changes)
        return told.to_agent(names) if agent else told

    def _ceilings(self, chain: Chain) -> tuple[Ceiling, ...]:
        """Return how far roots may reach that whoever signed this chain's signs."""
        return tuple(anchor.ceiling for anchor in self.verifier.trust.behind(chain.root))

    def simulate(self, presented: Presented, request: Request, hypothesis: Hypothesis) -> Simulation:
        """Decide as things stand and as they would (`Authority.simulate`)."""
        now = self.clock()
        item = self.asked(presented, request, now)
        if item.chain is None:
            fault = unanswered(Reason.INTERNAL, "no chain", now) if item.fault is None else item.fault
            return Simulation(fault, fault, ())
        before, then, chain, state = simulating.simulate(
            item.chain, request, self.live, hypothesis, self.verifier.rules, now
        )
        requested = f"`{request.tool}` {request.canonical_arguments.decode()}"
        told = explaining.explain(chain, then, requested, request.tool, simulating.spoke(chain, state))
        return Simulation(before, then, told.hops)

    def standing(self, caller: Caller, target: bytes, presented: Presented | None) -> Chain | None:
        """Return the chain under which a caller revokes, or None where its role suffices (`Authority.revoke`).

        Where a chain is presented it alone counts, whatever the role: somebody may ask through this caller.
        """
        self.lineage.require(target)
        if presented is None and caller.revokes_all:
            return None
        if presented is None:
            raise ForbiddenError("an agent revokes under a chain of its own, and presents none")
        chain, _ = self.resolve(presented)
        if not self.lineage.beneath(chain.leaf.digest, target):
            raise NotFoundError("no such delegation beneath the chain presented")
        return chain

    def _believed(self, *, resume: bool) -> Timeline:
        newest = self.store.records(max(1, self.store.head - REPLAYED + 1), REPLAYED)
        time = Timeline((record.kind, record.time) for record in (decode(data) for data, _ in newest))
        now = int(self.clock() * 1000)
        if not resume or not time.behind(now):
            return time
        self.store.commit(Resuming(now, time.floor)).result()
        return Timeline([(RESUMED, now)])

    def late(self, now: float) -> bool:
        """Tell whether a reading of the clock (seconds) lies behind the ledger's time."""
        return self._time.behind(int(now * 1000))

    def moment(self) -> Moment:
        """Read the clock for a commit.

        Raises:
            StoreError: it is behind the ledger; nothing is decided until somebody has looked.
        """
        now = self.clock()
        ms = int(now * 1000)
        if self._time.behind(ms):
            raise StoreError("the clock is behind the ledger", Reason.CLOCK_BEHIND)
        ms = self._time.take(ms)
        self._sweep(self._time.floor / 1000)
        return Moment(now, ms)

    def _sweep(self, believed: float) -> None:
        """Forget what expired, but never faster than time passes: a clock set ahead must not set nonces free."""
        passed = believed if self._steady is None else min(believed, self._origin + self._steady())
        self.live.sweep(passed)
        if passed >= self._next_sweep:
            self._next_sweep = passed + SWEEP_EVERY
            self.live.approvals.sweep(passed)
            self.store.expire(int(passed))

    def narrowing(self) -> Moment:
        """Read the clock for what only narrows: a wrong one keeps nobody from revoking."""
        now = self.clock()
        return Moment(now, self._time.floor) if self._time.behind(int(now * 1000)) else self.moment()

    def _new_id(self) -> str:
        return f"{self._prefix}-{next(self._numbers):x}"

    def decide(
        self, asked: Sequence[Asked], caller: Caller, now: float, stop: Effect | None, began: float
    ) -> Future[list[Decision]]:
        """Decide in one commit, in order; where nothing could be recorded, nothing is permitted."""
        names = self.live.names_of(caller) if caller.only_agent else caller.names
        batch = Deciding(asked, caller.name, self.live, self.store, self.moment, self._new_id, stop)

        def answer(_revision: int) -> list[Decision]:
            self.meter.decided(asked, began)
            return [told for item in asked if (told := item.told(caller, names)) is not None]

        def fail(error: Exception) -> list[Decision]:
            denial = unread(error, now)
            self.meter.refused(denial, len(asked))
            return [denial] * len(asked)

        return then(self.store.commit(batch), answer, fail)

    def told(self, once: Once | None) -> bytes | None:
        """Return the reply to an idempotency key that was used before: for what is costly before its commit.

        Raises:
            ConflictError: it was used for another request.
        """
        return None if once is None else once.prior(self.live, self.store, self.clock())

    def change(self, compose: Compose, once: Once | None, reply: type[R], *, urgent: bool = False) -> Future[R]:
        """Make a change once, and return its reply or raise why it was refused; what is urgent only narrows."""
        moment = self.narrowing if urgent else self.moment
        batch = Changing(compose, once, self.live, self.store, moment, urgent=urgent)

        def answer(_revision: int) -> R:
            if isinstance(batch.outcome, ChainError):
                raise batch.outcome
            return msgspec.json.decode(batch.outcome, type=reply)

        def repeat(error: Exception) -> R:
            if isinstance(error, AnsweredError):
                return msgspec.json.decode(error.reply, type=reply)
            raise error if isinstance(error, ChainError) else StoreError("the change was not made")

        return then(self.store.commit(batch), answer, repeat)


def unanswered(reason: Reason, detail: str, now: float) -> Decision:
    """Return the denial for a call that could not be decided."""
    return denied(Finding(reason=reason, hop=None, detail=detail), at=now)


def unread(error: Exception, now: float) -> Decision:
    """Return the denial for a call that could not be decided, since something that it needs failed."""
    reason = error.reason if isinstance(error, StoreError) else Reason.INTERNAL
    return unanswered(reason, "nothing could be recorded, so nothing is permitted", now)
