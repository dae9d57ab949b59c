"""The answer: an effect, its reason, and every finding of every hop.

The law of this file: an answer is ALLOW only where it says so; everything else stops. Operators get all findings,
a model gets the generic text, nobody gets a token.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from chain.errors import DeniedError, InvalidTokenError
from chain.reason import Reason


class Effect(StrEnum):
    """What the enforcement point does."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    APPROVAL_REQUIRED = "APPROVAL_REQUIRED"


class Finding(BaseModel):
    """One thing that stands against a request.

    Attributes:
        reason: the code.
        hop: where, root = 0; None where it concerns the request as a whole.
        detail: in words, for operators.
    """

    model_config = ConfigDict(frozen=True)

    reason: Reason
    hop: int | None
    detail: str

    def __str__(self) -> str:
        where = "" if self.hop is None else f"hop {self.hop}: "
        return f"{where}{self.detail} ({self.reason.value})"


class Obligation(BaseModel):
    """Something the enforcement point must do; one it does not know means it must not act."""

    model_config = ConfigDict(frozen=True)

    id: str
    parameters: dict[str, Any] = {}


class Decision(BaseModel):
    """What was decided, and why.

    Attributes:
        effect: what to do.
        reason: the first fault in the order of TOKEN.md s4, or `Reason.ALLOWED`.
        hop: where that fault is.
        findings: every fault of every hop; empty where allowed.
        obligations: to be kept by the enforcement point.
        id: names the decision in the ledger; empty where nothing was recorded.
        revision: of the ledger record; 0 where nothing was recorded.
        at: seconds, the one instant that it was decided for.
    """

    model_config = ConfigDict(frozen=True)

    effect: Effect
    reason: Reason
    hop: int | None = None
    findings: tuple[Finding, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    id: str = ""
    revision: int = 0
    at: float = 0.0

    @property
    def allowed(self) -> bool:
        """Whether the call may be made."""
        return self.effect is Effect.ALLOW

    def __bool__(self) -> bool:
        """Tell whether the call may be made, so that ``if decision:`` never lets a denial through."""
        return self.allowed

    def without_details(self) -> Decision:
        """Return the same decision with each finding's general meaning in place of what was granted."""
        told = tuple(finding.model_copy(update={"detail": finding.reason.meaning}) for finding in self.findings)
        return self.model_copy(update={"findings": told})

    def require(self) -> None:
        """Return where allowed, else raise.

        Raises:
            DeniedError: with this decision; its message is safe to show to a model.
        """
        if not self.allowed:
            raise DeniedError(self)

    def __str__(self) -> str:
        if self.allowed:
            return "ALLOW"
        return f"{self.effect.value}: " + "; ".join(map(str, self.findings))


def decided(findings: tuple[Finding, ...], at: float, name: str = "", revision: int = 0) -> Decision:
    """Return ALLOW where nothing was found, else a denial whose reason is the first finding's.

    Args:
        findings: in the order of the questions.
        at: seconds.
        name, revision: of the record, where there is one.
    """
    if not findings:
        return Decision(effect=Effect.ALLOW, reason=Reason.ALLOWED, id=name, revision=revision, at=at)
    first = findings[0]
    return Decision(
        effect=Effect.DENY,
        reason=first.reason,
        hop=first.hop,
        findings=findings,
        id=name,
        revision=revision,
        at=at,
    )


def denied(first: Finding, *more: Finding, at: float) -> Decision:
    """Return a denial for these findings; the first is its reason."""
    return decided((first, *more), at)


def refused(error: InvalidTokenError, at: float) -> Decision:
    """Return the denial for a chain that is not authentic."""
    return denied(Finding(reason=error.reason, hop=error.hop, detail=error.detail), at=at)
