"""Controls: who and what is stopped now, whatever was granted; and what is known of the principals that act.

The law of this file: a control takes effect on the next call and needs no token's consent. It only narrows; lifting
one is a change like any other, with an author and a reason. What is not stopped is not thereby permitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from chain.base64url import b64encode
from chain.delegation import Chain
from chain.expiry import Expiry
from chain.ledger import StandingRow, Store
from chain.principal import SCHEME, Principal, ancestors, parse_id

Scope: TypeAlias = Literal["agent", "trust_domain", "task", "tool", "everything"]
"""What a suspension is about. An agent is named by its id, and stands for its workers too; one whose key nobody
enrolled, by the thumbprint of that key."""

Mode: TypeAlias = Literal["suspended", "quarantined"]
"""A suspended one does nothing; a quarantined one may still read."""

Strike: TypeAlias = Literal["holder", "task", "key", "issuer"]
"""What is revoked by name: all that a key holds, all of a task, all that a key signed, all that an issuer issued."""


class Named(NamedTuple):
    """What is revoked by name.

    Attributes:
        kind: what kind of name.
        name: of a holder, the thumbprint of its key: then that and every key enrolled under it, and so on; or a
            principal's id: then that, every key that is enrolled now for it or for anybody who works under it, and
            their ids, which SVIDs prove. Of a key, its thumbprint.
    """

    kind: Strike
    name: str


Risk: TypeAlias = Literal["low", "medium", "high"]

RISKS: tuple[Risk, ...] = ("low", "medium", "high")
"""From lowest to highest."""

EVERYTHING = "*"
"""The name of the scope `everything`."""

SUSPENSION = "suspension"
STRUCK = "struck"
STANDING = "principal"
HEARD = "signal"
"""Kinds of what stands (`chain.row.StandingRow`)."""


class Suspension(msgspec.Struct, frozen=True):
    """One thing that is stopped.

    Attributes:
        scope, name: what.
        mode: how far.
        cause: why, one line.
        author: who said so.
        since: seconds.
        until: seconds, when it ends by itself; 0 for never.
        revision: of the record that brought it.
    """

    scope: Scope
    name: str
    mode: Mode
    cause: str
    author: str
    since: int
    until: int = 0
    revision: int = 0

    def at(self, now: float) -> bool:
        """Tell whether it stands at an instant."""
        return not 0 < self.until <= now

    @property
    def words(self) -> str:
        """What is stopped, and how far."""
        return f"{self.scope if self.scope == 'everything' else f'{self.scope} `{self.name}`'} is {self.mode}"

    def with_what_stood(self, before: Suspension | None) -> Suspension:
        """Return it no weaker than the one before: to stop something anew never lets any of it go on."""
        if before is None or not before.at(self.since):
            return self
        ends = 0 if 0 in (self.until, before.until) else max(self.until, before.until)
        mode: Mode = "suspended" if "suspended" in (self.mode, before.mode) else "quarantined"
        return msgspec.structs.replace(self, mode=mode, until=ends)


class Standing(msgspec.Struct, frozen=True):
    """What signals say of a principal, beside what enrolment says.

    Attributes:
        risk: its level.
        assurance: of its authentication, in the words of whoever said so; empty where nobody did.
        labels: anything else that a policy may ask about.
        risk_at, assurance_at: seconds, of the events that said so: what arrives late never overrules what is newer.
    """

    risk: Risk = "low"
    assurance: str = ""
    labels: tuple[str, ...] = ()
    risk_at: int = 0
    assurance_at: int = 0


ORDINARY = Standing()


class Heard(msgspec.Struct, frozen=True):
    """A signal that was taken, remembered as long as it could come again.

    Attributes:
        event: digest of its token's signing input, base64url.
        until: seconds.
        principals: whom it was about, the first of them.
        revision: of the record.
        count: of the principals in all.
        late: whether it changed nothing, because something newer was known.
    """

    event: str
    until: int
    principals: tuple[str, ...]
    revision: int
    count: int = 0
    late: bool = False


class Party(NamedTuple):
    """Who holds a key, and how they stand; compared by value, so that a verdict on them is good as long as they are.

    Attributes:
        thumbprint: of the key.
        principal: by enrolment; None where nobody enrolled it.
        standing: see `Standing`.
    """

    thumbprint: str
    principal: Principal | None
    standing: Standing


@dataclass(slots=True)
class Controls:
    """Every control that stands. Read at any moment; changed by the ledger's writer alone.

    Attributes:
        suspensions: by scope and name.
        struck: (kind, name) of what was revoked by name.
        standings: by principal's id.
        heard: signals by name (`signal_name`).
    """

    suspensions: dict[tuple[str, str], Suspension] = field(default_factory=dict)
    struck: set[tuple[str, str]] = field(default_factory=set)
    standings: dict[str, Standing] = field(default_factory=dict)
    heard: dict[str, Heard] = field(default_factory=dict)
    _ending: Expiry[tuple[str, str]] = field(default_factory=lambda: Expiry(0))

    @classmethod
    def load(cls, store: Store, now: float) -> Controls:
        """Read what a restart must know; nothing is forgotten that ends after `now` (seconds)."""
        made = cls(_ending=Expiry(now))
        for row in store.standing(SUSPENSION):
            suspension = msgspec.json.decode(row.body, type=Suspension)
            made._put(suspension)
        for row in store.standing(HEARD):
            made._hear(row.name, msgspec.json.decode(row.body, type=Heard))
        made.struck = {msgspec.json.decode(row.body, type=tuple[str, str]) for row in store.standing(STRUCK)}
        made.standings = {row.name: msgspec.json.decode(row.body, type=Standing) for row in store.standing(STANDING)}
        return made

    def suspend(self, suspension: Suspension) -> StandingRow:
        """Stop something (writer only)."""
        self._put(suspension)
        name = f"{suspension.scope}:{suspension.name}"
        return StandingRow(SUSPENSION, name, msgspec.json.encode(suspension), suspension.until, suspension.revision)

    def restore(self, suspension: Suspension, before: Suspension | None) -> None:
        """Let stand what stood before a suspension that is not written after all (writer only)."""
        key = (suspension.scope, suspension.name)
        if before is None:
            self.suspensions.pop(key, None)
        else:
            self.suspensions[key] = before

    def lift(self, scope: Scope, name: str, revision: int) -> StandingRow:
        """Let something go on (writer only)."""
        self.suspensions.pop((scope, name), None)
        return StandingRow(SUSPENSION, f"{scope}:{name}", b"", 0, revision)

    def strike(self, kind: Strike, name: str, revision: int) -> StandingRow:
        """Revoke by name, for good (writer only)."""
        self.struck.add((kind, name))
        return StandingRow(STRUCK, f"{kind}:{name}", msgspec.json.encode((kind, name)), 0, revision)

    def stand(self, principal: str, standing: Standing, revision: int) -> StandingRow:
        """Say how a principal stands (writer only)."""
        self.standings[principal] = standing
        return StandingRow(STANDING, principal, msgspec.json.encode(standing), 0, revision)

    def hear(self, name: str, heard: Heard) -> StandingRow:
        """Remember a signal (writer only)."""
        self._hear(name, heard)
        return StandingRow(HEARD, name, msgspec.json.encode(heard), heard.until, heard.revision)

    def sweep(self, now: float) -> None:
        """Forget some of what ended by a time that does not come back (writer only)."""
        for kind, name in self._ending.due(now):
            if kind == HEARD:
                self.heard.pop(name, None)
            elif (found := self.suspensions.get((kind, name))) is not None and not found.at(now):
                del self.suspensions[kind, name]

    def _put(self, suspension: Suspension) -> None:
        self.suspensions[suspension.scope, suspension.name] = suspension
        if suspension.until:
            self._ending.add((suspension.scope, suspension.name), suspension.until)

    def _hear(self, name: str, heard: Heard) -> None:
        self.heard[name] = heard
        self._ending.add((HEARD, name), heard.until)

    def standing(self, principal: Principal | None, above: Iterable[Principal] = ()) -> Standing:
        """Return how a principal stands: as whoever it works under does, where that is worse.

        Args:
            principal: who.
            above: the agents that enrolled it, and theirs, beside those that its id lies beneath.
        """
        if principal is None or not self.standings:
            return ORDINARY
        own = self.standings.get(principal.id, ORDINARY)
        names = [name for one in (principal, *above) for name in (one.id, *ancestors(one.id))]
        risks = [self.standings[name].risk for name in names if name in self.standings]
        return msgspec.structs.replace(own, risk=max(risks, key=RISKS.index, default=own.risk))

    def over(self, thumbprint: str, line: Iterable[Principal]) -> Iterator[Suspension]:
        """Yield what stops whoever holds a key: itself, an agent that it works under, a trust domain of theirs.

        Args:
            thumbprint: of the key; or the SPIFFE id of a holder without one, which says by itself what it lies beneath.
            line: who holds it, and who enrolled it, nearest first (`chain.roster.line`).
        """
        for name in stops(thumbprint, line):
            if (suspension := self.suspensions.get(name)) is not None:
                yield suspension

    def around(self, task: str | None, tool: str | None) -> Iterator[Suspension]:
        """Yield what stops a call whoever makes it: everything, its task, its tool."""
        for key in (("everything", EVERYTHING), ("task", task or ""), ("tool", tool or "")):
            if (suspension := self.suspensions.get(key)) is not None:
                yield suspension

    def strikes(self, chain: Chain) -> Iterator[tuple[int, str]]:
        """Yield hop and words of everything that was revoked by name."""
        struck = self.struck
        if not struck:
            return
        if ("issuer", chain.issuer) in struck:
            yield 0, "its issuer was revoked"
        if chain.facts.txn is not None and ("task", chain.facts.txn) in struck:
            yield 0, "its task was revoked"
        for hop in chain.hops:
            if key_struck(struck, hop.signer, hop.certifier):
                yield hop.hop, "the key that signed it was revoked"
            if any(("holder", name) in struck for name in hop.names):
                yield hop.hop, "all that its holder holds was revoked"


def key_struck(struck: AbstractSet[tuple[str, str]], *names: str) -> bool:
    """Tell whether a key was revoked by one of these names: its own, or that of the key that certified it."""
    return any(("key", name) in struck for name in names)


def stops(thumbprint: str, line: Iterable[Principal]) -> Iterable[tuple[str, str]]:
    """Return scope and name of every suspension that stops whoever holds a key.

    Args:
        thumbprint, line: as in `Controls.over`.
    """
    own = _keys(thumbprint) if thumbprint.startswith(SCHEME) else (("agent", thumbprint),)
    names = [*own, *(name for principal in line for name in _names(principal))]
    return dict.fromkeys(names) if own[1:] else names


def signal_name(issuer: str, jti: str) -> str:
    """Return what a signal is remembered by: of one length, however long its transmitter's words are."""
    return b64encode(sha256(msgspec.json.encode((issuer, jti))).digest())


def _names(principal: Principal) -> Iterator[tuple[str, str]]:
    """Yield scope and name of all that stops a principal: its id and those above, and the key that enrolled it."""
    yield from _keys(principal.id)
    if principal.under is not None:
        yield "agent", principal.under


@lru_cache(maxsize=16_384)
def _keys(name: str) -> tuple[tuple[str, str], ...]:
    """Return scope and name of all that stops a principal of that id; every hop of every call is asked."""
    return (*(("agent", one) for one in (name, *ancestors(name))), ("trust_domain", parse_id(name)[0]))
