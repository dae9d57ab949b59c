"""The wire: bytes in, a trusted `Chain` out, or an error that names the hop and the clause.

The law of this file: this answers *is it authentic?* and never *does it permit, now?* Nothing here reads a clock
or live state, so a verified prefix may be kept. The order is TOKEN.md s4 and is the contract for reasons: sizes,
duplicates, root (anchor, signature, claims), then each link (signature, claims, I1-I5).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import msgspec
from msgspec import UNSET, UnsetType

from chain import certificate, jws
from chain import claims as wire
from chain.anchor import TrustAnchor
from chain.certificate import Certificate
from chain.claims import Claims, ConstraintError, Entry, ExtendedEntry
from chain.containment import Profile
from chain.delegation import Chain, Delegation, require_link, require_root
from chain.errors import InvalidTokenError
from chain.grant import LABELS
from chain.jws import Frame, HeaderError, JoseError
from chain.key import Jwk, KeyRefusedError, PublicKey, Signer
from chain.reason import Reason
from chain.trust import Trust, require_signature

TOKEN_TYPE = "aat+jwt"
"""JOSE `typ` of tokens made here; a token without `typ` is plain AAT-01, any other is refused."""

MAX_TOKEN = 64 * 1024
"""Bytes of one token (AAT-01 s4.3.1, MAX_TOKEN_SIZE)."""

MAX_CHAIN = 256 * 1024
"""Bytes of all tokens together (AAT-01 s4.3.1, MAX_STACK_SIZE)."""

MAX_DEPTH = 64
"""Highest delegation depth (AAT-01 s4.3, MAX_DELEGATION_DEPTH)."""

MEMORY = 256 * 1024 * 1024
"""Bytes for verified prefixes: some 50,000 ordinary hops."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What authenticity depends on beside the anchors.

    Attributes:
        profile: which constraints count as narrower, and how much of our own a proof must carry.
        labels: data labels from lowest to highest.
        max_depth: highest delegation depth accepted.
    """

    profile: Profile = Profile.SOUND
    labels: tuple[str, ...] = LABELS
    max_depth: int = MAX_DEPTH


class Verifier:
    """Verifies chains against anchors and rules, and remembers what it verified.

    The rules never change. The anchors are replaced together with the memory, by one assignment: what was verified
    under a removed anchor is not known under those that came in its place, whichever thread verifies it meanwhile.

    Attributes:
        rules: how it verifies.
        memory: how many chains were known whole, in part or not at all; an update that is lost costs one count.
    """

    def __init__(self, anchors: Iterable[TrustAnchor], rules: Rules | None = None, remember: int = MEMORY) -> None:
        """Prepare to verify.

        Args:
            anchors: the keys accepted for roots.
            rules: defaults to the `sound` profile.
            remember: bytes of memory for verified prefixes, about; they are kept in two halves.
        """
        self.rules = rules or Rules()
        self._remember = remember
        self._trust = Trust(anchors, (), remember)
        self.memory = {"whole": 0, "part": 0, "nothing": 0}

    @property
    def anchors(self) -> tuple[TrustAnchor, ...]:
        """The keys accepted for roots, now."""
        return self._trust.anchors

    @property
    def known(self) -> tuple[TrustAnchor, ...]:
        """The same, with those that were removed: to tell what they signed, never to accept it."""
        trust = self._trust
        return (*trust.anchors, *trust.former)

    @property
    def trust(self) -> Trust:
        """What is verified against now; another object as soon as the anchors are others."""
        return self._trust

    def replace(self, anchors: Iterable[TrustAnchor], former: Iterable[TrustAnchor] = ()) -> None:
        """Accept these anchors and no others, from the next `verify` on, with an empty memory.

        Args:
            anchors: the keys accepted for roots.
            former: anchors that are accepted no more, or not yet.
        """
        self._trust = Trust(anchors, former, self._remember)

    def verify(self, tokens: Sequence[str]) -> Chain:
        """Return the chain that these tokens prove.

        Args:
            tokens: compact JWS, root first.

        Raises:
            ExcessError: a hop asks for more than its parent grants.
            InvalidTokenError: the tokens are not an authentic chain; says which hop and why.
        """
        require_sizes(tokens, self.rules.max_depth)
        presented = tuple(tokens)
        trust = self._trust  # read once: a chain is verified, and remembered, under one set of anchors
        chain, beyond = trust.known.longest(presented)
        self.memory["part" if beyond and chain is not None else "nothing" if beyond else "whole"] += 1
        if beyond:
            chain = self._extend(trust, presented, chain, beyond)
        chain = cast("Chain", chain)  # sizes were checked: there is a known prefix, or a token beyond it
        if chain.leaf.entry is None:  # AAT-01 s7 step 6a
            hop = chain.leaf.hop
            raise InvalidTokenError(Reason.CLAIM_INVALID, hop, "a leaf without an entry that grants tools")
        return chain

    def recall(self, digest: bytes) -> tuple[tuple[str, ...], Chain] | None:
        """Return the tokens and chain whose leaf has this digest, if they are remembered."""
        found = self._trust.known.get(digest)
        self.memory["whole"] += found is not None
        return found

    def trusts(self, key: PublicKey, issuer: str, *, certifies: bool = False) -> bool:
        """Tell whether an anchor lets this key speak for this issuer: in roots, or by certifying keys that do."""
        return self._trust.trusts(key, issuer, certifies=certifies)

    def _extend(
        self, trust: Trust, presented: tuple[str, ...], parent: Chain | None, digests: list[bytes]
    ) -> Chain | None:
        start = 0 if parent is None else len(parent)
        frames = [_split(token, hop) for hop, token in enumerate(presented[start:], start)]
        _require_distinct(() if parent is None else parent.hops, frames)
        chain = parent
        for frame, digest in zip(frames, digests, strict=True):
            last = self._root(trust, frame, digest) if chain is None else self._link(chain.hops, frame, digest)
            chain = Chain(last, chain)
            trust.known.put(presented[: len(chain)], chain)
        return chain

    def _root(self, trust: Trust, frame: Frame, digest: bytes) -> Delegation:
        """TOKEN.md s4: anchor, signature, claims, ceiling."""
        key, anchors = trust.speakers(frame)
        claims, entry = _decode(frame, 0, self.rules.profile)
        require_root(claims, entry, self.rules.max_depth)
        speakers = [anchor for anchor in anchors if anchor.issuer in (None, claims.iss)]
        if not speakers:
            raise InvalidTokenError(Reason.ISSUER_MISMATCH, 0, f"the anchor may not speak for `{claims.iss}`")
        root = self._delegation(digest, claims, entry, key, speakers[0].certificate)
        beyond = [anchor.excess(root, self.rules.labels) for anchor in speakers]
        if all(beyond):
            raise InvalidTokenError(Reason.ANCHOR_EXCEEDED, 0, f"asks {beyond[0]}, which its anchor may not grant")
        return root

    def _link(self, hops: tuple[Delegation, ...], frame: Frame, digest: bytes) -> Delegation:
        """TOKEN.md s4: signature under the parent's key, claims, I1-I5."""
        parent, hop = hops[-1], len(hops)
        if parent.key is None:
            raise InvalidTokenError(Reason.DELEGATOR_MISMATCH, hop, f"hop {hop - 1} has no key to delegate with")
        require_signature(frame, parent.key, hop)
        claims, entry = _decode(frame, hop, self.rules.profile)
        require_link(hops, claims, entry, self.rules.profile, self.rules.labels)
        return self._delegation(digest, claims, entry, parent.key)

    def _delegation(
        self,
        digest: bytes,
        claims: Claims,
        entry: Entry | None,
        signer: PublicKey,
        shown: Certificate | None = None,
    ) -> Delegation:
        hop = claims.del_depth
        jwk = claims.cnf.jwk
        try:
            key = None if isinstance(jwk, UnsetType) else public_key(jwk)
            certifier = "" if shown is None else shown.certifier.thumbprint
            return Delegation(digest, claims, entry, key, self.rules.labels, signer.thumbprint, certifier)
        except KeyRefusedError as error:
            raise InvalidTokenError(Reason.KEY_INVALID, hop, f"`cnf`: {error}") from None
        except ValueError as error:
            raise InvalidTokenError(Reason.CLAIM_INVALID, hop, f"{error}") from None


