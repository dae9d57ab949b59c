"""What a window of the record holds no longer: how much, and of which names.

The law of this file: values, of one size however much is let go of. A name that was let go of is known again, always;
one that was not is taken for it seldom.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import NamedTuple, TypeAlias

Key: TypeAlias = tuple[str, str]
"""A kind of fact, and the name that it is about."""

BITS = 1 << 25
"""Of the memory of names, 4 MiB: of a million names, one other in six thousand is taken for one of them."""

MARKS = 4
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
    """The names that were let go of (a Bloom filter)."""

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
    digest = sha256("\0".join(key).encode(errors="surrogatepass")).digest()
    return (int.from_bytes(digest[at : at + 4]) % BITS for at in range(0, 4 * MARKS, 4))
