"""What is told of a token that stands (RFC 7662).

The law of this file: pure. A token is told in the claims that every verifier may read in it; what the chain above it
narrows is told as narrowed. What a token grants is not told: that is a question to `chain.check`, for one call.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from chain import jws
from chain.base64url import b64decode
from chain.claims import Confirmation
from chain.delegation import Chain
from chain.jws import JoseError

DIGEST = 32
"""Bytes of a delegation's identity."""


class Introspected(msgspec.Struct, frozen=True):
    """A token that stands (RFC 7662 s2.2).

    Attributes:
        active: always true; of a token that does not stand nothing is told.
        iss: who signed it: the issuer's URI, or of a derived token the thumbprint URI of its parent's holder.
        jti: its own name for itself.
        iat: seconds.
        exp: seconds; the first of its chain's hops to end.
        cnf: who holds it (RFC 7800).
        del_depth: its position in the chain, root = 0.
        sub, txn: facts of the root.
        aud: who may accept it, by every hop of its chain; absent for everybody.
    """

    active: bool
    iss: str
    jti: str
    iat: int
    exp: int
    cnf: Confirmation
    del_depth: int
    sub: str | UnsetType = UNSET
    txn: str | UnsetType = UNSET
    aud: tuple[str, ...] | UnsetType = UNSET


def named(text: str) -> bytes | None:
    """Return the digest that a token, or the id of a delegation, stands for; None where it is neither."""
    try:
        if "." in text:
            return jws.split(text).digest
        digest = b64decode(text.encode("ascii"))
    except (JoseError, ValueError):
        return None
    return digest if len(digest) == DIGEST else None


def told(chain: Chain) -> Introspected:
    """Return what is told of the leaf of a chain that stands."""
    leaf, facts = chain.leaf, chain.facts
    bounds = [hop.audience for hop in chain.hops if hop.audience is not None]
    return Introspected(
        active=True,
        iss=leaf.claims.iss,
        jti=leaf.claims.jti,
        iat=leaf.iat,
        exp=min(hop.exp for hop in chain.hops),
        cnf=leaf.claims.cnf,
        del_depth=leaf.hop,
        sub=facts.sub or UNSET,
        txn=facts.txn or UNSET,
        aud=tuple(sorted(frozenset.intersection(*bounds))) if bounds else UNSET,
    )
