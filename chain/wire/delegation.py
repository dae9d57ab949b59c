"""Delegations and the questions about them, to the wire and back.

The law of this file: what the service tells about a delegation never holds its token. What a token states of itself
is read from the token; a page's cursor is good for the filters that it was made for.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

import msgspec
from msgspec import UNSET

from chain import mint
from chain.base64url import b64decode, b64encode
from chain.claims import Claims
from chain.errors import InvalidRequestError
from chain.grant import NO_LIMITS, Grant
from chain.v1 import delegation_pb2
from chain.view import Delegated, Page, Query, Status

DIGEST = 32
"""Bytes of a SHA-256."""

PAGE = 100
"""Delegations on a page that asks for no size."""

_STATUS_TO: dict[Status, delegation_pb2.DelegationStatus.ValueType] = {
    "active": delegation_pb2.DELEGATION_STATUS_ACTIVE,
    "expired": delegation_pb2.DELEGATION_STATUS_EXPIRED,
    "revoked": delegation_pb2.DELEGATION_STATUS_REVOKED,
}
_STATUS_FROM: dict[int, Status] = {number: status for status, number in _STATUS_TO.items()}


def id_to(digest: str) -> bytes:
    """Return the 32 bytes that an id names.

    Raises:
        InvalidRequestError: it is no id.
    """
    try:
        return digest_from(b64decode(digest.encode()))
    except ValueError:
        raise InvalidRequestError("not the id of a delegation") from None


def digest_from(data: bytes) -> bytes:
    """Return a digest as it is.

    Raises:
        InvalidRequestError: not 32 bytes.
    """
    if len(data) != DIGEST:
        raise InvalidRequestError(f"a digest of {len(data)} bytes, not {DIGEST}")
    return data


def grant_to(grant: Grant) -> bytes:
    """Return a grant's JSON, in the form that `chain.mint.grant` takes."""
    value: dict[str, object] = {"tools": grant.tools}
    if grant.limits != NO_LIMITS:
        value["limits"] = grant.limits
    return msgspec.json.encode(value)


@lru_cache(maxsize=1024)
def _root(token: str) -> Claims:
    """Return what a root says: one root stands above many delegations."""
    return mint.unverified(token).claims


def delegation_to(delegated: Delegated, root: str | None = None, *, grant: bool = False) -> delegation_pb2.Delegation:
    """Return the message of a delegation, without its token.

    Args:
        delegated: what the ledger holds.
        root: token of its chain's root, where it is known: subject and owner are the root's.
        grant: fill in what it grants.
    """
    said = mint.unverified(delegated.token)
    facts = said.claims if root is None else _root(root)
    return delegation_pb2.Delegation(
        digest=id_to(delegated.id),
        parent=b"" if delegated.parent is None else id_to(delegated.parent),
        jti=delegated.jti,
        issuer=said.claims.iss,
        holder=delegated.holder,
        subject="" if facts.sub is UNSET else str(facts.sub),
        task=delegated.task,
        owner="" if facts.owner is UNSET else str(facts.owner),
        depth=delegated.hop,
        max_depth=said.claims.del_max_depth,
        issued_at_seconds=delegated.iat,
        expires_at_seconds=delegated.exp,
        status=_STATUS_TO[delegated.status],
        revision=delegated.revision,
        grant_json=grant_to(said.grant) if grant else b"",
    )


def delegation_from(message: delegation_pb2.Delegation, token: str = "") -> Delegated:
    """Return the view that a message gives.

    Args:
        message: from the service; a status that is not known is not active.
        token: where the caller has it; the service does not tell it.
    """
    return Delegated(
        id=b64encode(message.digest),
        token=token,
        parent=b64encode(message.parent) if message.parent else None,
        jti=message.jti,
        holder=message.holder,
        hop=message.depth,
        iat=message.issued_at_seconds,
        exp=message.expires_at_seconds,
        task=message.task,
        revision=message.revision,
        status=_STATUS_FROM.get(message.status, "revoked"),
    )


def query_to(query: Query, page_token: str = "") -> delegation_pb2.ListDelegationsRequest:
    """Return the message of a question; `page_token` is that of the page before."""
    message = delegation_pb2.ListDelegationsRequest(
        holder=query.holder or "",
        task=query.task or "",
        status=delegation_pb2.DELEGATION_STATUS_UNSPECIFIED if query.status is None else _STATUS_TO[query.status],
        page_size=query.limit,
        page_token=page_token,
    )
    if query.up is not None:
        message.ancestors_of = query.up
    elif query.down is not None:
        message.descendants_of = query.down
    return message


def query_from(message: delegation_pb2.ListDelegationsRequest) -> Query:
    """Return the question that a message asks.

    Raises:
        InvalidRequestError: a digest, a status or a page token that is none.
    """
    lineage = message.WhichOneof("lineage")
    status = _STATUS_FROM.get(message.status)
    if status is None and message.status != delegation_pb2.DELEGATION_STATUS_UNSPECIFIED:
        raise InvalidRequestError("a status that is not known")
    return Query(
        up=digest_from(message.ancestors_of) if lineage == "ancestors_of" else None,
        down=digest_from(message.descendants_of) if lineage == "descendants_of" else None,
        holder=message.holder or None,
        task=message.task or None,
        status=status,
        after=_after(message),
        limit=message.page_size or PAGE,
    )


def page_to(
    page: Page, asked: delegation_pb2.ListDelegationsRequest, revision: int
) -> delegation_pb2.ListDelegationsResponse:
    """Return the message of a page.

    Args:
        page: what was found.
        asked: the filters that its cursor is bound to.
        revision: that the page was read at.
    """
    return delegation_pb2.ListDelegationsResponse(
        delegations=[delegation_to(item) for item in page.delegations],
        next_page_token=f"{page.after}.{_filters(asked)}" if page.after else "",
        revision=revision,
    )


def _after(message: delegation_pb2.ListDelegationsRequest) -> int:
    if not message.page_token:
        return 0
    after, _, filters = message.page_token.partition(".")
    if filters != _filters(message) or not (after.isascii() and after.isdecimal() and len(after) <= 18):
        raise InvalidRequestError("a page token that was made for other filters, or not by this service")
    return int(after)


def _filters(message: delegation_pb2.ListDelegationsRequest) -> str:
    parts = (
        message.WhichOneof("lineage") or "",
        b64encode(message.ancestors_of or message.descendants_of),
        message.holder,
        message.task,
        int(message.status),
    )
    return b64encode(sha256(msgspec.json.encode(parts)).digest()[:12])
