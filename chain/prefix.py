"""Verified prefixes: what was authentic once is authentic again, byte for byte.

The law of this file: the key is the digest of a signing input, and an entry is a hit only where *every* token
presented equals the entry's at its place. A leaf alone, a dropped hop or an edited ancestor signature is a miss.
Bounded: two generations, the older one is dropped when the younger is full.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TypeAlias

from chain.delegation import Chain

EXPANSION = 3
"""Bytes of memory for each byte of a token's text: the text itself, and what it decodes to."""

OVERHEAD = 2_048
"""Bytes of an entry beside its token's."""

Remembered: TypeAlias = tuple[tuple[str, ...], Chain]


class PrefixCache:
    """Digest of the last token's signing input -> the exact tokens and their chain.

    Threads may share it: each step is one dictionary operation, and a lost update costs one verification.
    """

    __slots__ = ("_capacity", "_old", "_weight", "_young")

    def __init__(self, capacity: int) -> None:
        """Begin empty.

        Args:
            capacity: bytes of memory that each generation may take, about.
        """
        self._capacity = capacity
        self._weight = 0
        self._young: dict[bytes, Remembered] = {}
        self._old: dict[bytes, Remembered] = {}

    def get(self, digest: bytes) -> Remembered | None:
        """Return what is remembered under a leaf's digest; the caller compares the tokens."""
        found = self._young.get(digest)
        if found is None and (found := self._old.get(digest)) is not None:
            self._put(digest, found)
        return found

    def longest(self, tokens: tuple[str, ...]) -> tuple[Chain | None, list[bytes]]:
        """Find the longest prefix of `tokens` that is known, byte for byte.

        Returns:
            Its chain, if there is one, and the digests of the tokens beyond it.
        """
        beyond: list[bytes] = []
        for length in range(len(tokens), 0, -1):
            signing_input, _, _ = tokens[length - 1].rpartition(".")
            digest = sha256(signing_input.encode("utf-8", "surrogatepass")).digest()
            found = self.get(digest)
            if found is not None and found[0] == tokens[:length]:
                return found[1], beyond[::-1]
            beyond.append(digest)
        return None, beyond[::-1]

    def put(self, tokens: tuple[str, ...], chain: Chain) -> None:
        """Remember a verified chain under its leaf."""
        self._put(chain.leaf.digest, (tokens, chain))

    def _put(self, digest: bytes, remembered: Remembered) -> None:
        self._weight += OVERHEAD + EXPANSION * len(remembered[0][-1])
        if self._weight > self._capacity:
            self._old, self._young, self._weight = self._young, {}, 0
        self._young[digest] = remembered
