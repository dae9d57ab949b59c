"""ApprovalService: thin. It converts, asks the authority, and converts back.

The law of this file: a word that does not count is an error, as the wire's status table says, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chain.authority import Authority
from chain.service.gate import Call
from chain.service.settled import settled
from chain.v1 import approval_pb2 as pb
from chain.wire import approval as wire
from chain.wire.change import key_from


class ApprovalMethods:
    """The methods of ApprovalService."""

    def __init__(self, authority: Authority) -> None:
        """Answer from an authority."""
        self._approvals = authority.approvals

    def methods(self) -> Mapping[str, Any]:
        """Return the handler of each method."""
        return {
            "ListApprovals": self._list,
            "GetApproval": self._get,
            "ResolveApproval": self._resolve,
        }

    async def _list(self, message: pb.ListApprovalsRequest, call: Call) -> pb.ListApprovalsResponse:
        search = wire.search_from(message)
        return wire.found_to(self._approvals.page(call.caller, search), search)

    async def _get(self, message: pb.GetApprovalRequest, call: Call) -> pb.GetApprovalResponse:
        return pb.GetApprovalResponse(approval=wire.approval_to(self._approvals.get(call.caller, message.request_id)))

    async def _resolve(self, message: pb.ResolveApprovalRequest, call: Call) -> pb.ResolveApprovalResponse:
        once = key_from(message.idempotency_key)
        statement, key = wire.resolve_from(message)
        after = await settled(self._approvals.begin_resolve(call.caller, statement, key, once))
        return pb.ResolveApprovalResponse(approval=wire.approval_to(after), revision=after.revision)
