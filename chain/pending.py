"""Answers that are on their way: small steps over `concurrent.futures.Future`.

The law of this file: a future either gives what was asked for or raises an error of this package; an error of the
store is never mistaken for an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def done(value: R) -> Future[R]:
    """Return a future that holds an answer already."""
    future: Future[R] = Future()
    future.set_result(value)
    return future


def then(future: Future[T], answer: Callable[[T], R], rescue: Callable[[Exception], R]) -> Future[R]:
    """Return what `answer` makes of a result, or `rescue` of an error; what either raises is raised.

    Args:
        future: of the commit.
        answer: from its result.
        rescue: from its error; raises what it cannot turn into an answer.
    """
    after: Future[R] = Future()

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
