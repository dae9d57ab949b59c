"""The closed vocabulary of constraints: what an argument may be.

The law of this file: a type comes with a predicate and a *sound* containment, or it does not come at all:
if a child permits a value, its parent does. Unknown types and unknown or missing members are refused.
`contains` in each class is its row of the table in TOKEN.md s1; chain/containment.py walks it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from math import inf
from typing import Annotated, Any, ClassVar, TypeAlias

import msgspec

from chain import jcs
from chain.containment import MAX_STEPS, Constraint, Containment, Matcher, matched
from chain.jcs import Json

MAX_CLAUSES = 256
"""Clauses in one `all` or `any`: bounds the matching, and no hand-written grant comes near."""

FEW = 8
"""Values that are compared one by one; more are put into a set first."""

SHOWN = 32
"""Values of one list that are told in words: a long one must not make a denial costly, which says it at every hop."""

Integer: TypeAlias = Annotated[int, msgspec.Meta(ge=-jcs.MAX_INTEGER, le=jcs.MAX_INTEGER)]
Number: TypeAlias = Integer | float
Scalar: TypeAlias = str | bool | Integer | float | None
Element: TypeAlias = Scalar | list[Any] | dict[str, Any]


class Exact(Constraint, frozen=True, tag="exact"):
    """The argument equals `value`."""

    value: Scalar

    def permits(self, value: Json) -> bool:
        wanted = self.value
        if type(wanted) is str:
            return type(value) is str and value == wanted
        return not _compound(value) and jcs.key(value) == jcs.key(wanted)

    def contains(self, child: Constraint, within: Containment) -> bool:
        return isinstance(child, Exact) and self.permits(child.value)

    def finite(self) -> tuple[Json, ...]:
        return (self.value,)

    def __str__(self) -> str:
        return _text(self.value)


class Range(Constraint, frozen=True, tag="range"):
    """The argument is a number within the bounds; an absent bound is no bound."""

    min: Number | msgspec.UnsetType = msgspec.UNSET
    max: Number | msgspec.UnsetType = msgspec.UNSET
    min_inclusive: bool = True
    max_inclusive: bool = True

    def permits(self, value: Json) -> bool:
        if type(value) is not int and type(value) is not float:  # a bool is no number
            return False
        low, high = self.min, self.max
        above = low is msgspec.UNSET or (value >= low if self.min_inclusive else value > low)
        return above and (high is msgspec.UNSET or (value <= high if self.max_inclusive else value < high))

    def contains(self, child: Constraint, within: Containment) -> bool:
        if isinstance(child, Exact):
            return self.permits(child.value)
        if not isinstance(child, Range):
            return False
        (low, high), (child_low, child_high) = self._bounds(), child._bounds()
        if child_low < low or child_high > high:
            return False
        if child_low == low and child.min_inclusive and not self.min_inclusive:
            return False
        return not (child_high == high and child.max_inclusive and not self.max_inclusive)

    def _bounds(self) -> tuple[Number, Number]:
        low, high = self.min, self.max
        return -inf if isinstance(low, msgspec.UnsetType) else low, inf if isinstance(high, msgspec.UnsetType) else high

    def __str__(self) -> str:
        low = "" if self.min is msgspec.UNSET else f"{'from' if self.min_inclusive else 'above'} {self.min}"
        high = "" if self.max is msgspec.UNSET else f"{'up to' if self.max_inclusive else 'below'} {self.max}"
        return " ".join(filter(None, (low, high))) or "any number"


class _Values(Constraint, frozen=True):
    """Shared by the types that hold a set of JSON values."""

    def _set(self) -> frozenset[Any]:
        return frozenset(map(jcs.key, self._items()))

    def weight(self) -> int:
        return jcs.size(self._items())

    def _items(self) -> tuple[Json, ...]:
        raise TypeError

    def __post_init__(self) -> None:
        for item in self._items():
            if _compound(item):  # the decoder bounds the scalars
                jcs.check(item)

    def _listed(self) -> str:
        items = self._items()
        more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
        return ", ".join(map(_text, items[:SHOWN])) + more


class OneOf(_Values, frozen=True, tag="one_of"):
    """The argument is one of `values`."""

    values: Annotated[tuple[Element, ...], msgspec.Meta(min_length=1)]

    def _items(self) -> tuple[Json, ...]:
        return self.values

    def permits(self, value: Json) -> bool:
        if type(value) is str:
            return value in self.values  # only a string equals a string
        wanted = jcs.key(value)
        return any(jcs.key(item) == wanted for item in self.values)

    def matcher(self) -> Matcher:
        if len(self.values) <= FEW and not any(map(_compound, self.values)):
            return self.permits
        wanted, key = self._set(), jcs.key
        return lambda value: key(value) in wanted

    def contains(self, child: Constraint, within: Containment) -> bool:
        if isinstance(child, Exact):
            return self.permits(child.value)
        return isinstance(child, OneOf) and child._set() <= self._set()

    def finite(self) -> tuple[Json, ...]:
        return self.values

    def __str__(self) -> str:
        return f"one of {self._listed()}"


class NotOneOf(_Values, frozen=True, tag="not_one_of"):
    """The argument is none of `excluded`."""

    excluded: tuple[Element, ...]

    def _items(self) -> tuple[Json, ...]:
        return self.excluded

    def matcher(self) -> Matcher:
        barred, key = self._set(), jcs.key
        return lambda value: key(value) not in barred

    def contains(self, child: Constraint, within: Containment) -> bool:
        return isinstance(child, NotOneOf) and child._set() >= self._set()

    def __str__(self) -> str:
        return f"none of {self._listed()}"


class Contains(_Values, frozen=True, tag="contains"):
    """The argument is an array that holds every element of `required`."""

    required: tuple[Element, ...]

    def _items(self) -> tuple[Json, ...]:
        return self.required

    def matcher(self) -> Matcher:
        wanted, key = self._set(), jcs.key
        return lambda value: type(value) is list and wanted <= set(map(key, value))

    def contains(self, child: Constraint, within: Containment) -> bool:
        return isinstance(child, Contains) and child._set() >= self._set()

    def __str__(self) -> str:
        return f"an array with {self._listed()}"


class Subset(_Values, frozen=True, tag="subset"):
    """The argument is an array whose every element is in `allowed`."""

    allowed: tuple[Element, ...]

    def _items(self) -> tuple[Json, ...]:
        return self.allowed

    def matcher(self) -> Matcher:
        allowed, key = self._set(), jcs.key
        return lambda value: type(value) is list and allowed.issuperset(map(key, value))

    def contains(self, child: Constraint, within: Containment) -> bool:
        return isinstance(child, Subset) and child._set() <= self._set()

    def __str__(self) -> str:
        return f"an array of {self._listed()}"


class Wildcard(Constraint, frozen=True, tag="wildcard"):
    """Any value; the argument must still be there."""

    def permits(self, value: Json) -> bool:
        return True

    def contains(self, child: Constraint, within: Containment) -> bool:
        return True

    def __str__(self) -> str:
        return "anything"


class _Composite(Constraint, frozen=True):
    """Shared by `all` and `any`."""

    composite: ClassVar[bool] = True
    constraints: tuple[AnyConstraint, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.constraints) <= MAX_CLAUSES:
            raise ValueError(f"`all` and `any` take 1 to {MAX_CLAUSES} clauses")

    def matcher(self) -> Matcher:
        """Ask the clauses, unless the value is so large that so many clauses would take long: then refuse it."""
        clauses, quantify = [clause.matcher() for clause in self.constraints], self._quantify
        largest = MAX_STEPS // sum(1 for _ in self.walk())

        def permitted(value: Json) -> bool:
            return not (_compound(value) and jcs.size(value) > largest) and quantify(
                clause(value) for clause in clauses
            )

        return permitted

    def _quantify(self, answers: Iterable[bool]) -> bool:
        raise TypeError(f"`{type(self).__name__}` combines no clauses")

    def walk(self) -> Iterator[Constraint]:
        yield self
        for clause in self.constraints:
            yield from clause.walk()


class AllOf(_Composite, frozen=True, tag="all"):
    """Every clause permits the argument."""

    def _quantify(self, answers: Iterable[bool]) -> bool:
        return all(answers)

    def contains(self, child: Constraint, within: Containment) -> bool:
        return isinstance(child, AllOf) and matched(self.constraints, child.constraints, within)

    def conjuncts(self) -> tuple[AnyConstraint, ...]:
        return self.constraints

    def __str__(self) -> str:
        return " and ".join(f"({clause})" for clause in self.constraints)


class AnyOf(_Composite, frozen=True, tag="any"):
    """Some clause permits the argument."""

    def _quantify(self, answers: Iterable[bool]) -> bool:
        return any(answers)

    def contains(self, child: Constraint, within: Containment) -> bool:
        return isinstance(child, AnyOf) and all(
            any(within.holds(mine, theirs) for mine in self.constraints) for theirs in child.constraints
        )

    def alternatives(self) -> tuple[AnyConstraint, ...]:
        return self.constraints

    def __str__(self) -> str:
        return " or ".join(f"({clause})" for clause in self.constraints)


class PathContainment(Constraint, frozen=True, tag="path_containment"):
    """The argument is an absolute POSIX path at or under `root` (AAT-01 s3.5.3, and stricter).

    Normalised by segments (empty and `.` segments dropped). `..`, `%` escapes, backslashes and NUL are refused
    rather than resolved: what a tool makes of them is not known here.
    """

    root: str

    def __post_init__(self) -> None:
        if _segments(self.root) is None:
            raise ValueError("`root` is not an absolute, plain POSIX path")

    def matcher(self) -> Matcher:
        root = _segments(self.root) or ()
        length = len(root)

        def under(value: Json) -> bool:
            path = _segments(value) if type(value) is str else None
            return path is not None and path[:length] == root

        return under

    def contains(self, child: Constraint, within: Containment) -> bool:
        if isinstance(child, Exact):
            return self.permits(child.value)
        return isinstance(child, PathContainment) and self.permits(child.root)

    def __str__(self) -> str:
        return f"a path under {_text(self.root)}"


AnyConstraint: TypeAlias = (
    Exact | Range | OneOf | NotOneOf | Contains | Subset | Wildcard | AllOf | AnyOf | PathContainment
)
"""What a token may carry. Closed: the decoder refuses every other `constraint_type`."""

_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")


def _compound(value: Json) -> bool:
    return type(value) is list or type(value) is dict


def _segments(path: str) -> tuple[str, ...] | None:
    if not path.startswith("/") or "\0" in path or "\\" in path or _ESCAPE.search(path):
        return None
    segments = tuple(part for part in path.split("/") if part not in ("", "."))
    return None if ".." in segments else segments


def _text(value: Json) -> str:
    text = jcs.dumps(value).decode()
    return text if len(text) <= 80 else f"{text[:77]}…"
