"""AuthorizationService: thin. It converts, asks the authority, and converts back.

The law of this file: a denial is a reply, an error permits nothing, and an item that is not well formed is an error
of its own in a batch or stream that goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from chain.authority import Authority
from chain.decision import Decision, Effect
from chain.errors import ChainError, InvalidRequestError
from chain.service.gate import Call
from chain.service.settled import settled
from chain.service.stream import CheckStream, Streams
from chain.v1 import authorization_pb2 as pb
from chain.wire.asking import LATEST, Asking, check_from
from chain.wire.decision import decision_to
from chain.wire.explanation import explanation_to
from chain.wire.status import item_error_to

MAX_ITEMS = 1_000
"""Items of one batch."""

CHUNK = 100
"""Items decided in one commit: the loop answers others in between, and a commit's price is shared by enough."""

_STOP: dict[int, Effect | None] = {
    pb.BATCH_SEMANTIC_UNSPECIFIED: None,
    pb.BATCH_SEMANTIC_EXECUTE_ALL: None,
    pb.BATCH_SEMANTIC_DENY_ON_FIRST_DENY: Effect.DENY,
    pb.BATCH_SEMANTIC_PERMIT_ON_FIRST_PERMIT: Effect.ALLOW,
}


class Run(NamedTuple):
    """Items of a batch that stand beside each other and can be decided in one commit."""

    asked: list[Asking]
    at_least: int


class Authorization:
    """The methods of AuthorizationService."""

    def __init__(self, authority: Authority, streams: Streams) -> None:
        """Answer from an authority; `streams` knows when the server stops."""
        self._authority = authority
        self._streams = streams

    def methods(self) -> Mapping[str, Any]:
        """Return the handler of each method."""
        return {
            "Check": self._check,
            "BatchCheck": self._batch_check,
            "CheckStream": self._check_stream,
            "Explain": self._explain,
        }

    async def _check(self, message: pb.CheckRequest, call: Call) -> pb.CheckResponse:
        asking = check_from(message, call.caller)
        future = self._authority.begin_check(call.caller, [(asking.presented, asking.request)], asking.at_least)
        (decision,) = await settled(future)
        call.note(decision)
        return pb.CheckResponse(decision=decision_to(decision))

    async def _batch_check(self, message: pb.BatchCheckRequest, call: Call) -> pb.BatchCheckResponse:
        if len(message.items) > MAX_ITEMS:
            raise InvalidRequestError(f"{len(message.items)} items in one batch, more than {MAX_ITEMS}")
        if message.semantic not in _STOP:
            raise InvalidRequestError("a batch semantic that is not known")
        stop = _STOP[message.semantic]
        reply = pb.BatchCheckResponse()
        for part in self._runs(message, call):
            if isinstance(part, ChainError):
                reply.results.add(error=item_error_to(part))
                if stop is Effect.DENY:  # an error counts as a denial
                    break
                continue
            decisions = await self._decide(part, call, stop)
            for decision in decisions:
                reply.results.add(decision=decision_to(decision))
            if decisions and stop is not None and decisions[-1].effect is stop:
                break
            await asyncio.sleep(0)
        return reply

    def _runs(self, message: pb.BatchCheckRequest, call: Call) -> list[Run | ChainError]:
        """Split a batch into commits and errors, in order."""
        shared = message.chain if message.HasField("chain") else None
        parts: list[Run | ChainError] = []
        for item in message.items:
            try:
                asking = check_from(item, call.caller, shared)
            except ChainError as error:
                parts.append(error)
                continue
            at_least = self._open(asking.at_least)
            last = parts[-1] if parts else None
            if isinstance(last, Run) and last.at_least == at_least and len(last.asked) < CHUNK:
                last.asked.append(asking)
            else:
                parts.append(Run([asking], at_least))
        return parts

    def _open(self, at_least: int) -> int:
        """Return `LATEST` for a revision that is reached already: it never decides between items."""
        return LATEST if at_least <= self._authority.revision else at_least

    async def _decide(self, run: Run, call: Call, stop: Effect | None) -> list[Decision]:
        calls = [(asking.presented, asking.request) for asking in run.asked]
        decisions = await settled(self._authority.begin_check(call.caller, calls, run.at_least, stop))
        for decision in decisions:
            call.note(decision)
        return decisions

    async def _check_stream(self, call: Call) -> None:
        await CheckStream(self._authority, self._streams, call).serve()

    async def _explain(self, message: pb.ExplainRequest, call: Call) -> pb.ExplainResponse:
        asking = check_from(message.check, call.caller)
        reply = explanation_to(self._authority.explain(call.caller, asking.presented, asking.request))
        for hop in reply.hops:
            known = self._authority.principal(hop.holder)
            hop.principal = "" if known is None else known.id
        return reply
