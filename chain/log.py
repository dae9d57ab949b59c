"""The ledger as a Merkle log: its head at any size, and the proofs (RFC 9162 s2.1).

The law of this file: it is a projection. Leaf hashes are read from the store, in order, and what is kept here can be
built from them again: of every eight records one hash, and those above.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import TypeAlias

from chain import merkle
from chain.errors import InvalidRequestError, StoreError
from chain.merkle import Frontier, Nodes

Leaves: TypeAlias = Callable[[int, int], Sequence[bytes]]
"""(start, count) -> leaf hashes of so many records, from the index `start` on."""

KEPT = 3
"""Lowest level that is kept: 8 bytes a record; below it a proof reads eight leaves."""

READ = 4096
"""Leaf hashes that are read at once."""


class Log:
    """The tree over the records so far. Threads may share it."""

    def __init__(self, leaves: Leaves) -> None:
        """Begin with none of the records; `leaves` reads their hashes."""
        self._leaves = leaves
        self._frontier = Frontier()
        self._levels: list[bytearray] = []
        self._lock = Lock()

    def grow(self, size: int) -> None:
        """Take in the records up to `size`; a log never shrinks.

        Raises:
            StoreError: they cannot be read.
        """
        with self._lock:
            while (known := self._frontier.size) < size:
                asked = min(READ, size - known)
                leaves = self._leaves(known, asked)
                if len(leaves) != asked:
                    raise StoreError(f"the ledger has lost records, of those from {known + 1} to {known + asked}")
                for leaf in leaves:
                    self._append(leaf)

    def root(self, size: int) -> bytes:
        """Return the root hash of the first `size` records.

        Raises:
            InvalidRequestError: there are fewer.
        """
        self._require(size)
        return merkle.root(size, self._nodes())

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the proof that the record at `index` stands in the log of the first `size`.

        Raises:
            InvalidRequestError: it does not, or there are fewer.
        """
        self._require(size)
        if not 0 <= index < size:
            raise InvalidRequestError(f"record {index + 1} is not among the first {size}")
        return merkle.inclusion(index, size, self._nodes())

    def consistency(self, first: int, second: int) -> list[bytes]:
        """Return the proof that the log of `first` records is the beginning of that of `second`.

        Raises:
            InvalidRequestError: they are not in order, or there are fewer.
        """
        self._require(second)
        if not 0 < first <= second:
            raise InvalidRequestError(f"a log of {first} records is not the beginning of one of {second}")
        return merkle.consistency(first, second, self._nodes())

    def _require(self, size: int) -> None:
        if not 0 <= size <= self._frontier.size:
            raise InvalidRequestError(f"the ledger has {self._frontier.size} records, not {size}")

    def _append(self, leaf: bytes) -> None:
        for level, _index, found in self._frontier.append(leaf):
            if level >= KEPT:
                if level - KEPT == len(self._levels):
                    self._levels.append(bytearray())
                self._levels[level - KEPT] += found

    def _nodes(self) -> Nodes:
        """Return what reads nodes for one proof; it reads no group of leaves twice."""
        levels, groups = self._levels, dict[int, Sequence[bytes]]()

        def node(level: int, index: int) -> bytes:
            if level >= KEPT:
                return bytes(levels[level - KEPT][index * 32 : index * 32 + 32])
            first = index << level
            group = groups.get(first >> KEPT)
            if group is None:
                group = groups[first >> KEPT] = self._leaves(first >> KEPT << KEPT, 1 << KEPT)
            place = first & ((1 << KEPT) - 1)
            row = group[place : place + (1 << level)]
            while len(row) > 1:
                row = [merkle.node_hash(row[at], row[at + 1]) for at in range(0, len(row), 2)]
            return row[0]

        return node
