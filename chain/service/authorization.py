"""AuthorizationService: thin. It converts, asks the authority, and converts back.

The law of this file: a denial is a reply, and an error permits nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from chain.authority import Authority
from chain.caller import Caller
from chain.service.batch import Batch
from chain.service.gate import Call
from chain.service.settled import settled, to_its_end
from chain.service.stream import CheckStream
from chain.v1 import authorization_pb2 as pb
from chain.wire.asking import Asking, check_from, explain_from
from chain.wire.decision import decision_to
from chain.wire.explanation import explanation_to
from chain.wire.hypothesis import Supposing, hypothesis_from, simulation_to

R = TypeVar("R")

EXPLAINERS = 1
"""Threads that explain and simulate: each one more would hold up the checks that are answered meanwhile, and none would
be done sooner, since they all wait for the same interpreter. How many may queue: chain/service/room.py."""


class Authorization:
    """The methods of AuthorizationService."""

    def __init__(self, authority: Authority) -> None:
        """Answer from an authority."""
        self._authority = authority
        self._explainers = ThreadPoolExecutor(EXPLAINERS, "explain")

    def close(self) -> None:
        """Let the threads end."""
        self._explainers.shutdown(wait=False, cancel_futures=True)

    def methods(self) -> Mapping[str, Any]:
        """Return the handler of each method."""
        return {
            "Check": self._check,
            "BatchCheck": self._batch_check,
            "CheckStream": self._check_stream,
            "Explain": self._explain,
            "Simulate": self._simulate,
        }

    async def _check(self, message: pb.CheckRequest, call: Call) -> pb.CheckResponse:
        asking = check_from(message, call.caller, trace=call.trace)
        future = self._authority.begin_check(call.caller, [(asking.presented, asking.request)], asking.at_least)
        (decision,) = await settled(future)
        call.note(decision)
        return pb.CheckResponse(decision=decision_to(decision))

    async def _batch_check(self, message: pb.BatchCheckRequest, call: Call) -> pb.BatchCheckResponse:
        return await Batch(self._authority, message, call).answer()

    async def _check_stream(self, call: Call) -> None:
        await CheckStream(self._authority, call).serve()

    async def _explain(self, message: pb.ExplainRequest, call: Call) -> pb.ExplainResponse:
        asking = explain_from(message, call.caller)
        return await self._apart(lambda: self._explained(call.caller, asking))

    def _explained(self, caller: Caller, asking: Asking) -> pb.ExplainResponse:
        """Decide in a thread: what would flip the answer takes many decisions."""
        reply = explanation_to(self._authority.explain(caller, asking.presented, asking.request))
        self._name(reply.hops)
        return reply

    def _name(self, hops: Iterable[pb.HopExplanation]) -> None:
        """Say who holds each hop."""
        for hop in hops:
            known = self._authority.principal(hop.holder)
            hop.principal = "" if known is None else known.id

    async def _simulate(self, message: pb.SimulateRequest, call: Call) -> pb.SimulateResponse:
        asking = check_from(message.check, call.caller, supposed=True)
        supposing = hypothesis_from(message.hypothesis)
        return await self._apart(lambda: self._supposed(call.caller, asking, supposing))

    async def _apart(self, work: Callable[[], R]) -> R:
        return await to_its_end(asyncio.get_running_loop().run_in_executor(self._explainers, work))

    def _supposed(self, caller: Caller, asking: Asking, supposing: Supposing) -> pb.SimulateResponse:
        """Decide in a thread: a policy that is only supposed has to be read first."""
        hypothesis = supposing.hypothesis
        if supposing.policy:
            policy = self._authority.policies.prepare(caller, supposing.policy)
            hypothesis = replace(hypothesis, policy=policy)
        reply = simulation_to(self._authority.simulate(caller, asking.presented, asking.request, hypothesis))
        self._name(reply.hops)
        return reply
