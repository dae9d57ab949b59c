"""The one object to hold: it issues, admits delegations, checks, revokes and explains.

The law of this file: pure but for what it is given. Clock, entropy, signer and store come from outside; everything
is decided inside a commit (chain/batch.py, chain/change.py), and nothing is answered before its record is down.
Each call has a twin, `begin_…`, that returns a Future for servers; the plain one waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future

from chain.approving import Approving
from chain.auditing import Auditing
from chain.caller import Caller
from chain.catalog import Catalogue
from chain.certifying import Certifier
from chain.custody import Custodian, Custody
from chain.desk import Clock, Desk, Entropy, Presented
from chain.handing import Handing
from chain.key import PublicKey, Signer
from chain.keyring import KeyRing
from chain.keys import Keys
from chain.ledger import Store
from chain.meter import Meter
from chain.notary import Notary
from chain.order import Delegate, Issue, Revoke
from chain.pace import Breaker
from chain.policies import Policies
from chain.principal import Principal
from chain.questions import Questions
from chain.roots import Roots
from chain.signal import Transmitter
from chain.signing import Signing
from chain.state import Settings, agreed
from chain.steering import Steering
from chain.token import Verifier
from chain.view import Delegated, Enrolled, Revoked
from chain.watching import Watching


class Authority(Questions):
    """Issues, admits, checks, revokes; library and service share it.

    Attributes:
        audience: what proofs for `Delegate` and `Revoke` name.
        issuer: the `iss` of roots made here.
        verifier: anchors and rules.
        keys: the issuer's own, and what is published of them.
        approvals: what people are asked, and say.
        policies: which policy is active.
        steering: what is suspended, and what others signal.
        watch: what happens, and whether a chain still stands.
        custody: the keys that are kept for agents.
        audit: checkpoints of the record, and proofs.
    """

    def __init__(  # noqa: PLR0913 - everything from outside comes in here, by name
        self,
        store: Store,
        verifier: Verifier,
        *,
        clock: Clock,
        entropy: Entropy,
        audience: str,
        signer: Signer | Certifier | None = None,
        ring: KeyRing | None = None,
        issuer: str = "",
        catalogue: Catalogue | None = None,
        settings: Settings | None = None,
        steady: Clock | None = None,
        resume: bool = False,
        breaker: Breaker | None = None,
        transmitters: Iterable[Transmitter] = (),
        custodian: Custodian | None = None,
        notary: Notary | None = None,
    ) -> None:
        """Take over a store.

        Args:
            store: owned by this object until it is closed.
            verifier: anchors and rules.
            clock, entropy: the outside world.
            audience: this authority's own name as an enforcement point.
            signer: the issuer's key, or what certifies such keys; without it and `ring` nothing can be issued here.
            ring: the issuer's keys instead, which come and go; owned as the store is.
            issuer: URI, with any of them.
            catalogue: what each tool is; empty means that all is `act`.
            settings: defaults to the verifier's profile and labels.
            steady: seconds that pass however the clock is set, so that a wrong one sets no used nonce free.
            resume: accept a clock that lies behind the ledger, and record that; an operator says so once, by hand.
            breaker: when a holder is slowed down or stopped; without one, never.
            transmitters: whose signals are taken (`chain.signal`).
            custodian: keeps the keys of agents that hold none of their own; without one, all hold their own.
            notary: signs for the record; without one nobody does.

        Raises:
            ConfigurationError: settings that contradict the rules, or keys that cannot be used (`chain.signing`).
        """
        told = agreed(settings, verifier.rules.profile, verifier.rules.labels, audience)
        self.audience = audience
        self.issuer = issuer
        self.verifier = verifier
        tools = catalogue or Catalogue()
        desk = Desk(store, verifier, clock, entropy, told, tools, steady=steady, resume=resume, breaker=breaker)
        super().__init__(desk)
        self.custody = Custody(self._desk, audience, custodian)
        self._handing = Handing(self._desk, verifier, self.custody, audience)
        signing = Signing(self._desk, verifier, issuer, signer, ring)
        self._roots = Roots(self._desk, verifier, signing, issuer, audience)
        self.keys = Keys(self._desk, signing)
        self.approvals = Approving(self._desk, audience)
        self.policies = Policies(self._desk)
        self.steering = Steering(self._desk, audience, transmitters)
        self.watch = Watching(self._desk)
        self.audit = Auditing(self._desk, notary)

    @property
    def garbage(self) -> int:
        """Presented chains of which not even the root was authentic."""
        return self._desk.garbage

    @property
    def revision(self) -> int:
        """The last revision that survives power loss."""
        return self._desk.store.synced

    @property
    def revisions(self) -> tuple[int, int, int]:
        """The last revision that is written, that survives power loss, and that a checkpoint covers."""
        return self._desk.store.head, self._desk.store.synced, self.audit.covered

    @property
    def meter(self) -> Meter:
        """How many calls were decided how, and how long it took."""
        return self._desk.meter

    @property
    def failed(self) -> bool:
        """Whether the store stopped: nothing is permitted until the ledger is opened again."""
        return self._desk.store.failure is not None

    def principal(self, holder: str) -> Principal | None:
        """Return who the key with this thumbprint belongs to, if it was enrolled."""
        return self._desk.live.principal(holder)

    def close(self) -> None:
        """Write what is queued and release the store, and the issuer's keys."""
        try:
            self._desk.store.close()
        finally:
            self.keys.close()

    def issue(self, caller: Caller, order: Issue, key: str | None = None) -> Delegated:
        """Issue a root and record it. See `begin_issue`."""
        return self.begin_issue(caller, order, key).result()

    def begin_issue(self, caller: Caller, order: Issue, key: str | None = None) -> Future[Delegated]:
        """Issue a root and record it.

        Args:
            caller: an issuer.
            order: what to issue.
            key: idempotency key.

        Raises:
            ForbiddenError: the caller is no issuer, or no issuer's key is held here.
            InvalidRequestError: the grant or the lifetime is out of bounds.
            InvalidTokenError: the anchor may not grant this.
        """
        return self._roots.begin_issue(caller, order, key)

    def status_list(self, caller: Caller) -> str:
        """Return the Token Status List of the roots that were issued with a place in it, signed by the issuer.

        Raises:
            InvalidRequestError: none is published here (`chain.state.Settings.status_list`).
            ForbiddenError: the caller may not ask.
        """
        return self._roots.status_list(caller)

    def delegate(
        self,
        caller: Caller,
        parent: Presented,
        child: str | Delegate,
        proof_text: str | None = None,
        key: str | None = None,
    ) -> Delegated:
        """Admit a child that the parent's holder signed, or sign it for the holder. See `begin_delegate`."""
        return self.begin_delegate(caller, parent, child, proof_text, key).result()

    def begin_delegate(
        self,
        caller: Caller,
        parent: Presented,
        child: str | Delegate,
        proof_text: str | None = None,
        key: str | None = None,
    ) -> Future[Delegated]:
        """Admit a child that the parent's holder signed, and record it; one that is ordered is signed here first.

        Only with the key that is kept for the caller, and only where its channel proves that it is the parent's holder.

        Args:
            caller: an agent.
            parent: the chain that is handed on.
            child: the new token, or what it is to say.
            proof_text: the parent holder's proof for `proof.DELEGATE`; None where the channel proves it.
            key: idempotency key.

        Raises:
            ExcessError: the child asks for more; the refusal is recorded, the child is not.
            InvalidTokenError: the tokens are not an authentic chain.
            DeniedError: no proof, expired or revoked.
            ForbiddenError: the caller is no agent, or orders a child and no key is kept for it.
        """
        return self._handing.delegate(caller, parent, child, proof_text, key)

    def revoke(
        self,
        caller: Caller,
        order: Revoke,
        standing: Presented | None = None,
        proof_text: str | None = None,
        *,
        dry_run: bool = False,
        key: str | None = None,
    ) -> Revoked:
        """Revoke a delegation and everything beneath it. See `begin_revoke`."""
        return self.begin_revoke(caller, order, standing, proof_text, dry_run=dry_run, key=key).result()

    def begin_revoke(
        self,
        caller: Caller,
        order: Revoke,
        standing: Presented | None = None,
        proof_text: str | None = None,
        *,
        dry_run: bool = False,
        key: str | None = None,
    ) -> Future[Revoked]:
        """Revoke a delegation and everything beneath it; or all that bears a name, for good (`Revoke.named`).

        It stands when the future is done; what fell is counted in the thread that asks for the result.

        Args:
            caller: an issuer or operator; or an agent, which then presents what it holds.
            order: what and why.
            standing: the agent's own chain; the target is its leaf or lies beneath it. Where one is presented, the
                caller's role does not help.
            proof_text: the agent's proof for `proof.REVOKE`; None where the channel proves it.
            dry_run: only tell what would fall, to whom might revoke it; the proof is not used up.
            key: idempotency key.

        Raises:
            NotFoundError: no such delegation, or not beneath the agent's own; no key of a principal that is named.
            InvalidRequestError: a name that cannot be one.
            InvalidTokenError: what the agent presents is not an authentic chain.
            DeniedError: no proof, expired or revoked.
            ForbiddenError: no role of the caller allows it.
        """
        if order.named is not None:
            return self.steering.begin_revoke(caller, order, order.named, dry_run=dry_run, key=key)
        return self._handing.revoke(caller, order, standing, proof_text, key, dry_run=dry_run)

    def enrol(
        self,
        caller: Caller,
        holder: PublicKey | None,
        principal: Principal,
        key: str | None = None,
        proof_text: str | None = None,
    ) -> Enrolled:
        """Record who a key belongs to. See `begin_enrol`."""
        return self.begin_enrol(caller, holder, principal, key, proof_text).result()

    def begin_enrol(
        self,
        caller: Caller,
        holder: PublicKey | None,
        principal: Principal,
        key: str | None = None,
        proof_text: str | None = None,
    ) -> Future[Enrolled]:
        """Record who a key belongs to.

        Args:
            caller: an operator; or an agent, for a worker under itself.
            holder: the key; None for the id itself, which an SVID proves: only an operator enrols that.
            principal: whose it is.
            key: idempotency key.
            proof_text: the worker's own agreement (`enrolment.make`); an operator needs none.

        Raises:
            DeniedError: the worker's key has not agreed.
            ForbiddenError: not an operator, and not the agent's own worker with the agent's own owner.
        """
        return self._handing.enrol(caller, holder, principal, key, proof_text)
