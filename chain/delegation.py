"""One signed statement, a chain of them, and what must hold between neighbours.

The law of this file: a `Chain` is trusted. It exists only where every signature, every link and every
containment held (I1-I5, AAT-01 s4), and nothing in it depends on the clock or on live state. `Link` faults are
raised with the hop and the clause; the first one is the reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from msgspec import UNSET, UnsetType

from chain.base64url import b64encode
from chain.claims import ROOT_FACTS, Claims, Entry, ExtendedEntry, audience
from chain.containment import Matcher, Profile
from chain.errors import ExcessError, InvalidTokenError
from chain.grant import LABELS, Budget, Gate, Grant, rank
from chain.key import THUMBPRINT_URI, PublicKey
from chain.reason import Reason

EMPTY = Grant(tools={})
"""What a middle token without an entry grants."""

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")

Compiled: TypeAlias = tuple[tuple[str, Matcher], ...]


class Delegation:
    """One verified statement, laid out for the questions that every call asks.

    Attributes:
        digest: SHA-256 of the signing input, 32 bytes: the identity.
        claims: as signed.
        grant: what is given; empty for a middle token without an entry.
        entry: the entry itself, or None.
        key: the holder's public key, or None where `cnf` has none (then it is terminal).
        hop: position, root = 0.
        iat, exp: seconds.
        audience: who may accept it, or None for everybody.
        classes, rank, purposes: limits, each None where absent; `rank` is the label's place in the order.
        budget, approval: limits whose state the chain's `home` keeps.
        signer: thumbprint of the key that signed it; empty where it was only decoded.
        certifier: thumbprint of the key that certified the signer of a root; mostly there is none, and it is empty.
        holder: what the holder is called (`chain.claims.Confirmation.name`).
    """

    __slots__ = (
        "_compiled",
        "approval",
        "audience",
        "budget",
        "certifier",
        "claims",
        "classes",
        "digest",
        "entry",
        "exp",
        "grant",
        "holder",
        "hop",
        "iat",
        "key",
        "purposes",
        "rank",
        "signer",
    )

    def __init__(
        self,
        digest: bytes,
        claims: Claims,
        entry: Entry | None,
        key: PublicKey | None,
        labels: tuple[str, ...] = LABELS,
        signer: str = "",
        certifier: str = "",
    ) -> None:
        self.digest = digest
        self.signer = signer
        self.certifier = certifier
        self.claims = claims
        self.entry = entry
        self.key = key
        self.holder = claims.cnf.name(key)
        self.hop = claims.del_depth
        self.iat = claims.iat
        self.exp = claims.exp
        self.audience = audience(claims)
        self.grant: Grant = EMPTY if entry is None else entry
        limits = self.grant.limits
        self.classes = None if isinstance(limits.classes, UnsetType) else frozenset(limits.classes)
        self.purposes = None if isinstance(limits.purposes, UnsetType) else limits.purposes
        self.budget: Budget | None = None if isinstance(limits.budget, UnsetType) else limits.budget
        self.approval: tuple[Gate, ...] = () if isinstance(limits.approval, UnsetType) else limits.approval
        self.rank: int | None = None
        if not isinstance(limits.classification, UnsetType):
            self.rank = rank(limits.classification, labels)
            if self.rank is None:
                raise ValueError(f"label `{limits.classification}` is not in the order")
        self._compiled: dict[str, Compiled] | None = None

    @property
    def extended(self) -> bool:
        """Whether the token carries our entry type."""
        return isinstance(self.entry, ExtendedEntry)

    @property
    def stateful(self) -> bool:
        """Whether it has a budget, a gate or a status list."""
        return self.budget is not None or bool(self.approval) or bool(self.claims.status)

    @property
    def id(self) -> str:
        """The identity as base64url text."""
        return b64encode(self.digest)

    @property
    def names(self) -> tuple[str, ...]:
        """What its holder is called, and every other name that it is bound to: who stops one of them, stops it."""
        bound = self.claims.cnf.spiffe
        return (self.holder,) if isinstance(bound, UnsetType) or bound == self.holder else (self.holder, bound)

    def compiled(self, tool: str) -> Compiled | None:
        """Return a tool's arguments with their predicates, or None where it is not granted.

        They are kept from the second question on: most delegations are asked about once, and what is kept for
        those would only feed the garbage collector.
        """
        kept = self._compiled
        if kept is not None and (known := kept.get(tool)) is not None:
            return known
        arguments = self.grant.tools.get(tool)
        if arguments is None:
            return None
        known = tuple([(name, constraint.matcher()) for name, constraint in arguments.items()])
        if kept is None:
            self._compiled = {}
        else:
            kept[tool] = known
        return known

    def __repr__(self) -> str:
        return f"Delegation({self.id}, hop {self.hop})"


class Facts(NamedTuple):
    """What an extended root says of its whole chain; all None under a plain root."""

    sub: str | None = None
    owner: str | None = None
    txn: str | None = None
    intent: str | None = None
    home: str | None = None


class Chain:
    """Verified delegations from root to leaf.

    Attributes:
        hops: root first.
        digests: the hops' identities, root first.
        facts: what the root says of the chain.
        issuer: the root's `iss`; with `facts.sub` it names the principal on whose behalf.
        expires: the earliest expiry of any hop, seconds.
        stateful: whether any hop has a budget, a gate or a status list, so that somebody has to keep its state.
    """

    __slots__ = ("digests", "expires", "facts", "hops", "issuer", "stateful")

    def __init__(self, last: Delegation, parent: Chain | None = None) -> None:
        """Add one verified delegation to a chain, or begin one with its root."""
        if parent is None:
            self.hops: tuple[Delegation, ...] = (last,)
            self.digests: tuple[bytes, ...] = (last.digest,)
            self.expires = last.exp
            self.issuer = last.claims.iss
            self.facts = _facts(last)
            self.stateful = last.stateful
        else:
            self.hops = (*parent.hops, last)
            self.digests = (*parent.digests, last.digest)
            self.expires = min(parent.expires, last.exp)
            self.issuer = parent.issuer
            self.facts = parent.facts
            self.stateful = parent.stateful or last.stateful

    @property
    def root(self) -> Delegation:
        """The first hop."""
        return self.hops[0]

    @property
    def leaf(self) -> Delegation:
        """The last hop: what its holder may use."""
        return self.hops[-1]

    def __len__(self) -> int:
        return len(self.hops)


def _facts(root: Delegation) -> Facts:
    if not root.extended:
        return Facts()
    claims = root.claims
    return Facts(
        sub=_known(claims.sub),
        owner=_known(claims.owner),
        txn=_known(claims.txn),
        intent=None if isinstance(claims.intent, UnsetType) else claims.intent.digest,
        home=_known(claims.home),
    )


def _known(value: str | UnsetType) -> str | None:
    return None if isinstance(value, UnsetType) else value


def require_root(claims: Claims, entry: Entry | None, max_depth: int) -> None:
    """Check what a root must be, whoever signed it (AAT-01 s7 step 3).

    Raises:
        InvalidTokenError: with the clause's reason.
    """
    if claims.del_depth != 0:
        raise InvalidTokenError(Reason.CHAIN_INCOMPLETE, 0, f"the first token has depth {claims.del_depth}, not 0")
    if not _URI.fullmatch(claims.iss):
        raise InvalidTokenError(Reason.CLAIM_INVALID, 0, "`iss` is not a URI")
    if not isinstance(claims.par_hash, UnsetType):
        raise InvalidTokenError(Reason.CLAIM_INVALID, 0, "a root carries `par_hash`")
    if claims.del_max_depth > max_depth:
        raise InvalidTokenError(Reason.DEPTH_EXCEEDED, 0, f"`del_max_depth` is above {max_depth}")
    if entry is None:
        raise InvalidTokenError(Reason.CLAIM_INVALID, 0, "a root without an entry that grants tools")


def require_link(
    hops: Sequence[Delegation], child: Claims, entry: Entry | None, profile: Profile, labels: tuple[str, ...]
) -> None:
    """Check I1-I5 between the last of `hops` and a child, in order (AAT-01 s4.2-4.6, TOKEN.md s4).

    Raises:
        ExcessError: the child asks for more than its parent grants.
        InvalidTokenError: any other broken clause.
    """
    parent, hop = hops[-1], len(hops)
    _authority(parent, child, hop)
    _depth(parent, child, hop)
    _time(parent, child, hop)
    _capability(parent, child, entry, hop, profile, labels)
    _facts_kept(hops[0], child, entry, hop)
    if child.par_hash != b64encode(parent.digest):  # I5
        raise InvalidTokenError(Reason.PARENT_MISMATCH, hop, "`par_hash` names another parent")


def _authority(parent: Delegation, child: Claims, hop: int) -> None:
    """I1: only the parent's holder delegates; a holder without a key cannot."""
    if parent.key is None or child.iss != THUMBPRINT_URI + parent.key.thumbprint:
        raise InvalidTokenError(Reason.DELEGATOR_MISMATCH, hop, f"not issued by the holder of hop {hop - 1}")


