"""What a signal changes: how principals stand, and what they hold.

The law of this file: a signal is taken once, in one commit with its record, and counts from the next call on, however
many it is about. What is late never lets go on what a newer one stopped; whom nobody knows here, nothing is said about.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from chain import records
from chain.caller import Caller
from chain.change import Compose
from chain.control import ORDINARY, RISKS, Heard, Risk, Standing, signal_name
from chain.errors import ChainError, SignalError
from chain.live import Live
from chain.signal import MAX_AGE, MAX_SKEW, Event
from chain.subject import Subject
from chain.writing import Writing

MAX_LABELS = 16
"""Labels of one principal, the newest."""

MAX_TOLD = 1_000
"""Principals that a reply names: those of one owner may be many."""


class Signalled(msgspec.Struct, frozen=True):
    """A signal that was taken.

    Attributes:
        principals: ids of whom it was about, the first `MAX_TOLD`.
        revision: of the record from which on it counts.
        repeated: whether it was taken before, and changed nothing now.
        count: of the principals in all.
        late: whether it changed nothing, because something newer was known of each of them.
    """

    principals: tuple[str, ...]
    revision: int
    repeated: bool = False
    count: int = 0
    late: bool = False


def taking(event: Event, caller: Caller) -> Compose:
    """Take a signal, unless it was taken before.

    Args:
        event: authentic (`chain.signal.read`).
        caller: who handed it in.
    """

    def compose(writing: Writing) -> bytes | ChainError:
        live = writing.live
        name = signal_name(event.transmitter.issuer, event.jti)
        known = live.controls.heard.get(name)
        if known is not None and known.event != event.digest:
            return SignalError("its transmitter used this `jti` for another event")
        if known is not None:
            told = Signalled(known.principals, known.revision, repeated=True, count=known.count, late=known.late)
            return msgspec.json.encode(told)
        try:
            keys, principals = _whom(event, live)
        except SignalError as error:
            return error
        struck = _struck(event, keys, principals, live) if event.ends else ()
        stands = {} if event.ends else _standings(event, principals, live)
        unchanged = [one for one in principals if one in stands and stands[one] is None]
        late = bool(unchanged) and len(unchanged) == len(principals)
        body = records.signalled(event, struck, principals, caller.name, unchanged)
        revision = writing.record("signalled", body)
        for more in records.further("holder", struck, event.cause, caller.name, revision):
            writing.record("revoked", more)
        for key in struck:
            writing.stand(live.controls.strike("holder", key, revision))
        for principal, standing in stands.items():
            if standing is not None:
                writing.stand(live.stand(principal, standing, revision))
        named = principals[:MAX_TOLD]
        heard = Heard(event.digest, event.iat + MAX_AGE + 2 * MAX_SKEW, named, revision, len(principals), late)
        writing.stand(live.controls.hear(name, heard))
        return msgspec.json.encode(Signalled(named, revision, count=len(principals), late=late))

    return compose


def _struck(event: Event, keys: tuple[str, ...], principals: tuple[str, ...], live: Live) -> tuple[str, ...]:
    """Return the keys whose holdings an event revokes: those that it is about, and of all who work under them.

    Where it names a key, that are the keys which this one enrolled, and so on; where it names somebody, all who work
    under anybody whom it is about.
    """
    roster = live.roster
    if any(subject.kind == "key" for subject in event.subjects):
        return tuple(sorted(roster.with_workers(keys)))
    return tuple(sorted(roster.bearing(frozenset(principals)).union(keys)))


def _standings(event: Event, principals: tuple[str, ...], live: Live) -> dict[str, Standing | None]:
    """Return how principals stand after an event; None for whom something newer is known, so that it says nothing."""
    before = {principal: live.controls.standings.get(principal, ORDINARY) for principal in principals}
    after = {principal: _stands(event, standing) for principal, standing in before.items()}
    return {one: None if after[one] is before[one] else after[one] for one in principals}


def _stands(event: Event, before: Standing) -> Standing:
    """Return how a principal stands after an event."""
    if event.kind == "risk-level-change":
        risk: Risk = next(risk for risk in RISKS if risk == event.level)
        late = event.at < before.risk_at
        if late and RISKS.index(risk) <= RISKS.index(before.risk):
            return before
        return replace(before, risk=risk, risk_at=max(event.at, before.risk_at))
    if event.kind == "assurance-level-change":
        if event.at < before.assurance_at:
            return before
        return replace(before, assurance=event.level, assurance_at=event.at)
    label = f"credential-{event.change}"
    return replace(before, labels=(*(one for one in before.labels if one != label), label)[-MAX_LABELS:])


def _whom(event: Event, live: Live) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the keys and the principals that an event is about; who works under them follows from that.

    Raises:
        SignalError: it is about nobody here, or about somebody whom its transmitter may not speak of.
    """
    keys = set.intersection(*(_keys(subject, live) for subject in event.subjects))
    known = {key: principal for key in keys if (principal := live.principal(key)) is not None}
    if not keys or (not known and not event.ends):
        raise SignalError("the event is about nobody who is known here")
    domains = event.transmitter.trust_domains
    if domains is not None and any(key not in known or known[key].trust_domain not in domains for key in keys):
        detail = f"`{event.transmitter.issuer}` may not speak of this trust domain"
        raise SignalError(detail, "access_denied")
    return tuple(sorted(keys)), tuple(sorted({principal.id for principal in known.values()}))


def _keys(subject: Subject, live: Live) -> set[str]:
    if subject.kind == "key":
        return {subject.name}
    if subject.kind == "principal":
        return live.roster.keys_of(subject.name)
    return live.roster.owned(subject.name)
