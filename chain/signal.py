"""What others know: Security Event Tokens (RFC 8417) with one CAEP 1.0 event each.

The law of this file: a signal counts only where a transmitter that is configured signed it, for this authority, lately,
about somebody, and where that transmitter may say such a thing. Nothing is lenient: what is not understood is refused,
with the code of RFC 8935 s2.4 that its transmitter expects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, cast, get_args

import msgspec
from msgspec import UNSET, UnsetType

from chain import jcs, jws
from chain.base64url import b64encode
from chain.claims import Audience
from chain.control import RISKS, Risk
from chain.errors import SignalError, clip
from chain.grant import Count, Text
from chain.jws import Frame
from chain.key import PublicKey, Signer
from chain.subject import Subject, identifier, subjects

SET_TYPE = "secevent+jwt"
"""JOSE `typ` (RFC 8417 s2.3)."""

EVENTS = "https://schemas.openid.net/secevent/caep/event-type/"
"""What the URI of every event begins with (CAEP 1.0 s3)."""

MAX_SET = 16 * 1024
"""Characters of one token: a CAEP event is a few hundred."""

MAX_SKEW = 30
"""Seconds that a token may be dated ahead, as every other."""

MAX_AGE = 24 * 3600
"""Seconds that a token may have been under way; as long is it remembered, so that it comes once."""

Kind: TypeAlias = Literal["session-revoked", "assurance-level-change", "risk-level-change", "credential-change"]

KINDS: frozenset[Kind] = frozenset(get_args(Kind))


@dataclass(frozen=True, slots=True)
class Transmitter:
    """Somebody whose signals are taken.

    Attributes:
        issuer: `iss` of its tokens.
        keys: that it signs with; several while one is replaced.
        may: what it may signal.
        trust_domains: whose principals it may speak of; None for all.
    """

    issuer: str
    keys: tuple[PublicKey, ...]
    may: frozenset[Kind] = KINDS
    trust_domains: frozenset[str] | None = None


class Event(NamedTuple):
    """A signal that was found authentic.

    Attributes:
        kind: what happened.
        transmitter: who said so.
        jti: its name for it.
        digest: of the token's signing input, base64url: its identity.
        iat: seconds, when it was signed.
        at: seconds, when it happened.
        subjects: whom it is about; whoever all of them name.
        level: of risk (`chain.control.RISKS`) or of assurance; empty in the others.
        change: of a credential: create, update, revoke or delete; empty in the others.
        cause: why, in the transmitter's words; may be empty.
    """

    kind: Kind
    transmitter: Transmitter
    jti: str
    digest: str
    iat: int
    at: int
    subjects: tuple[Subject, ...]
    level: str = ""
    change: str = ""
    cause: str = ""

    @property
    def ends(self) -> bool:
        """Whether it revokes what its subject holds."""
        return self.kind == "session-revoked" or self.change in ("revoke", "delete")

    @property
    def narrows(self) -> bool:
        """Whether it can only take away, so that it waits for nothing."""
        return self.ends or (self.kind == "risk-level-change" and self.level == RISKS[-1])


class _Claims(msgspec.Struct, frozen=True):
    iss: Text
    jti: Text
    iat: Count
    aud: Audience
    events: dict[str, msgspec.Raw]
    sub_id: dict[str, Any]
    exp: msgspec.Raw | UnsetType = UNSET
    sub: msgspec.Raw | UnsetType = UNSET


class _Issuer(msgspec.Struct, frozen=True):
    iss: Text


class _Happened(msgspec.Struct, frozen=True):
    event_timestamp: Count | UnsetType = UNSET
    reason_admin: dict[str, str] | UnsetType = UNSET

    @property
    def level(self) -> str:
        return ""

    @property
    def change(self) -> str:
        return ""


class _Risk(_Happened, frozen=True, kw_only=True):
    current_level: Literal["LOW", "MEDIUM", "HIGH"]

    @property
    def level(self) -> Risk:
        return cast("Risk", self.current_level.lower())


class _Assurance(_Happened, frozen=True, kw_only=True):
    namespace: Text
    current_level: Text

    @property
    def level(self) -> str:
        return self.current_level


class _Credential(_Happened, frozen=True, kw_only=True):
    credential_type: Text
    change_type: Literal["create", "revoke", "update", "delete"]

    @property
    def change(self) -> str:
        return self.change_type


_FORMS: dict[Kind, type[_Happened]] = {
    "session-revoked": _Happened,
    "risk-level-change": _Risk,
    "assurance-level-change": _Assurance,
    "credential-change": _Credential,
}
_decode = msgspec.json.Decoder(_Claims).decode
_decode_issuer = msgspec.json.Decoder(_Issuer).decode


def make(  # noqa: PLR0913 - what a token says, by name
    signer: Signer,
    *,
    issuer: str,
    audience: str,
    event: Kind,
    subject: str | Mapping[str, Any],
    jti: str,
    now: int,
    level: str = "",
    change: str = "",
    claims: Mapping[str, Any] | None = None,
) -> str:
    """Return a signed token, for transmitters of one's own and for drills.

    Args:
        signer: the transmitter's key.
        issuer, audience: from whom, to which authority.
        event: what happened.
        subject: whom it is about: a subject identifier (RFC 9493), or the name that `identifier` makes one of.
        jti: names it.
        now: seconds.
        level: of risk (low, medium, high) or assurance.
        change: of a credential.
        claims: of the event, beside those or instead of them.
    """
    stated: dict[str, Any] = {"event_timestamp": now}
    if event == "risk-level-change":
        stated |= {"principal": "USER", "current_level": level.upper()}
    elif event == "assurance-level-change":
        stated |= {"namespace": "NIST-AAL", "current_level": level}
    elif event == "credential-change":
        stated |= {"credential_type": "verifiable-credential", "change_type": change}
    payload = {
        "iss": issuer,
        "jti": jti,
        "iat": now,
        "aud": audience,
        "sub_id": identifier(subject) if isinstance(subject, str) else dict(subject),
        "events": {EVENTS + event: stated | dict(claims or {})},
    }
    return jws.join({"typ": SET_TYPE}, msgspec.json.encode(payload), signer)


def read(text: str, transmitters: Mapping[str, Transmitter], audience: str, now: float) -> Event:
    """Return what a token says.

    Args:
        text: compact JWS.
        transmitters: whose are taken, by issuer.
        audience: the authority.
        now: seconds.

    Raises:
        SignalError: it is not one that is accepted.
    """
    frame = _frame(text)
    transmitter = _authentic(frame, transmitters)
    try:
        claims = _decode(frame.payload)
    except (ValueError, RecursionError) as error:
        raise SignalError(f"the event: {clip(str(error))}") from None
    if audience not in ((claims.aud,) if isinstance(claims.aud, str) else claims.aud):
        raise SignalError("the event was made for somebody else", "invalid_audience")
    if claims.exp is not UNSET or claims.sub is not UNSET:
        raise SignalError("an event has neither `exp` nor `sub`; whom it is about stands in `sub_id`")
    if claims.iat > now + MAX_SKEW or claims.iat <= now - MAX_AGE:
        raise SignalError(f"the event is from the future, or older than {MAX_AGE} s")
    kind, happened = _event(claims)
    if kind not in transmitter.may:
        raise SignalError(f"`{transmitter.issuer}` may not signal `{kind}`", "access_denied")
    at = claims.iat if isinstance(happened.event_timestamp, UnsetType) else happened.event_timestamp
    if at > claims.iat + MAX_SKEW:
        raise SignalError("the event happened after it was signed; its time is in seconds")
    return Event(
        kind,
        transmitter,
        claims.jti,
        b64encode(frame.digest),
        claims.iat,
        at,
        subjects(claims.sub_id),
        happened.level,
        happened.change,
        _cause(happened),
    )


def _frame(text: str) -> Frame:
    if len(text) > MAX_SET:
        raise SignalError("the event is too large")
    try:
        frame = jws.split(text)
        jcs.refuse_duplicates(frame.payload)
    except (ValueError, RecursionError) as error:
        raise SignalError(f"the event: {clip(str(error))}") from None
    if frame.header.typ != SET_TYPE:
        raise SignalError(f"`typ` is not `{SET_TYPE}`")
    return frame


def _authentic(frame: Frame, transmitters: Mapping[str, Transmitter]) -> Transmitter:
    """Return who signed; of an unverified payload nothing is believed but whose key to try."""
    try:
        issuer = _decode_issuer(frame.payload).iss
    except (ValueError, RecursionError) as error:
        raise SignalError(f"the event: {clip(str(error))}") from None
    transmitter = transmitters.get(issuer)
    if transmitter is None:
        raise SignalError(f"no signals are taken from `{clip(issuer, 80)}`", "invalid_issuer")
    keys = [key for key in transmitter.keys if key.alg == frame.header.alg]
    if not keys:
        raise SignalError(f"`{issuer}` has no key for `{clip(frame.header.alg, 16)}`", "invalid_key")
    if any(frame.signed_by(key) for key in keys):
        return transmitter
    raise SignalError(f"`{issuer}` did not sign this", "authentication_failed")


def _event(claims: _Claims) -> tuple[Kind, _Happened]:
    if len(claims.events) != 1:
        raise SignalError("a token holds exactly one event")
    ((uri, raw),) = claims.events.items()
    name = uri.removeprefix(EVENTS)
    if name == uri or name not in KINDS:
        raise SignalError(f"the event `{clip(uri, 120)}` is not known")
    try:
        return name, msgspec.json.decode(raw, type=_FORMS[name])
    except (ValueError, RecursionError) as error:
        raise SignalError(f"the event: {clip(str(error))}") from None


def _cause(happened: _Happened) -> str:
    reasons = happened.reason_admin
    if isinstance(reasons, UnsetType) or not reasons:
        return ""
    return clip(" ".join(reasons.get("en", next(iter(reasons.values()))).split()), 200)
