"""Questions to a SQLite ledger, on connections that cannot write.

The law of this file: no read transaction outlives the call that began it, streams included (they read page
by page), so that a slow reader never keeps the log from starting over.
"""
# ruff: noqa: S608 - what is put into a statement is names and numbers of this file; values are bound

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import apsw

from chain.errors import StoreError
from chain.ledger import DelegationRow, EnrolmentRow, NonceRow, ReplyRow, RevocationRow, StandingRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from msgspec import Struct

PAGE = 2000  # rows a stream reads at once: a few milliseconds, and a few megabytes of tokens


def _columns(row: type[Struct]) -> str:
    return ", ".join(row.__struct_fields__)


_DELEGATION = f"SELECT {_columns(DelegationRow)} FROM delegations"
_ONE = f"{_DELEGATION} WHERE digest = ?"
_NAMED = "SELECT digest FROM delegations WHERE issuer = ? AND jti = ? ORDER BY id LIMIT 1"
_CHILDREN = "SELECT digest FROM delegations WHERE parent = ? ORDER BY revision, digest"
_BENEATH = """WITH RECURSIVE beneath (digest) AS (
    SELECT digest FROM delegations WHERE parent = :under
    UNION SELECT d.digest FROM delegations d JOIN beneath b ON d.parent = b.digest)
"""
# A LIMIT here ends the recursion itself; the index makes what has expired cost nothing.
_LIVING = "exp > :now AND revision <= :until"
_DESCENDANTS = f"""WITH RECURSIVE beneath (digest) AS (
    SELECT digest FROM delegations INDEXED BY delegations_by_parent WHERE parent = :digest AND {_LIVING}
    UNION ALL SELECT d.digest FROM beneath b CROSS JOIN delegations d INDEXED BY delegations_by_parent
    WHERE d.parent = b.digest AND {_LIVING.replace("exp", "d.exp").replace("revision", "d.revision")}
    LIMIT :limit)
SELECT digest FROM beneath"""
_FIRST_LIVE = "SELECT min(id) FROM delegations INDEXED BY delegations_by_expiry WHERE exp > ?"
_LIVE = f"{_DELEGATION} NOT INDEXED WHERE id >= ? AND exp > ? ORDER BY id LIMIT {PAGE}"
_PLACE = "SELECT id FROM delegations WHERE digest = ?"
_REVOCATIONS = f"SELECT {_columns(RevocationRow)}, id FROM revocations WHERE id > ? ORDER BY id LIMIT {PAGE}"
_NONCES = (
    f"SELECT {_columns(NonceRow)} FROM nonces NOT INDEXED WHERE (digest, jti) > (?, ?) AND expires > ? "
    f"ORDER BY digest, jti LIMIT {PAGE}"
)
_ENROLMENTS = f"SELECT {_columns(EnrolmentRow)} FROM enrolments WHERE thumbprint > ? ORDER BY thumbprint LIMIT {PAGE}"
_REPLY = f"SELECT {_columns(ReplyRow)} FROM replies WHERE caller = ? AND method = ? AND key = ?"
_STANDING = f"SELECT {_columns(StandingRow)} FROM standing WHERE kind = ? AND name > ? ORDER BY name LIMIT {PAGE}"
_STANDS = f"SELECT {_columns(StandingRow)} FROM standing WHERE kind = ? AND name = ?"
_LEAVES = "SELECT leaf FROM records WHERE revision > ?1 AND revision <= ?1 + ?2 ORDER BY revision"
_RECORDS = "SELECT data, leaf FROM records WHERE revision >= :start"


class Connection:
    """A connection that threads take turns on."""

    def __init__(self, connection: apsw.Connection) -> None:
        """Take over a connection."""
        self._connection = connection
        self._lock = threading.Lock()

    def rows(self, statement: str, bindings: tuple[Any, ...] | dict[str, Any] = ()) -> list[Any]:
        """Return all rows of a query.

        Raises:
            StoreError: the store is closed, or the disk or the database refused.
        """
        try:
            with self._lock:
                return self._connection.execute(statement, bindings).fetchall()
        except apsw.Error as error:
            raise StoreError("the ledger could not be read") from error

    def close(self) -> None:
        """Close after the running query."""
        with self._lock:
            self._connection.close()


