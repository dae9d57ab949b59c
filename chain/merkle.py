"""The Merkle tree over the records, and the proofs that it gives and checks (RFC 9162 s2.1).

The law of this file: pure, and two halves that share only the hash. Whoever proves reads nodes; whoever verifies is
given a proof and root hashes, and trusts neither. A proof of the wrong length is no proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import TypeAlias

Nodes: TypeAlias = Callable[[int, int], bytes]
"""(level, index) -> hash of a complete subtree: of leaves `index << level` up to `(index + 1) << level`."""

EMPTY = sha256(b"").digest()
"""Root of the tree without a leaf (RFC 9162 s2.1.1)."""

LEAF, NODE = b"\x00", b"\x01"  # leaves and nodes are hashed in separate domains


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf (RFC 9162 s2.1.1)."""
    return sha256(LEAF + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node over two others (RFC 9162 s2.1.1)."""
    return sha256(NODE + left + right).digest()


def complete(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield (level, index) of the complete subtrees that cover the leaves from `start` to `end`, from the left.

    Args:
        start: a multiple of the largest power of two that is less than `end - start`, as in every split of the tree.
        end: the leaf behind the last one.
    """
    while start < end:
        level = (end - start).bit_length() - 1
        yield level, start >> level
        start += 1 << level


def span(start: int, end: int, nodes: Nodes) -> bytes:
    """Return the hash over the leaves from `start` to `end` (MTH of RFC 9162 s2.1.1); bounds as in `complete`."""
    parts = [nodes(level, index) for level, index in complete(start, end)]
    if not parts:
        return EMPTY
    found = parts.pop()
    while parts:
        found = node_hash(parts.pop(), found)
    return found


def root(size: int, nodes: Nodes) -> bytes:
    """Return the root hash of the first `size` leaves."""
    return span(0, size, nodes)


def inclusion(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """Return the proof that a leaf stands in the tree of the first `size` (RFC 9162 s2.1.3.1).

    Raises:
        ValueError: it does not.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    start, end = 0, size
    path: list[bytes] = []
    while (width := end - start) & (width - 1):
        middle = start + _split(width)
        if index < middle:
            path.append(span(middle, end, nodes))
            end = middle
        else:
            path.append(span(start, middle, nodes))
            start = middle
    below = [nodes(level, (index >> level) ^ 1) for level in range(width.bit_length() - 1)]  # a complete subtree
    return below + path[::-1]


def consistency(first: int, second: int, nodes: Nodes) -> list[bytes]:
    """Return the proof that the tree of the first `first` leaves is the beginning of that of `second` (s2.1.4.1).

    Raises:
        ValueError: it cannot be: the sizes are not in order, or nothing is before it.
    """
    if not 0 < first <= second:
        raise ValueError(f"a tree of {first} is not the beginning of one of {second}")
    start, end, whole = 0, second, True
    path: list[bytes] = []
    while end != first:
        middle = start + _split(end - start)
        if first <= middle:
            path.append(span(middle, end, nodes))
            end = middle
        else:
            path.append(span(start, middle, nodes))
            start, whole = middle, False
    if not whole:
        path.append(span(start, end, nodes))
    return path[::-1]


def proves_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected: bytes) -> bool:
    """Tell whether a proof shows that a leaf stands at `index` of the tree with that root (RFC 9162 s2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and found == expected


def proves_consistency(first: int, second: int, path: Sequence[bytes], before: bytes, after: bytes) -> bool:
    """Tell whether a proof shows that the tree with root `before` is the beginning of that with `after` (s2.1.4.2)."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not path and before == after
    steps = list(path) if first & (first - 1) else [before, *path]
    if not steps:
        return False
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and (old, new) == (before, after)


class Frontier:
    """The complete subtrees of a tree that grows, the largest first: all that the next leaf needs.

    Attributes:
        size: leaves so far.
    """

    __slots__ = ("_hashes", "size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        """Go on from a tree of `size` leaves, whose complete subtrees (`complete`) have these hashes."""
        self.size = size
        self._hashes = list(hashes)
        if len(self._hashes) != size.bit_count():
            raise ValueError(f"{len(self._hashes)} hashes for a tree of {size}")

    def append(self, leaf: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Add a leaf; yield (level, index, hash) of each subtree that it completes, the leaf itself first."""
        found, level, index = leaf, 0, self.size
        yield level, index, found
        while index & 1:
            found = node_hash(self._hashes.pop(), found)
            level, index = level + 1, index >> 1
            yield level, index, found
        self._hashes.append(found)
        self.size += 1

    def add(self, leaf: bytes) -> None:
        """Add a leaf."""
        for _ in self.append(leaf):
            pass

    @property
    def root(self) -> bytes:
        """Root hash of the leaves so far."""
        if not self._hashes:
            return EMPTY
        *left, found = self._hashes
        while left:
            found = node_hash(left.pop(), found)
        return found


def _split(size: int) -> int:
    """Return the largest power of two less than `size`, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1
