"""OAuth's questions and orders about one token: introspection (RFC 7662) and revocation (RFC 7009).

The law of this file: it decides nothing. Of a token that does not stand, or that is not the caller's to see, the
answer is the same, whatever the reason; and what an unknown token is to be revoked for has been reached already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import msgspec
from starlette.responses import Response

from chain import introspection
from chain.authority import Authority
from chain.caller import Caller
from chain.errors import ForbiddenError, InvalidRequestError, NotFoundError
from chain.order import Revoke
from chain.web.reply import reply

CAUSE = "revoked over HTTP (RFC 7009)"

INACTIVE = b'{"active":false}'

THREADS = 4
"""Questions at once, beyond which they wait; the loop answers gRPC meanwhile."""

REVOKERS = 2
"""Revocations at once, in threads of their own: they never stand behind a question."""


class Tokens:
    """The two endpoints."""

    def __init__(self, authority: Authority) -> None:
        """Answer from an authority."""
        self._authority = authority
        self.threads = ThreadPoolExecutor(THREADS, "web")
        self._revokers = ThreadPoolExecutor(REVOKERS, "web-revoke")

    def close(self) -> None:
        """Let the threads end."""
        self.threads.shutdown(wait=False)
        self._revokers.shutdown(wait=False)

    async def introspect(self, caller: Caller, fields: Mapping[str, str]) -> Response:
        """Tell of a token.

        Raises:
            InvalidRequestError: none is named.
            ForbiddenError: the caller may ask of none.
            StoreError: the ledger could not be read.
        """
        ask, token = self._authority.watch.introspect, _token(fields)
        found = await asyncio.get_running_loop().run_in_executor(self.threads, ask, caller, token)
        return reply(200, INACTIVE if found is None else msgspec.json.encode(found))

    async def revoke(self, caller: Caller, fields: Mapping[str, str]) -> Response:
        """Revoke a token and everything beneath it; it stands before the answer leaves.

        Raises:
            InvalidRequestError: none is named.
            ForbiddenError: no role alone lets the caller revoke. An agent does so over gRPC, with a proof.
            StoreError: it was not recorded.
        """
        if not caller.revokes_all:
            raise ForbiddenError(f"`{caller.name}` has no role that may revoke without a chain")
        digest = introspection.named(_token(fields))
        if digest is not None:
            await asyncio.get_running_loop().run_in_executor(self._revokers, self._revoke, caller, digest)
        return reply(200)

    def _revoke(self, caller: Caller, digest: bytes) -> None:
        try:
            self._authority.revoke(caller, Revoke(digest, CAUSE))
        except NotFoundError:  # RFC 7009 s2.2
            return


def _token(fields: Mapping[str, str]) -> str:
    token = fields.get("token")
    if token is None:
        raise InvalidRequestError("`token` is missing: a leaf token, or the id of a delegation")
    return token
