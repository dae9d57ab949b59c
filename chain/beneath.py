"""Further hops beneath a chain, that nobody signed.

The law of this file: pure. What is only supposed is held to the rules of what is signed: each hop is contained in the
one above, or there is no such chain.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from chain import claims as wire
from chain import mint
from chain.delegation import Chain, Delegation, require_link
from chain.errors import InvalidTokenError
from chain.grant import Grant
from chain.reason import Reason
from chain.token import Rules


def extended(chain: Chain, grants: tuple[Grant, ...], rules: Rules, now: float) -> Chain:
    """Return a chain with further hops that nobody signed.

    Args:
        chain: verified.
        grants: of the hops, each beneath the one before; the holder stays the leaf's.
        rules: of the verifier.
        now: seconds.

    Raises:
        InvalidTokenError: a hop asks for more than its parent grants, or may not be made.
    """
    for grant in grants:
        chain = _beneath(chain, grant, rules, now)
    return chain


def _beneath(chain: Chain, grant: Grant, rules: Rules, now: float) -> Chain:
    leaf = chain.leaf
    holder, hop = leaf.key, leaf.hop + 1
    if holder is None:
        raise InvalidTokenError(Reason.DELEGATOR_MISMATCH, hop, "a holder without a key cannot delegate")
    if leaf.exp <= now:
        raise InvalidTokenError(Reason.EXPIRED, leaf.hop, f"expired at {leaf.exp}")
    try:
        made = mint.child_claims(leaf, grant, holder, jti=f"supposed-{hop}", now=int(now), lifetime=leaf.exp - leaf.iat)
        payload = msgspec.json.encode(made)
        claims, entry = wire.decode(payload)
        require_link(chain.hops, claims, entry, rules.profile, rules.labels)
        digest = sha256(payload).digest()
        return Chain(Delegation(digest, claims, entry, holder, rules.labels, holder.thumbprint), chain)
    except ValueError as error:
        raise InvalidTokenError(Reason.CLAIM_INVALID, hop, f"{error}") from None
