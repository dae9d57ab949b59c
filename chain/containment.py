"""What every constraint answers, and which is narrower than which: two profiles, bounded work.

The law of this file: an answer of True is a proof. `AAT_01` is the table of the Internet-Draft (AAT-01 s4.5);
`SOUND` first takes composites and finite sets apart, while that loses nothing, and so accepts more of what is
truly narrower (TOKEN.md s1). Every pair is asked once, and a hostile pair of grants meets a step cap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import ClassVar, TypeAlias

import msgspec

from chain.errors import clip
from chain.jcs import Json

MAX_STEPS = 100_000
"""Questions in one containment check, about 50 ms at worst; an honest grant asks a few hundred."""


MAX_DEPTH = 32
"""Nesting of a constraint tree (AAT-01 s3.4, MAX_CONSTRAINT_DEPTH)."""

Matcher: TypeAlias = Callable[[Json], bool]


class Profile(Enum):
    """Which pairs count as narrower."""

    SOUND = "sound"
    AAT_01 = "aat-01"


class UndecidedError(Exception):
    """Containment was not decided within `MAX_STEPS`; the caller must refuse."""


class Constraint(
    msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True, tag_field="constraint_type"
):
    """Base of all types. Instances come from a token or a grant and never change."""

    composite: ClassVar[bool] = False

    def permits(self, value: Json) -> bool:
        """Tell whether an argument may have this value (I-JSON)."""
        return self.matcher()(value)

    def matcher(self) -> Matcher:
        """Return the same predicate, prepared for many values. A type defines this or `permits`."""
        return self.permits

    def contains(self, child: Constraint, within: Containment) -> bool:
        """Answer by the table of AAT-01 s4.5 for this type as the parent."""
        raise TypeError(f"`{type(self).__name__}` has no containment")

    def weight(self) -> int:
        """Return what comparing this with one value or one other constraint costs, in steps."""
        return 1

    def finite(self) -> tuple[Json, ...] | None:
        """Return every value that is permitted, where they can be listed."""
        return None

    def alternatives(self) -> tuple[Constraint, ...]:
        """Return the clauses of which one must permit, if this type is such a choice."""
        return ()

    def conjuncts(self) -> tuple[Constraint, ...]:
        """Return the clauses that must all permit, if this type is such a conjunction."""
        return ()

    def walk(self) -> Iterator[Constraint]:
        """Yield this constraint and every one nested in it."""
        yield self


class Containment:
    """One containment check: the profile, the answers so far and the steps left."""

    __slots__ = ("_known", "_sound", "_steps")

    def __init__(self, profile: Profile = Profile.SOUND) -> None:
        self._sound = profile is Profile.SOUND
        self._steps = MAX_STEPS
        self._known: dict[tuple[int, int], bool] = {}

    def compare(self, parent: Constraint, child: Constraint) -> bool:
        """Answer as `holds` does, for a pair that is asked about once.

        Two plain constraints cost no more than reading them did, so they are not counted against the cap.

        Raises:
            UndecidedError: the step cap was reached.
        """
        if parent.composite or child.composite:
            return self.holds(parent, child)
        return self._plain(parent, child)

    def holds(self, parent: Constraint, child: Constraint) -> bool:
        """Tell whether `child` is provably at most as wide as `parent`.

        Both must outlive this object: answers about composites are remembered by identity.

        Raises:
            UndecidedError: the step cap was reached.
        """
        if not (parent.composite or child.composite):
            self.spend(parent.weight() + child.weight())
            return self._plain(parent, child)
        pair = (id(parent), id(child))
        answer = self._known.get(pair)
        if answer is None:
            self.spend(1)
            answer = self._taken_apart(parent, child) if self._sound else parent.contains(child, self)
            self._known[pair] = answer
        return answer

    def spend(self, steps: int) -> None:
        """Count work against the cap."""
        self._steps -= steps
        if self._steps < 0:
            raise UndecidedError

    def _plain(self, parent: Constraint, child: Constraint) -> bool:
        """Ask the table, or try every value of a finite child; neither is a composite."""
        values = child.finite() if self._sound else None
        return parent.contains(child, self) if values is None else all(map(parent.matcher(), values))

    def _taken_apart(self, parent: Constraint, child: Constraint) -> bool:
        """Decompose the child while that loses nothing, then the parent; one of them is a composite."""
        values = child.finite()
        if values is not None:
            self.spend(child.weight() * sum(part.weight() for part in parent.walk()))
            return all(map(parent.matcher(), values))
        if alternatives := child.alternatives():
            return all(self.holds(parent, clause) for clause in alternatives)
        if conjuncts := parent.conjuncts():
            return all(self.holds(clause, child) for clause in conjuncts)
        if any(self.holds(parent, clause) for clause in child.conjuncts()):
            return True
        return any(self.holds(clause, child) for clause in parent.alternatives())


def matched(parents: Sequence[Constraint], children: Sequence[Constraint], within: Containment) -> bool:
    """Match each parent clause to a narrower child clause of its own (augmenting paths, polynomial).

    No recursion: a path may be as long as there are clauses, and clauses nest.
    """
    taken: dict[int, int] = {}  # child clause -> parent clause
    return all(_placed(parent, taken, parents, children, within) for parent in range(len(parents)))


def _placed(
    first: int,
    taken: dict[int, int],
    parents: Sequence[Constraint],
    children: Sequence[Constraint],
    within: Containment,
) -> bool:
    """Find `first` a child clause, moving the parents that stand in its way, each at most once."""
    reached: dict[int, int] = {}  # child clause -> the parent that wants it
    held: dict[int, int] = {}  # parent -> the child clause it would give up
    waiting = [first]
    for parent in waiting:
        for child, clause in enumerate(children):
            within.spend(1)
            if child in reached or not within.holds(parents[parent], clause):
                continue
            reached[child] = parent
            if child in taken:
                held[taken[child]] = child
                waiting.append(taken[child])
                continue
            free: int | None = child
            while free is not None:
                taken[free] = reached[free]
                free = held.get(reached[free])
            return True
    return False


def brief(constraint: Constraint) -> str:
    """Return a constraint in words, short enough as `clip` says."""
    return clip(str(constraint))


def depth(constraint: Constraint) -> int:
    """Return the nesting of a constraint tree; a plain constraint has depth 1."""
    clauses = (*constraint.alternatives(), *constraint.conjuncts())
    return 1 + max(map(depth, clauses), default=0)