class Reader:
    """Point lookups on one connection, long reads on another, so that no lookup waits for a scan."""

    def __init__(self, points: apsw.Connection, scans: apsw.Connection) -> None:
        """Take over two connections."""
        self._points = Connection(points)
        self._scans = Connection(scans)

    def delegation(self, digest: bytes) -> DelegationRow | None:
        """See `chain.ledger.Store.delegation`."""
        rows = self._points.rows(_ONE, (digest,))
        return DelegationRow(*rows[0]) if rows else None

    def reply(self, caller: str, method: str, key: str) -> ReplyRow | None:
        """See `chain.ledger.Store.reply`."""
        rows = self._points.rows(_REPLY, (caller, method, key))
        return ReplyRow(*rows[0]) if rows else None

    def named(self, issuer: str, jti: str) -> bytes | None:
        """See `chain.ledger.Store.named`."""
        rows = self._points.rows(_NAMED, (issuer, jti))
        return rows[0][0] if rows else None

    def children(self, digest: bytes) -> list[bytes]:
        """See `chain.ledger.Store.children`."""
        return [child for (child,) in self._scans.rows(_CHILDREN, (digest,))]

    def descendants(self, digest: bytes, *, now: int, until: int, limit: int) -> list[bytes]:
        """See `chain.ledger.Store.descendants`."""
        values = {"digest": digest, "now": now, "until": until, "limit": max(limit, 0)}
        return [found for (found,) in self._scans.rows(_DESCENDANTS, values)]

    def delegations(
        self,
        *,
        now: int | None,
        holder: str | None,
        task: str | None,
        issuer: str | None,
        under: bytes | None,
        after: int,
        limit: int,
    ) -> list[DelegationRow]:
        """See `chain.ledger.Store.delegations`."""
        if limit < 1:
            return []
        terms = [] if now is None else ["exp > :now"]
        for name, value in (("holder", holder), ("task", task)):
            if value is not None:
                terms.append(f"{name} = :{name}" + (f" AND {name} <> ''" if value else ""))  # "" is not indexed
        if issuer is not None:
            terms.append("issuer = :issuer AND depth = 0")
        if under is not None:
            terms.append("digest IN beneath")
        query = (_BENEATH if under is not None else "") + " ".join((_DELEGATION, "WHERE", *(f"{t} AND" for t in terms)))
        values = {"now": now, "holder": holder, "task": task, "issuer": issuer, "under": under}
        values |= {"after": after, "limit": limit}
        order = "ORDER BY revision, digest"
        rows = self._scans.rows(f"{query} revision > :after {order} LIMIT :limit", values)
        page = [DelegationRow(*row) for row in rows]
        if len(page) == limit:
            values |= {"revision": page[-1].revision, "digest": page[-1].digest}
            rest = self._scans.rows(f"{query} revision = :revision AND digest > :digest {order}", values)
            page.extend(DelegationRow(*row) for row in rest)
        return page

    def live(self, now: int) -> Iterator[DelegationRow]:
        """See `chain.ledger.Store.live`. Rows were added parents first, so their place is the order."""
        ((place,),) = self._scans.rows(_FIRST_LIVE, (now,))
        while place is not None:
            rows = self._scans.rows(_LIVE, (place, now))
            for row in rows:
                yield DelegationRow(*row)
            place = self._scans.rows(_PLACE, (rows[-1][0],))[0][0] + 1 if len(rows) == PAGE else None

    def revocations(self) -> Iterator[RevocationRow]:
        """See `chain.ledger.Store.revocations`."""
        place = 0
        while rows := self._scans.rows(_REVOCATIONS, (place,)):
            place = rows[-1][-1]
            for row in rows:
                yield RevocationRow(*row[:-1])

    def nonces(self, now: int) -> Iterator[NonceRow]:
        """See `chain.ledger.Store.nonces`."""
        last: tuple[bytes, str] = (b"", "")
        while rows := self._scans.rows(_NONCES, (*last, now)):
            last = rows[-1][:2]
            for row in rows:
                yield NonceRow(*row)

    def enrolments(self) -> Iterator[EnrolmentRow]:
        """See `chain.ledger.Store.enrolments`."""
        last = ""
        while rows := self._scans.rows(_ENROLMENTS, (last,)):
            last = rows[-1][0]
            for row in rows:
                yield EnrolmentRow(*row)

    def standing(self, kind: str) -> Iterator[StandingRow]:
        """See `chain.ledger.Store.standing`."""
        last = ""
        if (unnamed := self.stands(kind, last)) is not None:
            yield unnamed  # a page begins behind its name
        while rows := self._scans.rows(_STANDING, (kind, last)):
            last = rows[-1][1]
            for row in rows:
                yield StandingRow(*row)

    def stands(self, kind: str, name: str) -> StandingRow | None:
        """See `chain.ledger.Store.stands`."""
        rows = self._points.rows(_STANDS, (kind, name))
        return StandingRow(*rows[0]) if rows else None

    def records(self, start: int, limit: int, kind: str | None) -> list[tuple[bytes, bytes]]:
        """See `chain.ledger.Store.records`."""
        term = "" if kind is None else " AND kind = :kind" + ("" if kind == "decided" else " AND kind <> 'decided'")
        values = {"start": start, "limit": max(limit, 0), "kind": kind}
        return self._scans.rows(f"{_RECORDS}{term} ORDER BY revision LIMIT :limit", values)

    def leaves(self, start: int, count: int) -> list[bytes]:
        """See `chain.ledger.Store.leaves`."""
        return [leaf for (leaf,) in self._points.rows(_LEAVES, (start, max(count, 0)))]

    def close(self) -> None:
        """Close both connections."""
        self._points.close()
        self._scans.close()
