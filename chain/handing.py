"""Handing on, taking back, and saying whose a key is: the changes that agents ask for.

The law of this file: it prepares a change outside the commit (chains verified, the request for the holder's proof
made), and `chain.change` makes it inside. Whether it may be made is asked there.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from chain import change, proof, records
from chain.base64url import b64encode
from chain.batch import UNSIGNED
from chain.caller import Caller
from chain.custody import Custody
from chain.delegation import Chain
from chain.desk import Desk, Presented
from chain.enrolling import enrolling
from chain.errors import ExcessError, InvalidRequestError, InvalidTokenError
from chain.key import PublicKey
from chain.once import Once
from chain.order import Delegate, Revoke
from chain.pending import Finished, done
from chain.principal import Principal
from chain.token import Verifier
from chain.view import Delegated, Enrolled, Revoked, Struck


class Handing:
    """Changes of delegations and enrolments. A part of `chain.authority.Authority`, whose methods say more."""

    def __init__(self, desk: Desk, verifier: Verifier, custody: Custody, audience: str) -> None:
        """Prepare changes for a desk; `audience` is the authority's own name."""
        self._desk = desk
        self._custody = custody
        self._verifier = verifier
        self._audience = audience

    def delegate(
        self, caller: Caller, parent: Presented, child: str | Delegate, proof_text: str | None, key: str | None
    ) -> Future[Delegated]:
        """Admit a child that the parent's holder signed, or sign it in its place (`Authority.begin_delegate`)."""
        caller.require("Delegate")
        above, tokens = self._desk.resolve(parent)
        if isinstance(child, str):
            return self._admit(caller, above, tokens, child, proof_text, key, None)
        if proof_text is not None:
            raise InvalidRequestError("what is signed here takes no proof: the channel has to prove the holder")
        return self._sign(caller, above, tokens, child, key)

    def _sign(
        self, caller: Caller, above: Chain, tokens: Sequence[str], order: Delegate, key: str | None
    ) -> Future[Delegated]:
        """Sign a child with the key that is kept for the caller, and admit it like a stranger's."""
        signer = self._custody.signer(caller, above.leaf)
        asked = (above.leaf.id, *order.asked)
        if signer is None or above.leaf.exp <= self._desk.clock():
            request = change.own(proof.DELEGATE, {"parent": above.leaf.id}, self._audience, None, caller)
            once = None if signer is None else Once.of(caller, "Delegate", key, *asked)
            return self._desk.change(change.unsigned(above, request, caller), once, Delegated)
        try:
            child = self._custody.sign(signer, above.leaf, order)
        except ExcessError as error:  # the parent is the last of its chain: there is nothing that could be signed
            return self._desk.change(change.widening(above, above.leaf.id, error, caller), None, Delegated)
        return self._admit(caller, above, tokens, child, None, key, asked)

    def _admit(
        self,
        caller: Caller,
        above: Chain,
        tokens: Sequence[str],
        child: str,
        proof_text: str | None,
        key: str | None,
        asked: tuple[object, ...] | None,
    ) -> Future[Delegated]:
        """Verify a child as any stranger's, and register it.

        Args:
            caller: who asks.
            above, tokens: the parent's chain.
            child: the token.
            proof_text: of the parent's holder, where the channel does not prove it.
            key: idempotency key.
            asked: what the key is bound to; None for the child itself.
        """
        try:
            chain = self._verifier.verify([*tokens, child])
        except InvalidTokenError as error:
            if error.reason in UNSIGNED:  # nothing shows that the parent's holder asked: counted, not recorded
                self._desk.garbage += 1
                raise
            target = records.digest(child.rpartition(".")[0].encode())
            return self._desk.change(change.widening(above, target, error, caller), None, Delegated)
        request = change.own(proof.DELEGATE, {"child": chain.leaf.id}, self._audience, proof_text, caller)
        compose = change.delegating(above, chain, (*tokens, child), request, caller)
        once = Once.of(caller, "Delegate", key, *((chain.leaf.id,) if asked is None else asked))
        return self._desk.change(compose, once, Delegated)

    def revoke(
        self,
        caller: Caller,
        order: Revoke,
        standing: Presented | None,
        proof_text: str | None,
        key: str | None,
        *,
        dry_run: bool,
    ) -> Future[Revoked]:
        """Revoke a delegation and everything beneath it (`Authority.begin_revoke`)."""
        caller.require("Revoke")
        chain = self._desk.standing(caller, order.target, standing)
        target = b64encode(order.target)
        request = change.own(proof.REVOKE, {"target": target}, self._audience, proof_text, caller)
        felled = self._desk.lineage.fall.felled
        if dry_run:
            now = self._desk.clock()
            if chain is not None:
                change.would_revoke(chain, request, self._desk.live, now)
            return done(felled(Struck("delegation", (target,), 0, int(now), self._desk.store.head)))
        compose = change.revoking(order, caller, chain, request)
        once = Once.of(caller, "Revoke", key, target, order.cause)
        return Finished(self._desk.change(compose, once, Struck, urgent=True), felled)

    def enrol(
        self, caller: Caller, holder: PublicKey | None, principal: Principal, key: str | None, proof_text: str | None
    ) -> Future[Enrolled]:
        """Record who a key belongs to (`Authority.begin_enrol`)."""
        caller.require("Enrol")
        once = Once.of(caller, "Enrol", key, holder and holder.thumbprint, principal.model_dump())
        compose = enrolling(holder, principal, caller, self._audience, proof_text)
        return self._desk.change(compose, once, Enrolled)
