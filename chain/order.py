"""What a caller may order: a root to be issued, a child to be signed for it, and what is to be revoked.

The law of this file: values only. Whether an order is carried out is asked in the commit (`chain.change`).
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET

from chain import mint
from chain.claims import Audience, Claims, Confirmation, Holder, Intent
from chain.control import Named
from chain.grant import NO_LIMITS, Grant
from chain.statuslist import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """A root to be issued.

    Attributes:
        holder: the first agent's key, or what else confirms it.
        grant: what it may do.
        lifetime: seconds; None for as long as the authority lets such a root live.
        max_depth: how many hops may follow.
        audience: who may accept it; None for everybody.
        sub, owner, task, intent: root facts (TOKEN.md s2).
        listed: give it a place in the authority's status list, for verifiers that ask nobody.
    """

    holder: Holder
    grant: Grant
    lifetime: int | None = None
    max_depth: int = 8
    audience: Audience | None = None
    sub: str | None = None
    owner: str | None = None
    task: str | None = None
    intent: Intent | None = None
    listed: bool = False

    @property
    def extended(self) -> bool:
        """Whether the root carries limits or facts, so that it names its home as well."""
        if self.listed or Confirmation.of(self.holder).extended:
            return True
        facts = (self.audience, self.sub, self.owner, self.task, self.intent)
        return self.grant.limits != NO_LIMITS or any(fact is not None for fact in facts)

    @property
    def asked(self) -> tuple[object, ...]:
        """Everything that is asked for: what an idempotency key is bound to."""
        facts = (self.audience, self.sub, self.owner, self.task, self.intent, self.listed)
        return (Confirmation.of(self.holder), self.grant, self.lifetime, self.max_depth, facts)

    def claims(
        self, *, issuer: str, jti: str, now: int, lifetime: int, home: str | None, listed: Reference | None = None
    ) -> Claims:
        """Return the root's claims.

        Args:
            issuer, jti, now: of the token.
            lifetime: seconds; the order's own, or what its issuer makes of none.
            home: the authority that keeps the budgets and approvals of what is extended.
            listed: its place in a status list.
        """
        return mint.root_claims(
            self.grant,
            self.holder,
            issuer=issuer,
            jti=jti,
            now=now,
            lifetime=lifetime,
            max_depth=self.max_depth,
            audience=UNSET if self.audience is None else self.audience,
            sub=self.sub or UNSET,
            owner=self.owner or UNSET,
            txn=self.task or UNSET,
            intent=self.intent or UNSET,
            home=home if home is not None and self.extended else UNSET,
            status=UNSET if listed is None else listed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegate:
    """A child to be signed with the key that the authority keeps for the caller (`chain.custody`).

    Attributes:
        holder: the next agent's key, or what else confirms it.
        grant: tools, and the limits that are narrowed; the others are restated.
        lifetime: seconds; the child never outlives its parent.
        max_depth: a lower ceiling on further hops; None keeps the parent's.
        audience: a subset of the parent's; None keeps it.
    """

    holder: Holder
    grant: Grant
    lifetime: int
    max_depth: int | None = None
    audience: Audience | None = None

    @property
    def asked(self) -> tuple[object, ...]:
        """Everything that is asked for: what an idempotency key is bound to."""
        return (Confirmation.of(self.holder), self.grant, self.lifetime, self.max_depth, self.audience)


@dataclass(frozen=True, slots=True)
class Revoke:
    """A delegation to be revoked, or all that bears a name, with everything beneath it.

    Attributes:
        target: the delegation's digest.
        cause: why, for the record.
        named: instead of `target`: what is revoked by name, for good (`chain.steering`).
    """

    target: bytes = b""
    cause: str = ""
    named: Named | None = None
