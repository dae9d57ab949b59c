"""What the authority hands to its store: decisions and changes, made whole inside the commit.

The law of this file: everything is decided by the ledger's single writer, in commit order, against the facts as
they stand there. What was revoked a moment before is revoked; of two uses of one nonce the second is a replay; a
batch whose condition fails writes nothing, or the record of its refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, cast

from chain import records
from chain.caller import Caller
from chain.catalog import Tool
from chain.check import Verdict, check
from chain.decision import Decision, Effect, Finding, decided
from chain.delegation import Chain, Delegation
from chain.errors import ChainError, ConflictError
from chain.ledger import Durability, Record, Store, encode
from chain.live import Live
from chain.reason import Reason
from chain.request import Request
from chain.row import DelegationRow, NonceRow, ReplyRow, Write

REPLY_LIFETIME = 24 * 3600
"""Seconds an idempotency key is remembered."""


_BEFORE_SIGNATURES = frozenset(
    {Reason.TOKEN_TOO_LARGE, Reason.TOKEN_MALFORMED, Reason.HEADER_UNSUPPORTED, Reason.JTI_DUPLICATE}
)
"""What is asked of every token before the root's signature, so that the hop of the fault shows nothing."""

UNSIGNED = _BEFORE_SIGNATURES | {
    Reason.CHAIN_TOO_DEEP,
    Reason.CHAIN_TOO_LARGE,
    Reason.ALGORITHM_REFUSED,
    Reason.SIGNATURE_INVALID,
}
"""Faults of a child that leave open whether its parent's holder signed it."""


UNPROVEN = frozenset(
    reason for reason in Reason if Reason.PROOF_MISSING.number <= reason.number <= Reason.REPLAY.number
)
"""Faults that leave open whether the caller is the leaf's holder."""


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

    __slots__ = ("_admitted", "_first", "_store", "at", "live", "write")

    def __init__(self, first: int, at: Moment, live: Live, store: Store) -> None:
        self._first = first
        self._store = store
        self.at = at
        self.live = live
        self.write = Write([])
        self._admitted: list[Delegation] = []

    @property
    def revision(self) -> int:
        """The revision that the next record gets."""
        return self._first + len(self.write.records)

    def record(self, kind: str, body: dict[str, Any]) -> int:
        """Append a record and return its revision."""
        revision = self.revision
        self.write.records.append(encode(Record(revision, kind, self.at.ms, body)))
        return revision

    def admit(self, chain: Chain, tokens: Sequence[str], kind: str, caller: str) -> Finding | None:
        """Register every hop that the ledger does not hold yet, root first; the last one as `kind`.

        Returns:
            A finding where a hop's jti belongs to another token of the same key; then nothing is registered.
        """
        unknown = self._unknown(chain)
        for hop in unknown:
            name = (hop.claims.iss, hop.claims.jti)
            owner = self.live.names.get(name) or self._store.named(*name)
            if owner is not None and owner != hop.digest:
                detail = "its key used this `jti` for another token"
                return Finding(reason=Reason.JTI_DUPLICATE, hop=hop.hop, detail=detail)
        for hop in unknown:
            body = records.delegation(chain, hop, caller)
            revision = self.record(kind if hop is chain.leaf else "admitted", body)
            self.write.delegations.append(_row(chain, hop, tokens[hop.hop], revision))
            self._remember(hop)
            self._admitted.append(hop)
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        """Where it fails midway, forget what was registered, since it will not be written. Nonces stay used."""
        for hop in self._admitted if kind is not None else ():
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


@dataclass(slots=True)
class Asked:
    """One check on its way to a decision.

    Attributes:
        request: what is asked.
        tool: what the catalogue says of the tool.
        tokens, chain: what was presented, where it is authentic.
        named: whether the chain was only named by its digest, and not shown.
        fault: why it is not, otherwise.
        decision: the answer, once the commit has made it.
    """

    request: Request
    tool: Tool
    tokens: Sequence[str] = ()
    chain: Chain | None = None
    fault: Decision | None = None
    decision: Decision | None = None
    named: bool = False

    def told(self, caller: Caller) -> Decision | None:
        """Return the decision as this caller may see it.

        An agent that only names a chain and proves nothing does not learn what it grants.
        """
        decision = self.decision
        if decision is None or not (self.named and caller.only_agent):
            return decision
        unproven = any(finding.reason in UNPROVEN for finding in decision.findings)
        return decision.without_details() if unproven else decision

    @property
    def garbage(self) -> bool:
        """Whether not even a root was shown to be authentic: such chains are counted, not kept."""
        fault = self.fault
        return fault is not None and (fault.hop in (None, 0) or fault.reason in _BEFORE_SIGNATURES)


