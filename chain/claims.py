"""The claims of one token, as they stand on the wire (TOKEN.md s1, s2).

The law of this file: a claim has a type and bounds, or the token is refused. A payload that says anything twice
is refused, a plain entry may not carry limits, and what plain AAT-01 does not know makes the entry's type ours,
so that a stranger who would ignore it finds nothing that he knows and denies.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from chain import jcs
from chain.base64url import b64decode
from chain.constraint import AnyConstraint
from chain.grant import NO_LIMITS, Count, Grant, Text
from chain.key import Jwk, PublicKey, refuse_private
from chain.principal import parse_id

PLAIN = "attenuating_agent_token"
EXTENDED = "chain_agent_grant"

CERTIFICATE = "x5t#S256:"
"""What the name of a holder starts with that only a certificate confirms."""

_TYPES = frozenset({PLAIN, EXTENDED})
Jti: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Audience: TypeAlias = Text | Annotated[tuple[Text, ...], Meta(min_length=1, max_length=64)]


class PlainEntry(Grant, frozen=True, tag_field="type", tag=PLAIN):
    """A grant that every AAT-01 verifier understands."""

    def __post_init__(self) -> None:
        if self.limits != NO_LIMITS:
            raise ValueError(f"`limits` need the entry type `{EXTENDED}`")


class ExtendedEntry(Grant, frozen=True, tag_field="type", tag=EXTENDED):
    """A grant with limits, or with root facts beside it."""


Entry: TypeAlias = PlainEntry | ExtendedEntry


class Confirmation(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """Who the holder is (RFC 7800): every member present must hold.

    Attributes:
        jwk: the holder's public key.
        certificate: base64url SHA-256 of a certificate (RFC 8705 s3.1), proven by the channel only.
        spiffe: a SPIFFE id of a workload, proven by the channel only.
    """

    jwk: Jwk | UnsetType = UNSET
    certificate: Text | UnsetType = msgspec.field(default=UNSET, name="x5t#S256")
    spiffe: Text | UnsetType = UNSET

    def __post_init__(self) -> None:
        if not isinstance(self.certificate, UnsetType) and len(b64decode(self.certificate.encode())) != 32:
            raise ValueError("`x5t#S256` is not 32 bytes")
        if not isinstance(self.spiffe, UnsetType):
            parse_id(self.spiffe)

    @classmethod
    def of(cls, holder: Holder) -> Confirmation:
        """Return what confirms a holder that is named by its key, or already by a confirmation."""
        return cls(jwk=holder.jwk) if isinstance(holder, PublicKey) else holder

    @property
    def extended(self) -> bool:
        """Whether a member is present that plain AAT-01 does not know."""
        return self.certificate is not UNSET or self.spiffe is not UNSET

    def name(self, key: PublicKey | None) -> str:
        """Return what the holder is called: its key's thumbprint; without a key its SPIFFE id, or its certificate.

        Args:
            key: the accepted form of `jwk`.
        """
        if key is not None:
            return key.thumbprint
        return self.spiffe if not isinstance(self.spiffe, UnsetType) else f"{CERTIFICATE}{self.certificate}"


Holder: TypeAlias = PublicKey | Confirmation
"""Who is to hold a token: a key, or whatever confirms it."""


class Intent(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The instruction that started the task, as a salted hash; never its text."""

    digest: Text
    alg: Text
    salt: Text


