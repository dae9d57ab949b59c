"""A write being composed: records in order, the rows they bring, and the facts that change with them.

The law of this file: only the ledger's single writer is here, in commit order. What a decision uses up is taken here
and nowhere else; where the batch fails midway, it is given back with all that was registered and asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from typing import Any, NamedTuple, Self

from msgspec.structs import replace

from chain import records
from chain.approval import Approval
from chain.case import Verdict, Want
from chain.control import Suspension
from chain.decision import Awaited, Finding
from chain.delegation import Chain, Delegation
from chain.ledger import Record, Store, encode
from chain.live import Live
from chain.reason import Reason
from chain.row import DelegationRow, NonceRow, StandingRow, Write

CIRCUIT_BREAKER = "circuit-breaker"
"""The author of a suspension that nobody ordered."""

_STOPPED = frozenset({Reason.SUSPENDED, Reason.QUARANTINED})


class Moment(NamedTuple):
    """The one instant that a batch is decided for.

    Attributes:
        now: seconds since the epoch.
        ms: the same in milliseconds, for the record; never before the ledger's time (chain/timeline.py).
    """

    now: float
    ms: int


class Writing:
    """A write being composed: records in order, and the rows they bring."""

    __slots__ = ("_first", "_made", "_store", "_undo", "at", "live", "write")

    def __init__(self, first: int, at: Moment, live: Live, store: Store) -> None:
        self._first = first
        self._store = store
        self.at = at
        self.live = live
        self.write = Write([])
        self._undo: list[Callable[[], None]] = []
        self._made: list[tuple[str, Delegation]] = []

    @property
    def revision(self) -> int:
        """The revision that the next record gets."""
        return self._first + len(self.write.records)

    def record(self, kind: str, body: dict[str, Any]) -> int:
        """Append a record and return its revision."""
        revision = self.revision
        self.write.records.append(encode(Record(revision, kind, self.at.ms, body)))
        return revision

    def stand(self, *rows: StandingRow) -> None:
        """Write what stands from here on."""
        self.write.standing.extend(rows)

    def use(self, verdict: Verdict) -> None:
        """Use up a verdict's nonce, whatever its effect."""
        nonce = verdict.nonce
        if nonce is not None:
            self.live.use(nonce)
            self.write.nonces.append(NonceRow(nonce.digest, nonce.value, nonce.expires))

    def spend(self, verdict: Verdict, hop: str = "") -> None:
        """Take what a call that goes through costs: its budgets, and the approval that let it.

        Args:
            verdict: on the call.
            hop: id of the delegation that was approved, where it is one; the record of a call names its approval.
        """
        for spend in verdict.spends:
            self._undo.append(self.live.purse.undo(spend.digest))
            self.stand(self.live.purse.spend(spend, self.revision))
        used = verdict.used
        if used is not None:
            body = {"id": used.id, "binding": used.binding} | ({"hop": hop} if hop else {})
            revision = self.record("approval_consumed", body)
            self._undo.append(lambda: self.live.approvals.restore(used.id, used))
            self.stand(self.live.approvals.consume(used, revision))

    def approve_hop(self, hop: Delegation) -> None:
        """Note that people approved a hop."""
        self._undo.append(partial(self.live.approvals.unapprove_hop, hop.digest))
        self.stand(self.live.approvals.approve_hop(hop.digest, hop.exp, self.revision - 1))

    def ask_people(self, chain: Chain, want: Want, asker: str) -> Awaited:
        """Return the request for approval of an action, and make it where there is none.

        Args:
            chain: under which it is asked.
            want: what has to be approved.
            asker: thumbprint of the key that asks.
        """
        asked = want.standing
        if asked is None or asked.demands != want.demands or asked.state != "pending":
            asked = self._request(chain, want, asker)
        return Awaited(
            request_id=asked.id,
            binding=asked.binding,
            expires_at=asked.expires,
            threshold=max(demand.threshold for demand in asked.demands),
            approvals=want.votes,
        )

    def _request(self, chain: Chain, want: Want, asker: str) -> Approval:
        """Open a request; or bring the one that is open up to date: other demands, or votes that no longer suffice."""
        live, now, revision, standing = self.live, int(self.at.now), self.revision, want.standing
        people = [principal for hop in chain.hops if (principal := live.principal(hop.holder)) is not None]
        owners, parties = {one.owner for one in people}, {one.id for one in people}
        if standing is None:
            asked = Approval(
                id=live.approvals.name(want.binding, revision),
                binding=want.binding,
                action=want.action,
                demands=want.demands,
                holder=asker,
                owners=tuple(sorted(owners)),
                parties=tuple(sorted(parties)),
                task=chain.facts.txn or "",
                sub=chain.facts.sub or "",
                root_ends=chain.root.exp,
                created=now,
                expires=now + live.settings.approval_lifetime,
                opened=revision,
                revision=revision,
            )
        else:
            asked = replace(
                standing,
                demands=want.demands,
                owners=tuple(sorted(owners.union(standing.owners))),
                parties=tuple(sorted(parties.union(standing.parties))),
                state="pending",
                revision=revision,
            )
        self.record("approval_requested", records.approval_requested(asked))
        self._undo.append(lambda: live.approvals.restore(asked.id, standing))
        self.stand(live.approvals.put(asked))
        return asked

    def pace(self, chain: Chain, findings: Sequence[Finding], *, denied: bool) -> None:
        """Count a call of a chain's holder, who proved it; suspend one whose calls are refused too often.

        Args:
            chain: under which it was made.
            findings: against it. What refuses a call because a holder is held back already is not counted.
            denied: whether they refused it.
        """
        if _held(findings):
            return
        now, actor = self.at.now, self.live.actor(chain.leaf.holder)
        self.live.pace.called(self.live.answers(chain.hops), now)
        if denied and self.live.pace.refused(actor, now):
            self._trip(actor, "too many of its calls were refused")

    def fan_out(self) -> None:
        """Count the hops that were admitted, each for the holder that signed it; suspend one that makes too many."""
        made, self._made = self._made, []
        for answers, hop in made:
            actor = self.live.actor(hop.signer)
            self.live.pace.keep(answers, hop.exp)
            if self.live.pace.delegated(actor, self.at.now):
                self._trip(actor, "it made too many delegations")

    def crowded(self, hops: Sequence[Delegation], more: Sequence[int] = ()) -> Finding | None:
        """Say where the holder at the end of these hops has as many of its own under way as it may.

        Args:
            hops: from the root on.
            more: when others end that it is about to make.
        """
        wait = self.live.pace.crowded(self.live.answers(hops), self.at.now, more)
        if wait <= 0:
            return None
        detail = f"too many of its delegations have not ended; again in {ceil(wait)} s"
        return Finding(reason=Reason.RATE_LIMITED, hop=hops[-1].hop, detail=detail)

    def _trip(self, actor: str, cause: str) -> None:
        """Suspend a principal, or a key that nobody enrolled, for a while, as the circuit breaker."""
        now = int(self.at.now)
        before = self.live.controls.suspensions.get(("agent", actor))
        asked = Suspension(
            scope="agent",
            name=actor,
            mode="suspended",
            cause=cause,
            author=CIRCUIT_BREAKER,
            since=now,
            until=now + self.live.pace.breaker.cooldown,
            revision=self.revision,
        )
        suspension = asked.with_what_stood(before)
        if before is not None and (suspension.mode, suspension.until) == (before.mode, before.until):
            return  # stopped already, as far and at least as long
        self.record("suspended", records.suspended(suspension))
        self._undo.append(lambda: self.live.controls.restore(suspension, before))
        self.stand(self.live.controls.suspend(suspension))

    def admit(self, chain: Chain, tokens: Sequence[str], kind: str, caller: str) -> Finding | None:
        """Register every hop that the ledger does not hold yet, root first; the last one as `kind`.

        Returns:
            A finding where a hop's jti belongs to another token of the same key, or its maker has too many under way;
            then nothing is registered.
        """
        unknown = self._unknown(chain)
        for hop in unknown:
            name = (hop.claims.iss, hop.claims.jti)
            owner = self.live.names.get(name) or self._store.named(*name)
            if owner is not None and owner != hop.digest:
                detail = "its key used this `jti` for another token"
                return Finding(reason=Reason.JTI_DUPLICATE, hop=hop.hop, detail=detail)
        crowd = self._crowd(chain, unknown)
        if crowd is not None:
            return crowd
        for hop in unknown:
            body = records.delegation(chain, hop, caller)
            revision = self.record(kind if hop is chain.leaf else "admitted", body)
            self.write.delegations.append(_row(chain, hop, tokens[hop.hop], revision))
            self._undo.append(partial(self._forget, hop))
            self._remember(hop)
            if hop.hop:
                self._made.append((self.live.answers(chain.hops[: hop.hop]), hop))
        return None

    def _crowd(self, chain: Chain, unknown: Sequence[Delegation]) -> Finding | None:
        """Say whose hops are too many; whoever makes several of them is counted with all."""
        if not self.live.pace.breaker.outstanding:
            return None
        coming: dict[str, list[int]] = {}
        for hop in unknown:
            above = chain.hops[: hop.hop]
            if above:
                more = coming.setdefault(self.live.answers(above), [])
                found = self.crowded(above, more)
                if found is not None:
                    return found
                more.append(hop.exp)
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        """Where it fails midway, take back what will not be written, the last first. Nonces stay used."""
        for undo in reversed(self._undo) if kind is not None else ():
            undo()

    def _forget(self, hop: Delegation) -> None:
        self.live.registered.drop(hop.digest)
        self.live.names.drop((hop.claims.iss, hop.claims.jti))

    def _remember(self, hop: Delegation) -> None:
        name = (hop.claims.iss, hop.claims.jti)
        self.live.registered.put(hop.digest, name)
        self.live.names.put(name, hop.digest)

    def _unknown(self, chain: Chain) -> list[Delegation]:
        """Return the hops that are not registered; where one is, so are its ancestors."""
        unknown: list[Delegation] = []
        for hop in reversed(chain.hops):
            if self.live.registered.get(hop.digest):
                break
            if self._store.delegation(hop.digest) is not None:
                self._remember(hop)
                break
            unknown.append(hop)
        return unknown[::-1]


def _held(findings: Sequence[Finding]) -> bool:
    """Tell whether a holder of a chain is held back already."""
    return any(
        finding.reason is Reason.RATE_LIMITED or (finding.reason in _STOPPED and finding.hop is not None)
        for finding in findings
    )


def _row(chain: Chain, hop: Delegation, token: str, revision: int) -> DelegationRow:
    return DelegationRow(
        digest=hop.digest,
        parent=chain.digests[hop.hop - 1] if hop.hop else None,
        token=token.encode(),
        issuer=hop.claims.iss,
        jti=hop.claims.jti,
        holder=hop.holder,
        task=chain.facts.txn or "",
        depth=hop.hop,
        iat=hop.iat,
        exp=hop.exp,
        revision=revision,
    )
