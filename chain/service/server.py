"""The server: one listener on the network, one on a socket for each caller that has its own, one orderly end.

The law of this file: every limit is stated, none is gRPC's default; a port that somebody else uses is never shared; a
stop lets what was begun end, tells health first, and closes the ledger last. A server whose ledger failed says so and
ends, because nothing but a new start can mend it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TextIO

import grpc

from chain.authority import Authority
from chain.errors import ConfigurationError, StoreError
from chain.service.approval import ApprovalMethods
from chain.service.audit import AuditMethods
from chain.service.authorization import Authorization
from chain.service.beside import Beside, Porter
from chain.service.callers import Callers, Workloads, by_channel
from chain.service.calllog import CallLog
from chain.service.compose import bearers, expected, persons, socketed, workers
from chain.service.control import ControlMethods
from chain.service.credentials import Credentials, Identity
from chain.service.delegation import DelegationMethods
from chain.service.gate import Authenticate, Bounds, Gate
from chain.service.graph import GraphMethods
from chain.service.health import DESCRIPTOR as HEALTH
from chain.service.health import OPEN, Health
from chain.service.info import VERSION, Info
from chain.service.keys import KeyMethods
from chain.service.mutual import mutual
from chain.service.people import People, Persons, credentials
from chain.service.policy import PolicyMethods
from chain.service.reflection import DESCRIPTOR as REFLECTION
from chain.service.reflection import reflecting
from chain.service.room import Limit, Room
from chain.service.safety import require_pair, require_safe, split_address
from chain.service.settings import ServeSettings
from chain.service.sockets import close_socket, open_socket
from chain.service.waiting import Waiting
from chain.service.watch import WatchMethods
from chain.v1 import (
    approval_pb2,
    audit_pb2,
    authorization_pb2,
    control_pb2,
    delegation_pb2,
    info_pb2,
    key_pb2,
    policy_pb2,
    watch_pb2,
)

SERVICES = (
    audit_pb2.DESCRIPTOR.services_by_name["AuditService"],
    approval_pb2.DESCRIPTOR.services_by_name["ApprovalService"],
    authorization_pb2.DESCRIPTOR.services_by_name["AuthorizationService"],
    delegation_pb2.DESCRIPTOR.services_by_name["DelegationService"],
    control_pb2.DESCRIPTOR.services_by_name["ControlService"],
    info_pb2.DESCRIPTOR.services_by_name["ServerInfoService"],
    key_pb2.DESCRIPTOR.services_by_name["KeyService"],
    policy_pb2.DESCRIPTOR.services_by_name["PolicyService"],
    watch_pb2.DESCRIPTOR.services_by_name["WatchService"],
)
"""Everything that is served beside health and reflection."""

MAX_METADATA = 16 * 1024
"""Bytes of a call's metadata: credentials and request ids are short, and a chain never travels there."""

CONNECTION_GRACE = 60
"""Seconds that calls have to end on a connection that was asked to reconnect."""

STREAMS_PER_CONNECTION = 256
"""Calls at once on one connection."""

ROUND = 0.5
"""Seconds between two looks at the ledger's health and at calls that wait in silence."""