class Claims(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A token's payload.

    Attributes:
        jti: unique per signing key; UUIDv7 in tokens made here.
        iss: root: the issuer's URI; derived: thumbprint URI of the signing key (RFC 9278).
        iat, exp: integer seconds since the epoch.
        cnf: the holder.
        del_depth, del_max_depth: position in the chain, and its absolute ceiling.
        authorization_details: the entries that grant tools; those of other types are left out when decoded.
        par_hash: base64url SHA-256 of the parent's signing input; absent in a root.
        sub, owner, txn, intent, home: facts of an extended root.
        aud: who may accept the token; always restricts.
        status: Token Status List reference; always restricts.
    """

    jti: Jti
    iss: Text
    iat: Count
    exp: Count
    cnf: Confirmation
    del_depth: Count
    del_max_depth: Count
    authorization_details: Annotated[tuple[Entry, ...], Meta(max_length=1)]
    par_hash: str | UnsetType = UNSET
    aud: Audience | UnsetType = UNSET
    sub: Text | UnsetType = UNSET
    owner: Text | UnsetType = UNSET
    txn: Text | UnsetType = UNSET
    intent: Intent | UnsetType = UNSET
    home: Text | UnsetType = UNSET
    status: msgspec.Raw | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.exp <= self.iat:
            raise ValueError("`exp` is not after `iat`")
        if self.cnf.jwk is UNSET and not self.cnf.extended:
            raise ValueError("`cnf` names no holder")


ROOT_FACTS = ("sub", "owner", "txn", "intent", "home")
"""Claims that count only from an extended root (TOKEN.md s2)."""


class ConstraintError(ValueError):
    """An entry's tools hold a constraint that is unknown or malformed."""


class _Tag(msgspec.Struct, frozen=True, gc=False):
    type: str


class _Tools(msgspec.Struct, frozen=True, gc=False):
    tools: msgspec.Raw


class _Cnf(msgspec.Struct, frozen=True, gc=False):
    jwk: msgspec.Raw | UnsetType = UNSET


class _Foreign(msgspec.Struct, frozen=True, gc=False):
    """What is looked at in a payload that this package would have spelt otherwise."""

    cnf: _Cnf
    authorization_details: Annotated[tuple[msgspec.Raw, ...], Meta(max_length=16)]


_decode = msgspec.json.Decoder(Claims).decode
_decode_foreign = msgspec.json.Decoder(_Foreign).decode
_decode_entry = msgspec.json.Decoder(Entry).decode
_decode_tag = msgspec.json.Decoder(_Tag).decode
_decode_tools = msgspec.json.Decoder(_Tools).decode
_decode_constraints = msgspec.json.Decoder(dict[str, dict[str, AnyConstraint]]).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_KNOWN = frozenset(Claims.__struct_fields__)


def decode(payload: bytes) -> tuple[Claims, Entry | None]:
    """Decode a payload whose signature held.

    Args:
        payload: JSON bytes.

    Returns:
        The claims, and the one entry of a type that is known here, if there is one.

    Raises:
        ConstraintError: a constraint of an unknown type or with wrong members.
        ValueError: any other fault of form, with a message for operators.
    """
    try:
        claims = _decode(payload)
        # Unknown members, another spelling, or a member twice; `status` is kept as it came and could hide all three.
        if claims.status is not UNSET or _encode(claims) != payload:
            claims = _decode_slowly(payload)
    except ValueError:  # perhaps only an entry of another type
        claims = _decode_slowly(payload)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    details = claims.authorization_details
    return claims, details[0] if details else None


def _decode_slowly(payload: bytes) -> Claims:
    """Decode what a stranger may have spelt: other entries, unknown members, white space; say what is wrong."""
    try:
        foreign = _decode_foreign(payload)
        jcs.refuse_duplicates(payload)
        if not isinstance(foreign.cnf.jwk, UnsetType):
            refuse_private(foreign.cnf.jwk)
        entries = [entry for raw in foreign.authorization_details if (entry := _own_entry(raw)) is not None]
        if len(entries) > 1:
            raise ValueError("more than one entry that grants tools")
        members = _decode_members(payload)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    unknown = members.keys() - _KNOWN
    if unknown and entries and isinstance(entries[0], ExtendedEntry):
        raise ValueError(f"unknown claims: {', '.join(sorted(unknown))}")
    members["authorization_details"] = msgspec.Raw(_encode(entries))
    return _decode(_encode(members))


def _own_entry(raw: msgspec.Raw) -> Entry | None:
    """Decode an entry of a type that is known here, and None for any other."""
    if _decode_tag(raw).type not in _TYPES:
        return None
    try:
        return cast("Entry", _decode_entry(raw))
    except ValueError as error:
        _blame_constraint(raw)
        raise error from None


def _blame_constraint(raw: msgspec.Raw) -> None:
    """Raise ConstraintError where it is the tools that cannot be decoded."""
    try:
        _decode_constraints(_decode_tools(raw).tools)
    except ValueError as error:
        raise ConstraintError(str(error)) from None


def audience(claims: Claims) -> frozenset[str] | None:
    """Return who may accept the token, or None where everybody may."""
    if isinstance(claims.aud, UnsetType):
        return None
    return frozenset((claims.aud,) if isinstance(claims.aud, str) else claims.aud)