class Deciding:
    """Checks to be decided together, in order, until `stop` is met.

    Attributes:
        durability: SYNCED where one of them may write or act, else WRITTEN (DESIGN.md, durability classes).
    """

    __slots__ = ("_asked", "_caller", "_id", "_live", "_moment", "_stop", "_store", "durability")

    def __init__(
        self,
        asked: Sequence[Asked],
        caller: str,
        live: Live,
        store: Store,
        moment: Callable[[], Moment],
        new_id: Callable[[], str],
        stop: Effect | None = None,
    ) -> None:
        self._asked = asked
        self._caller = caller
        self._live = live
        self._store = store
        self._moment = moment
        self._id = new_id
        self._stop = stop
        reads = all(item.tool.action_class == "read" for item in asked)
        self.durability = Durability.WRITTEN if reads else Durability.SYNCED

    def prepare(self, first: int) -> Write:
        """Decide, and say what to write."""
        with Writing(first, self._moment(), self._live, self._store) as writing:
            for item in self._asked:
                item.decision = self._decide(item, writing)
                if item.decision.effect is self._stop:
                    break
        return writing.write

    def _decide(self, item: Asked, writing: Writing) -> Decision:
        if item.fault is not None and item.garbage:
            return item.fault
        if item.fault is not None:
            findings = item.fault.findings
        else:
            findings = self._answer(item, cast("Chain", item.chain), writing)
        decision = decided(findings, writing.at.now, self._id(), writing.revision)
        holder = None if item.chain is None else self._live.principal(item.chain.leaf.holder)
        body = records.decided(decision, item.request, self._caller, item.tool, item.chain, holder)
        writing.record("decided", body)
        return decision

    def _answer(self, item: Asked, chain: Chain, writing: Writing) -> tuple[Finding, ...]:
        verdict = check(chain, item.request, self._live, writing.at.now)
        take(verdict, writing)
        if verdict.proven:
            clash = writing.admit(chain, item.tokens, "admitted", self._caller)
            if clash is not None:
                return (clash, *verdict.findings)
        return verdict.findings


def take(verdict: Verdict, writing: Writing) -> None:
    """Use up a verdict's nonce, whatever its effect."""
    nonce = verdict.nonce
    if nonce is not None:
        writing.live.use(nonce)
        writing.write.nonces.append(NonceRow(nonce.digest, nonce.value, nonce.expires))


@dataclass(frozen=True, slots=True)
class Once:
    """An idempotency key: scoped to caller and method, bound to one request."""

    caller: str
    method: str
    key: str
    request: bytes

    def answer(self, row: ReplyRow) -> bytes:
        """Return the reply that was given.

        Raises:
            ConflictError: to another request.
        """
        if row.request != self.request:
            raise ConflictError(f"the idempotency key was used for another {self.method}")
        return row.reply


class AnsweredError(Exception):
    """The change was made before, under the same idempotency key."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply
        super().__init__()


class Changing:
    """One change of state. It is power-safe before it is acknowledged; a revocation waits for nothing else."""

    __slots__ = ("_compose", "_live", "_moment", "_once", "_store", "durability", "outcome", "urgent")

    def __init__(
        self,
        compose: Callable[[Writing], bytes | ChainError],
        once: Once | None,
        live: Live,
        store: Store,
        moment: Callable[[], Moment],
        *,
        urgent: bool = False,
    ) -> None:
        """Prepare a change.

        Args:
            compose: makes the change, writes its records, and returns the reply; or the error to raise once the
                record of the refusal is down.
            once: the idempotency key, if the caller gave one.
            live, store, moment: the authority's.
            urgent: goes before everything that waits.
        """
        self._compose = compose
        self._once = once
        self._live = live
        self._store = store
        self._moment = moment
        self.urgent = urgent
        self.durability = Durability.SYNCED
        self.outcome: bytes | ChainError = b""

    def prepare(self, first: int) -> Write:
        """Make the change, unless its key was used."""
        once, at = self._once, self._moment()
        if once is not None:
            name = (once.caller, once.method, once.key)
            prior = self._live.replies.get(name) or self._store.reply(*name)
            if prior is not None and prior.expires > at.now:
                raise AnsweredError(once.answer(prior))
        with Writing(first, at, self._live, self._store) as writing:
            self.outcome = self._compose(writing)
        if once is not None and isinstance(self.outcome, bytes):
            expires = int(writing.at.now) + REPLY_LIFETIME
            row = ReplyRow(
                once.caller, once.method, once.key, once.request, self.outcome, writing.revision - 1, expires
            )
            writing.write.replies.append(row)
            self._live.replies.put((once.caller, once.method, once.key), row)
        return writing.write
