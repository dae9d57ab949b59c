"""A bounded memory: what falls out of it is asked for again.

The law of this file: two generations, and nothing is ever searched. A lost update costs a question, never an answer.
"""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

GENERATION = 65_536
"""Entries in one generation of a bounded memory; what falls out is asked of the store again."""


class Recent(Generic[K, V]):
    """A bounded memory in two generations: the older one is dropped when the younger is full.

    Threads may share it: each step is one dictionary operation. Of two that put at once the one's entry may be lost.
    """

    __slots__ = ("_capacity", "_old", "_young")

    def __init__(self, capacity: int = GENERATION) -> None:
        self._capacity = capacity
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Return what is remembered, if it is."""
        found = self._young.get(key)
        return self._old.get(key) if found is None else found

    def put(self, key: K, value: V) -> None:
        """Remember."""
        if len(self._young) >= self._capacity:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def drop(self, key: K) -> None:
        """Forget, if it is remembered."""
        self._young.pop(key, None)
        self._old.pop(key, None)


class Weighed(Generic[K, V]):
    """A memory that is bounded by what its entries weigh, in two generations as above.

    Threads may share it: each step is one dictionary operation. Two that put at once may count one weight once, or
    begin a generation twice: it then holds a little more or less, until the next one.
    """

    __slots__ = ("_capacity", "_old", "_weight", "_young")

    def __init__(self, capacity: int) -> None:
        """Begin empty.

        Args:
            capacity: bytes of both generations together, about.
        """
        self._capacity = capacity // 2
        self._weight = 0
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Return what is remembered, if it is."""
        found = self._young.get(key)
        return self._old.get(key) if found is None else found

    def put(self, key: K, value: V, weight: int) -> None:
        """Remember; what alone weighs more than a generation is not remembered.

        Args:
            key: of a fixed size.
            value: in place of what was remembered.
            weight: bytes of memory of both, about.
        """
        if weight > self._capacity:
            return
        if self._weight + weight > self._capacity:
            self._old, self._young, self._weight = self._young, {}, 0
        self._weight += weight
        self._young[key] = value
