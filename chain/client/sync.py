"""The client of the service, for threads.

The law of this file: every call has a deadline, and every way of not getting an answer is an error. A question is
never sent twice.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Lock
from typing import Self

import grpc

from chain.change import Issue, Revoke
from chain.client import call as calls
from chain.client.call import Answer, Call, Listing, R
from chain.client.door import TIMEOUT
from chain.client.endpoint import endpoint
from chain.client.stream import CheckStream
from chain.decision import Decision, Effect
from chain.desk import Presented
from chain.errors import UnreachableError
from chain.explain import Explanation
from chain.key import PublicKey
from chain.principal import Principal
from chain.request import Request
from chain.view import Delegated, Enrolled, Query, Revoked
from chain.wire.info import ServerInfo
from chain.wire.status import error_from


class Client:
    """A connection to one service, usable from many threads.

    Every method raises `UnreachableError` without an answer in time, `UnauthenticatedError` or `ForbiddenError` where
    the caller may not ask, and what its twin of `Authority` raises.
    """

    def __init__(
        self, target: str, credential: str | None = None, *, roots: bytes | None = None, timeout: float = TIMEOUT
    ) -> None:
        """Prepare; the connection is made with the first call.

        Args:
            target: `host:port`, `[v6]:port` or `unix:PATH`; what is not on this machine is reached over TLS.
            credential: the caller's secret; None where the socket itself is the credential.
            roots: PEM certificates that the server's must chain to.
            timeout: seconds that any one call may take, with all that is sent again.

        Raises:
            ConfigurationError: a target or a credential that cannot be used.
        """
        place = endpoint(target, credential, roots)
        if place.tls is None:
            self._channel = grpc.insecure_channel(place.address, place.options)
        else:
            self._channel = grpc.secure_channel(place.address, place.tls, place.options)
        self._metadata = place.metadata
        self._timeout = timeout
        self._methods = calls.methods(self._channel)
        self._lock = Lock()
        self._info: ServerInfo | None = None

    def check(self, presented: Presented, request: Request, at_least: int = 0) -> Decision:
        """Decide one call; a denial is an answer.

        Args:
            presented: the chain's tokens, or its leaf's digest.
            request: with the holder's proof; or naming the holder, which leaves the proof to the channel.
            at_least: a revision that the answer must know.
        """
        return self._run(calls.check(presented, request, at_least))

    def batch_check(
        self, items: Sequence[tuple[Presented, Request]], at_least: int = 0, stop: Effect | None = None
    ) -> list[Answer]:
        """Decide many calls, in order; each answer is a decision or the error of that item.

        Args:
            items: chains and requests.
            at_least: a revision that the answers must know.
            stop: decide no further once this effect was given.
        """
        return self._run(calls.batch_check(items, at_least, stop))

    def check_stream(self) -> CheckStream:
        """Open a stream for one question after another, the cheapest way to ask; use it as a context manager."""
        return CheckStream(self._methods["CheckStream"], self._metadata, self._timeout)

    def explain(self, presented: Presented, request: Request) -> Explanation:
        """Say hop by hop how the decision comes about; uses nothing up and permits nothing."""
        return self._run(calls.explain(presented, request))

    def issue(self, order: Issue, key: str | None = None) -> Delegated:
        """Issue a root; `key` is the idempotency key."""
        return self._run(calls.issue(order, key))

    def delegate(self, parent: Presented, child: str, proof: str | None = None, key: str | None = None) -> Delegated:
        """Register a child that the parent's holder signed; without a proof the channel has to prove the holder."""
        return self._run(calls.delegate(parent, child, proof, key))

    def revoke(
        self,
        order: Revoke,
        standing: Presented | None = None,
        proof: str | None = None,
        *,
        dry_run: bool = False,
        key: str | None = None,
    ) -> Revoked:
        """Revoke a delegation and everything beneath it."""
        return self._run(calls.revoke(order, standing, proof, key, dry_run=dry_run))

    def get(self, digest: bytes) -> Delegated:
        """Return one delegation, without its token."""
        return self._run(calls.get(digest))

    def find(self, query: Query, page: str = "") -> Listing:
        """Return a page of delegations; `page` is `next` of the page before."""
        return self._run(calls.find(query, page))

    def enrol(
        self, holder: PublicKey, principal: Principal, key: str | None = None, proof: str | None = None
    ) -> Enrolled:
        """Record who a key belongs to; an agent sends the key's own agreement (`chain.enrolment.make`)."""
        return self._run(calls.enrol(holder, principal, key, proof))

    def info(self) -> ServerInfo:
        """Return what the server says of itself, now."""
        return self._run(calls.info())

    def audience(self) -> str:
        """Return the authority's own name; asked once."""
        with self._lock:
            if self._info is None:
                self._info = self.info()
            return self._info.authority

    def close(self) -> None:
        """Release the connection."""
        self._channel.close()

    def _run(self, call: Call[R]) -> R:
        end = time.monotonic() + self._timeout
        send = self._methods[call.method]
        attempt = 0
        while True:
            left = end - time.monotonic()
            try:
                reply = send(call.message, timeout=left, metadata=self._metadata)
            except grpc.RpcError as error:
                time.sleep(call.pause(attempt, error_from(error), end - time.monotonic()))
                attempt += 1
            except ValueError:
                raise UnreachableError("the client is closed") from None
            else:
                return call.answer(reply)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
