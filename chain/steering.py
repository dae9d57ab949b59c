"""What operators do: stop somebody or something, let it go on, revoke by name, and take in what others signal.

The law of this file: what only narrows waits for nothing and needs no right clock; what lets something go on is a
change like any other. Each has an author and a cause, and takes effect on the next call.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from typing import cast, get_args

import msgspec

from chain import naming, records, signalling
from chain import signal as signals
from chain.caller import Caller
from chain.change import Compose
from chain.control import Mode, Named, Scope, Suspension
from chain.desk import Desk
from chain.errors import ChainError, ForbiddenError, InvalidRequestError, NotFoundError
from chain.ledger import Store
from chain.live import Live
from chain.once import Once
from chain.order import Revoke
from chain.pending import Finished, done
from chain.signal import Transmitter
from chain.signalling import Signalled
from chain.view import Revoked, Struck
from chain.writing import Writing

MAX_CAUSE = 1024
"""Characters of a cause; one line."""

MAX_LIFETIME = 10 * 365 * 24 * 3600
"""Seconds of the longest suspension that ends by itself."""


class Stopped(Suspension, frozen=True):
    """A suspension, as whoever ordered it is told.

    Attributes:
        keys: how many enrolled keys it stops as things stand, for an agent or a trust domain; None for what stops no
            keys.
        lifted: whether it stands no more: a repeated order is told what the first one did, and may come too late.
    """

    keys: int | None = None
    lifted: bool = False


class Lifted(msgspec.Struct, frozen=True):
    """A suspension that ended."""

    scope: Scope
    name: str
    revision: int


class Steering:
    """Suspensions, revocation by name, and signals. A part of `chain.authority.Authority`."""

    def __init__(self, desk: Desk, audience: str, transmitters: Iterable[Transmitter] = ()) -> None:
        """Steer what a desk decides.

        Args:
            desk: the authority's.
            audience: its own name, which signals are made for.
            transmitters: whose signals are taken.
        """
        self._desk = desk
        self._audience = audience
        self._transmitters = {one.issuer: one for one in transmitters}

    def suspensions(self, caller: Caller) -> list[Suspension]:
        """Return what is stopped now, oldest first.

        Raises:
            ForbiddenError: the caller may not look.
        """
        caller.require("ListSuspensions")
        now = self._desk.clock()
        found = list(self._desk.live.controls.suspensions.values())
        return sorted((one for one in found if one.at(now)), key=lambda one: (one.since, one.revision))

    def suspend(
        self, caller: Caller, scope: str, name: str, cause: str, mode: str = "suspended", lifetime: int = 0,
        key: str | None = None,
    ) -> Stopped:  # fmt: skip
        """Stop something. See `begin_suspend`."""
        return self.begin_suspend(caller, scope, name, cause, mode, lifetime, key).result()

    def begin_suspend(
        self,
        caller: Caller,
        scope: str,
        name: str,
        cause: str,
        mode: str = "suspended",
        lifetime: int = 0,
        key: str | None = None,
    ) -> Future[Stopped]:
        """Stop an agent, a trust domain, a task, a tool, or everything, from the next call on.

        What is stopped already stays stopped as far and as long as it was, whatever this says: see `resume`.

        Args:
            caller: an operator.
            scope: what kind of thing (`chain.control.Scope`).
            name: which; an agent by its id, with all who work under it. Ignored for `everything`.
            cause: why, one line; required.
            mode: `suspended`, or `quarantined`, which still lets it read.
            lifetime: seconds until it ends by itself; 0 for never.
            key: idempotency key. A second order under it changes nothing, whatever was lifted in between.

        Returns:
            What the order brought, and whether it still stands.

        Raises:
            InvalidRequestError: a scope or mode that is not known, a name that nothing of this scope can have, no
                cause, or a lifetime below 0.
            ForbiddenError: the caller is no operator.
        """
        caller.require("Suspend")
        named = naming.stoppable(scope, name)
        if mode not in get_args(Mode):
            raise InvalidRequestError(f"a mode is one of {', '.join(get_args(Mode))}")
        if not 0 <= lifetime <= MAX_LIFETIME:
            raise InvalidRequestError(f"a suspension lives 0 (for ever) to {MAX_LIFETIME} s")
        _require_cause(cause)

        def compose(writing: Writing) -> bytes | ChainError:
            now = max(int(writing.at.now), writing.at.ms // 1000)  # by a clock that is behind, it would end too early
            asked = Suspension(
                scope=named[0],
                name=named[1],
                mode=cast("Mode", mode),
                cause=cause,
                author=caller.name,
                since=now,
                until=now + lifetime if lifetime > 0 else 0,
                revision=writing.revision,
            )
            suspension = asked.with_what_stood(writing.live.controls.suspensions.get(named))
            writing.record("suspended", records.suspended(suspension))
            writing.stand(writing.live.controls.suspend(suspension))
            return msgspec.json.encode(suspension)

        once = Once.of(caller, "Suspend", key, *named, cause, mode, lifetime)
        return Finished(self._desk.change(compose, once, Suspension, urgent=True), self._told)

    def _told(self, suspension: Suspension) -> Stopped:
        """Return what a suspension stops, and whether it, or what came in its place, still stands."""
        live, scope, name = self._desk.live, suspension.scope, suspension.name
        standing = live.controls.suspensions.get((scope, name))
        told = {field: getattr(suspension, field) for field in Suspension.__struct_fields__}
        lifted = standing is None or not standing.at(self._desk.clock())
        return Stopped(**told, keys=_keys(scope, name, live), lifted=lifted)

    def resume(self, caller: Caller, scope: str, name: str, cause: str, key: str | None = None) -> Lifted:
        """Let something go on. See `begin_resume`."""
        return self.begin_resume(caller, scope, name, cause, key).result()

    def begin_resume(self, caller: Caller, scope: str, name: str, cause: str, key: str | None = None) -> Future[Lifted]:
        """Let something go on that was suspended or quarantined.

        Args:
            caller: an operator.
            scope, name: what.
            cause: why, one line; required.
            key: idempotency key.

        Raises:
            NotFoundError: it is not stopped.
            InvalidRequestError: a scope that is not known, or no cause.
            ForbiddenError: the caller is no operator.
        """
        caller.require("Resume")
        named = naming.scoped(scope, name)
        _require_cause(cause)

        def compose(writing: Writing) -> bytes | ChainError:
            standing = writing.live.controls.suspensions.get(named)
            if standing is None or not standing.at(writing.at.now):
                return NotFoundError(f"{named[0]} `{named[1]}` is not suspended")
            body = {"scope": named[0], "name": named[1], "cause": cause, "author": caller.name}
            revision = writing.record("lifted", body)
            writing.stand(writing.live.controls.lift(*named, revision))
            return msgspec.json.encode(Lifted(*named, revision))

        return self._desk.change(compose, Once.of(caller, "Resume", key, *named, cause), Lifted)

    def begin_revoke(
        self, caller: Caller, order: Revoke, named: Named, *, dry_run: bool, key: str | None
    ) -> Future[Revoked]:
        """Revoke by name (`chain.authority.Authority.begin_revoke`): for good, all that bears it now or ever will.

        Raises:
            InvalidRequestError: a kind that is not known, a name that cannot be one, or a target beside the name.
            NotFoundError: a principal for which no key is enrolled.
            ForbiddenError: the caller is neither issuer nor operator, nor the agent whose worker's key is named.
        """
        caller.require("Revoke")
        if order.target:
            raise InvalidRequestError("either a delegation is revoked, or a name")
        naming.require(named)
        fall, store = self._desk.lineage.fall, self._desk.store
        if dry_run:
            if not _may_strike(named, caller, self._desk.live):
                raise ForbiddenError(_NOT_ITS_OWN)
            names = _names(named, self._desk.live, store)
            now = int(self._desk.clock())
            return done(fall.felled(Struck(named.kind, names, 0, now, store.head)))
        once = Once.of(caller, "Revoke", key, *named, order.cause)
        return Finished(
            self._desk.change(_striking(named, order.cause, caller, store), once, Struck, urgent=True), fall.felled
        )

    def signal(self, caller: Caller, text: str) -> Signalled:
        """Take in what somebody else signals. See `begin_signal`."""
        return self.begin_signal(caller, text).result()

    def begin_signal(self, caller: Caller, text: str) -> Future[Signalled]:
        """Take in a Security Event Token with a CAEP event. One that was taken before changes nothing.

        Args:
            caller: an operator.
            text: the token, a compact JWS.

        Raises:
            SignalError: it is not one that is accepted; with the code of RFC 8935.
            ForbiddenError: the caller is no operator.
        """
        caller.require("ReportSignal")
        event = signals.read(text, self._transmitters, self._audience, self._desk.clock())
        return self._desk.change(signalling.taking(event, caller), None, Signalled, urgent=event.narrows)


def _striking(named: Named, cause: str, caller: Caller, store: Store) -> Compose:
    """Revoke by name: one entry in a set fells all of it, however much that is."""

    def compose(writing: Writing) -> bytes | ChainError:
        if not _may_strike(named, caller, writing.live):
            return ForbiddenError(_NOT_ITS_OWN)
        try:
            names = _names(named, writing.live, store)
        except NotFoundError as error:
            return error
        until = writing.revision - 1
        revision = writing.record("revoked", records.struck(named, names, cause, caller.name))
        for body in records.further(named.kind, names, cause, caller.name, revision):
            writing.record("revoked", body)
        for name in names:
            writing.stand(writing.live.controls.strike(named.kind, name, revision))
        return msgspec.json.encode(Struck(named.kind, names, revision, int(writing.at.now), until))

    return compose


_NOT_ITS_OWN = "by name revokes an issuer or operator, and an agent only the key of a worker that it enrolled"


def _may_strike(named: Named, caller: Caller, live: Live) -> bool:
    """Tell whether a caller may revoke by this name: an agent takes back what it enrolled, one key at a time."""
    if caller.revokes_all:
        return True
    if named.kind != "holder" or naming.is_id(named.name):
        return False
    names = live.names_of(caller)
    return any(one.under in names for one in live.roster.line(named.name))


def _names(named: Named, live: Live, store: Store) -> tuple[str, ...]:
    """Return what a name means now: a holder's is that of all who work under it, too; an id stands with its keys.

    Raises:
        NotFoundError: a principal for which no key is enrolled, and to whose id nothing is bound.
    """
    if named.kind != "holder":
        return (named.name,)
    if not naming.is_id(named.name):
        return tuple(sorted(live.roster.with_workers([named.name])))
    bound = {named.name} if store.delegations(holder=named.name, limit=1) else set()
    if not live.roster.keys_of(named.name) and not bound:
        raise NotFoundError(f"no key is enrolled for `{named.name}`, and nothing is bound to it")
    return tuple(sorted(bound | live.roster.bearing({named.name})))


def _keys(scope: Scope, name: str, live: Live) -> int | None:
    """Return how many enrolled keys a suspension stops."""
    roster = live.roster
    if scope == "trust_domain":
        return len(roster.beneath({f"spiffe://{name}"}))
    if scope != "agent":
        return None
    if naming.is_id(name):
        return len(roster.beneath({name}))
    return len(roster.with_workers([name]) & roster.principals.keys())


def _require_cause(cause: str) -> None:
    if not 0 < len(cause) <= MAX_CAUSE or len(cause.splitlines()) > 1:
        raise InvalidRequestError(f"a cause is one line of 1 to {MAX_CAUSE} characters")