def _depth(parent: Delegation, child: Claims, hop: int) -> None:
    """I2: one deeper, under a ceiling that never rises."""
    if child.del_depth != hop:
        raise InvalidTokenError(Reason.DEPTH_INVALID, hop, f"depth {child.del_depth} instead of {hop}")
    ceiling = parent.claims.del_max_depth
    if child.del_depth > ceiling:
        raise ExcessError(Reason.DEPTH_EXCEEDED, hop, "del_depth", f"at most {ceiling}", str(child.del_depth))
    if child.del_max_depth > ceiling:
        raise ExcessError(Reason.DEPTH_EXCEEDED, hop, "del_max_depth", f"at most {ceiling}", str(child.del_max_depth))
    if child.del_depth > child.del_max_depth:
        raise InvalidTokenError(Reason.DEPTH_INVALID, hop, "depth above its own `del_max_depth`")


def _time(parent: Delegation, child: Claims, hop: int) -> None:
    """I3: inside the parent's lifetime."""
    if child.exp > parent.exp:
        raise ExcessError(Reason.LIFETIME_EXTENDED, hop, "exp", f"until {parent.exp}", f"until {child.exp}")
    if child.iat < parent.iat:
        raise InvalidTokenError(
            Reason.ISSUED_BEFORE_PARENT, hop, f"issued at {child.iat}, before its parent at {parent.iat}"
        )


