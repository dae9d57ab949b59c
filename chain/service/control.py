"""ControlService: thin. It converts, asks the authority, and converts back.

The law of this file: it decides nothing. To stop something waits for nothing but its commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chain.authority import Authority
from chain.service.gate import Call
from chain.service.settled import settled
from chain.v1 import control_pb2 as pb
from chain.wire import control
from chain.wire.asking import signed_text
from chain.wire.change import key_from


class ControlMethods:
    """The methods of ControlService."""

    def __init__(self, authority: Authority) -> None:
        """Answer from an authority."""
        self._steering = authority.steering

    def methods(self) -> Mapping[str, Any]:
        """Return the handler of each method."""
        return {
            "Suspend": self._suspend,
            "Resume": self._resume,
            "ListSuspensions": self._list,
            "ReportSignal": self._signal,
        }

    async def _suspend(self, message: pb.SuspendRequest, call: Call) -> pb.SuspendResponse:
        key = key_from(message.idempotency_key)
        scope, mode = control.scope_from(message), control.mode_from(message)
        begun = self._steering.begin_suspend(
            call.caller, scope, message.name, message.cause, mode, message.lifetime_seconds, key
        )
        return control.suspended_to(await settled(begun))

    async def _resume(self, message: pb.ResumeRequest, call: Call) -> pb.ResumeResponse:
        key = key_from(message.idempotency_key)
        scope = control.scope_from(message)
        begun = self._steering.begin_resume(call.caller, scope, message.name, message.cause, key)
        return pb.ResumeResponse(revision=(await settled(begun)).revision)

    async def _list(self, _message: pb.ListSuspensionsRequest, call: Call) -> pb.ListSuspensionsResponse:
        return control.suspensions_to(self._steering.suspensions(call.caller))

    async def _signal(self, message: pb.ReportSignalRequest, call: Call) -> pb.ReportSignalResponse:
        begun = self._steering.begin_signal(call.caller, signed_text(message.set))
        return control.signalled_to(await settled(begun))
