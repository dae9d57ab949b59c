"""Batches and rows for the tests of the stores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from msgspec.structs import replace

from chain.ledger import DelegationRow, Durability, Record, Write, encode


def digest(name: object) -> bytes:
    return hashlib.sha256(str(name).encode()).digest()


def record(revision: int, kind: str = "decided", **body: object) -> bytes:
    return encode(Record(revision, kind, 1_700_000_000_000 + revision, dict(body)))


def delegation(name: object, revision: int, **fields: object) -> DelegationRow:
    row = DelegationRow(
        digest=digest(name),
        parent=None,
        token=f"token of {name}".encode(),
        issuer="urn:issuer",
        jti=f"jti-{name}",
        holder="",
        task="",
        depth=0,
        iat=100,
        exp=1000,
        revision=revision,
    )
    return replace(row, **fields)


class Batch:
    """A batch that writes what a function of the first revision says; by default one record."""

    def __init__(
        self,
        write: Callable[[int], Write] | None = None,
        durability: Durability = Durability.SYNCED,
        *,
        urgent: bool = False,
    ) -> None:
        self.write = write or (lambda first: Write([record(first)]))
        self.durability = durability
        self.urgent = urgent
        self.calls: list[int] = []

    def prepare(self, first: int) -> Write:
        self.calls.append(first)
        return self.write(first)
