"""AuthorizationService: thin. It converts, asks the authority, and converts back.

The law of this file: a denial is a reply, and an error permits nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chain.authority import Authority
from chain.service.batch import Batch
from chain.service.gate import Call
from chain.service.settled import settled
from chain.service.stream import CheckStream
from chain.v1 import authorization_pb2 as pb
from chain.wire.asking import check_from
from chain.wire.decision import decision_to
from chain.wire.explanation import explanation_to


class Authorization:
    """The methods of AuthorizationService."""

    def __init__(self, authority: Authority) -> None:
        """Answer from an authority."""
        self._authority = authority

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
        return await Batch(self._authority, message, call).answer()

    async def _check_stream(self, call: Call) -> None:
        await CheckStream(self._authority, call).serve()

    async def _explain(self, message: pb.ExplainRequest, call: Call) -> pb.ExplainResponse:
        asking = check_from(message.check, call.caller)
        reply = explanation_to(self._authority.explain(call.caller, asking.presented, asking.request))
        for hop in reply.hops:
            known = self._authority.principal(hop.holder)
            hop.principal = "" if known is None else known.id
        return reply
