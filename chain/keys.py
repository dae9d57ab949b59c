"""How an issuer's keys come and go while the authority runs.

The law of this file: a key is changed inside a commit, like everything else. Where the directory must know before the
key signs, it is told first, and nothing changes if it does not take it; what is distrusted is distrusted first, and the
directory learns it afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import msgspec

from chain.caller import Caller
from chain.control import key_struck
from chain.desk import Desk
from chain.errors import ChainError, InvalidRequestError, KeyRingError
from chain.key import Algorithm, Signer
from chain.keyring import MAX_PUBLISHED, PUBLISHED, KeyRing, Ring, key_set
from chain.keyview import Distrusted, Listed, Turned
from chain.once import Once
from chain.reason import Reason
from chain.signing import Signing, kept
from chain.view import Struck
from chain.writing import Writing

MAX_CAUSE = 1024
"""Characters of a cause; one line."""

_ALGORITHMS: tuple[Algorithm, ...] = ("EdDSA", "ES256")


class _Compromised(msgspec.Struct, frozen=True):
    """The answer as the ledger keeps it; what fell is counted whenever it is asked."""

    turned: Turned
    struck: Struck


class Keys:
    """The issuer's keys. A part of `chain.authority.Authority`."""

    def __init__(self, desk: Desk, signing: Signing) -> None:
        """Change what is in force.

        Args:
            desk: decides and records.
            signing: the ring in force.
        """
        self._desk = desk
        self._signing = signing

    @property
    def found(self) -> tuple[str, ...]:
        """What ledger, directory and configuration told differently at the start, one line each."""
        return self._signing.found

    @property
    def states(self) -> dict[str, int]:
        """State -> how many of the issuer's keys are in it; without a ring, of the one that signs."""
        return dict(Counter(held.state for held in self._signing.ring.held.values()))

    def jwks(self) -> dict[str, list[dict[str, object]]]:
        """Return the JSON Web Key Set to publish, as it is now (RFC 7517 s5): public halves only.

        A key that was revoked by its name, or by that of the KMS that certified it, is not in it, wherever it comes
        from: strangers would go on to trust it.
        """
        struck = self._desk.live.controls.struck
        signing = self._signing
        shown = {name: held.certificate for name, held in signing.ring.held.items() if held.certificate}
        kms = () if signing.certifier is None else (signing.certifier.signer.key.thumbprint,)
        told = (
            key
            for key in signing.published
            if not key_struck(struck, key.thumbprint, *(kms if key.thumbprint in shown else ()))
        )
        return key_set(told, shown)

    def renew(self) -> bool:
        """Let the KMS certify another key where that is due, and tell whether it did; call it every few seconds.

        Raises:
            SignerError: the KMS is out of reach, or was revoked; until its window ends the present key signs on.
        """
        return self._signing.renew()

    def listed(self, caller: Caller) -> Listed:
        """Return where each key stands; without a ring, the one that signs, if there is one.

        Raises:
            ForbiddenError: the caller may not look.
        """
        caller.require("ListKeys")
        ring = self._signing.ring
        return Listed(tuple(ring.held.values()), ring.signing or "", self._desk.store.synced)

    def add(self, caller: Caller, algorithm: str = "EdDSA", cause: str = "", key: str | None = None) -> Turned:
        """Make a fresh key, pending: published from now on, and not signing yet.

        Args:
            caller: an operator.
            algorithm: `EdDSA` or `ES256`.
            cause: why, one line, for the record.
            key: idempotency key.

        Raises:
            InvalidRequestError: another algorithm, or a cause of several lines.
            KeyRingError: no ring is kept here, it cannot be written, or enough of its keys are published.
            ForbiddenError: the caller is no operator.
        """
        caller.require("AddKey")
        ring = self._need()
        _require_line(cause)
        kind = next((one for one in _ALGORITHMS if one == algorithm), None)
        if kind is None:
            raise InvalidRequestError(f"an algorithm is one of {', '.join(_ALGORITHMS)}")
        once = Once.of(caller, "AddKey", key, algorithm, cause)
        if (told := self._desk.told(once)) is not None:  # before a key is made that nobody wants
            return msgspec.json.decode(told, type=Turned)
        _require_room(self._signing.ring)
        made = kept(lambda: ring.make(kind))

        def rule(before: Ring, now: int) -> Ring:
            _require_room(before)
            return before.add(made, now)

        return self._turn(ring, rule, made.thumbprint, cause, caller, once)

    def activate(self, caller: Caller, name: str, cause: str = "", key: str | None = None) -> Turned:
        """Let a pending key sign, from the next root on; the active one retires: it verifies and signs no more.

        Args:
            caller: an operator.
            name: the key's thumbprint.
            cause: why, one line, for the record.
            key: idempotency key.

        Raises:
            NotFoundError: no such key.
            KeyRingError: it is not pending, it does not open, or no ring is kept here.
            ForbiddenError: the caller is no operator.
        """
        caller.require("ActivateKey")
        ring = self._need()
        _require_line(cause)
        once = Once.of(caller, "ActivateKey", key, name, cause)
        if (told := self._desk.told(once)) is not None:
            return msgspec.json.decode(told, type=Turned)

        def rule(before: Ring, now: int) -> Ring:
            return before.become(name, "active", now)

        rule(self._signing.ring, int(self._desk.clock()))  # before the seconds that opening it takes
        return self._turn(ring, rule, name, cause, caller, once, _opened(ring, name))

    def retire(self, caller: Caller, name: str, cause: str = "", key: str | None = None) -> Turned:
        """Let a key go that never signed, or whose last roots have ended.

        Args:
            caller: an operator.
            name: the key's thumbprint.
            cause: why, one line, for the record.
            key: idempotency key.

        Raises:
            NotFoundError: no such key.
            KeyRingError: what it signed may still be alive, it may not retire, or no ring is kept here.
            ForbiddenError: the caller is no operator.
        """
        caller.require("RetireKey")
        ring = self._need()
        _require_line(cause)
        once = Once.of(caller, "RetireKey", key, name, cause)
        return self._turn(ring, lambda before, now: before.become(name, "retired", now), name, cause, caller, once)

    def compromise(
        self,
        caller: Caller,
        name: str,
        cause: str,
        activate: str = "",
        *,
        dry_run: bool = False,
        key: str | None = None,
    ) -> Distrusted:
        """Distrust a key for ever, and all that it signed, from the next call on.

        Args:
            caller: an operator.
            name: the key's thumbprint.
            cause: why, one line; required.
            activate: thumbprint of a pending key that takes over; empty for none, and then nothing is issued until one
                is activated. One that does not open is a warning, and keeps nobody from distrusting the other.
            dry_run: only tell what would fall.
            key: idempotency key.

        Raises:
            NotFoundError: no such key.
            InvalidRequestError: no cause.
            KeyRingError: it is compromised already, the one that takes over is not pending, or no ring is kept here.
            ForbiddenError: the caller is no operator.
        """
        caller.require("CompromiseKey")
        ring, desk = self._need(), self._desk
        _require_line(cause, least=1)
        once = None if dry_run else Once.of(caller, "CompromiseKey", key, name, cause, activate)
        if (told := desk.told(once)) is not None:
            return self._counted(msgspec.json.decode(told, type=_Compromised))
        now = int(desk.clock())
        after = _distrust(self._signing.ring, name, activate, now)
        if dry_run:
            struck = Struck("key", (name,), 0, now, desk.store.head)
            return self._counted(_Compromised(Turned(after.held[name], after.signing or "", 0), struck))
        warnings, opened = [], None
        if activate:
            try:
                opened = _opened(ring, activate)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not keep the other key trusted
                warnings.append(f"key `{activate}` does not take over: {_words(error)}")

        def compose(writing: Writing) -> bytes | ChainError:
            signing, now = self._signing, _now(writing)
            try:
                after = _distrust(signing.ring, name, "", now)
            except ChainError as error:
                return error
            if opened is not None:
                try:
                    after = _distrust(signing.ring, name, activate, now)
                    _require_unstruck(after, writing)
                except ChainError as error:  # what happened to it meanwhile must not either
                    after = _distrust(signing.ring, name, "", now)
                    warnings.append(f"key `{activate}` does not take over: {_words(error)}")
            until = writing.revision - 1
            struck = Struck("key", (name,), signing.strike(name, cause, caller.name, writing), now, until)
            revision = signing.record(signing.ring, after, cause, caller.name, writing)
            signing.take(after, opened)
            return msgspec.json.encode(_Compromised(Turned(after.held[name], after.signing or "", revision), struck))

        done = desk.change(compose, once, _Compromised, urgent=True).result()
        return self._counted(done, (*warnings, *self._catch_up(ring)))

    def close(self) -> None:
        """Let others have the ring, and the KMS go."""
        if self._signing.certifier is not None:
            self._signing.certifier.close()
        if self._signing.keyring is not None:
            self._signing.keyring.close()

    def _need(self) -> KeyRing:
        ring = self._signing.keyring
        if ring is None:
            raise KeyRingError(
                "no key ring is kept here: the server holds one key, a KMS or none", Reason.KEY_RING_MISSING
            )
        return ring

    def _turn(
        self,
        ring: KeyRing,
        rule: Callable[[Ring, int], Ring],
        name: str,
        cause: str,
        caller: Caller,
        once: Once | None,
        opened: Signer | None = None,
    ) -> Turned:
        """Change the ring by a rule: the directory first, and nothing at all where it does not take it."""

        def compose(writing: Writing) -> bytes | ChainError:
            signing = self._signing
            try:
                after = rule(signing.ring, _now(writing))
                if opened is not None:
                    _require_unstruck(after, writing)
                kept(lambda: ring.save(after))
            except ChainError as error:
                return error
            revision = signing.record(signing.ring, after, cause, caller.name, writing)
            signing.take(after, opened)
            return msgspec.json.encode(Turned(after.held[name], after.signing or "", revision))

        return self._desk.change(compose, once, Turned).result()

    def _catch_up(self, ring: KeyRing) -> Iterator[str]:
        """Let the directory know where the keys stand: by the writer, so that no older state follows a newer one."""

        def compose(_writing: Writing) -> bytes | ChainError:
            try:
                kept(lambda: ring.save(self._signing.ring))
            except ChainError as error:
                return error
            return b'""'

        try:
            self._desk.change(compose, None, str, urgent=True).result()
        except ChainError as error:
            yield f"the ledger knows it, and the directory of the ring does not yet: {error.detail}"

    def _counted(self, done: _Compromised, warnings: tuple[str, ...] = ()) -> Distrusted:
        fell, turned = self._desk.lineage.fall.felled(done.struck), done.turned
        return Distrusted(
            turned.key, turned.signing, turned.revision, fell.fallen, fell.count, fell.at_least, warnings
        )  # fmt: skip


