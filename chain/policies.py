"""Which policy is active: put in place, compared, and shown.

The law of this file: a bundle that does not validate never becomes active, and the one before goes on. The one that is
active stands in the ledger, so that a restart decides as before; a bundle is named by its digest, and stays readable.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING

import msgspec

from chain.caller import Caller
from chain.errors import ChainError, NotFoundError, clip
from chain.ledger import StandingRow
from chain.once import Once
from chain.policyload import ACTIVE, BUNDLE, NAME, prepare, stored, validated
from chain.policyview import Activated, Difference, Ran, Replayed, Shown, Validated
from chain.writing import Writing

if TYPE_CHECKING:
    from chain.desk import Desk
    from chain.policy import Policy


class Policies:
    """The active policy. A part of `chain.authority.Authority`."""

    def __init__(self, desk: Desk) -> None:
        """Say by which policy a desk decides."""
        self._desk = desk

    @property
    def digest(self) -> str:
        """Of the bundle that is active; empty where none is."""
        policy = self._desk.live.policy
        return "" if policy is None else policy.digest

    @property
    def gates(self) -> int:
        """How many rules of it hold calls back until people have approved."""
        policy = self._desk.live.policy
        return 0 if policy is None else policy.gates

    @property
    def tools(self) -> int:
        """How many tools are listed, by configuration or by the active bundle."""
        return len(self._desk.live.catalogue.root)

    def activated(self, caller: Caller) -> Activated | None:
        """Return which bundle is active, since when and by whom; None where none ever was.

        Raises:
            ForbiddenError: the caller may not look.
        """
        caller.require("GetPolicy")
        row = self._desk.store.stands(ACTIVE, NAME)
        return None if row is None else msgspec.json.decode(row.body, type=Activated)

    def files(self, caller: Caller, digest: str = "") -> dict[str, str]:
        """Return the files of a bundle that is or was active.

        Args:
            caller: an auditor or operator.
            digest: of the bundle; empty for the active one.

        Raises:
            NotFoundError: no such bundle was ever active, or none is.
            ForbiddenError: the caller may not look.
        """
        caller.require("GetPolicy")
        found = stored(self._desk.store, digest or self.digest)
        if found is None:
            raise NotFoundError(f"no bundle `{digest}`" if digest else "no policy is active")
        return found

    def get(self, caller: Caller, digest: str = "") -> Shown:
        """Return a bundle that is or was active.

        Args:
            caller: an auditor or operator.
            digest: of the bundle; empty for the active one.

        Raises:
            NotFoundError: no such bundle was ever active, or none is.
            ForbiddenError: the caller may not look.
        """
        caller.require("GetPolicy")
        row = self._desk.store.stands(ACTIVE, NAME)
        active = None if row is None else msgspec.json.decode(row.body, type=Activated)
        name = digest or ("" if active is None else active.digest)
        found = stored(self._desk.store, name) if name else None
        if found is None:
            raise NotFoundError(f"no bundle `{clip(digest, 80)}` was ever active" if digest else "no policy is active")
        here = active is not None and active.digest == name
        return Shown(name, found, here, active.by if active and here else "", active.at if active and here else 0)

    def prepare(self, caller: Caller, files: Mapping[str, str]) -> Policy:
        """Validate a bundle as `activate` would, against this authority's catalogue and labels.

        Raises:
            PolicyError: it does not validate.
            ForbiddenError: the caller may not ask.
        """
        caller.require("ValidatePolicy")
        live = self._desk.live
        return prepare(files, live.configured, live.settings.labels)

    def validate(self, caller: Caller, files: Mapping[str, str]) -> Validated:
        """Say whether a bundle would be taken.

        Raises:
            PolicyError: it would not, with what is wrong and where; nor would one whose cases cannot be read.
            ForbiddenError: the caller may not ask.
        """
        return validated(self.prepare(caller, files))

    def test(self, caller: Caller, files: Mapping[str, str] | None = None) -> tuple[Ran, ...]:
        """Run a bundle's own cases, in the order of its files; none come back where it has none.

        Args:
            caller: an auditor or operator.
            files: name -> text; None for the active bundle.

        Raises:
            PolicyError: it does not validate, or a case cannot be read.
            NotFoundError: no policy is active.
            ForbiddenError: the caller may not ask.
        """
        from chain.policycase import run  # noqa: PLC0415 - as in `policyload.prepare`

        caller.require("TestPolicy")
        return run(self._prepared(files))

    def diff(
        self, caller: Caller, before: Mapping[str, str] | None, after: Mapping[str, str], replay: int = 0
    ) -> Difference:
        """Compare two bundles, and decide recorded checks anew under the second. Takes seconds.

        Args:
            caller: an auditor or operator.
            before: the first; None for the active one.
            after: the second.
            replay: how many of the last recorded checks to decide anew, at most `policyreplay.MAX_REPLAY`.

        Raises:
            PolicyError: one of them does not validate.
            NotFoundError: no policy is active.
            ForbiddenError: the caller may not ask.
        """
        from chain.policydiff import diff  # noqa: PLC0415 - as in `policyload.prepare`
        from chain.policyreplay import replay as decide_anew  # noqa: PLC0415 - as above

        caller.require("DiffPolicy")
        second = self._prepared(after)
        first = self._prepared(before)
        found = diff(first, second)
        again = decide_anew(self._desk, second, replay, first) if replay > 0 else Replayed()
        return found._replace(replay=again)

    def _prepared(self, files: Mapping[str, str] | None) -> Policy:
        """Return a policy of its own, never the one that decides: its memory is for calls that are."""
        live = self._desk.live
        if files is None:
            if not self.digest:
                raise NotFoundError("no policy is active")
            files = stored(self._desk.store, self.digest) or {}
        return prepare(files, live.configured, live.settings.labels)

    def activate(self, caller: Caller, files: Mapping[str, str] | None, key: str | None = None) -> Activated:
        """Put a bundle in force. See `begin_activate`."""
        return self.begin_activate(caller, files, key).result()

    def begin_activate(
        self, caller: Caller, files: Mapping[str, str] | None, key: str | None = None
    ) -> Future[Activated]:
        """Put a bundle in force, from the next call on.

        Args:
            caller: an operator.
            files: name -> text (`chain.bundle.load`); None puts the active one out of force, and no file at all is no
                bundle.
            key: idempotency key.

        Raises:
            PolicyError: it does not validate; the one before goes on.
            ForbiddenError: the caller is no operator.
        """
        caller.require("ActivatePolicy")
        live = self._desk.live
        policy = None if files is None else prepare(files, live.configured, live.settings.labels)
        if policy is not None:
            validated(policy)  # a bundle whose cases cannot be read is not tested, whatever its author thinks

        def compose(writing: Writing) -> bytes | ChainError:
            previous = "" if writing.live.policy is None else writing.live.policy.digest
            digest = "" if policy is None else policy.digest
            rules = [] if policy is None else sorted(policy.bundle.rules)
            body = {"digest": digest, "previous": previous, "rules": rules, "caller": caller.name}
            revision = writing.record("policy_activated", body)
            made = msgspec.json.encode(Activated(digest, previous, caller.name, int(writing.at.now), revision))
            if policy is not None:
                text = msgspec.json.encode(dict(policy.bundle.files))
                writing.stand(StandingRow(BUNDLE, digest, text, 0, revision))
            writing.stand(StandingRow(ACTIVE, NAME, made, 0, revision))
            writing.live.policy = policy
            return made

        once = Once.of(caller, "ActivatePolicy", key, None if files is None else dict(files))
        return self._desk.change(compose, once, Activated)