class ChainServer:
    """Serves an authority over gRPC.

    Attributes:
        address: host:port once started; empty where there is no network listener.
        mtls_address: the same of the listener for workloads with an X.509-SVID.
        sockets: path of each caller's own socket, by name.
        http_address: where the way in beside gRPC answers; empty where there is none.
    """

    def __init__(
        self,
        authority: Authority,
        settings: ServeSettings,
        *,
        log: TextIO = sys.stderr,
        clock: Callable[[], float] = time.time,
        workloads: Workloads | None = None,
        people: People | None = None,
        beside: Callable[[Porter], Beside] | None = None,
    ) -> None:
        """Prepare to serve.

        Args:
            authority: answers; this server closes it when it stops.
            settings: what the server was told.
            log: takes one line of JSON for each call.
            clock: seconds since the epoch.
            workloads: with `mtls_listen`, the server's own identity and those of its peers.
            people: with `identity.oidc`, the people of its providers.
            beside: makes another way in, which is let begin and end with this server.

        Raises:
            ConfigurationError: the settings are unsafe.
        """
        require_safe(settings)
        if settings.mtls_listen and workloads is None:
            raise ConfigurationError("`mtls_listen` needs somebody who knows the workloads")
        if settings.identity is not None and settings.identity.oidc and people is None:
            raise ConfigurationError("`identity.oidc` needs somebody who knows the people")
        self.address = ""
        self.mtls_address = ""
        self._workloads = workloads
        self._people = people
        self._callers = Callers(workers(settings), authority.custody)
        self.sockets: dict[str, Path] = {}
        self._authority = authority
        self._settings = settings
        self._clock = clock
        self._log = CallLog(log, clock, settings.log_level)
        self._health = Health(("", *(descriptor.full_name for descriptor in SERVICES)))
        calls = Limit(settings.max_calls_per_caller, settings.max_concurrent_rpcs)
        room = Room(calls, settings.max_streams_per_caller, expected(settings))
        self._bounds = Bounds(room, Waiting(clock), Waiting(clock), Waiting(clock), settings.stream_idle)
        delegation = DelegationMethods(authority, clock)
        policy = PolicyMethods(authority)
        keys = KeyMethods(authority)
        authorization = Authorization(authority)
        audit = AuditMethods(authority, settings.checkpoints.every)
        graph = GraphMethods(authority, settings, clock)
        self._methods: tuple[Mapping[str, object], ...] = (
            {**audit.methods(), **graph.methods()},
            ApprovalMethods(authority).methods(),
            authorization.methods(),
            delegation.methods(),
            ControlMethods(authority).methods(),
            Info(authority, settings, clock).methods(),
            keys.methods(),
            policy.methods(),
            WatchMethods(authority, clock).methods(),
        )
        self._audit, self._graph = audit, graph
        self._parts = (delegation, policy, keys, authorization, audit, graph)
        self._servers: list[grpc.aio.Server] = []
        self._ending = asyncio.Event()
        self._rounds: asyncio.Task[None] | None = None
        self._prefix, self._numbers = os.urandom(6).hex(), count(1)
        porter = Porter(self._bearers().identify, self._bounds, self._health, self._log, clock, self._new_id)
        self._beside = None if beside is None else beside(porter)
        self.http_address = ""

    async def start(self) -> None:
        """Listen and answer.

        Raises:
            ConfigurationError: an address or socket is in use, or a certificate is not one.
        """
        try:
            if self._settings.listen:
                await self._listen()
            if self._workloads is not None and self._settings.mtls_listen:
                await self._listen_mtls(self._workloads)
            for identity in socketed(self._settings, self._authority.custody):
                await self._open_socket(identity)
            if self._beside is not None:
                await self._beside.start()
                self.http_address = self._beside.address
        except ConfigurationError:
            await self._abandon()
            raise
        self._health.set(serving=True)
        self._rounds = asyncio.create_task(self._go_round())
        named = [str(path) for path in self.sockets.values()]
        where = {"address": self.address, "mtls": self.mtls_address, "http": self.http_address}
        self._log.event("serving", **where, sockets=named, version=VERSION)

    async def stop(self, grace: float | None = None) -> None:
        """End in order: health says so, streams end, calls have `grace` seconds, the ledger is closed.

        Args:
            grace: seconds; None for the configured drain.
        """
        self._log.event("draining")
        if self._rounds is not None:
            self._rounds.cancel()
        self._health.set(serving=False)
        self._bounds.waiting.close()
        self._bounds.guests.close()
        self._bounds.unsettled.close()
        grace = self._settings.drain if grace is None else grace
        ways = (*self._servers, *(() if self._beside is None else (self._beside,)))
        await asyncio.gather(*(way.stop(grace) for way in ways))
        try:
            for path in self.sockets.values():
                close_socket(path)
            self._close_parts()
        finally:
            await _in_a_thread_of_its_own(self._authority.close)
        self._log.event("stopped")

    async def run(self, ready: Callable[[ChainServer], None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, or until the ledger fails; then stop.

        Args:
            ready: called once every listener answers.

        Raises:
            StoreError: the ledger failed; whoever started this server starts it again.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        await self.start()
        if ready is not None:
            ready(self)
        await self._ending.wait()
        await self.stop()
        if self._authority.failed:
            raise StoreError("the ledger failed; start the server again once its cause is mended")

    async def _go_round(self) -> None:
        """Look after what nobody asks for, until the ledger fails or the server stops."""
        while not self._authority.failed:
            await asyncio.sleep(ROUND)
            self._bounds.waiting.sweep()
            self._bounds.unsettled.sweep()
            self._graph.rest()
            if (fault := await self._audit.keep()) is not None:
                self._log.event("no checkpoint", "error", said=str(fault))
        self._log.event("ledger failed", "error")
        self._health.set(serving=False)
        self._ending.set()

    def _bearers(self) -> Credentials:
        told = self._settings.identity
        workloads = (self._workloads, self._callers) if self._workloads and told and told.jwt_audience else None
        people = (self._people, Persons(persons(self._settings))) if self._people else None
        return credentials(bearers(self._settings), self._clock, workloads, people)

    async def _listen(self) -> None:
        self.address = await self._bound(self._settings.listen, self._bearers().identify, self._bind)

    async def _listen_mtls(self, workloads: Workloads) -> None:
        identify = by_channel(workloads, self._callers)
        shown = mutual(workloads)

        def bind(server: grpc.aio.Server, address: str) -> int:
            return server.add_secure_port(address, shown)

        self.mtls_address = await self._bound(self._settings.mtls_listen, identify, bind)

    async def _bound(self, listen: str, identify: Authenticate, bind: Callable[[grpc.aio.Server, str], int]) -> str:
        host, port = split_address(listen)
        name = f"[{host}]" if ":" in host else host
        server = self._server(identify)
        try:
            bound = bind(server, f"{name}:{port}")
        except RuntimeError:  # all that grpc says of a port that is taken
            raise ConfigurationError(f"`{listen}` cannot be bound: it is in use or not ours") from None
        self._servers.append(server)
        await server.start()
        return f"{name}:{bound}"

    def _bind(self, server: grpc.aio.Server, address: str) -> int:
        cert, key = self._settings.tls_cert, self._settings.tls_key
        if cert is None or key is None:
            return server.add_insecure_port(address)
        require_pair(cert, key)
        shown = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
        return server.add_secure_port(address, shown)

    async def _open_socket(self, identity: Identity) -> None:
        name = identity.caller.name
        server = self._server(lambda _metadata, _context: identity)
        path = await asyncio.to_thread(open_socket, self._settings, name, server.add_insecure_port)
        self.sockets[name] = path
        self._servers.append(server)
        await server.start()

    async def _abandon(self) -> None:
        for server in self._servers:
            await server.stop(0)
        if self._beside is not None:
            await self._beside.stop(0)
        for path in self.sockets.values():
            close_socket(path)
        self._close_parts()

    def _close_parts(self) -> None:
        for part in self._parts:
            part.close()

    def _server(self, authenticate: Authenticate) -> grpc.aio.Server:
        settings = self._settings
        server = grpc.aio.server(
            # No limit of gRPC's: it counts a call until its reply has left, which a client that reads nothing never
            # lets happen, and then refuses everybody. `Room` and the guests count what is under way, by caller.
            maximum_concurrent_rpcs=None,
            options=(
                ("grpc.so_reuseport", 0),  # on by default: a second server would take every other connection
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", settings.max_message_bytes),
                ("grpc.max_metadata_size", MAX_METADATA),
                ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION),
                ("grpc.max_connection_age_ms", settings.max_connection_age * 1000),
                ("grpc.max_connection_age_grace_ms", CONNECTION_GRACE * 1000),
            ),
        )
        gate = Gate(authenticate, self._log, self._clock, self._new_id, self._bounds)
        handlers = [
            gate.service(descriptor, methods) for descriptor, methods in zip(SERVICES, self._methods, strict=True)
        ]
        handlers.append(gate.service(HEALTH, self._health.methods(), any_role=True, guests=OPEN))
        if settings.reflection:
            handlers.append(gate.service(REFLECTION, reflecting(SERVICES), any_role=True))
        server.add_generic_rpc_handlers((*handlers, gate.nothing()))
        return server

    def _new_id(self) -> str:
        return f"{self._prefix}-{next(self._numbers):x}"


async def _in_a_thread_of_its_own(work: Callable[[], None]) -> None:
    """Run `work` behind nothing else: the default threads may have a long queue."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, work)
