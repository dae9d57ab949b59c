"""What a scenario is played through: the library here; a service puts its own door beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from chain import approval, mint
from chain.approval import Verdict
from chain.authority import Authority
from chain.decision import Decision
from chain.errors import ChainError, DeniedError, ExcessError, InvalidTokenError
from chain.key import PublicKey, Signer
from chain.order import Issue, Revoke
from chain.principal import Principal
from chain.request import Request
from tests.support import Json, World


class Outcome(NamedTuple):
    """What came of a step; a change that was made is an ALLOW.

    Attributes:
        effect: ALLOW, DENY or APPROVAL_REQUIRED.
        reason: the code.
        hop: where, or None.
        field: what a delegation asked too much of, or None.
        token: what was issued, or None.
        awaits: the request for approval that a call waits for, or None.
        enforced: False where a refusal is in shadow.
    """

    effect: str
    reason: str
    hop: int | None = None
    field: str | None = None
    token: str | None = None
    awaits: str | None = None
    enforced: bool = True

    @classmethod
    def of(cls, decision: Decision) -> Outcome:
        awaits = None if decision.awaits is None else decision.awaits.request_id
        return cls(
            decision.effect.value, decision.reason.value, decision.hop, awaits=awaits, enforced=decision.enforced
        )


MADE = Outcome("ALLOW", "allowed")

CAUSE = "a scenario"


class Door(Protocol):
    """The calls that a scenario makes. The clock is the scenario's: it is handed to whatever stands behind."""

    @property
    def audience(self) -> str:
        """What proofs for `delegate` and `revoke` name."""
        ...

    def enrol(self, key: PublicKey, principal: Principal) -> None:
        """Say whose a key is."""
        ...

    def issue(self, holder: PublicKey, grant: Json, lifetime: int | None, **facts: Any) -> Outcome:
        """Issue a root as the issuer."""
        ...

    def delegate(self, parent: Sequence[str], child: str, proof: str | None) -> Outcome:
        """Hand on as an agent."""
        ...

    def check(self, tokens: Sequence[str] | bytes, call: Json) -> Outcome:
        """Ask as the enforcement point; `call` holds the members of `chain.request.Request`."""
        ...

    def revoke(self, order: Revoke) -> Outcome:
        """Revoke as the operator."""
        ...

    def policy(self, files: Mapping[str, str] | None) -> Outcome:
        """Put a bundle in force as the operator; None for none."""
        ...

    def suspend(self, scope: str, name: str, mode: str, lifetime: int) -> Outcome:
        """Stop something as the operator."""
        ...

    def resume(self, scope: str, name: str) -> Outcome:
        """Let it go on as the operator."""
        ...

    def say(self, request: str, by: Signer, verdict: Verdict, now: float, emergency: str) -> Outcome:
        """Look at a request for approval and answer it; `emergency` is the justification of a broken glass."""
        ...

    def signal(self, text: str) -> Outcome:
        """Hand in a signal as the operator."""
        ...


class LibraryDoor:
    """The authority in process."""

    def __init__(self, world: World) -> None:
        self._caller = world.caller
        self._authority: Authority = world.authority

    @property
    def audience(self) -> str:
        return self._authority.audience

    def enrol(self, key: PublicKey, principal: Principal) -> None:
        self._authority.enrol(self._caller, key, principal)

    def issue(self, holder: PublicKey, grant: Json, lifetime: int | None, **facts: Any) -> Outcome:
        try:
            order = Issue(holder=holder, grant=mint.grant(grant), lifetime=lifetime, **facts)
            return MADE._replace(token=self._authority.issue(self._caller, order).token)
        except ChainError as error:
            return failed(error)

    def delegate(self, parent: Sequence[str], child: str, proof: str | None) -> Outcome:
        try:
            self._authority.delegate(self._caller, parent, child, proof)
        except ChainError as error:
            return failed(error)
        return MADE

    def check(self, tokens: Sequence[str] | bytes, call: Json) -> Outcome:
        return Outcome.of(self._authority.check(self._caller, tokens, Request.model_validate(call)))

    def revoke(self, order: Revoke) -> Outcome:
        return made(lambda: self._authority.revoke(self._caller, order))

    def policy(self, files: Mapping[str, str] | None) -> Outcome:
        return made(lambda: self._authority.policies.activate(self._caller, files))

    def suspend(self, scope: str, name: str, mode: str, lifetime: int) -> Outcome:
        return made(lambda: self._authority.steering.suspend(self._caller, scope, name, CAUSE, mode, lifetime))

    def resume(self, scope: str, name: str) -> Outcome:
        return made(lambda: self._authority.steering.resume(self._caller, scope, name, CAUSE))

    def say(self, request: str, by: Signer, verdict: Verdict, now: float, emergency: str) -> Outcome:
        def answer() -> None:
            asked = self._authority.approvals.get(self._caller, request)
            said = approval.word(
                asked, by, self.audience, verdict, now=now, emergency=bool(emergency), justification=emergency
            )
            self._authority.approvals.resolve(self._caller, said, by.key)

        return made(answer)

    def signal(self, text: str) -> Outcome:
        return made(lambda: self._authority.steering.signal(self._caller, text))


def made(change: Callable[[], object]) -> Outcome:
    """Make a change, and tell whether it was."""
    try:
        change()
    except ChainError as error:
        return failed(error)
    return MADE


def failed(error: ChainError) -> Outcome:
    """Turn the error of a change into an outcome."""
    if isinstance(error, DeniedError):
        return Outcome.of(error.decision)
    hop = error.hop if isinstance(error, InvalidTokenError) else None
    return Outcome("DENY", error.reason.value, hop, error.field if isinstance(error, ExcessError) else None)
