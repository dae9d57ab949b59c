"""The value nearest to one asked that constraints permit, and the constraint nearest to a given one that permits it.

The law of this file: it only proposes. Every proposal is put to the constraints themselves, and what they do not permit
is dropped; nothing here decides a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from heapq import nsmallest
from itertools import islice
from math import ceil, floor, inf, isfinite, nextafter

from msgspec import UnsetType
from msgspec.json import encode
from msgspec.structs import replace

from chain import jcs
from chain.constraint import (
    AllOf,
    AnyConstraint,
    AnyOf,
    Contains,
    Exact,
    NotOneOf,
    OneOf,
    PathContainment,
    Range,
    Subset,
    Wildcard,
)
from chain.jcs import Json

ROUNDS = 3
"""How often a proposal that one constraint made is handed to the others: each may have to bend it once."""

MOST = 64
"""Proposals that are looked at; a list of values may be long, and the nearest ones come first."""

LISTED = 1_000
"""Values of one list that are proposed at all."""

LOOKED_AT = 1_000
"""Values that are compared with the one asked in one round: a hostile grant must not choose how long a search takes."""

ABSENT = object()
"""In place of an argument that the call does not have."""


def permitted(value: object, rules: Sequence[AnyConstraint], more: Iterable[Json] = ()) -> list[Json]:
    """Return values that every constraint permits, the nearest first.

    Args:
        value: the one asked, or `ABSENT`.
        rules: constraints.
        more: values to propose beside.
    """
    distinct = list({encode(rule): rule for rule in rules}.values())
    matchers = [rule.matcher() for rule in distinct]
    found: dict[object, Json] = {}
    proposed: dict[object, Json] = {}
    wave: list[object] = [value, *more, *_nearest(value, _listed(distinct))]
    for _ in range(ROUNDS):
        made = _nearest(value, _made(wave, distinct))
        wave = []
        for item in made:
            key = jcs.key(item)
            if key in proposed:
                continue
            proposed[key] = item
            if all(permits(item) for permits in matchers):
                found[key] = item
            else:
                wave.append(item)
    same = None if value is ABSENT else jcs.key(value)
    return _nearest(value, (item for key, item in found.items() if key != same))


def _nearest(value: object, items: Iterable[Json]) -> list[Json]:
    return nsmallest(MOST, islice(filter(_json, items), LOOKED_AT), key=lambda item: distance(value, item))


def _json(value: Json) -> bool:
    """Tell whether a request could state a value: a step beyond the largest integer, or one list more, it could not."""
    try:
        jcs.check(value)
    except ValueError:
        return False
    return True


def _listed(rules: Iterable[AnyConstraint]) -> Iterator[Json]:
    """Yield what constraints permit by name: the same whatever was asked, so that it is proposed once."""
    for rule in rules:
        for part in rule.walk():
            yield from (part.finite() or ())[:LISTED]


def _made(wave: Iterable[object], rules: Sequence[AnyConstraint]) -> Iterator[Json]:
    for item in wave:
        if item is not ABSENT:
            yield item
        for rule in rules:
            yield from _proposed(rule, item)


def _proposed(rule: AnyConstraint, value: object) -> Iterator[Json]:
    """Yield what a constraint might permit, near a value."""
    match rule:
        case Range():
            yield from _bounds(rule, whole=not isinstance(value, float))
        case NotOneOf():
            yield from (value - 1, value + 1) if isinstance(value, int | float) else ()
        case Contains():
            held = value if isinstance(value, list) else []
            keys = set(map(jcs.key, held))
            yield [*held, *(item for item in rule.required if jcs.key(item) not in keys)]
        case Subset():
            allowed = set(map(jcs.key, rule.allowed[:LISTED]))
            held = value if isinstance(value, list) else [] if value is ABSENT else [value]
            yield [item for item in held if jcs.key(item) in allowed]
            yield from ([item] for item in rule.allowed[:MOST])
        case PathContainment():
            root = rule.root.rstrip("/")
            if isinstance(value, str) and (name := value.rstrip("/").rpartition("/")[2]):
                yield f"{root}/{name}"
            yield rule.root
        case Wildcard():
            yield "" if value is ABSENT else value
        case AllOf() | AnyOf():
            for clause in rule.constraints:
                yield from _proposed(clause, value)


def _bounds(rule: Range, *, whole: bool) -> Iterator[int | float]:
    """Yield the ends of a range that lie in it, or next to one that does not; of integers where one was asked."""
    for bound, inside, step, rounded, own in (
        (rule.min, rule.min_inclusive, 1, ceil, inf),
        (rule.max, rule.max_inclusive, -1, floor, -inf),
    ):
        if isinstance(bound, UnsetType):
            continue
        if inside:
            yield bound
        yield nextafter(bound, own)
        if whole and isfinite(bound):
            near = rounded(bound)
            yield near if inside or near != bound else near + step
    yield 0


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def distance(asked: object, value: Json) -> tuple[int, float, int, str]:
    """Return how far a value lies from the one asked: another type is furthest; comparable, smaller is nearer."""
    text = jcs.dumps(value).decode()
    if asked is ABSENT:
        return 0, 0, len(text), text
    if _number(asked) and _number(value):
        return 0, float(abs(Decimal(repr(asked)) - Decimal(repr(value)))), len(text), text
    if isinstance(asked, list) and isinstance(value, list):
        mine, theirs = set(map(jcs.key, asked)), set(map(jcs.key, value))
        return 0, float(len(mine ^ theirs)), len(text), text
    if isinstance(asked, str) and isinstance(value, str):
        return 0, float(max(len(asked), len(value)) - _common(asked, value)), len(text), text
    return 1, 0, len(text), text


def _common(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (mine, theirs) in pairs if mine != theirs), min(len(one), len(other)))


def widened(rule: AnyConstraint, value: Json) -> AnyConstraint:
    """Return a constraint that permits what another does, and one value beside.

    Args:
        rule: the constraint.
        value: what it shall permit.
    """
    if rule.permits(value):
        return rule
    wider = _wider(rule, value)
    return wider if wider is not None and wider.permits(value) else AnyOf((rule, OneOf((value,))))


def _wider(rule: AnyConstraint, value: Json) -> AnyConstraint | None:  # noqa: PLR0911 - one case a type
    match rule:
        case Exact():
            return OneOf((rule.value, value))
        case OneOf():
            return OneOf((*rule.values, value))
        case Range() if _number(value):
            low = not isinstance(rule.min, UnsetType) and value <= rule.min
            return replace(rule, min=value, min_inclusive=True) if low else replace(rule, max=value, max_inclusive=True)
        case NotOneOf():
            return NotOneOf(_less(rule.excluded, lambda key: key == jcs.key(value)))
        case Contains() if isinstance(value, list):
            held = set(map(jcs.key, value))
            return Contains(_less(rule.required, lambda key: key not in held))
        case Subset() if isinstance(value, list):
            allowed = set(map(jcs.key, rule.allowed))
            return Subset((*rule.allowed, *(item for item in value if jcs.key(item) not in allowed)))
        case AllOf():
            return AllOf(tuple(widened(clause, value) for clause in rule.constraints))
        case AnyOf():
            return AnyOf((*rule.constraints, OneOf((value,))))
    return None


def _less(items: Sequence[Json], dropped: Callable[[object], bool]) -> tuple[Json, ...]:
    return tuple(item for item in items if not dropped(jcs.key(item)))
