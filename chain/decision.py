"""The answer: an effect, its reason, and every finding of every hop.

The law of this file: an answer is ALLOW only where it says so; everything else stops. Operators get all findings,
a model gets the generic text, nobody gets a token.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from chain.errors import ApprovalRequiredError, DeniedError, InvalidTokenError
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


class Awaited(BaseModel):
    """The request for approval that a call waits for (AuthZEN Access Request and Approval profile: names).

    Attributes:
        request_id: names it; people find it under this id.
        binding: hash of the very action that they are asked about.
        expires_at: seconds; after it nobody can approve it, nor use its approval.
        threshold: how many distinct people it takes, by the strictest gate.
        approvals: how many have approved so far.
    """

    model_config = ConfigDict(frozen=True)

    request_id: str
    binding: str
    expires_at: int
    threshold: int
    approvals: int = 0


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
        enforced: False where the denial is in shadow: an enforcement point that knows of shadow mode lets the call
            through, and any other stops it.
        policy: digest of the bundle that was asked, base64url; empty where none is active.
        rules: ids of the policy's rules that determined its answer to the call.
        awaits: the request that people have to approve; None unless the effect is APPROVAL_REQUIRED.
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
    enforced: bool = True
    policy: str = ""
    rules: tuple[str, ...] = ()
    awaits: Awaited | None = None

    @property
    def allowed(self) -> bool:
        """Whether the call may be made."""
        return self.effect is Effect.ALLOW

    def __bool__(self) -> bool:
        """Tell whether the call may be made, so that ``if decision:`` never lets a denial through."""
        return self.allowed

    def without_details(self) -> Decision:
        """Return the same decision without rules, and with each finding's general meaning for what was granted."""
        told = tuple(finding.model_copy(update={"detail": finding.reason.meaning}) for finding in self.findings)
        return self.model_copy(update={"findings": told, "rules": ()})

    def require(self) -> None:
        """Return where allowed, else raise.

        Raises:
            ApprovalRequiredError: people could still permit it.
            DeniedError: in every other case, with this decision; its message is safe to show to a model.
        """
        if not self.allowed:
            raise self.error()

    def error(self) -> DeniedError:
        """Return the error that tells this decision, which allows nothing."""
        waits = self.effect is Effect.APPROVAL_REQUIRED and self.awaits is not None
        return ApprovalRequiredError(self) if waits else DeniedError(self)

    def __str__(self) -> str:
        if self.allowed:
            return "ALLOW"
        return f"{self.effect.value}: " + "; ".join(map(str, self.findings))


def shadowed(findings: tuple[Finding, ...] | list[Finding], shadow: frozenset[Reason]) -> bool:
    """Tell whether nothing stops a call: no finding, or none that is not in shadow."""
    return all(finding.reason in shadow for finding in findings)


def decided(
    findings: tuple[Finding, ...],
    at: float,
    name: str = "",
    revision: int = 0,
    *,
    shadow: frozenset[Reason] = frozenset(),
    obligations: tuple[Obligation, ...] = (),
    **told: Any,  # noqa: ANN401 - members of `Decision`, which checks them
) -> Decision:
    """Return ALLOW where nothing was found, APPROVAL_REQUIRED where people could still permit it, else a denial.

    Args:
        findings: in the order of the questions; the first that no approval could lift is the reason.
        at: seconds.
        name, revision: of the record, where there is one.
        shadow: reasons that are not enforced.
        obligations: of the permission, where there is one; who lets a call through in shadow owes them too.
        told: more of what the decision says: policy, rules, awaits.
    """
    told |= {"id": name, "revision": revision, "at": at}
    if not findings:
        return Decision(effect=Effect.ALLOW, reason=Reason.ALLOWED, obligations=obligations, **told)
    stops = [finding for finding in findings if finding.reason not in shadow] or findings
    final = next((finding for finding in stops if finding.reason is not Reason.APPROVAL_REQUIRED), None)
    first = stops[0] if final is None else final
    enforced = not shadowed(findings, shadow)
    return Decision(
        effect=Effect.APPROVAL_REQUIRED if final is None else Effect.DENY,
        reason=first.reason,
        hop=first.hop,
        findings=findings,
        enforced=enforced,
        obligations=() if enforced else obligations,
        **told,
    )


def denied(first: Finding, *more: Finding, at: float) -> Decision:
    """Return a denial for these findings; the first is its reason."""
    return decided((first, *more), at)


def refused(error: InvalidTokenError, at: float) -> Decision:
    """Return the denial for a chain that is not authentic."""
    return denied(Finding(reason=error.reason, hop=error.hop, detail=error.detail), at=at)