@lru_cache(maxsize=4096)
def public_key(jwk: Jwk) -> PublicKey:
    """Return the checked key of a JWK; the same few holders recur, and the checks depend on nothing else."""
    return PublicKey.from_jwk(jwk)


def require_sizes(tokens: Sequence[str], max_depth: int = MAX_DEPTH) -> None:
    """Refuse what is too large, before any cryptography.

    Raises:
        InvalidTokenError: CHAIN_EMPTY, CHAIN_TOO_DEEP, TOKEN_TOO_LARGE or CHAIN_TOO_LARGE.
    """
    if not tokens:
        raise InvalidTokenError(Reason.CHAIN_EMPTY, None, "no token was presented")
    if len(tokens) > max_depth + 1:
        raise InvalidTokenError(Reason.CHAIN_TOO_DEEP, None, f"{len(tokens)} tokens, more than {max_depth + 1}")
    total = 0
    for hop, token in enumerate(tokens):
        size = len(token)
        total += size
        if size > MAX_TOKEN:
            raise InvalidTokenError(Reason.TOKEN_TOO_LARGE, hop, f"{size} bytes, more than {MAX_TOKEN}")
    if total > MAX_CHAIN:
        raise InvalidTokenError(Reason.CHAIN_TOO_LARGE, None, f"{total} bytes, more than {MAX_CHAIN}")


