"""Keys that are kept here for agents that hold none of their own: whose each is, and for whom it signs.

The law of this file: a key signs for one caller alone, and four names have to be one: the key that is kept for the
caller's agent, the key that is enrolled for that agent, the key that the caller's channel proves, and the `cnf` of the
hop that is handed on. A name in a request proves nothing, and a credential that can be sent on signs nothing. What is
signed is trusted no more than a stranger's: from here it goes the same way (`chain.handing`).
"""

from __future__ import annotations

from typing import Protocol

import msgspec
from msgspec import UNSET

from chain import mint, token
from chain.caller import Caller, Role
from chain.change import Compose
from chain.delegation import Delegation
from chain.desk import Desk
from chain.enrolling import enrolling
from chain.errors import ChainError, ForbiddenError, InvalidRequestError, NotFoundError
from chain.key import PublicKey, Signer
from chain.once import AnsweredError
from chain.order import Delegate
from chain.principal import Principal
from chain.view import Enrolled
from chain.writing import Writing

KEEPER = Caller(name="custody", roles=frozenset({Role.OPERATOR}))
"""Who enrols the keys that are kept here: by that name the ledger tells them from keys that agents hold themselves."""


class Custodian(Protocol):
    """Keeps private keys, one for each agent."""

    def find(self, agent: str) -> Signer | None:
        """Return what signs with the key of the agent with this SPIFFE id; None where none is kept."""
        ...

    def make(self, agent: str) -> Signer:
        """Return the same, and make the key where there is none: it survives power loss before it is returned."""
        ...


class Custody:
    """The keys that an authority keeps for its agents. A part of `chain.authority.Authority`."""

    def __init__(self, desk: Desk, audience: str, custodian: Custodian | None) -> None:
        """Sign at a desk.

        Args:
            desk: says who is enrolled, and takes enrolments.
            audience: the authority's own name.
            custodian: keeps the keys; without one none is kept.
        """
        self._desk = desk
        self._audience = audience
        self._custodian = custodian

    def holder(self, agent: str) -> str | None:
        """Return the thumbprint of the key that is kept for an agent; None before it is made and enrolled."""
        found = None if self._custodian is None else self._custodian.find(agent)
        if found is None:
            return None
        name = found.key.thumbprint
        enrolled = self._desk.live.principal(name)
        return name if enrolled is not None and enrolled.id == agent else None

    def keep(self, agent: Principal) -> PublicKey:
        """Return the key that is kept for an agent, made where it was not, and enrolled as the configuration says.

        Raises:
            NotFoundError: no keys are kept here.
            ResourceExhaustedError: as many are kept as there may be.
            StoreError: it cannot be written.
        """
        return self._kept(agent, anew=True)

    def own_key(self, caller: Caller) -> PublicKey:
        """Return the key that is kept for a caller; the first call makes it.

        Whose a key is that was made before, no agent's asking changes: that is for operators to say.

        Raises:
            NotFoundError: none is kept for this caller.
            ForbiddenError: not an agent, its credential is no channel that proves it, or the key was given to somebody
                else.
            ResourceExhaustedError: as many are kept as there may be.
        """
        caller.require("GetOwnKey")
        if caller.custody is None:
            raise NotFoundError(f"no key is kept here for `{caller.name}`")
        if not caller.channel:
            raise ForbiddenError("a key is kept for whom the channel proves, and this credential can be sent on")
        return self._kept(caller.custody, anew=False)

    def signer(self, caller: Caller, parent: Delegation) -> Signer | None:
        """Return what signs a child of `parent` for a caller; None where the two are not one holder.

        Raises:
            ForbiddenError: no key is kept for this caller.
        """
        if self._custodian is None or caller.custody is None:
            raise ForbiddenError(f"no key is kept here for `{caller.name}`: it signs what it hands on itself")
        found = self._custodian.find(caller.custody.id)
        if found is None or parent.key != found.key:
            return None
        return found if self.holder(caller.custody.id) == caller.proven_holder == found.key.thumbprint else None

    def sign(self, signer: Signer, parent: Delegation, order: Delegate) -> str:
        """Return a child as it was ordered, clamped to its parent and not compared with it: verifying does that.

        Raises:
            InvalidRequestError: the grant is no grant, or the lifetime no time.
            ExcessError: nothing can be beneath the parent.
        """
        if (wrong := order.grant.fault()) is not None:
            raise InvalidRequestError(wrong[1], wrong[0])
        if order.lifetime < 1:
            raise InvalidRequestError(f"a lifetime of {order.lifetime} s")
        now = self._desk.clock()
        claims = mint.child_claims(
            parent,
            order.grant,
            order.holder,
            jti=mint.uuid7(now, self._desk.entropy(10)),
            now=int(now),
            lifetime=order.lifetime,
            max_depth=order.max_depth,
            audience=UNSET if order.audience is None else order.audience,
        )
        return token.sign(claims, signer)

    def _kept(self, agent: Principal, *, anew: bool) -> PublicKey:
        """Return a key as an agent's; `anew` enrols it so, whosever it was meanwhile."""
        if self._custodian is None:
            raise NotFoundError("no keys are kept here")
        key = self._custodian.make(agent.id).key
        if _stands(self._desk.live.principal(key.thumbprint), agent, anew=anew) is not True:
            self._desk.change(self._enrolling(key, agent, anew=anew), None, Enrolled).result()
        return key

    def _enrolling(self, key: PublicKey, agent: Principal, *, anew: bool) -> Compose:
        """Enrol a key that is kept here, once however many ask for it at the same time."""
        enrol = enrolling(key, agent, KEEPER, self._audience, None)

        def compose(writing: Writing) -> bytes | ChainError:
            stands = _stands(writing.live.principal(key.thumbprint), agent, anew=anew)
            if stands is None:
                return enrol(writing)
            if stands:
                raise AnsweredError(msgspec.json.encode(Enrolled(key.thumbprint, agent.id, 0)))
            return ForbiddenError("the key that was kept for this agent was given to somebody else")

        return compose


def _stands(enrolled: Principal | None, agent: Principal, *, anew: bool) -> bool | None:
    """Tell whether a kept key is the agent's as it is enrolled; None where it has to be enrolled for that."""
    if enrolled is None or (anew and enrolled != agent):
        return None
    return enrolled.id == agent.id
