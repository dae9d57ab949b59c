"""New tokens: a root by an issuer, a child by a holder. Offline; nothing here needs a server.

The law of this file: what is minted is clamped to the parent (a child that outlives it by a second would be
refused), and every limit that is not narrowed is restated. A child that asks for more is refused here already,
by the same rule that every verifier applies.
"""

from __future__ import annotations

import uuid

import msgspec
from msgspec import UNSET, Raw, UnsetType

from chain import claims as wire
from chain import jws, token
from chain.base64url import b64encode
from chain.claims import Audience, Claims, Confirmation, Entry, ExtendedEntry, Holder, Intent, PlainEntry
from chain.containment import Profile
from chain.delegation import Delegation
from chain.errors import ExcessError, InvalidRequestError, InvalidTokenError
from chain.grant import LABELS, NO_LIMITS, Grant, Limits
from chain.jcs import Json
from chain.key import THUMBPRINT_URI, Signer
from chain.reason import Reason
from chain.statuslist import Reference

_decode_grant = msgspec.json.Decoder(Grant).decode


def uuid7(now: float, random: bytes) -> str:
    """Return a version 7 UUID (RFC 9562 s5.7).

    Args:
        now: seconds since the epoch.
        random: 10 bytes of fresh entropy.
    """
    value = int(now * 1000) << 80 | int.from_bytes(random[:10], "big")
    value = value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62
    return str(uuid.UUID(int=value))


def grant(value: Json) -> Grant:
    """Return a grant from its JSON form ``{"tools": {...}, "limits": {...}}``.

    Args:
        value: JSON text, or the decoded object.

    Raises:
        InvalidRequestError: an unknown constraint or limit, or a member of the wrong type.
    """
    try:
        data = value if isinstance(value, str | bytes) else msgspec.json.encode(value)
        made = _decode_grant(data)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidRequestError(f"the grant: {error}") from None
    if (fault := made.fault()) is not None:
        raise InvalidRequestError(f"the grant: {fault[1]}", fault[0])
    return made


def root_claims(  # noqa: PLR0913 - one argument a claim, by name
    given: Grant,
    holder: Holder,
    *,
    issuer: str,
    jti: str,
    now: int,
    lifetime: int,
    max_depth: int = 8,
    audience: Audience | UnsetType = UNSET,
    sub: str | UnsetType = UNSET,
    owner: str | UnsetType = UNSET,
    txn: str | UnsetType = UNSET,
    intent: Intent | UnsetType = UNSET,
    home: str | UnsetType = UNSET,
    status: Reference | UnsetType = UNSET,
) -> Claims:
    """Return the claims of a root.

    Args:
        given: the grant.
        holder: the first agent's key, or what else confirms it; without a key the token is terminal.
        issuer: the URI that the trust anchor may speak for.
        jti: see `uuid7`.
        now, lifetime: seconds.
        max_depth: how many hops may follow.
        audience: who may accept it; absent: everybody.
        sub, owner, txn, intent, home: root facts (TOKEN.md s2); any of them makes the token extended.
        status: its place in a status list; makes it extended as well.
    """
    cnf = Confirmation.of(holder)
    facts = (audience, sub, owner, txn, intent, home, status)
    extended = cnf.extended or any(fact is not UNSET for fact in facts)
    return Claims(
        jti=jti,
        iss=issuer,
        iat=now,
        exp=now + lifetime,
        cnf=cnf,
        del_depth=0,
        del_max_depth=max_depth,
        authorization_details=(_entry(given, extended=extended),),
        aud=audience,
        sub=sub,
        owner=owner,
        txn=txn,
        intent=intent,
        home=home,
        status=status if isinstance(status, UnsetType) else Raw(msgspec.json.encode({"status_list": status})),
    )