def _split(token: str, hop: int) -> Frame:
    try:
        frame = jws.split(token)
    except HeaderError as error:
        raise InvalidTokenError(Reason.HEADER_UNSUPPORTED, hop, f"{error}") from None
    except JoseError as error:
        raise InvalidTokenError(Reason.TOKEN_MALFORMED, hop, f"{error}") from None
    if frame.header.typ not in (UNSET, TOKEN_TYPE):
        raise InvalidTokenError(Reason.HEADER_UNSUPPORTED, hop, f"`typ` is not `{TOKEN_TYPE}`")
    return frame


class _Peek(msgspec.Struct, frozen=True):
    jti: str


_peek = msgspec.json.Decoder(_Peek).decode


def _require_distinct(hops: Sequence[Delegation], frames: Sequence[Frame]) -> None:
    """AAT-01 s7 step 2c: the one claim that is read before its signature holds."""
    seen = {hop.claims.jti for hop in hops}
    for hop, frame in enumerate(frames, len(hops)):
        try:
            jti = _peek(frame.payload).jti
        except (ValueError, RecursionError):
            raise InvalidTokenError(Reason.TOKEN_MALFORMED, hop, "no payload with a `jti`") from None
        if jti in seen:
            raise InvalidTokenError(Reason.JTI_DUPLICATE, hop, "its `jti` was presented before")
        seen.add(jti)


def _decode(frame: Frame, hop: int, profile: Profile) -> tuple[Claims, Entry | None]:
    try:
        claims, entry = wire.decode(frame.payload)
    except ConstraintError as error:
        raise InvalidTokenError(Reason.CONSTRAINT_INVALID, hop, f"{error}") from None
    except KeyRefusedError as error:
        raise InvalidTokenError(Reason.KEY_INVALID, hop, f"`cnf`: {error}") from None
    except ValueError as error:
        raise InvalidTokenError(Reason.CLAIM_INVALID, hop, f"{error}") from None
    if profile is Profile.AAT_01 and isinstance(entry, ExtendedEntry):
        raise InvalidTokenError(Reason.CLAIM_INVALID, hop, "not a plain AAT-01 entry")
    if entry is not None and (fault := entry.fault()) is not None:
        raise InvalidTokenError(fault[0], hop, f"{fault[1]}")
    if claims.cnf.extended and not isinstance(entry, ExtendedEntry):
        raise InvalidTokenError(Reason.CLAIM_INVALID, hop, "`cnf` holds more than a plain token may")
    return claims, entry


def sign(claims: Claims, signer: Signer) -> str:
    """Sign claims as a token of ours; a root names its key, so that nobody has to try the others.

    Args:
        claims: complete; `iss` and `cnf` are the caller's business.
        signer: root: the issuer's key; derived: the parent's holder key.
    """
    named = certificate.header(signer) if claims.del_depth == 0 else {}
    return jws.join({"typ": TOKEN_TYPE, **named}, msgspec.json.encode(claims), signer)
