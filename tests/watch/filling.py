"""Records by the thousand, without a decision behind each."""

from __future__ import annotations

from chain.ledger import Durability, Record, Store, encode
from chain.row import Write


class Filling:
    """A batch of records of some kinds in turn."""

    def __init__(self, count: int, kinds: tuple[str, ...], size: int, durability: Durability) -> None:
        self.durability = durability
        self._count = count
        self._kinds = kinds
        self._size = size

    def prepare(self, first: int) -> Write:
        made = []
        for revision in range(first, first + self._count):
            kind = self._kinds[revision % len(self._kinds)]
            made.append(encode(Record(revision, kind, 1_000 + revision, {"pad": "x" * self._size})))
        return Write(made)


def fill(
    store: Store,
    count: int,
    kinds: tuple[str, ...] = ("decided",),
    size: int = 10,
    durability: Durability = Durability.SYNCED,
) -> int:
    """Write records; return the last one's revision."""
    return store.commit(Filling(count, kinds, size, durability)).result()
