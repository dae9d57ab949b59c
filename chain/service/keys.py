"""KeyService: thin. It converts, asks the authority, and converts back.

The law of this file: to make or open a key takes a second of work and its memory, so that it is done in a thread of its
own, one at a time; what distrusts a key stands behind none of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from chain.authority import Authority
from chain.service.gate import Call
from chain.service.settled import to_its_end
from chain.v1 import key_pb2 as pb
from chain.wire import key as wire
from chain.wire.change import key_from

R = TypeVar("R")


class KeyMethods:
    """The methods of KeyService."""

    def __init__(self, authority: Authority) -> None:
        """Answer from an authority."""
        self._keys = authority.keys
        self._turning = ThreadPoolExecutor(1, "keys")
        self._distrusting = ThreadPoolExecutor(1, "distrust")

    def close(self) -> None:
        """Let the threads end."""
        self._turning.shutdown(wait=False, cancel_futures=True)
        self._distrusting.shutdown(wait=False)

    def methods(self) -> Mapping[str, Any]:
        """Return the handler of each method."""
        return {
            "ListKeys": self._list,
            "AddKey": self._add,
            "ActivateKey": self._activate,
            "RetireKey": self._retire,
            "CompromiseKey": self._compromise,
        }

    async def _list(self, _message: pb.ListKeysRequest, call: Call) -> pb.ListKeysResponse:
        return wire.listed_to(self._keys.listed(call.caller))

    async def _add(self, message: pb.AddKeyRequest, call: Call) -> pb.AddKeyResponse:
        key, algorithm = key_from(message.idempotency_key), wire.algorithm_from(message)
        return wire.added_to(await self._turn(lambda: self._keys.add(call.caller, algorithm, message.cause, key)))

    async def _activate(self, message: pb.ActivateKeyRequest, call: Call) -> pb.ActivateKeyResponse:
        key, name = key_from(message.idempotency_key), message.thumbprint
        return wire.activated_to(await self._turn(lambda: self._keys.activate(call.caller, name, message.cause, key)))

    async def _retire(self, message: pb.RetireKeyRequest, call: Call) -> pb.RetireKeyResponse:
        key, name = key_from(message.idempotency_key), message.thumbprint
        return wire.retired_to(await self._turn(lambda: self._keys.retire(call.caller, name, message.cause, key)))

    async def _compromise(self, message: pb.CompromiseKeyRequest, call: Call) -> pb.CompromiseKeyResponse:
        key, name, successor = key_from(message.idempotency_key), message.thumbprint, message.activate

        def work() -> pb.CompromiseKeyResponse:
            told = self._keys.compromise(call.caller, name, message.cause, successor, dry_run=message.dry_run, key=key)
            return wire.distrusted_to(told)

        return await self._apart(work, self._distrusting)

    async def _turn(self, work: Callable[[], R]) -> R:
        return await self._apart(work, self._turning)

    @staticmethod
    async def _apart(work: Callable[[], R], pool: ThreadPoolExecutor) -> R:
        return await to_its_end(asyncio.get_running_loop().run_in_executor(pool, work))
