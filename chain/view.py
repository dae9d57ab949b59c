"""What a change or a question gives back.

The law of this file: values for the caller, encodable as they are, so that a repeated idempotency key gets the
very same answer.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from chain.base64url import b64encode
from chain.delegation import Chain
from chain.row import DelegationRow

Status: TypeAlias = Literal["active", "expired", "revoked"]


class Delegated(msgspec.Struct, frozen=True):
    """A delegation that the ledger holds.

    Attributes:
        id: its identity, base64url SHA-256 of the signing input.
        token: the compact JWS.
        parent: the parent's id, or None for a root.
        jti: the token's own name for itself; for display.
        holder: thumbprint of the holder's key.
        hop: position, root = 0.
        iat, exp: seconds.
        task: `txn` of the root, or the empty string.
        revision: of the record that brought it.
        status: as things stand.
    """

    id: str
    token: str
    parent: str | None
    jti: str
    holder: str
    hop: int
    iat: int
    exp: int
    task: str
    revision: int
    status: Status = "active"

    @classmethod
    def of(cls, chain: Chain, token: str, revision: int) -> Delegated:
        """Return the view of a chain's leaf, just registered."""
        leaf = chain.leaf
        return cls(
            id=leaf.id,
            token=token,
            parent=None if leaf.hop == 0 else chain.hops[-2].id,
            jti=leaf.claims.jti,
            holder=leaf.holder,
            hop=leaf.hop,
            iat=leaf.iat,
            exp=leaf.exp,
            task=chain.facts.txn or "",
            revision=revision,
        )

    @classmethod
    def stored(cls, row: DelegationRow, status: Status) -> Delegated:
        """Return the view of a row."""
        return cls(
            id=b64encode(row.digest),
            token=row.token.decode(),
            parent=None if row.parent is None else b64encode(row.parent),
            jti=row.jti,
            holder=row.holder,
            hop=row.depth,
            iat=row.iat,
            exp=row.exp,
            task=row.task,
            revision=row.revision,
            status=status,
        )


class Revoked(msgspec.Struct, frozen=True):
    """What a revocation felled, or would.

    Attributes:
        fallen: ids of the target, or of what bears the name, and of everything beneath it that had not expired, parents
            before children, the first `MAX_LISTED`.
        count: how many in all, counted up to `MAX_COUNTED`.
        revision: of the record; 0 for a dry run.
        at_least: whether there may be more than `count`. What was not counted fell all the same.
    """

    fallen: tuple[str, ...]
    count: int
    revision: int
    at_least: bool = False


MAX_LISTED = 1_000
"""Ids listed in one reply."""

MAX_COUNTED = 10_000
"""Delegations counted for one reply: some milliseconds of reading, however large the subtree."""


class Struck(msgspec.Struct, frozen=True):
    """A revocation that stands, before anybody has counted what it felled.

    Attributes:
        kind: what the names are: `delegation`, or one of `chain.control.Strike`.
        names: what was revoked; of a delegation its id.
        revision: of the record; 0 for a dry run.
        now: seconds; what had expired by then did not fall.
        until: the last revision of what is counted.
    """

    kind: Literal["delegation", "holder", "task", "key", "issuer"]
    names: tuple[str, ...]
    revision: int
    now: int
    until: int


class Enrolled(msgspec.Struct, frozen=True):
    """A key that belongs to somebody now."""

    holder: str
    principal: str
    revision: int


class Page(msgspec.Struct, frozen=True):
    """Some delegations, and where to go on.

    Attributes:
        delegations: ordered by revision.
        after: cursor for the next page; 0 at the end.
    """

    delegations: tuple[Delegated, ...]
    after: int


class Query(msgspec.Struct, frozen=True):
    """Which delegations are asked for; all members must hold.

    Attributes:
        up: the ancestors of this id, root first.
        down: the descendants of this id.
        holder: thumbprint of the holder's key.
        task: `txn` of the root.
        status: as things stand.
        after, limit: cursor and size of the page.
    """

    up: bytes | None = None
    down: bytes | None = None
    holder: str | None = None
    task: str | None = None
    status: Status | None = None
    after: int = 0
    limit: int = 100
