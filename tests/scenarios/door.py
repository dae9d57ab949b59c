"""What a scenario is played through: the library here; a service puts its own door beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from chain import mint
from chain.authority import Authority
from chain.change import Issue, Revoke
from chain.decision import Decision
from chain.errors import ChainError, DeniedError, ExcessError, InvalidTokenError
from chain.key import PublicKey
from chain.principal import Principal
from chain.request import Request
from tests.support import Json, World, digest


class Outcome(NamedTuple):
    """What came of a step; a change that was made is an ALLOW.

    Attributes:
        effect: ALLOW or DENY.
        reason: the code.
        hop: where, or None.
        field: what a delegation asked too much of, or None.
        token: what was issued, or None.
    """

    effect: str
    reason: str
    hop: int | None = None
    field: str | None = None
    token: str | None = None

    @classmethod
    def of(cls, decision: Decision) -> Outcome:
        return cls(decision.effect.value, decision.reason.value, decision.hop)


MADE = Outcome("ALLOW", "allowed")


class Door(Protocol):
    """The calls that a scenario makes. The clock is the scenario's: it is handed to whatever stands behind."""

    @property
    def audience(self) -> str:
        """What proofs for `delegate` and `revoke` name."""
        ...

    def enrol(self, key: PublicKey, principal: Principal) -> None:
        """Say whose a key is."""
        ...

    def issue(self, holder: PublicKey, grant: Json, lifetime: int, **facts: Any) -> Outcome:
        """Issue a root as the issuer."""
        ...

    def delegate(self, parent: Sequence[str], child: str, proof: str | None) -> Outcome:
        """Hand on as an agent."""
        ...

    def check(self, tokens: Sequence[str] | bytes, call: Json) -> Outcome:
        """Ask as the enforcement point; `call` holds the members of `chain.request.Request`."""
        ...

    def revoke(self, token: str) -> Outcome:
        """Revoke as the operator."""
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

    def issue(self, holder: PublicKey, grant: Json, lifetime: int, **facts: Any) -> Outcome:
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

    def revoke(self, token: str) -> Outcome:
        try:
            self._authority.revoke(self._caller, Revoke(digest(token)))
        except ChainError as error:
            return failed(error)
        return MADE


def failed(error: ChainError) -> Outcome:
    """Turn the error of a change into an outcome."""
    if isinstance(error, DeniedError):
        return Outcome.of(error.decision)
    hop = error.hop if isinstance(error, InvalidTokenError) else None
    return Outcome("DENY", error.reason.value, hop, error.field if isinstance(error, ExcessError) else None)
