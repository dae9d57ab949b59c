"""What a worker's key says before an agent may enrol it: a signed statement that it is to be this worker's.

The law of this file: who enrols a key takes responsibility for it and power over its name, so the key itself must
agree: to this principal, under this agent, at this authority, now. It needs no memory of its own, because a key that
was enrolled is not enrolled again by an agent.
"""

from __future__ import annotations

import msgspec

from chain import jws
from chain.decision import Finding, denied
from chain.errors import DeniedError
from chain.grant import Count, Text
from chain.jws import JoseError
from chain.key import PublicKey, Signer
from chain.proof import WINDOW, Fault, ProofError
from chain.reason import Reason

ENROL = "chain:enrol"
"""Reserved tool of an enrolment's proof."""

ENROL_TYPE = "chain-enrol+jwt"
"""JOSE `typ`, so that no proof of a call is ever taken for an enrolment's or the reverse."""

MAX_PROOF = 8 * 1024
"""Characters of one proof: four short strings and two numbers."""


class EnrolmentClaims(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The payload; members stand in canonical order.

    Attributes:
        aat_aud: the authority's own name.
        aat_tool: `ENROL`.
        iat: seconds.
        jti: fresh for every proof.
        principal: the id that the key is to have.
        under: thumbprint of the agent's key.
    """

    aat_aud: Text
    aat_tool: Text
    iat: Count
    jti: Text
    principal: Text
    under: Text


_decode = msgspec.json.Decoder(EnrolmentClaims).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def make(signer: Signer, principal: str, under: str, *, audience: str, jti: str, iat: int) -> str:
    """Return a proof by a worker's key.

    Args:
        signer: the worker's key.
        principal: the id that it is to have.
        under: thumbprint of the agent's key that enrols it.
        audience: the authority's.
        jti: fresh and unguessable.
        iat: seconds, now.
    """
    claims = EnrolmentClaims(aat_aud=audience, aat_tool=ENROL, iat=iat, jti=jti, principal=principal, under=under)
    return jws.join({"typ": ENROL_TYPE}, _encode(claims), signer)


def require(text: str | None, key: PublicKey, principal: str, under: str, *, audience: str, now: float) -> None:
    """Return where the key agrees to be enrolled so.

    Args:
        text: the proof, if there is one.
        key: the worker's.
        principal, under, audience: what it must be for, see `make`.
        now: seconds.

    Raises:
        DeniedError: no proof, not by that key, for something else, or not from now.
    """
    fault = (Reason.PROOF_MISSING, "the key to be enrolled has not agreed") if text is None else None
    if text is not None:
        fault = _fault(text, key, (principal, under, audience), now)
    if fault is not None:
        finding = Finding(reason=fault[0], hop=None, detail=fault[1])
        raise DeniedError(denied(finding, at=now))


def _fault(text: str, key: PublicKey, agreed: tuple[str, str, str], now: float) -> Fault | None:
    try:
        claims = _read(text, key)
    except ProofError as error:
        return error.reason, error.detail
    if claims.aat_tool != ENROL:
        return Reason.PROOF_TOOL_MISMATCH, f"the proof was made for `{claims.aat_tool}`"
    if (claims.principal, claims.under) != agreed[:2]:
        return Reason.PROOF_ARGUMENTS_MISMATCH, "the proof was made for another principal, or under another agent"
    if claims.aat_aud != agreed[2]:
        return Reason.PROOF_AUDIENCE_MISMATCH, f"the proof was made for `{claims.aat_aud}`"
    if abs(claims.iat - now) > WINDOW:
        return Reason.PROOF_STALE, f"the proof's time lies more than {WINDOW} s from now"
    return None


def _read(text: str, key: PublicKey) -> EnrolmentClaims:
    if len(text) > MAX_PROOF:
        raise ProofError("the proof is too large", Reason.PROOF_INVALID)
    try:
        frame = jws.split(text)
        if frame.header.typ != ENROL_TYPE:
            raise ProofError(f"`typ` is not `{ENROL_TYPE}`", Reason.PROOF_INVALID)
        if not frame.signed_by(key):
            raise ProofError("the proof was not signed with the key to be enrolled", Reason.HOLDER_MISMATCH)
        claims = _decode(frame.payload)
    except (JoseError, msgspec.DecodeError, RecursionError) as error:
        raise ProofError(f"the proof: {error}", Reason.PROOF_INVALID) from None
    if _encode(claims) != frame.payload:
        raise ProofError("the proof's payload is not canonical", Reason.PROOF_INVALID)
    return claims
