"""What a window of the record holds no longer: how much, and of which names.

The law of this file: values, of one size however much is let go of. A name that was let go of is known again, always;
one that was not is taken for it seldom.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

Key: TypeAlias = tuple[str, str]
"""A kind of fact, and the name that it is about."""

BITS = 1 << 26
"""Of the memory of names, 8 MiB: after a million names that were let go of, hardly any other is taken for one of them;
after four million, one in two thousand."""

MARKS = 8
"""Bits of one name."""


class LetGo(NamedTuple):
    """What a window holds no longer.

    Attributes:
        delegations: how many.
        allowed: id of a delegation -> calls under it that were allowed.
        others: calls that were not allowed and changes that were not made.
        requests: for approval, with what was said of them.
        policies: that came into force.
        stops: suspensions that are over.
        since: milliseconds; from when on every suspension of what is held is known, 0 where all of them are.
        enrolled: keys and ids of holders that hold nothing here, and under whom nobody works who does.
        revocations: names and ids of delegations that were revoked, and that nothing here bears.
        tools: last decisions about one that nothing here grants.
        unknown: records of kinds that are not known here.
    """

    delegations: int = 0
    allowed: Mapping[str, int] = {}
    others: int = 0
    requests: int = 0
    policies: int = 0
    stops: int = 0
    since: int = 0
    enrolled: int = 0
    revocations: int = 0
    tools: int = 0
    unknown: int = 0


NOTHING = LetGo()


class Names:
    """The names that were let go of (a Bloom filter).

    Its places come from the hash of this process, which nobody outside can work out: no name can be made so that
    another one is taken for it.
    """

    def __init__(self) -> None:
        """Begin with none, and without the memory for any."""
        self._bits = bytearray()

    def __bool__(self) -> bool:
        """Tell whether any name was let go of."""
        return bool(self._bits)

    def add(self, key: Key) -> None:
        """Note that a name was let go of."""
        if not self._bits:
            self._bits = bytearray(BITS // 8)
        for place in _places(key):
            self._bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, key: Key) -> bool:
        """Tell whether a name was let go of; of one that was not, seldom wrongly."""
        return bool(self._bits) and all(self._bits[place >> 3] >> (place & 7) & 1 for place in _places(key))


def _places(key: Key) -> Iterator[int]:
    found = hash(key)
    step = found >> 32 | 1
    return ((found + mark * step) % BITS for mark in range(MARKS))
