"""What operators and auditors do with policies, over the service: `client.policies`, as `Authority.policies`.

The law of this file: a bundle travels whole, as its files. A comparison takes seconds, and is waited for.
"""

from __future__ import annotations

from collections.abc import Mapping

from chain.client.call import PAUSES, Call, fresh_key
from chain.client.steering import AsyncRun, Run
from chain.policyview import Activated, Difference, Ran, Shown, Validated
from chain.v1 import policy_pb2 as pb
from chain.wire import policy as wire

PATIENCE = 120.0
"""Seconds that a comparison or the cases of a bundle may take, whatever the client's timeout is."""


def validate(files: Mapping[str, str]) -> Call[Validated]:
    """Ask whether a bundle would be taken."""
    return Call("ValidatePolicy", wire.validate_to(files), wire.validated_from, patience=PATIENCE)


def test(files: Mapping[str, str] | None) -> Call[tuple[Ran, ...]]:
    """Ask for what comes of a bundle's cases."""
    return Call("TestPolicy", wire.test_to(files), wire.tested_from, patience=PATIENCE)


def diff(before: Mapping[str, str] | None, after: Mapping[str, str], replay: int) -> Call[Difference]:
    """Ask for a comparison."""
    return Call("DiffPolicy", wire.diff_to(before, after, replay), wire.difference_from, patience=PATIENCE)


def activate(files: Mapping[str, str] | None, key: str | None) -> Call[Activated]:
    """Ask to put a bundle in force."""
    return Call("ActivatePolicy", wire.activate_to(files, key or fresh_key()), wire.activated_from, PAUSES)


def get(digest: str) -> Call[Shown]:
    """Ask for a bundle."""
    return Call("GetPolicy", pb.GetPolicyRequest(digest=digest), wire.shown_from)


class Policies:
    """Policy bundles, for threads. A part of `Client`; results and errors are those of `chain.policies.Policies`."""

    def __init__(self, run: Run) -> None:
        """Ask through a client."""
        self._run = run

    def validate(self, files: Mapping[str, str]) -> Validated:
        """Say whether a bundle would be taken."""
        return self._run(validate(files))

    def test(self, files: Mapping[str, str] | None = None) -> tuple[Ran, ...]:
        """Run a bundle's own cases; None takes the active bundle."""
        return self._run(test(files))

    def diff(self, before: Mapping[str, str] | None, after: Mapping[str, str], replay: int = 0) -> Difference:
        """Compare two bundles, None being the active one, and decide `replay` recorded checks under the second."""
        return self._run(diff(before, after, replay))

    def activate(self, files: Mapping[str, str] | None, key: str | None = None) -> Activated:
        """Put a bundle in force, or with None the active one out of force; `key` is the idempotency key."""
        return self._run(activate(files, key))

    def get(self, digest: str = "") -> Shown:
        """Return a bundle that is or was active; no digest names the active one."""
        return self._run(get(digest))

    def files(self, digest: str = "") -> dict[str, str]:
        """Return the files of a bundle that is or was active."""
        return dict(self.get(digest).files)


class AsyncPolicies:
    """Policy bundles, for asyncio. A part of `AsyncClient`; as `Policies`, with `await`."""

    def __init__(self, run: AsyncRun) -> None:
        """Ask through a client."""
        self._run = run

    async def validate(self, files: Mapping[str, str]) -> Validated:
        """Say whether a bundle would be taken."""
        return await self._run(validate(files))

    async def test(self, files: Mapping[str, str] | None = None) -> tuple[Ran, ...]:
        """Run a bundle's own cases; as `Policies.test`."""
        return await self._run(test(files))

    async def diff(self, before: Mapping[str, str] | None, after: Mapping[str, str], replay: int = 0) -> Difference:
        """Compare two bundles; as `Policies.diff`."""
        return await self._run(diff(before, after, replay))

    async def activate(self, files: Mapping[str, str] | None, key: str | None = None) -> Activated:
        """Put a bundle in force; as `Policies.activate`."""
        return await self._run(activate(files, key))

    async def get(self, digest: str = "") -> Shown:
        """Return a bundle that is or was active."""
        return await self._run(get(digest))

    async def files(self, digest: str = "") -> dict[str, str]:
        """Return the files of a bundle that is or was active."""
        return dict((await self.get(digest)).files)
