"""One table of errors and statuses: what goes out comes back as the same class."""

import grpc
import pytest

from chain.decision import Finding, denied
from chain.errors import (
    ChainError,
    ConflictError,
    DeniedError,
    ExcessError,
    ForbiddenError,
    InvalidRequestError,
    InvalidTokenError,
    LedgerLockedError,
    NotFoundError,
    ResourceExhaustedError,
    StoreError,
    UnauthenticatedError,
    UnreachableError,
)
from chain.reason import Reason
from chain.wire.status import (
    DETAILS,
    code_of,
    denied_by,
    details_of,
    error_from,
    error_of,
    item_error_from,
    item_error_to,
)

ERRORS = [
    InvalidRequestError("arguments"),
    InvalidRequestError("the grant", Reason.CONSTRAINT_INVALID),
    InvalidTokenError(Reason.ANCHOR_EXCEEDED, 0, "asks too much"),
    InvalidTokenError(Reason.DIGEST_UNKNOWN, None, "not here"),
    NotFoundError("no delegation"),
    ConflictError("used"),
    UnauthenticatedError("nobody"),
    ForbiddenError("no role"),
    ResourceExhaustedError("too many"),
    StoreError("the disk"),
    StoreError("the clock is behind", Reason.CLOCK_BEHIND),
    UnreachableError("stopping"),
    ChainError("failed"),
]


class Failed:
    def __init__(self, code: grpc.StatusCode, details: str, metadata: tuple[tuple[str, str | bytes], ...]) -> None:
        self._told = code, details, metadata

    def code(self) -> grpc.StatusCode:
        return self._told[0]

    def details(self) -> str:
        return self._told[1]

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._told[2]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__}-{error.reason}")
def test_an_error_comes_back_as_it_was(error: ChainError) -> None:
    failed = Failed(code_of(error), error.detail, (("x-request-id", "1"), (DETAILS, details_of(error))))
    back = error_from(failed)
    assert type(back) is type(error)
    assert (back.reason, back.detail, str(back)) == (error.reason, error.detail, str(error))
    assert getattr(back, "hop", None) == getattr(error, "hop", None)


@pytest.mark.parametrize("subject", [None, "`bank.pay` argument `amount`"])
def test_an_excess_comes_back_with_field_parent_and_child(subject: str | None) -> None:
    error = ExcessError(Reason.CONSTRAINT_WIDENED, 2, "tools.bank.pay.amount", "up to 100", "up to 5000", subject)
    back = error_of(code_of(error), error.detail, details_of(error))
    assert isinstance(back, ExcessError)
    assert (back.field, back.parent, back.child, back.hop) == (error.field, error.parent, error.child, 2)
    assert str(back) == str(error)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__}-{error.reason}")
def test_an_items_error_comes_back_as_its_class(error: ChainError) -> None:
    message = item_error_to(error)
    assert message.code
    back = item_error_from(message)
    assert type(back) is type(error)
    assert back.reason is error.reason


def test_a_locked_ledger_and_a_denial_go_out_as_their_family() -> None:
    assert code_of(LedgerLockedError("locked")) is grpc.StatusCode.UNAVAILABLE
    decision = denied(Finding(reason=Reason.REVOKED, hop=1, detail="revoked"), at=1.0)
    assert code_of(DeniedError(decision)) is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
@pytest.mark.parametrize("details", [b"", b"\xff\xff", b"\x08\x05"])
def test_a_status_that_somebody_else_wrote_is_an_error_all_the_same(code: grpc.StatusCode, details: bytes) -> None:
    back = error_of(code, "upstream", details)
    assert isinstance(back, ChainError)
    if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}:
        assert type(back) is UnreachableError
    refusal = denied_by(back, 1.0)
    assert not refusal.decision.allowed
    assert refusal.decision.reason is back.reason


def test_a_reason_from_a_later_vocabulary_is_internal() -> None:
    error = error_of(grpc.StatusCode.NOT_FOUND, "x", details_of(NotFoundError("x")).replace(b"NOT_FOUND", b"NEW_THING"))
    assert isinstance(error, NotFoundError)
    assert error.reason is Reason.INTERNAL