def _distrust(ring: Ring, name: str, successor: str, now: int) -> Ring:
    after = ring.become(name, "compromised", now)
    return after.become(successor, "active", now) if successor not in ("", after.signing) else after


def _words(error: Exception) -> str:
    return error.detail if isinstance(error, ChainError) else f"it failed ({type(error).__name__})"


def _opened(ring: KeyRing, name: str) -> Signer:
    found = kept(lambda: ring.signer(name))
    if found is None:
        raise KeyRingError("only the public half of the key is here", Reason.KEY_RING_UNAVAILABLE)
    return found


def _require_unstruck(ring: Ring, writing: Writing) -> None:
    """A key that was revoked by its name would sign what is dead at once."""
    if ("key", ring.signing) in writing.live.controls.struck:
        raise KeyRingError("all that this key signs was revoked, by its name")


def _now(writing: Writing) -> int:
    """Return the seconds of a change: by a clock that is behind, a key would be let go too early."""
    return max(int(writing.at.now), writing.at.ms // 1000)


def _require_room(ring: Ring) -> None:
    if sum(held.state in PUBLISHED for held in ring.held.values()) >= MAX_PUBLISHED:
        raise KeyRingError(f"{MAX_PUBLISHED} keys are published already, and each verifier reads them all")


def _require_line(cause: str, least: int = 0) -> None:
    if not least <= len(cause) <= MAX_CAUSE or len(cause.splitlines()) > 1:
        raise InvalidRequestError(f"a cause is one line of {least} to {MAX_CAUSE} characters")
