"""What operators do with the issuer's keys through the service: `client.keys`, as `Authority.keys`.

The law of this file: a change may be sent again under the idempotency key that it has. To make or open a key takes a
second, and is waited for.
"""

from __future__ import annotations

from chain.client.call import PAUSES, Call, fresh_key
from chain.client.steering import AsyncRun, Run
from chain.keyview import Distrusted, Listed, Turned
from chain.v1 import key_pb2 as pb
from chain.wire import key as wire

PATIENCE = 30.0
"""Seconds that a key may take to be made or opened, whatever the client's timeout is."""


def listed() -> Call[Listed]:
    """Ask where each key stands."""
    return Call("ListKeys", pb.ListKeysRequest(), wire.listed_from)


def add(algorithm: str, cause: str, key: str | None) -> Call[Turned]:
    """Ask for a fresh key."""
    return Call("AddKey", wire.add_to(algorithm, cause, key or fresh_key()), wire.turned_from, PAUSES, PATIENCE)


def activate(name: str, cause: str, key: str | None) -> Call[Turned]:
    """Ask to let a key sign."""
    message = pb.ActivateKeyRequest(thumbprint=name, cause=cause, idempotency_key=key or fresh_key())
    return Call("ActivateKey", message, wire.turned_from, PAUSES, PATIENCE)


def retire(name: str, cause: str, key: str | None) -> Call[Turned]:
    """Ask to let a key go."""
    message = pb.RetireKeyRequest(thumbprint=name, cause=cause, idempotency_key=key or fresh_key())
    return Call("RetireKey", message, wire.turned_from, PAUSES, PATIENCE)


def compromise(name: str, cause: str, successor: str, key: str | None, *, dry_run: bool) -> Call[Distrusted]:
    """Ask to distrust a key."""
    message = pb.CompromiseKeyRequest(
        thumbprint=name, cause=cause, activate=successor, dry_run=dry_run, idempotency_key=key or fresh_key()
    )
    return Call("CompromiseKey", message, wire.distrusted_from, PAUSES, PATIENCE)


class Keys:
    """The issuer's keys. Arguments, results and errors are those of `chain.keys.Keys`."""

    def __init__(self, run: Run) -> None:
        """Send by `run`, the client's."""
        self._run = run

    def listed(self) -> Listed:
        """Return where each key stands."""
        return self._run(listed())

    def add(self, algorithm: str = "EdDSA", cause: str = "", key: str | None = None) -> Turned:
        """Make a fresh key, pending."""
        return self._run(add(algorithm, cause, key))

    def activate(self, name: str, cause: str = "", key: str | None = None) -> Turned:
        """Let a pending key sign; the active one retires."""
        return self._run(activate(name, cause, key))

    def retire(self, name: str, cause: str = "", key: str | None = None) -> Turned:
        """Let a key go that never signed, or whose last roots have ended."""
        return self._run(retire(name, cause, key))

    def compromise(
        self, name: str, cause: str, activate: str = "", *, dry_run: bool = False, key: str | None = None
    ) -> Distrusted:
        """Distrust a key for ever, and all that it signed; `activate` names one that takes over."""
        return self._run(compromise(name, cause, activate, key, dry_run=dry_run))


class AsyncKeys:
    """`Keys` with `await`."""

    def __init__(self, run: AsyncRun) -> None:
        """Send by `run`, the client's."""
        self._run = run

    async def listed(self) -> Listed:
        """Return where each key stands."""
        return await self._run(listed())

    async def add(self, algorithm: str = "EdDSA", cause: str = "", key: str | None = None) -> Turned:
        """Make a fresh key, pending."""
        return await self._run(add(algorithm, cause, key))

    async def activate(self, name: str, cause: str = "", key: str | None = None) -> Turned:
        """Let a pending key sign; the active one retires."""
        return await self._run(activate(name, cause, key))

    async def retire(self, name: str, cause: str = "", key: str | None = None) -> Turned:
        """Let a key go that never signed, or whose last roots have ended."""
        return await self._run(retire(name, cause, key))

    async def compromise(
        self, name: str, cause: str, activate: str = "", *, dry_run: bool = False, key: str | None = None
    ) -> Distrusted:
        """Distrust a key for ever, and all that it signed; `activate` names one that takes over."""
        return await self._run(compromise(name, cause, activate, key, dry_run=dry_run))
