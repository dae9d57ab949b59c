"""What a store keeps beside the records: projections of them, and the answers to repeated requests.

The law of this file: values only. A row holds what a restart needs and names the record that brought it;
what a row means is the authority's business.
"""

from __future__ import annotations

import msgspec


class DelegationRow(msgspec.Struct, frozen=True):
    """One delegation as the store keeps it.

    Attributes:
        digest: SHA-256 of the signing input, 32 bytes: the identity.
        parent: digest of the parent, None for a root.
        token: the exact compact JWS.
        issuer: the token's `iss`: its signing key's thumbprint URI, or the root's issuer.
        jti: the token's own name; one issuer gives it once.
        holder: thumbprint of the `cnf` key, "" when it has none.
        task: `txn` of the root, "" when it has none.
        depth: position in its chain, root = 0.
        iat: seconds since the epoch.
        exp: seconds since the epoch.
        revision: of the record that brought it.
    """

    digest: bytes
    parent: bytes | None
    token: bytes
    issuer: str
    jti: str
    holder: str
    task: str
    depth: int
    iat: int
    exp: int
    revision: int


class NonceRow(msgspec.Struct, frozen=True):
    """A proof that was used: leaf digest and the proof's jti, remembered until `expires` (seconds)."""

    digest: bytes
    jti: str
    expires: int


class RevocationRow(msgspec.Struct, frozen=True):
    """A delegation that is revoked, with all beneath it. `time` in milliseconds."""

    digest: bytes
    revision: int
    time: int


class EnrolmentRow(msgspec.Struct, frozen=True):
    """Who a key belongs to; `body` is the authority's. The latest for a thumbprint counts."""

    thumbprint: str
    body: bytes
    revision: int


class StandingRow(msgspec.Struct, frozen=True):
    """What stands of something named, until it is said otherwise; the latest row for a kind and name counts.

    Attributes:
        kind, name: what it is about; the authority's words.
        body: the authority's; empty where nothing stands any more.
        expires: seconds since the epoch, after which `sweep` forgets it; 0 for never.
        revision: of the record that brought it.
    """

    kind: str
    name: str
    body: bytes
    expires: int
    revision: int


class ReplyRow(msgspec.Struct, frozen=True):
    """The answer to an idempotency key, scoped to caller and method.

    Attributes:
        request: digest of the request the key is bound to, 32 bytes.
        expires: seconds since the epoch; after it `sweep` forgets the key.
    """

    caller: str
    method: str
    key: str
    request: bytes
    reply: bytes
    revision: int
    expires: int


class Write(msgspec.Struct):
    """Everything one batch changes, in one transaction; the i-th record has revision `first` + i."""

    records: list[bytes]
    delegations: list[DelegationRow] = []
    nonces: list[NonceRow] = []
    revocations: list[RevocationRow] = []
    enrolments: list[EnrolmentRow] = []
    replies: list[ReplyRow] = []
    standing: list[StandingRow] = []
