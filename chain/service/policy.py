"""PolicyService: thin. It converts, asks the authority, and converts back.

The law of this file: bundles are read, run and compared in threads of their own, a few at once, so that checks are
answered meanwhile; a bundle that does not validate is an error and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from chain.authority import Authority
from chain.service.gate import Call
from chain.service.settled import settled, to_its_end
from chain.v1 import policy_pb2 as pb
from chain.wire import policy as wire
from chain.wire.change import key_from

R = TypeVar("R")

READERS = 2
"""Threads that read bundles."""

COMPARERS = 2
"""Threads that run cases and compare, which takes seconds: their own, so that no activation stands behind them."""


class PolicyMethods:
    """The methods of PolicyService."""

    def __init__(self, authority: Authority) -> None:
        """Answer from an authority."""
        self._policies = authority.policies
        self._readers = ThreadPoolExecutor(READERS, "policy")
        self._comparers = ThreadPoolExecutor(COMPARERS, "compare")

    def close(self) -> None:
        """Let the threads end."""
        self._readers.shutdown(wait=False)
        self._comparers.shutdown(wait=False, cancel_futures=True)

    def methods(self) -> Mapping[str, Any]:
        """Return the handler of each method."""
        return {
            "ValidatePolicy": self._validate,
            "TestPolicy": self._test,
            "DiffPolicy": self._diff,
            "ActivatePolicy": self._activate,
            "GetPolicy": self._get,
        }

    async def _validate(self, message: pb.ValidatePolicyRequest, call: Call) -> pb.ValidatePolicyResponse:
        files = dict(message.files)
        return await self._apart(lambda: wire.validated_to(self._policies.validate(call.caller, files)))

    async def _test(self, message: pb.TestPolicyRequest, call: Call) -> pb.TestPolicyResponse:
        files = dict(message.files) or None
        return await self._apart(lambda: wire.tested_to(self._policies.test(call.caller, files)), self._comparers)

    async def _diff(self, message: pb.DiffPolicyRequest, call: Call) -> pb.DiffPolicyResponse:
        before, after, replay = dict(message.before) or None, dict(message.after), message.replay
        diff = partial(self._policies.diff, call.caller, before, after, replay)
        return await self._apart(lambda: wire.difference_to(diff()), self._comparers)

    async def _activate(self, message: pb.ActivatePolicyRequest, call: Call) -> pb.ActivatePolicyResponse:
        key = key_from(message.idempotency_key)
        files = wire.activate_from(message)
        begun = await self._apart(lambda: self._policies.begin_activate(call.caller, files, key))
        return wire.activated_to(await settled(begun))

    async def _get(self, message: pb.GetPolicyRequest, call: Call) -> pb.GetPolicyResponse:
        return await self._apart(lambda: wire.shown_to(self._policies.get(call.caller, message.digest)))

    async def _apart(self, work: Callable[[], R], pool: ThreadPoolExecutor | None = None) -> R:
        return await to_its_end(asyncio.get_running_loop().run_in_executor(pool or self._readers, work))
