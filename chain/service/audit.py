"""AuditService: thin. It converts, asks the authority, and converts back.

The law of this file: what reads much of the ledger is done in a thread of its own, so that no check waits for it.
Checkpoints are signed on a schedule, whether or not anybody asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any, TypeVar

from chain.authority import Authority
from chain.errors import ChainError
from chain.service.gate import Call
from chain.service.settled import to_its_end
from chain.v1 import audit_pb2 as pb
from chain.wire import audit as wire

R = TypeVar("R")


class AuditMethods:
    """The methods of AuditService."""

    def __init__(self, authority: Authority, every: float) -> None:
        """Answer from an authority; sign a checkpoint `every` so many seconds, if there is something to sign for."""
        self._audit = authority.audit
        self._every, self._next = every, monotonic() + every
        self._thread = ThreadPoolExecutor(1, "audit")

    def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def methods(self) -> Mapping[str, Any]:
        """Return the handler of each method."""
        return {
            "GetCheckpoint": self._get,
            "ListCheckpoints": self._list,
            "ProveRecord": self._prove,
            "ProveConsistency": self._consistency,
            "AddCosignature": self._cosign,
        }

    async def keep(self) -> ChainError | None:
        """Sign a checkpoint where one is due; return why it could not be."""
        if monotonic() < self._next or not self._audit.due:
            return None
        self._next = monotonic() + self._every
        try:
            await self._apart(self._audit.sign)
        except ChainError as error:
            return error
        return None

    async def _get(self, _message: pb.GetCheckpointRequest, call: Call) -> pb.GetCheckpointResponse:
        note = await self._apart(lambda: self._audit.checkpoint(call.caller))
        return wire.checkpoint_to(note, self._audit.key)

    async def _list(self, message: pb.ListCheckpointsRequest, call: Call) -> pb.ListCheckpointsResponse:
        def work() -> pb.ListCheckpointsResponse:
            key, most = self._audit.key, wire.most(message)
            notes = self._audit.checkpoints(call.caller, message.after, most + 1)
            return pb.ListCheckpointsResponse() if key is None else wire.page_to(notes, key, most)

        return await self._apart(work)

    async def _prove(self, message: pb.ProveRecordRequest, call: Call) -> pb.ProveRecordResponse:
        return wire.proven_to(await self._apart(lambda: self._audit.prove(call.caller, message.revision)))

    async def _consistency(self, message: pb.ProveConsistencyRequest, call: Call) -> pb.ProveConsistencyResponse:
        first, second = message.first, message.second
        path = await self._apart(lambda: self._audit.consistency(call.caller, first, second))
        return pb.ProveConsistencyResponse(path=path)

    async def _cosign(self, message: pb.AddCosignatureRequest, call: Call) -> pb.AddCosignatureResponse:
        note = await self._apart(lambda: self._audit.cosign(call.caller, message.note))
        return pb.AddCosignatureResponse(note=bytes(note))

    async def _apart(self, work: Callable[[], R]) -> R:
        return await to_its_end(asyncio.get_running_loop().run_in_executor(self._thread, work))
