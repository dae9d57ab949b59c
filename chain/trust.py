"""Whom a root is believed to be by: the anchors, and the keys that they certify.

The law of this file: a set of anchors never changes; others are another set, with an empty memory. An anchor that a
root names is asked before a certificate that it carries, and no key is tried where either is there.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import UNSET, UnsetType

from chain import certificate
from chain.anchor import TrustAnchor
from chain.certificate import CertificateError
from chain.delegation import Delegation
from chain.errors import InvalidTokenError
from chain.jws import AlgorithmError, Frame
from chain.key import PublicKey
from chain.prefix import PrefixCache
from chain.reason import Reason

MAX_TRIALS = 64
"""Anchors tried for a root that names none of them by `kid`: bounds the work a stranger can cause."""


class Trust:
    """A set of anchors, and what was verified under them: it never changes but for what it remembers.

    Attributes:
        anchors: the keys accepted for roots, and those that certify such keys.
        former: anchors that were removed; nothing is verified with them, what they signed is still told apart.
        known: verified prefixes.
    """

    __slots__ = ("_by_key", "_by_kid", "_certifiers", "_certifying", "anchors", "former", "known")

    def __init__(self, anchors: Iterable[TrustAnchor], former: Iterable[TrustAnchor], remember: int) -> None:
        self.anchors = tuple(anchors)
        self.former = tuple(former)
        self.known = PrefixCache(remember // 2)
        self._by_key: dict[PublicKey, list[TrustAnchor]] = {}
        self._certifying = [anchor for anchor in self.anchors if anchor.certifies]
        for anchor in self.anchors:
            if not anchor.certifies:
                self._by_key.setdefault(anchor.key, []).append(anchor)
        self._by_kid = {key.thumbprint: key for key in self._by_key}
        self._certifiers = {anchor.key.thumbprint: anchor.key for anchor in self._certifying}

    def speakers(self, frame: Frame) -> tuple[PublicKey, list[TrustAnchor]]:
        """Return the key that signed what an issuer signs, and the anchors that it is trusted under.

        Args:
            frame: a root, or a status list.

        Raises:
            InvalidTokenError: no anchor's key did, or the key certificate that it carries does not count.
        """
        named = None if isinstance(frame.header.kid, UnsetType) else self._by_kid.get(frame.header.kid)
        if named is not None:
            require_signature(frame, named, 0)
            return named, self._by_key[named]
        shown = frame.header.chain_certificate
        if self._certifiers and not isinstance(shown, UnsetType):
            return self._certified(frame, shown)
        key = self._tried(frame)
        return key, self._by_key[key]

    def trusts(self, key: PublicKey, issuer: str, *, certifies: bool = False) -> bool:
        """Tell whether an anchor lets this key speak for this issuer: in roots, or by certifying keys that do."""
        if certifies:
            return any((anchor.key, anchor.issuer) == (key, issuer) for anchor in self._certifying)
        return any(anchor.issuer in (None, issuer) for anchor in self._by_key.get(key, ()))

    def behind(self, root: Delegation) -> list[TrustAnchor]:
        """Return the anchors that the signer of a verified root is trusted under."""
        key = self._by_kid.get(root.signer)
        if key is not None:
            return self._by_key[key]
        return [anchor for anchor in self._certifying if anchor.issuer == root.claims.iss]

    def _certified(self, frame: Frame, shown: str) -> tuple[PublicKey, list[TrustAnchor]]:
        try:
            found = certificate.verify(shown, self._certifiers)
        except CertificateError as error:
            raise InvalidTokenError(error.reason, 0, f"its key certificate: {error.detail}") from None
        if frame.header.kid not in (UNSET, found.key.thumbprint):
            raise InvalidTokenError(Reason.CLAIM_INVALID, 0, "its key certificate is of another key than `kid` names")
        require_signature(frame, found.key, 0)
        may = [one for one in self._certifying if (one.key, one.issuer) == (found.certifier, found.issuer)]
        if not may:
            raise InvalidTokenError(Reason.ISSUER_MISMATCH, 0, f"its certifier may not speak for `{found.issuer}`")
        return found.key, [TrustAnchor(found.key, one.issuer, one.ceiling, certificate=found) for one in may]

    def _tried(self, frame: Frame) -> PublicKey:
        issuer = bytes(_peek(frame.payload).iss)  # only to choose whose key to try first
        candidates = [key for key in self._by_key if key.alg == frame.header.alg]
        candidates.sort(key=lambda key: issuer not in {msgspec.json.encode(a.issuer) for a in self._by_key[key]})
        if self._by_key and not candidates:
            raise InvalidTokenError(Reason.ALGORITHM_REFUSED, 0, f"`{frame.header.alg[:16]}` fits no trust anchor")
        for key in candidates[:MAX_TRIALS]:
            if frame.signed_by(key):
                return key
        raise InvalidTokenError(Reason.ANCHOR_UNKNOWN, 0, "no trust anchor's key signed the root")


class _Peek(msgspec.Struct, frozen=True):
    iss: msgspec.Raw = msgspec.Raw(b"null")


_peek = msgspec.json.Decoder(_Peek).decode


def require_signature(frame: Frame, key: PublicKey, hop: int) -> None:
    """Return where a hop is signed by the key that it must be signed by.

    Raises:
        InvalidTokenError: it is not, or the algorithm is not the key's.
    """
    try:
        holds = frame.signed_by(key)
    except AlgorithmError as error:
        raise InvalidTokenError(Reason.ALGORITHM_REFUSED, hop, f"{error}") from None
    if not holds:
        signer = "its trust anchor" if hop == 0 else f"the holder of hop {hop - 1}"
        raise InvalidTokenError(Reason.SIGNATURE_INVALID, hop, f"not signed by {signer}")