def child_claims(
    parent: Delegation,
    given: Grant,
    holder: Holder,
    *,
    jti: str,
    now: int,
    lifetime: int,
    max_depth: int | None = None,
    audience: Audience | UnsetType = UNSET,
) -> Claims:
    """Return the claims of a child, clamped to its parent and not yet compared with it.

    Args:
        parent: the delegation that is handed on.
        given: tools, and the limits that are narrowed; the others are restated.
        holder: the next agent's key, or what else confirms it; without a key the token is terminal.
        jti: see `uuid7`.
        now, lifetime: seconds; the child never outlives its parent.
        max_depth: a lower ceiling; None keeps the parent's.
        audience: a subset; absent keeps the parent's.

    Raises:
        InvalidTokenError: the parent is terminal or names no key.
    """
    if parent.key is None:
        raise InvalidTokenError(Reason.DELEGATOR_MISMATCH, parent.hop, "a holder without a key cannot delegate")
    ceiling = parent.claims.del_max_depth
    if parent.hop >= ceiling:
        raise ExcessError(Reason.DEPTH_EXCEEDED, parent.hop + 1, "del_depth", f"at most {ceiling}", str(parent.hop + 1))
    issued = max(now, parent.iat)
    aud = parent.claims.aud if audience is UNSET else audience
    cnf = Confirmation.of(holder)
    kept = Grant(tools=given.tools, limits=_restated(parent.grant.limits, given.limits))
    return Claims(
        jti=jti,
        iss=THUMBPRINT_URI + parent.key.thumbprint,
        iat=issued,
        exp=min(issued + lifetime, parent.exp),
        cnf=cnf,
        del_depth=parent.hop + 1,
        del_max_depth=ceiling if max_depth is None else max_depth,
        authorization_details=(_entry(kept, extended=parent.extended or cnf.extended or aud is not UNSET),),
        par_hash=b64encode(parent.digest),
        aud=aud,
    )


def derive(
    parent: Delegation,
    child: Claims,
    signer: Signer,
    profile: Profile = Profile.SOUND,
    labels: tuple[str, ...] = LABELS,
) -> str:
    """Sign a child, unless it asks for more than its parent grants.

    Args:
        parent: the delegation handed on.
        child: from `child_claims`.
        signer: the parent holder's key.
        profile: which constraints count as narrower.
        labels: data labels from lowest to highest, where its verifiers order others.

    Raises:
        ExcessError: names the first dimension that is wider.
    """
    _, entry = wire.decode(msgspec.json.encode(child))
    if entry is not None:
        for excess in entry.excess(parent.grant, profile, labels):
            raise ExcessError(excess.reason, parent.hop + 1, excess.field, excess.parent, excess.child, excess.subject)
    return token.sign(child, signer)


def unverified(text: str) -> Delegation:
    """Decode one token without trusting it: for its own holder, and to show it to a person.

    Raises:
        InvalidTokenError: the bytes are no token.
    """
    try:
        frame = jws.split(text)
        claims, entry = wire.decode(frame.payload)
        key = None if isinstance(claims.cnf.jwk, UnsetType) else token.public_key(claims.cnf.jwk)
        return Delegation(frame.digest, claims, entry, key, _labels(entry))
    except ValueError as error:
        raise InvalidTokenError(Reason.TOKEN_MALFORMED, None, str(error)) from None


def _labels(entry: Entry | None) -> tuple[str, ...]:
    """Return an order in which the entry's own label stands, since a holder need not know its verifiers' order."""
    label = UNSET if entry is None else entry.limits.classification
    return LABELS if isinstance(label, UnsetType) or label in LABELS else (*LABELS, label)


def _entry(given: Grant, *, extended: bool) -> Entry:
    """Return a grant under the type that keeps a stranger safe (TOKEN.md s2)."""
    kind = ExtendedEntry if extended or given.limits != NO_LIMITS else PlainEntry
    return kind(tools=given.tools, limits=given.limits)


def _restated(parent: Limits, child: Limits) -> Limits:
    """Return the child's limits, with the parent's where the child names none."""
    kept = {name: getattr(child, name) for name in Limits.__struct_fields__}
    return Limits(**{name: getattr(parent, name) if value is UNSET else value for name, value in kept.items()})
