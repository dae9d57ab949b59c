"""Answers that are on their way: small steps over `concurrent.futures.Future`.

The law of this file: a future either gives what was asked for or raises an error; an error of the store is never
mistaken for an answer, and no future is left that nobody settles.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Inline(Future[T]):
    """A future that its maker settles before anybody else sees it, so that it needs no lock and no waiters.

    Most reads are decided where they were asked; a full future there costs as much as the decision.
    """

    def __init__(self) -> None:  # the base would make a condition variable
        self._settled = False
        self._answer: T | None = None
        self._error: BaseException | None = None

    def set_result(self, result: T) -> None:
        self._answer, self._settled = result, True

    def set_exception(self, exception: BaseException | None) -> None:
        self._error, self._settled = exception, True

    def result(self, timeout: float | None = None) -> T:
        if self._error is not None:
            raise self._error
        if not self._settled:
            raise InvalidStateError("asked for before it was settled")
        return self._answer  # type: ignore[return-value] # settled by its maker

    def exception(self, timeout: float | None = None) -> BaseException | None:
        return self._error

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        fn(self)

    def done(self) -> bool:
        return self._settled

    def cancelled(self) -> bool:
        return False

    def running(self) -> bool:
        return False

    def cancel(self) -> bool:
        return False


def done(value: R) -> Future[R]:
    """Return a future that holds an answer already."""
    future: Inline[R] = Inline()
    future.set_result(value)
    return future


class Finished(Inline[R], Generic[T, R]):
    """An answer that whoever asks for it finishes, in his own thread: the one that settled it has others to serve."""

    def __init__(self, before: Future[T], finish: Callable[[T], R]) -> None:
        """Wait for `before`.

        Args:
            before: what is to be finished.
            finish: makes the answer of it; must not raise.
        """
        super().__init__()
        self._before = before
        self._finish = finish

    def result(self, timeout: float | None = None) -> R:
        if not self._settled:
            self.set_result(self._finish(self._before.result(timeout)))
        return super().result()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        return self._before.exception(timeout)

    def add_done_callback(self, fn: Callable[[Future[R]], object]) -> None:
        self._before.add_done_callback(lambda _: fn(self))

    def done(self) -> bool:
        return self._before.done()


def then(future: Future[T], answer: Callable[[T], R], rescue: Callable[[Exception], R]) -> Future[R]:
    """Return what `answer` makes of a result, or `rescue` of an error; what either raises is raised.

    Args:
        future: of the commit.
        answer: from its result.
        rescue: from its error; raises what it cannot turn into an answer.
    """
    after: Future[R] = Inline() if future.done() else Future()

    def settle(before: Future[T]) -> None:
        error = before.exception()
        try:
            if error is None:
                after.set_result(answer(before.result()))
            elif isinstance(error, Exception):
                after.set_result(rescue(error))
            else:
                after.set_exception(error)
        except Exception as raised:  # noqa: BLE001 - a future that is never settled would hang its caller
            after.set_exception(raised)

    future.add_done_callback(settle)
    return after
