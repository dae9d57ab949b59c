"""The store of the tests: all in memory, written in the caller's thread, gone with the object."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING

from chain.errors import StoreError
from chain.ledger import envelope
from chain.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chain.ledger import (
        Batch,
        DelegationRow,
        EnrolmentRow,
        NonceRow,
        ReplyRow,
        RevocationRow,
        StandingRow,
        Write,
    )

_by_revision = attrgetter("revision", "digest")
_ancestors_first = attrgetter("revision", "depth")


class MemoryStore:
    """Implements `chain.ledger.Store`; every commit has resolved when `commit` returns."""

    def __init__(self) -> None:
        """Start with an empty ledger."""
        self._lock = threading.RLock()  # prepare may read the store
        self._closed = False
        self._failure: str | None = None
        self._children: dict[bytes, list[bytes]] = {}
        self._records: list[tuple[str, bytes, bytes]] = []
        self._delegations: dict[bytes, DelegationRow] = {}
        self._names: dict[tuple[str, str], bytes] = {}
        self._revocations: dict[bytes, RevocationRow] = {}
        self._nonces: dict[tuple[bytes, str], NonceRow] = {}
        self._enrolments: dict[str, EnrolmentRow] = {}
        self._replies: dict[tuple[str, str, str], ReplyRow] = {}
        self._standing: dict[tuple[str, str], StandingRow] = {}

    @property
    def head(self) -> int:
        """The last revision written, 0 when there is none."""
        return len(self._records)

    @property
    def synced(self) -> int:
        """The head: nothing here outlives the process, so nothing waits."""
        return self.head

    @property
    def failure(self) -> str | None:
        """Why every later commit fails; None while it works."""
        return self._failure

    def commit(self, batch: Batch) -> Future[int]:
        """Write a batch; see `chain.ledger.Store.commit`."""
        future: Future[int] = Future()
        with self._lock:
            if self._failure is not None or self._closed:
                future.set_exception(StoreError(self._failure or "the store is closed"))
                return future
            try:
                write = batch.prepare(self.head + 1)
            except Exception as error:  # noqa: BLE001 - the batch's own refusal, of any kind, is its caller's
                future.set_exception(error)
                return future
            try:
                self._write(write)
            except StoreError as error:
                self._failure = f"the ledger stopped and must be opened again: {error.detail}"
                future.set_exception(StoreError(self._failure))
            else:
                future.set_result(self.head)
        return future

    def _write(self, write: Write) -> None:
        first = self.head + 1
        kinds = [envelope(data, first + place).kind for place, data in enumerate(write.records)]
        self._records += [(kind, data, leaf_hash(data)) for kind, data in zip(kinds, write.records, strict=True)]
        for delegation in sorted(write.delegations, key=_ancestors_first):
            if self._delegations.setdefault(delegation.digest, delegation) is delegation and delegation.parent:
                self._children.setdefault(delegation.parent, []).append(delegation.digest)
            self._names.setdefault((delegation.issuer, delegation.jti), delegation.digest)
        for revocation in write.revocations:
            self._revocations.setdefault(revocation.digest, revocation)
        for nonce in write.nonces:
            known = self._nonces.get((nonce.digest, nonce.jti))
            if known is None or known.expires < nonce.expires:
                self._nonces[nonce.digest, nonce.jti] = nonce
        self._enrolments.update((row.thumbprint, row) for row in write.enrolments)
        self._replies.update(((row.caller, row.method, row.key), row) for row in write.replies)
        for row in write.standing:
            self._standing.pop((row.kind, row.name), None)
            if row.body:
                self._standing[row.kind, row.name] = row

    def delegation(self, digest: bytes) -> DelegationRow | None:
        """Return the delegation of that digest."""
        return self._delegations.get(digest)

    def named(self, issuer: str, jti: str) -> bytes | None:
        """Return the digest of the first delegation that bears this `iss` and `jti`."""
        return self._names.get((issuer, jti))

    def children(self, digest: bytes) -> list[bytes]:
        """Return the digests right under that one, ordered by revision, digest."""
        with self._lock:
            rows = [self._delegations[child] for child in self._children.get(digest, ())]
        return [row.digest for row in sorted(rows, key=_by_revision)]

    def descendants(self, digest: bytes, *, now: int, until: int, limit: int) -> list[bytes]:
        """Return the digests of what lives beneath that one; see `chain.ledger.Store.descendants`."""
        found = [digest]
        with self._lock:
            for parent in found:  # grows as it goes
                rows = (self._delegations[child] for child in self._children.get(parent, ()))
                found += islice((row.digest for row in rows if row.exp > now and row.revision <= until), limit + 1)
                if len(found) > limit:
                    break
        return found[1 : limit + 1]

    def delegations(
        self,
        *,
        now: int | None = None,
        holder: str | None = None,
        task: str | None = None,
        issuer: str | None = None,
        under: bytes | None = None,
        after: int = 0,
        limit: int = 1000,
    ) -> list[DelegationRow]:
        """Return a page of delegations; see `chain.ledger.Store.delegations`."""
        if limit < 1:
            return []
        with self._lock:
            rows = sorted(self._delegations.values(), key=_by_revision)
        beneath = None if under is None else self._beneath(under)
        found = [
            row
            for row in rows
            if row.revision > after
            and (now is None or row.exp > now)
            and (holder is None or row.holder == holder)
            and (task is None or row.task == task)
            and (issuer is None or (row.issuer == issuer and row.depth == 0))
            and (beneath is None or row.digest in beneath)
        ]
        return found[:limit] + [row for row in found[limit:] if row.revision == found[limit - 1].revision]

    def _beneath(self, digest: bytes) -> set[bytes]:
        found: set[bytes] = set()
        waiting = self.children(digest)
        while waiting:
            child = waiting.pop()
            if child not in found:
                found.add(child)
                waiting += self.children(child)
        return found

    def live(self, now: int) -> Iterator[DelegationRow]:
        """Stream all with `exp` > now (seconds), parents before children."""
        with self._lock:
            rows = list(self._delegations.values())
        return (row for row in rows if row.exp > now)

    def revocations(self) -> Iterator[RevocationRow]:
        """Stream all revocations, in the order they were written."""
        with self._lock:
            return iter(list(self._revocations.values()))

    def nonces(self, now: int) -> Iterator[NonceRow]:
        """Stream the nonces with `expires` > now (seconds)."""
        with self._lock:
            rows = list(self._nonces.values())
        return (row for row in rows if row.expires > now)

    def enrolments(self) -> Iterator[EnrolmentRow]:
        """Stream the enrolments, ordered by thumbprint."""
        with self._lock:
            return iter(sorted(self._enrolments.values(), key=attrgetter("thumbprint")))

    def reply(self, caller: str, method: str, key: str) -> ReplyRow | None:
        """Return the answer kept under an idempotency key, expired or not."""
        return self._replies.get((caller, method, key))

    def standing(self, kind: str) -> Iterator[StandingRow]:
        """Stream what stands of one kind, ordered by name."""
        with self._lock:
            rows = [row for row in self._standing.values() if row.kind == kind]
        return iter(sorted(rows, key=attrgetter("name")))

    def stands(self, kind: str, name: str) -> StandingRow | None:
        """Return what stands of one name; it may have expired."""
        return self._standing.get((kind, name))

    def records(self, start: int = 1, limit: int = 1000, kind: str | None = None) -> list[tuple[bytes, bytes]]:
        """Return (encoded record, leaf hash) from revision `start` on, in order, of one kind if given."""
        with self._lock:
            rows = self._records[max(start, 1) - 1 :]
        found = [(data, leaf) for name, data, leaf in rows if kind is None or name == kind]
        return found[: max(limit, 0)]

    def leaves(self, start: int, count: int) -> list[bytes]:
        """Return the leaf hashes of so many records behind revision `start`."""
        with self._lock:
            return [leaf for _, _, leaf in self._records[max(start, 0) : max(start, 0) + max(count, 0)]]

    def sweep(self, now: int) -> int:
        """Delete nonces, replies and what stood until now (seconds); return how many."""
        with self._lock:
            before = len(self._nonces) + len(self._replies) + len(self._standing)
            self._nonces = {key: row for key, row in self._nonces.items() if row.expires > now}
            self._replies = {key: row for key, row in self._replies.items() if row.expires > now}
            self._standing = {key: row for key, row in self._standing.items() if not 0 < row.expires <= now}
            return before - len(self._nonces) - len(self._replies) - len(self._standing)

    def expire(self, now: int) -> None:
        """Do it now: there is no background here."""
        self.sweep(now)

    def close(self) -> None:
        """Later commits fail; what was written can still be read."""
        self._closed = True
