"""Token Status Lists: what was revoked, for verifiers that ask nobody (draft-ietf-oauth-status-list).

The law of this file: one bit a token, set once it is invalid. A list is believed only under its publisher's signature,
for its own URI, and as long as it says; a reference or a list that is not understood says nothing, which denies.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from chain import certificate, jcs, jws
from chain.base64url import b64decode, b64encode
from chain.delegation import Delegation
from chain.errors import InvalidRequestError, InvalidTokenError
from chain.grant import Count, Text
from chain.jws import JoseError
from chain.key import Signer
from chain.trust import Trust

LIST_TYPE = "statuslist+jwt"
"""JOSE `typ` of a list (s5.1)."""

SIZE = 1 << 20
"""Entries of a list made here; the draft's own figure of 0.1 % revoked is 2.2 kB."""

MAX_LIST = 8 * 1024 * 1024
"""Bytes of a list once it is inflated: a bomb stays a bomb."""

TTL = 300
"""Seconds after which a verifier should fetch a list again; one made here is believed for twice as long."""

Bits: TypeAlias = Literal[1, 2, 4, 8]


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a token's status stands.

    Attributes:
        idx: position in the list.
        uri: of the list.
    """

    idx: Count
    uri: Text


class _Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    status_list: Reference


class _List(msgspec.Struct, frozen=True):
    bits: Bits
    lst: Annotated[str, Meta(max_length=MAX_LIST)]


class _Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    sub: Text
    iat: Count
    status_list: _List
    exp: Count | UnsetType = UNSET
    ttl: Count | UnsetType = UNSET


_decode_status = msgspec.json.Decoder(_Status).decode
_decode = msgspec.json.Decoder(_Claims).decode


def reference(status: bytes | msgspec.Raw) -> Reference | None:
    """Return where a token's `status` claim points, or None where it is not exactly one reference to a list."""
    try:
        jcs.refuse_duplicates(bytes(status))
        return _decode_status(status).status_list
    except (ValueError, RecursionError):
        return None


def pack(statuses: Iterable[int], bits: Bits = 1) -> bytes:
    """Return the compressed form of statuses (s4.1): the first in the lowest bits of the first byte."""
    values = list(statuses)
    each = 8 // bits
    data = bytearray(-(-len(values) // each))
    for place, value in enumerate(values):
        if not 0 <= value < 1 << bits:
            raise ValueError(f"status {value} does not fit {bits} bits")
        data[place // each] |= value << (place % each * bits)
    return zlib.compress(bytes(data), 9)


def publish(signer: Signer, uri: str, revoked: Iterable[int], now: int, size: int = SIZE) -> str:
    """Return a signed list, one bit an entry.

    Args:
        signer: the issuer's key.
        uri: of the list, as tokens name it.
        revoked: indices of what is invalid.
        now: seconds.
        size: entries.
    """
    data = bytearray(-(-size // 8))
    for index in revoked:
        data[index // 8] |= 1 << index % 8
    lst = b64encode(zlib.compress(bytes(data), 9))
    claims = _Claims(sub=uri, iat=now, exp=now + 2 * TTL, ttl=TTL, status_list=_List(1, lst))
    return jws.join({"typ": LIST_TYPE, **certificate.header(signer)}, msgspec.json.encode(claims), signer)


class StatusList:
    """A list that was verified.

    Attributes:
        uri: whose entries it holds.
        iat: seconds.
        until: seconds, after which it says nothing; None where it does not say.
        signer: thumbprint of the key that signed it.
        issuers: whom that key may speak for, by name.
    """

    def __init__(self, claims: _Claims, data: bytes, signer: str, issuers: frozenset[str]) -> None:
        self.signer = signer
        self.issuers = issuers
        self.uri = claims.sub
        self.iat = claims.iat
        self.until = None if isinstance(claims.exp, UnsetType) else claims.exp
        self._bits = claims.status_list.bits
        self._data = data

    def speaks_for(self, hop: Delegation) -> bool:
        """Tell whether it is by the key that signed a hop, or where that is a root by another key of its issuer."""
        return self.signer == hop.signer or (hop.hop == 0 and hop.claims.iss in self.issuers)

    def invalid(self, index: int, now: float) -> bool | None:
        """Tell whether an entry is anything but valid (0); None where the list does not say so now."""
        each = 8 // self._bits
        place = index // each
        if place >= len(self._data) or self.iat > now + TTL or (self.until is not None and self.until <= now):
            return None
        return bool(self._data[place] >> (index % each * self._bits) & (1 << self._bits) - 1)


def read(text: str, trust: Trust) -> StatusList:
    """Return a list that a key signed which may sign roots, when it may.

    Args:
        text: compact JWS.
        trust: anchors.

    Raises:
        InvalidRequestError: no list, not strictly one, too large, or signed by nobody that may.
    """
    try:
        frame = jws.split(text)
        if frame.header.typ != LIST_TYPE:
            raise InvalidRequestError(f"the status list: `typ` is not `{LIST_TYPE}`")
        signer, anchors = trust.speakers(frame)
        jcs.refuse_duplicates(frame.payload)
        claims = _decode(frame.payload)
        anchors = [anchor for anchor in anchors if anchor.covers(claims.iat)]
        if not anchors:
            raise InvalidRequestError("the status list: issued outside of its signer's window")
        inflate = zlib.decompressobj()
        data = inflate.decompress(b64decode(claims.status_list.lst.encode()), MAX_LIST)
        if not inflate.eof or inflate.unused_data:
            raise InvalidRequestError("the status list: too large, cut off or with something behind it")
    except InvalidTokenError as error:
        raise InvalidRequestError(f"the status list: {error.detail}") from None
    except (JoseError, ValueError, RecursionError, zlib.error) as error:
        raise InvalidRequestError(f"the status list: {error}") from None
    issuers = frozenset(anchor.issuer for anchor in anchors if anchor.issuer is not None)
    return StatusList(claims, data, signer.thumbprint, issuers)
