"""Which constraint is narrower than which: one question, two profiles, bounded work.

The law of this file: an answer of True is a proof. `AAT_01` is the table of the Internet-Draft (AAT-01 s4.5);
`SOUND` first takes composites and finite sets apart, while that loses nothing, and so accepts more of what is
truly narrower (TOKEN.md s1). Every pair is asked once, and a hostile pair of grants meets a step cap.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chain.constraint import Constraint

MAX_STEPS = 100_000
"""Questions in one containment check, about 50 ms at worst; an honest grant asks a few hundred."""


class Profile(Enum):
    """Which pairs count as narrower."""

    SOUND = "sound"
    AAT_01 = "aat-01"


class UndecidedError(Exception):
    """Containment was not decided within `MAX_STEPS`; the caller must refuse."""


class Containment:
    """One containment check: the profile, the answers so far and the steps left."""

    __slots__ = ("_known", "_sound", "_steps")

    def __init__(self, profile: Profile = Profile.SOUND) -> None:
        self._sound = profile is Profile.SOUND
        self._steps = MAX_STEPS
        self._known: dict[tuple[int, int], bool] = {}

    def holds(self, parent: Constraint, child: Constraint) -> bool:
        """Tell whether `child` is provably at most as wide as `parent`.

        Both must outlive this object: answers are remembered by identity.

        Raises:
            UndecidedError: the step cap was reached.
        """
        pair = (id(parent), id(child))
        answer = self._known.get(pair)
        if answer is None:
            self.spend(1)
            answer = self._sound_rule(parent, child) if self._sound else parent.contains(child, self)
            self._known[pair] = answer
        return answer

    def spend(self, steps: int) -> None:
        """Count work against the cap."""
        self._steps -= steps
        if self._steps < 0:
            raise UndecidedError

    def _sound_rule(self, parent: Constraint, child: Constraint) -> bool:
        """Decompose the child while that loses nothing, then the parent, then ask the table."""
        values = child.finite()
        if values is not None:
            self.spend(len(values) * sum(1 for _ in parent.walk()))
            return all(map(parent.matcher(), values))
        if alternatives := child.alternatives():
            return all(self.holds(parent, clause) for clause in alternatives)
        if conjuncts := parent.conjuncts():
            return all(self.holds(clause, child) for clause in conjuncts)
        if any(self.holds(parent, clause) for clause in child.conjuncts()):
            return True
        if alternatives := parent.alternatives():
            return any(self.holds(clause, child) for clause in alternatives)
        return parent.contains(child, self)


def matched(parents: Sequence[Constraint], children: Sequence[Constraint], within: Containment) -> bool:
    """Match each parent clause to a narrower child clause of its own (augmenting paths, polynomial)."""
    taken: dict[int, int] = {}  # child clause -> parent clause

    def place(parent: int, tried: set[int]) -> bool:
        for child, clause in enumerate(children):
            if child in tried or not within.holds(parents[parent], clause):
                continue
            tried.add(child)
            if child not in taken or place(taken[child], tried):
                taken[child] = parent
                return True
        return False

    return all(place(parent, set()) for parent in range(len(parents)))
