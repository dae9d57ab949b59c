"""The client of the service, for threads.

The law of this file: every call has a deadline, and every way of not getting an answer is an error. A question is
never sent twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock
from typing import Self

import grpc

from chain.client import call as calls
from chain.client.approvals import Approvals
from chain.client.audit import Audit
from chain.client.call import Answer, Call, Listing, R
from chain.client.door import TIMEOUT
from chain.client.endpoint import Credential, Identity, endpoint
from chain.client.following import PATIENCE, Following, T, of_chain, of_ledger, once
from chain.client.graph import Graph
from chain.client.keys import Keys
from chain.client.lending import lent
from chain.client.lines import Lines
from chain.client.lookout import Lookout, Watching
from chain.client.policies import Policies
from chain.client.steering import Steering
from chain.client.stream import CheckStream
from chain.client.watch import Watch, ask
from chain.decision import Decision, Effect
from chain.desk import Presented
from chain.explain import Explanation
from chain.key import PublicKey
from chain.order import Delegate, Issue, Revoke
from chain.principal import Principal
from chain.request import Request
from chain.simulate import Simulation
from chain.supposed import Hypothesis
from chain.view import Delegated, Enrolled, Query, Revoked
from chain.watch import Stand, Told
from chain.wire.info import ServerInfo
from chain.wire.status import error_from
from chain.wire.watch import HEARTBEAT


class Client:
    """A connection to one service, usable from many threads.

    Every method raises `UnreachableError` without an answer in time, `UnauthenticatedError` or `ForbiddenError` where
    the caller may not ask, and what its twin of `Authority` raises.
    """

    def __init__(
        self,
        target: str,
        credential: Credential | None = None,
        *,
        roots: bytes | None = None,
        identity: Identity | None = None,
        server_name: str | None = None,
        trust_domain: str | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """Prepare; the connection is made with the first call.

        Args:
            target: `host:port`, `[v6]:port` or `unix:PATH`; what is not on this machine is reached over TLS.
            credential: the caller's secret; a callable is asked for every call, so that a token may be replaced before
                it ends; None where the socket or the SVID itself is the credential.
            roots: PEM certificates that the server's must chain to.
            identity: source of an X.509-SVID and of bundles: mutual TLS. What it renews is used from the next call on;
                it is not closed with the client.
            server_name: DNS name in the server's certificate, where that is not the host of `target`.
            trust_domain: the server's, with `identity`; None for the own SVID's.
            timeout: seconds that any one call may take, with all that is sent again.

        Raises:
            ConfigurationError: a target or a credential that cannot be used, or what does not go together.
        """
        place = endpoint(
            target, credential, roots, identity=identity, server_name=server_name, trust_domain=trust_domain
        )
        self._lines = Lines(place)
        self._timeout = timeout
        self._lock = Lock()
        self._info: ServerInfo | None = None
        self.approvals = Approvals(self._run)
        self.audit = Audit(self._run)
        self.graph = Graph(self._run)
        self.keys = Keys(self._run)
        self.policies = Policies(self._run)
        self.steering = Steering(self._run)

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
        return CheckStream(self._lines, self._timeout)

    def explain(self, presented: Presented, request: Request, audience: str | None = None) -> Explanation:
        """Say hop by hop how the decision comes about; uses nothing up and permits nothing.

        Args:
            presented: the chain's tokens, or its leaf's digest.
            request: what is asked.
            audience: the enforcement point that would ask; None for the caller's own, which not every caller has.
        """
        return self._run(calls.explain(presented, request, audience))

    def simulate(
        self,
        presented: Presented,
        request: Request,
        hypothesis: Hypothesis,
        policy_files: Mapping[str, str] | None = None,
    ) -> Simulation:
        """Say what would be decided, if things stood otherwise; writes nothing, and takes the holder as proven.

        Args:
            presented: the chain's tokens, or its leaf's digest.
            request: what is asked.
            hypothesis: what is supposed; of what `chain.wire.hypothesis` can carry.
            policy_files: the bundle that would be active, name to text; none for the one that is.
        """
        return self._run(calls.simulate(presented, request, hypothesis, policy_files))

    def issue(self, order: Issue, key: str | None = None) -> Delegated:
        """Issue a root; `key` is the idempotency key."""
        return self._run(calls.issue(order, key))

    def delegate(
        self, parent: Presented, child: str | Delegate, proof: str | None = None, key: str | None = None
    ) -> Delegated:
        """Register a child that the parent's holder signed; without a proof the channel has to prove the holder.

        What is only ordered (`Delegate`) the service signs, with the key that it keeps for this caller.
        """
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
        self, holder: PublicKey | None, principal: Principal, key: str | None = None, proof: str | None = None
    ) -> Enrolled:
        """Record who a key belongs to; an agent sends the key's own agreement (`chain.enrolment.make`)."""
        return self._run(calls.enrol(holder, principal, key, proof))

    def own_key(self) -> PublicKey:
        """Return the public key that the service keeps for this agent; the first call makes it."""
        return self._run(calls.own_key())

    def status_list(self) -> str:
        """Return the Token Status List of the service's roots, signed by its issuer."""
        return self._run(calls.status_list())

    def info(self) -> ServerInfo:
        """Return what the server says of itself, now."""
        return self._run(calls.info())

    def revision(self) -> int:
        """Return the last revision that survives power loss."""
        return self._run(calls.revision())

    def watch(
        self,
        after: int | None = None,
        kinds: Iterable[str] = (),
        *,
        until_now: bool = False,
        heartbeat: float = HEARTBEAT,
    ) -> Watch[Told]:
        """Follow the ledger; the iterator goes on by itself after a lost connection.

        Args:
            after: the last revision that was seen, 0 for the beginning; None for what comes from the first `next` on.
            kinds: of records (`chain.watch.KINDS`); none named means all.
            until_now: end once all up to now was told.
            heartbeat: seconds between the server's signs of life, 0.1 to 60.
        """
        return self._follow(of_ledger(after, kinds, heartbeat, until_now=until_now, timeout=self._timeout))

    def watch_chain(self, presented: Presented, *, heartbeat: float = HEARTBEAT) -> Watch[Stand]:
        """Follow how a chain stands: now, at every change, and to the end once it does not."""
        return self._follow(of_chain(presented, heartbeat, PATIENCE))

    def standing(self, presented: Presented) -> Stand:
        """Return whether a chain stands now, whatever may be called under it."""
        return ask(self._lines, once(presented), self._timeout)

    def lookout(self, presented: Presented, pulse: float) -> Lookout:
        """Return somebody who keeps an eye on a chain; `Session` posts it."""
        return Watching(self._follow(of_chain(presented, pulse)), pulse)

    def _follow(self, following: Following[T]) -> Watch[T]:
        return Watch(self._lines, following, self.revision)

    def audience(self) -> str:
        """Return the authority's own name; asked once."""
        with self._lock:
            if self._info is None:
                self._info = self.info()
            return self._info.authority

    def lend(self, path: Path) -> AbstractContextManager[None]:
        """Lend this connection to a process that has keys and chains of its own, while the context lasts.

        On the socket it checks, hands on, revokes and watches as a holder that proves itself (`chain.client.lending`),
        and learns no credential.

        Args:
            path: of a unix socket that is not there yet, in a directory that only who borrows may enter.

        Raises:
            ConfigurationError: the socket cannot be bound.
        """
        return lent(self._lines.place, path)

    def close(self) -> None:
        """Release the connection."""
        self._lines.close()

    def _run(self, call: Call[R]) -> R:
        end = time.monotonic() + max(self._timeout, call.patience)
        attempt = 0
        while True:
            left = end - time.monotonic()
            try:
                reply = self._lines.ask(call.method, call.message, left)
            except grpc.RpcError as error:
                time.sleep(call.pause(attempt, error_from(error), end - time.monotonic()))
                attempt += 1
            else:
                return call.answer(reply)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
