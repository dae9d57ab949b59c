"""DelegationService: thin. It converts, asks the authority, and converts back.

The law of this file: what an unauthentic chain, a missing proof or a revocation refuses is the reply's denial arm;
a child that asks for more is an error, as the wire's status table says. Who the holder is comes from a proof or from
the caller's own channel, and from the channel only where the request says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from chain.authority import Authority
from chain.base64url import b64decode
from chain.caller import Caller
from chain.decision import refused
from chain.desk import Presented
from chain.errors import DeniedError, ExcessError, InvalidTokenError, NotFoundError
from chain.service.gate import Call
from chain.service.settled import settled, to_its_end
from chain.v1 import delegation_pb2 as pb
from chain.view import Delegated, Query, Revoked
from chain.wire import change, enrolment, handing
from chain.wire.delegation import delegation_to, digest_from, page_to, query_from

R = TypeVar("R")

REVOKERS = 4
"""Threads that revoke: their own, so that lists and dry runs of others never stand before a revocation."""


class DelegationMethods:
    """The methods of DelegationService."""

    def __init__(self, authority: Authority, clock: Callable[[], float]) -> None:
        """Answer from an authority.

        Args:
            authority: decides.
            clock: seconds since the epoch, for denials that were not recorded.
        """
        self._authority = authority
        self._clock = clock
        self._revokers = ThreadPoolExecutor(REVOKERS, "revoke")

    def close(self) -> None:
        """Let the threads end."""
        self._revokers.shutdown(wait=False)

    def methods(self) -> Mapping[str, Any]:
        """Return the handler of each method."""
        return {
            "Issue": self._issue,
            "Delegate": self._delegate,
            "Revoke": self._revoke,
            "GetDelegation": self._get,
            "ListDelegations": self._list,
            "Enrol": self._enrol,
            "GetOwnKey": self._own_key,
            "GetStatusList": self._status_list,
        }

    async def _issue(self, message: pb.IssueRequest, call: Call) -> pb.IssueResponse:
        key = change.key_from(message.idempotency_key)
        order = change.issue_from(message)
        try:
            made = await settled(self._authority.begin_issue(call.caller, order, key))
        except DeniedError as error:
            return change.issued_to(self._denial(error, call))
        reply = change.issued_to(made)
        self._name(reply.delegation)
        return reply

    async def _delegate(self, message: pb.DelegateRequest, call: Call) -> pb.DelegateResponse:
        key = change.key_from(message.idempotency_key)
        asked = handing.delegate_from(message)
        caller = _by_channel(call.caller, shown=asked.channel or asked.proof is not None)
        authority = self._authority
        try:
            child = await settled(authority.begin_delegate(caller, asked.parent, asked.child, asked.proof, key))
        except ExcessError:
            raise
        except (InvalidTokenError, DeniedError) as error:
            return handing.delegated_to(self._denial(error, call), authority.revision)
        root, signed = self._root(caller, child, asked.parent), not isinstance(asked.child, str)
        reply = handing.delegated_to(child, child.revision, root, signed=signed)
        self._name(reply.delegation)
        return reply

    async def _revoke(self, message: pb.RevokeRequest, call: Call) -> pb.RevokeResponse:
        key = None if message.dry_run else change.key_from(message.idempotency_key)
        asked = change.revoke_from(message)
        caller = _by_channel(call.caller, shown=asked.channel or asked.proof is not None)
        try:
            pool = None if message.dry_run else self._revokers
            run = asyncio.get_running_loop().run_in_executor
            done = await to_its_end(run(pool, self._begin_revoke, caller, asked, key, message.dry_run))
        except (InvalidTokenError, DeniedError) as error:
            return change.revoked_to(self._denial(error, call), self._authority.revision)
        return change.revoked_to(done, self._authority.revision if message.dry_run else done.revision)

    def _begin_revoke(self, caller: Caller, asked: change.Ending, key: str | None, dry_run: bool) -> Revoked:  # noqa: FBT001  # runs in a thread, by position
        """Revoke in a thread: a large subtree is counted row by row, and the loop answers checks meanwhile."""
        return self._authority.revoke(caller, asked.order, asked.standing, asked.proof, dry_run=dry_run, key=key)

    async def _get(self, message: pb.GetDelegationRequest, call: Call) -> pb.GetDelegationResponse:
        found = self._authority.get(call.caller, digest_from(message.digest))
        reply = delegation_to(found, self._root(call.caller, found), grant=True)
        self._name(reply)
        return pb.GetDelegationResponse(delegation=reply)

    async def _list(self, message: pb.ListDelegationsRequest, call: Call) -> pb.ListDelegationsResponse:
        query = query_from(message)
        page = asyncio.get_running_loop().run_in_executor(None, self._page, message, query, call.caller)
        return await to_its_end(page)

    def _page(self, message: pb.ListDelegationsRequest, query: Query, caller: Caller) -> pb.ListDelegationsResponse:
        """Build a page in a thread: it may read a thousand rows, and the loop answers checks meanwhile."""
        revision = self._authority.revision
        reply = page_to(self._authority.find(caller, query), message, revision)
        for item in reply.delegations:
            self._name(item)
        return reply

    async def _enrol(self, message: pb.EnrolRequest, call: Call) -> pb.EnrolResponse:
        key = change.key_from(message.idempotency_key)
        holder, principal = enrolment.enrol_from(message)
        agreed = enrolment.agreement_from(message)
        begun = self._authority.begin_enrol(call.caller, holder, principal, key, agreed)
        return enrolment.enrolled_to(await settled(begun))

    async def _own_key(self, _message: pb.GetOwnKeyRequest, call: Call) -> pb.GetOwnKeyResponse:
        """Make it in a thread: a new key waits for the disk, and the loop answers checks meanwhile."""
        kept = asyncio.get_running_loop().run_in_executor(None, self._authority.custody.own_key, call.caller)
        return enrolment.own_key_to(await to_its_end(kept))

    async def _status_list(self, _message: pb.GetStatusListRequest, call: Call) -> pb.GetStatusListResponse:
        made = asyncio.get_running_loop().run_in_executor(None, self._authority.status_list, call.caller)
        return pb.GetStatusListResponse(status_list=(await to_its_end(made)).encode())

    def _name(self, message: pb.Delegation) -> None:
        """Fill in who the holder is."""
        known = self._authority.principal(message.holder)
        message.principal = "" if known is None else known.id

    def _denial(self, error: InvalidTokenError | DeniedError, call: Call) -> Any:  # noqa: ANN401
        decision = error.decision if isinstance(error, DeniedError) else refused(error, self._clock())
        call.note(decision)
        return decision

    def _root(self, caller: Caller, delegated: Delegated, presented: Presented = ()) -> str | None:
        """Return the token of a delegation's root: presented, its own, or looked up."""
        if delegated.hop == 0:
            return delegated.token
        if presented and not isinstance(presented, bytes):
            return presented[0]
        try:
            above = self._authority.find(caller, Query(up=b64decode(delegated.id.encode())))
        except NotFoundError:  # an agent host that presents proofs for keys that are not its own
            return None
        return above.delegations[0].token if above.delegations else None


def _by_channel(caller: Caller, *, shown: bool) -> Caller:
    """Return the caller, without its channel as proof where the request shows nothing."""
    return caller if shown or not caller.channel else replace(caller, channel=False)
