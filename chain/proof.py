"""Proof of possession: one signed statement per invocation (AAT-01 s5, TOKEN.md s3).

The law of this file: a proof is good for one leaf (by digest, `ath`), one tool, one set of arguments, one
enforcement point, one statement of facts, once, and for half a minute. Its payload is canonical JSON, byte for
byte. A chain that somebody presents is no evidence of who is talking; this is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from chain import jcs, jws
from chain.base64url import b64encode
from chain.claims import Jti
from chain.containment import Profile
from chain.delegation import Delegation
from chain.errors import ChainError
from chain.grant import Count, Text
from chain.jcs import Json
from chain.jws import JoseError
from chain.key import PublicKey, Signer
from chain.reason import Reason

PROOF_TYPE = "aat-pop+jwt"
"""JOSE `typ` of proofs made here, so that no token is ever taken for a proof or the reverse."""

WINDOW = 30
"""Seconds a proof's `iat` may lie before or after the verifier's clock (AAT-01 s5.3)."""

MAX_PROOF = 128 * 1024
"""Bytes of one proof: it carries the arguments."""

DELEGATE = "chain:delegate"
"""Reserved tool of a proof for `Delegate`; its arguments are ``{"child": digest}``."""

REVOKE = "chain:revoke"
"""Reserved tool of a proof for `Revoke`; its arguments are ``{"target": digest}``."""

Fault: TypeAlias = tuple[Reason, str]


class ProofError(ChainError):
    """The bytes are not a proof by the key they must be by."""


class ProofClaims(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A proof's payload; members stand in canonical order.

    Attributes:
        aat_aud: the enforcement point it was made for.
        aat_id: the leaf's jti.
        aat_tool: the tool.
        ath: base64url SHA-256 of the leaf's signing input.
        ctx: digest of what else the agent states, see `context`; absent where it states nothing.
        hta: all arguments.
        iat: seconds.
        jti: fresh for every proof.
    """

    aat_id: Text
    aat_tool: Text
    hta: msgspec.Raw
    iat: Count
    jti: Jti
    aat_aud: Text | UnsetType = UNSET
    ath: Text | UnsetType = UNSET
    ctx: Text | UnsetType = UNSET


_decode = msgspec.json.Decoder(ProofClaims).decode
_encode = msgspec.json.Encoder(order="sorted").encode


def context(facts: Mapping[str, Json]) -> str | None:
    """Return the digest of the facts that an agent states beside tool and arguments, or None for none.

    Args:
        facts: of `purpose`, `intent` and `labels` those that are stated.
    """
    return b64encode(sha256(jcs.dumps(dict(facts))).digest()) if facts else None


def make(
    signer: Signer,
    leaf: Delegation,
    tool: str,
    arguments: Mapping[str, Json],
    *,
    audience: str,
    jti: str,
    iat: int,
    facts: Mapping[str, Json] | None = None,
) -> str:
    """Return a proof for one invocation.

    Args:
        signer: the leaf holder's key.
        leaf: the last delegation of the chain presented.
        tool: exactly as granted, or a reserved tool.
        arguments: all of them.
        audience: the enforcement point's.
        jti: fresh and unguessable.
        iat: seconds, now.
        facts: what else is stated, see `context`.

    Raises:
        ValueError: the arguments are not I-JSON.
    """
    claims = ProofClaims(
        aat_aud=audience,
        aat_id=leaf.claims.jti,
        aat_tool=tool,
        ath=b64encode(leaf.digest),
        ctx=context(facts or {}) or UNSET,
        hta=msgspec.Raw(jcs.dumps(dict(arguments))),
        iat=iat,
        jti=jti,
    )
    return jws.join({"typ": PROOF_TYPE}, _encode(claims), signer)


def read(text: str, key: PublicKey, profile: Profile = Profile.SOUND) -> ProofClaims:
    """Return what the holder of `key` signed.

    Args:
        text: compact JWS.
        key: the leaf's `cnf` key.
        profile: `AAT_01` takes proofs without `typ` that need not be canonical.

    Raises:
        ProofError: HOLDER_MISMATCH where the signature is not that key's, else PROOF_INVALID.
    """
    if len(text) > MAX_PROOF:
        raise ProofError("the proof is too large", Reason.PROOF_INVALID)
    try:
        frame = jws.split(text)
        if frame.header.typ != PROOF_TYPE and not (profile is Profile.AAT_01 and frame.header.typ is UNSET):
            raise ProofError(f"`typ` is not `{PROOF_TYPE}`", Reason.PROOF_INVALID)
        if not frame.signed_by(key):
            raise ProofError("the proof was not signed with the leaf holder's key", Reason.HOLDER_MISMATCH)
    except JoseError as error:
        raise ProofError(f"the proof: {error}", Reason.PROOF_INVALID) from None
    try:
        claims = _decode(frame.payload)
        if profile is Profile.AAT_01:
            jcs.refuse_duplicates(frame.payload)
        elif _encode(claims) != frame.payload:  # `hta` itself is compared with canonical bytes later
            raise ProofError("the proof's payload is not canonical", Reason.PROOF_INVALID)
    except (ValueError, RecursionError) as error:
        raise ProofError(f"the proof: {error}", Reason.PROOF_INVALID) from None
    return claims


def faults(
    claims: ProofClaims,
    leaf: Delegation,
    tool: str,
    arguments: bytes,
    *,
    audience: str | None,
    ctx: str | None,
    now: float,
    profile: Profile = Profile.SOUND,
) -> Iterator[Fault]:
    """Yield every way in which an authentic proof does not fit an invocation.

    Args:
        claims: from `read`.
        leaf: the last delegation presented.
        tool: the tool asked for.
        arguments: canonical JSON of the arguments asked for.
        audience: the enforcement point that asks.
        ctx: digest of the facts stated, see `context`.
        now: seconds.
        profile: `AAT_01` does without `ath`, audience and `ctx`; what is there must fit all the same.
    """
    sound = profile is Profile.SOUND
    if claims.aat_id != leaf.claims.jti or claims.ath not in ((leaf.id,) if sound else (leaf.id, UNSET)):
        yield Reason.PROOF_TOKEN_MISMATCH, "the proof was made for another token"
    if claims.aat_tool != tool:
        yield Reason.PROOF_TOOL_MISMATCH, f"the proof was made for `{claims.aat_tool}`"
    if not _same(bytes(claims.hta), arguments, canonical=sound):
        yield Reason.PROOF_ARGUMENTS_MISMATCH, "the proof was made for other arguments"
    if sound and audience is None:
        yield Reason.AUDIENCE_MISSING, "the request names no audience to hold the proof against"
    elif claims.aat_aud != audience and (sound or (claims.aat_aud is not UNSET and audience is not None)):
        made_for = "no audience" if isinstance(claims.aat_aud, UnsetType) else f"`{claims.aat_aud}`"
        yield Reason.PROOF_AUDIENCE_MISMATCH, f"the proof was made for {made_for}"
    if claims.ctx != (ctx or UNSET) and (sound or claims.ctx is not UNSET):
        yield Reason.PROOF_CONTEXT_MISMATCH, "the proof was made for another purpose, intent or labels"
    if abs(claims.iat - now) > WINDOW:
        yield Reason.PROOF_STALE, f"the proof's time lies more than {WINDOW} s from now"


def _same(hta: bytes, arguments: bytes, *, canonical: bool) -> bool:
    """Compare canonical forms (AAT-01 s7 step 7f); where the payload is canonical, its bytes serve."""
    try:
        return (hta if canonical else jcs.dumps(jcs.loads(hta))) == arguments
    except ValueError:
        return False
