"""The rows of a group of batches, and the statements that write them in one transaction."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from msgspec.structs import astuple

from chain.ledger import (
    DelegationRow,
    EnrolmentRow,
    NonceRow,
    ReplyRow,
    RevocationRow,
    StandingRow,
    Write,
    envelope,
)
from chain.merkle import leaf_hash

if TYPE_CHECKING:
    import apsw
    from msgspec import Struct


def _insert(table: str, row: type[Struct], conflict: str) -> str:
    fields = row.__struct_fields__
    places = ", ".join("?" * len(fields))
    return f"INSERT INTO {table} ({', '.join(fields)}) VALUES ({places}) ON CONFLICT {conflict}"  # noqa: S608 - names of this package


# `ON CONFLICT (…) DO NOTHING` and not `INSERT OR IGNORE`: the latter would swallow a violated CHECK too.
# An expired nonce that was not swept yet may come again under a new proof, so its expiry is raised.
RECORD = "INSERT INTO records (revision, kind, data, leaf) VALUES (?, ?, ?, ?)"
DELEGATION = _insert("delegations", DelegationRow, "(digest) DO NOTHING")
REVOCATION = _insert("revocations", RevocationRow, "(digest) DO NOTHING")
NONCE = _insert("nonces", NonceRow, "(digest, jti) DO UPDATE SET expires = max(expires, excluded.expires)")
ENROLMENT = _insert(
    "enrolments", EnrolmentRow, "(thumbprint) DO UPDATE SET body = excluded.body, revision = excluded.revision"
)
REPLY = _insert(
    "replies",
    ReplyRow,
    "(caller, method, key) DO UPDATE SET request = excluded.request, reply = excluded.reply, "
    "revision = excluded.revision, expires = excluded.expires",
)
STANDING = _insert(
    "standing",
    StandingRow,
    "(kind, name) DO UPDATE SET body = excluded.body, expires = excluded.expires, revision = excluded.revision",
)
FALLEN = "DELETE FROM standing WHERE kind = ? AND name = ? AND body = x''"

_ancestors_first = attrgetter("revision", "depth")


class Group:
    """Rows collected from batches in commit order.

    Attributes:
        next: the revision that the next record gets.
        records: bindings of the records.
    """

    __slots__ = ("_others", "next", "records")

    def __init__(self, first: int) -> None:
        """Start an empty group whose first record gets revision `first`."""
        self.next = first
        self.records: list[tuple[Any, ...]] = []
        self._others: dict[str, list[tuple[Any, ...]]] = {}

    def add(self, write: Write) -> None:
        """Take in what a batch writes.

        Raises:
            StoreError: a record is not one, or does not bear the revision it stands at.
        """
        for data in write.records:
            kind = envelope(data, self.next).kind
            self.records.append((self.next, kind, data, leaf_hash(data)))
            self.next += 1
        if write.delegations:
            self._extend(DELEGATION, sorted(write.delegations, key=_ancestors_first))
        if write.nonces:
            self._extend(NONCE, write.nonces)
        if write.revocations:
            self._extend(REVOCATION, write.revocations)
        if write.enrolments:
            self._extend(ENROLMENT, write.enrolments)
        if write.replies:
            self._extend(REPLY, write.replies)
        if write.standing:
            self._extend(STANDING, write.standing)
            self._others.setdefault(FALLEN, []).extend((row.kind, row.name) for row in write.standing if not row.body)

    def _extend(self, statement: str, rows: list[Any]) -> None:
        self._others.setdefault(statement, []).extend(map(astuple, rows))

    def insert(self, connection: apsw.Connection) -> None:
        """Write all of it in the transaction that is open, and commit it.

        Raises:
            apsw.Error: nothing was written; the transaction may still be open.
        """
        connection.executemany(RECORD, self.records)
        for statement, rows in self._others.items():
            connection.executemany(statement, rows)
        connection.execute("COMMIT")
