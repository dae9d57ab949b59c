"""One class per way to be wrong.

The law of this file: a leaf. It imports nothing of this package but the table of reasons. Every error
carries a `Reason`; `str(error)` is written for operators and never contains a token or a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.reason import Reason

if TYPE_CHECKING:
    from chain.decision import Decision


MAX_WORDS = 400
"""Characters of anything hostile in a message: it must not choose how long a record or a gRPC trailer is."""


def clip(text: str, length: int = MAX_WORDS) -> str:
    """Return a text short enough for a message."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


class ChainError(Exception):
    """Base of every error of this package.

    Attributes:
        reason: the stable code.
        detail: a sentence in the words of the domain.
    """

    reason: Reason = Reason.INTERNAL

    def __init__(self, detail: str, reason: Reason | None = None) -> None:
        if reason is not None:
            self.reason = reason
        self.detail = detail
        super().__init__(self.describe())

    def describe(self) -> str:
        """Return the sentence for operators."""
        return f"{self.detail} ({self.reason.value})"


class InvalidTokenError(ChainError):
    """The bytes presented are not an authentic chain.

    Attributes:
        hop: the position that failed (root = 0), or None where no single hop did.
    """

    def __init__(self, reason: Reason, hop: int | None, detail: str) -> None:
        self.hop = hop
        super().__init__(detail, reason)

    def describe(self) -> str:
        """Return the sentence for operators, led by the hop."""
        return super().describe() if self.hop is None else f"hop {self.hop}: {super().describe()}"


class ExcessError(InvalidTokenError):
    """A delegation asks for more than its parent grants (I2-I4).

    Attributes:
        field: the dimension that was widened, e.g. ``tools.bank.transfer.amount``.
        parent: what the parent grants there, as text.
        child: what the child asks there, as text.
    """

    def __init__(
        self, reason: Reason, hop: int, field: str, parent: str, child: str, subject: str | None = None
    ) -> None:
        self.field = field
        self.parent = clip(parent)
        self.child = clip(child)
        parent, child, where = self.parent, self.child, subject or f"`{field}`"
        super().__init__(reason, hop, f"{where} asks {child} where hop {hop - 1} grants {parent}")


class InvalidRequestError(ChainError):
    """A request that is not well formed: nothing was decided and nothing was written."""

    reason = Reason.REQUEST_INVALID


class DeniedError(ChainError):
    """Raised by `Decision.require` and by guarded tools. The message is safe to show to a model.

    Attributes:
        decision: the whole decision, for operators.
    """

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        super().__init__("the action is not authorized", decision.reason)

    def describe(self) -> str:
        """Return the generic sentence: without the code, which would tell a model what to try next."""
        return self.detail


class ApprovalRequiredError(DeniedError):
    """The call waits for people: the very same one, asked again once they approved it, is allowed once.

    `decision.awaits` names the request and its end.
    """

    def describe(self) -> str:
        """Return a sentence that a model may see: it may wait or do something else, and cannot help it along."""
        return "the action waits for a person's approval"


class NotFoundError(ChainError):
    """No such delegation, or none that the caller may see."""

    reason = Reason.NOT_FOUND


class ConflictError(ChainError):
    """An idempotency key was used again for another request."""

    reason = Reason.CONFLICT


class UnauthenticatedError(ChainError):
    """The caller presented no credential that is known and valid now."""

    reason = Reason.UNAUTHENTICATED


class ForbiddenError(ChainError):
    """The caller is known, and its roles or lineage do not allow the call."""

    reason = Reason.PERMISSION_DENIED


class ResourceExhaustedError(ChainError):
    """A limit of the service is reached."""

    reason = Reason.RESOURCE_EXHAUSTED


class UnreachableError(ChainError):
    """The service did not answer, or not in time. Never an allow."""

    reason = Reason.UNREACHABLE


class ConfigurationError(ChainError):
    """The configuration is unsafe or contradicts itself; the service does not start."""

    reason = Reason.REQUEST_INVALID


class PolicyError(ChainError):
    """A policy bundle that does not validate; the one before goes on."""

    reason = Reason.POLICY_INVALID


class ApprovalError(ChainError):
    """An approver's statement that does not count: `STATEMENT_INVALID`, `APPROVER_INELIGIBLE` or `REQUEST_CLOSED`."""

    reason = Reason.STATEMENT_INVALID


class SignalError(ChainError):
    """A security event that is not accepted.

    Attributes:
        code: of RFC 8935 s2.4.
    """

    reason = Reason.SIGNAL_INVALID

    def __init__(self, detail: str, code: str = "invalid_request") -> None:
        self.code = code
        super().__init__(detail)


class KeyRingError(ChainError):
    """The issuer's keys do not allow it.

    `KEY_RING_MISSING`, `KEY_RING_UNAVAILABLE`, `KEY_STATE_INVALID` or `SIGNING_KEY_MISSING`.
    """

    reason = Reason.KEY_STATE_INVALID


class CursorError(ChainError):
    """A stream cannot go on from where its reader left it."""

    reason = Reason.CURSOR_INVALID


class StoreError(ChainError):
    """The ledger could not be read or written; nothing was acknowledged."""

    reason = Reason.STORE_UNAVAILABLE


class SignerError(ChainError):
    """The issuer's key is out of reach, or what certifies it is; nothing was signed and nothing was issued."""

    reason = Reason.SIGNER_UNAVAILABLE


class LedgerLockedError(StoreError):
    """Another process owns the ledger."""
