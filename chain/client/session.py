"""A session: on whose authority the code that runs now calls tools. One is active, or no tool runs.

The law of this file: the active session lives in a context variable, so that every task and every thread has its
own and nothing that a model sees carries it. A task that was started inside ``with session:`` has it too, and loses it
where the ``with`` ends, however long the task lives on. `check` tells; `require` lets through only what was
allowed with every obligation kept, and turns whatever else happens into one generic denial. `step` lets go on only
what somebody can tell still stands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Self, TypeAlias

from chain.client.door import AsyncDoor, Door
from chain.client.holding import LIFETIME, Handover, Holding, order
from chain.client.lookout import PULSE, Post, told_by
from chain.decision import Decision, Effect, Finding, Obligation, denied, shadowed
from chain.errors import ChainError, DeniedError
from chain.grant import Grant
from chain.jcs import Json
from chain.key import PublicKey
from chain.reason import Reason
from chain.state import SHADOWABLE
from chain.view import Revoked
from chain.watch import Stand

Keeper: TypeAlias = Callable[[Obligation], object]
"""Keeps one kind of obligation before the tool runs, and returns True once it is kept; nothing else counts."""


@dataclass(slots=True, eq=False)
class _Entry:
    """One ``with session:``; every copy of the context shares it, so that its end reaches all of them.

    Attributes:
        session: what was entered.
        open: until the ``with`` ends.
    """

    session: _Active
    open: bool = True


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class _Active(Holding):
    """What both kinds of session share: keepers of obligations, and being the active one.

    Attributes:
        keepers: obligation id -> what keeps it; one that is not here is a denial.
        watch: follow the chain while the session is active: once it has fallen, or nobody can tell, no guarded tool
            runs and no running one takes another `step`, until the session was left and is entered again.
        shadow: let a call go on whose denial is in shadow (`Decision.enforced`), for an estate that is not ready; what
            is denied besides stays denied.
        pulse: with `watch`, seconds between the server's signs of life, 0.1 to 60; after two that are missing nobody
            can tell.
    """

    keepers: Mapping[str, Keeper] = field(default_factory=dict)
    watch: bool = False
    pulse: float = PULSE
    shadow: bool = False
    _open: set[_Entry] = field(default_factory=set, init=False)
    _post: Post = field(default_factory=Post, init=False)

    def _enter(self) -> None:
        entry = _Entry(self)
        self._open.add(entry)
        _stack.set((*_stack.get(), entry))

    def _leave(self) -> None:
        """End the last `_enter`, here and in every copy of this context that a task or a thread took meanwhile.

        It may stand beneath others: a generator may be closed while another session is active. Where it was entered
        in another context, nobody can tell which of this session's entries has ended: all of them end.
        """
        stack = _stack.get()
        last = max((place for place, entry in enumerate(stack) if entry.session is self), default=None)
        if last is None:
            ended = tuple(self._open)
        else:
            ended = (stack[last],)
            _stack.set((*stack[:last], *stack[last + 1 :]))
        for entry in ended:
            entry.open = False
            self._open.discard(entry)

    def looked(self) -> bool:
        """Return True where a lookout says that the chain stands, False where none is posted.

        Raises:
            DeniedError: it says something else.
        """
        lookout = self._post.looking
        if lookout is None:
            return False
        self._must(lookout.stand())
        return True

    def _must(self, stand: Stand) -> None:
        if not stand.stands:
            finding = Finding(reason=stand.reason, hop=stand.hop, detail=stand.detail)
            raise DeniedError(denied(finding, at=self.clock()))

    def _refusal(self, reason: Reason, detail: str) -> DeniedError:
        return refusal(reason, detail, self.clock())

    def _failure(self, error: Exception) -> DeniedError:
        """Return the denial for a check that did not come to an answer."""
        if isinstance(error, DeniedError):
            return error
        if isinstance(error, ChainError):
            return self._refusal(error.reason, error.detail)
        if isinstance(error, ValueError):  # not its text: that may quote an argument
            return self._refusal(Reason.REQUEST_INVALID, "the arguments are not JSON values, or a name is malformed")
        return self._refusal(Reason.INTERNAL, f"the check failed with {type(error).__name__}")

    def _answer(self, given: object) -> Decision:
        """Return a decision that lets the call go on; a door that hands back anything else denies."""
        if not isinstance(given, Decision):
            raise self._refusal(Reason.INTERNAL, f"the door answered with {type(given).__name__}")
        if not (self.shadow and _in_shadow(given)):
            given.require()
        return given

    def _keeper(self, obligation: Obligation) -> Keeper:
        keeper = self.keepers.get(obligation.id)
        if keeper is None:
            raise self._refusal(Reason.OBLIGATION_UNKNOWN, f"nothing here keeps the obligation `{obligation.id}`")
        return keeper

    def _kept(self, obligation: Obligation, answer: object) -> None:
        if answer is not True:
            raise self._refusal(Reason.OBLIGATION_UNKNOWN, f"the obligation `{obligation.id}` was not kept")


def _in_shadow(decision: Decision) -> bool:
    """Tell whether a denial is not enforced; a server that says so of anything but policy and class is not believed."""
    findings = decision.findings
    return (
        decision.effect is Effect.DENY and not decision.enforced and bool(findings) and shadowed(findings, SHADOWABLE)
    )


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Session(_Active):
    """On whose authority tools are called; ``with session:`` makes it the active one, until that ``with`` ends.

    It can be entered again, inside itself and after its end. A task that outlives the ``with`` it was started in finds
    no session; let it enter one of its own.

    Attributes:
        door: the way to the authority.
    """

    door: Door

    def check(self, tool: str, arguments: Mapping[str, Json]) -> Decision:
        """Return the decision on one call. It is for this one call, and for now.

        Raises:
            UnreachableError: no answer in time.
            ValueError: the arguments are not JSON values.
        """
        return self.door.check(self.presented, self.asking(tool, arguments))

    def require(self, tool: str, arguments: Mapping[str, Json]) -> Decision:
        """Return where the call is allowed and every obligation of the decision is kept.

        Raises:
            DeniedError: in every other case, whatever it is.
        """
        try:
            self.looked()
            decision = self._answer(self.check(tool, arguments))
            chosen = [(obligation, self._keeper(obligation)) for obligation in decision.obligations]
            for obligation, keep in chosen:
                self._kept(obligation, keep(obligation))
            self.looked()
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, the tool does not run
            raise self._failure(error) from None
        return decision

    def step(self) -> None:
        """Return where the chain still stands; without `watch` the authority is asked, each time.

        Raises:
            DeniedError: it does not, or nobody can tell (`Reason.WATCH_LOST`).
        """
        if not self.looked():
            try:
                stand = self.door.standing(self.presented)
            except Exception as error:  # noqa: BLE001 - whatever goes wrong, the tool goes no step further
                stand = told_by(error)
            self._must(stand)

    def delegate(
        self, holder: PublicKey, grant: Grant, lifetime: int = LIFETIME, max_depth: int | None = None
    ) -> Handover:
        """Hand some of this holder's authority to another key, and register it.

        Args:
            holder: the next agent's key.
            grant: tools, and the limits that are narrowed; the others are restated.
            lifetime: seconds, clamped to this chain's own end.
            max_depth: a lower ceiling on further hops; None keeps this chain's.

        Raises:
            ExcessError: the grant asks for more than this holder has.
            DeniedError: the authority refused.
            UnreachableError: no answer in time.
        """
        ordered = self.handing(holder, grant, self.authority or self.door.audience(), lifetime, max_depth)
        delegated = self.door.delegate(ordered.presented, ordered.subject, ordered.proof, ordered.key)
        return self.handed(ordered, delegated)

    def revoke(self, target: str | None = None, cause: str = "", *, dry_run: bool = False) -> Revoked:
        """Revoke this holder's own delegation, or one beneath it, with all that hangs from it.

        Args:
            target: the delegation's id; None for the own one.
            cause: why, for the record.
            dry_run: only tell what would fall.

        Raises:
            NotFoundError: no such delegation beneath this one.
            DeniedError: the authority refused.
            UnreachableError: no answer in time.
        """
        ordered = self.revoking(target, self.authority or self.door.audience())
        asked = order(ordered, cause)
        return self.door.revoke(asked, ordered.presented, ordered.proof, dry_run=dry_run, key=ordered.key)

    def __enter__(self) -> Self:
        self._enter()
        if self.watch:
            try:
                with self._post.lock:
                    self._post.lookout = self._post.lookout or self.door.lookout(self.presented, self.pulse)
            except BaseException:
                self._leave()
                raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self._leave()
        with self._post.lock:
            if not self._open and self._post.lookout is not None:
                self._post.lookout.close()
                self._post.lookout = None


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class AsyncSession(_Active):
    """The same for asyncio; ``async with session:`` makes it the active one."""

    door: AsyncDoor

    async def check(self, tool: str, arguments: Mapping[str, Json]) -> Decision:
        """As `Session.check`."""
        return await self.door.check(self.presented, self.asking(tool, arguments))

    async def require(self, tool: str, arguments: Mapping[str, Json]) -> Decision:
        """As `Session.require`; a keeper may return an awaitable."""
        try:
            self.looked()
            decision = self._answer(await self.check(tool, arguments))
            chosen = [(obligation, self._keeper(obligation)) for obligation in decision.obligations]
            for obligation, keep in chosen:
                answer = keep(obligation)
                self._kept(obligation, await answer if isinstance(answer, Awaitable) else answer)
            self.looked()
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, the tool does not run
            raise self._failure(error) from None
        return decision

    async def step(self) -> None:
        """As `Session.step`."""
        if not self.looked():
            try:
                stand = await self.door.standing(self.presented)
            except Exception as error:  # noqa: BLE001 - whatever goes wrong, the tool goes no step further
                stand = told_by(error)
            self._must(stand)

    async def delegate(
        self, holder: PublicKey, grant: Grant, lifetime: int = LIFETIME, max_depth: int | None = None
    ) -> Handover:
        """As `Session.delegate`."""
        ordered = self.handing(holder, grant, self.authority or await self.door.audience(), lifetime, max_depth)
        delegated = await self.door.delegate(ordered.presented, ordered.subject, ordered.proof, ordered.key)
        return self.handed(ordered, delegated)

    async def revoke(self, target: str | None = None, cause: str = "", *, dry_run: bool = False) -> Revoked:
        """As `Session.revoke`."""
        ordered = self.revoking(target, self.authority or await self.door.audience())
        asked = order(ordered, cause)
        return await self.door.revoke(asked, ordered.presented, ordered.proof, dry_run=dry_run, key=ordered.key)

    async def __aenter__(self) -> Self:
        self._enter()
        if self.watch:
            try:
                async with self._post.turn:
                    self._post.alookout = self._post.alookout or await self.door.lookout(self.presented, self.pulse)
            except BaseException:
                self._leave()
                raise
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._leave()
        async with self._post.turn:
            if not self._open and self._post.alookout is not None:
                lookout, self._post.alookout = self._post.alookout, None
                await lookout.close()


_stack: ContextVar[tuple[_Entry, ...]] = ContextVar("chain_sessions", default=())


def active() -> Session | AsyncSession | None:
    """Return the session that is active in this task or thread, or None.

    None too where the innermost ``with`` has ended elsewhere, in what started this task: the one around it was never
    meant for this work, and may hold more.
    """
    stack = _stack.get()
    top = stack[-1] if stack else None
    return top.session if top is not None and top.open and isinstance(top.session, Session | AsyncSession) else None


def refusal(reason: Reason, detail: str, at: float) -> DeniedError:
    """Return the denial that an enforcement point gives by itself; nothing of it stands in the ledger."""
    return DeniedError(denied(Finding(reason=reason, hop=None, detail=detail), at=at))