def _capability(
    parent: Delegation, child: Claims, entry: Entry | None, hop: int, profile: Profile, labels: tuple[str, ...]
) -> None:
    """I4: tools, constraints, limits and audience are contained."""
    if entry is not None:
        if parent.extended and not isinstance(entry, ExtendedEntry):
            raise InvalidTokenError(Reason.EXTENSION_DROPPED, hop, "a plain entry under one with limits")
        for excess in entry.excess(parent.grant, profile, labels):
            raise ExcessError(excess.reason, hop, excess.field, excess.parent, excess.child, excess.subject)
    asked = audience(child)
    if parent.audience is None or (asked is None and profile is Profile.AAT_01):
        return  # AAT-01 lets a child omit `aud`; every hop's is asked at check all the same
    if asked is None or not asked <= parent.audience:
        theirs = "everybody" if asked is None else ", ".join(sorted(asked))
        raise ExcessError(Reason.AUDIENCE_WIDENED, hop, "aud", ", ".join(sorted(parent.audience)), theirs)


def _facts_kept(root: Delegation, child: Claims, entry: Entry | None, hop: int) -> None:
    """Root facts below the root: omitted, or repeated exactly; in plain tokens they mean nothing."""
    if not isinstance(entry, ExtendedEntry):
        return
    for name in ROOT_FACTS:
        value = getattr(child, name)
        if value is not UNSET and not (root.extended and value == getattr(root.claims, name)):
            raise InvalidTokenError(Reason.FACT_CHANGED, hop, f"`{name}` differs from the root's")
