"""An answer of the graph: so many rows, each made when it is looked at.

The law of this file: nobody waits for rows that are not shown. A question finds out what its rows are about; what each
tells is put together for those that are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import ParamSpec, TypeAlias, overload

from chain.auditor import Row

P = ParamSpec("P")

Made: TypeAlias = Callable[[], Row]
"""Makes one row."""


class Rows(Sequence[Row]):
    """Rows in order."""

    def __init__(self, found: Iterator[Made]) -> None:
        """Take what makes them."""
        self._found = list(found)

    def __len__(self) -> int:
        return len(self._found)

    @overload
    def __getitem__(self, place: int) -> Row: ...

    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...

    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if isinstance(place, slice):
            return [make() for make in self._found[place]]
        return self._found[place]()


def answered(ask: Callable[P, Iterator[Made]]) -> Callable[P, Rows]:
    """Return a question whose answer is `Rows`, from one that yields what makes them."""

    @wraps(ask)
    def asked(*args: P.args, **more: P.kwargs) -> Rows:
        return Rows(ask(*args, **more))

    return asked
