"""grpc.health.v1: whether calls are answered here.

The law of this file: everybody may ask, because a probe has no credential; only callers may watch, because a watch
stays open and a stranger could fill the server with them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, cast

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2

from chain.errors import NotFoundError, UnreachableError
from chain.service.gate import Call

DESCRIPTOR = cast("ServiceDescriptor", health_pb2.DESCRIPTOR.services_by_name["Health"])

OPEN = frozenset({"Check", "List"})
"""Methods for strangers."""

_Listed = GetMessageClass(DESCRIPTOR.methods_by_name["List"].output_type)  # typeshed does not know it yet
_Status = health_pb2.HealthCheckResponse


class Health:
    """The methods of Health: one state for every service that this server has."""

    def __init__(self, services: Iterable[str]) -> None:
        """Begin as not serving."""
        self._services = frozenset(services)
        self._serving = False
        self._changed = asyncio.Event()

    def methods(self) -> Mapping[str, Any]:
        """Return the handler of each method; those of `OPEN` take strangers."""
        return {"Check": self._check, "List": self._list, "Watch": self._watch}

    @property
    def serving(self) -> bool:
        """Whether calls are answered here."""
        return self._serving

    def set(self, *, serving: bool) -> None:
        """Tell everybody who watches."""
        self._serving = serving
        self._changed.set()
        self._changed = asyncio.Event()

    def _answer(self, message: health_pb2.HealthCheckRequest) -> health_pb2.HealthCheckResponse:
        """Return the state of a service.

        Raises:
            NotFoundError: there is no such service.
        """
        if message.service not in self._services:
            raise NotFoundError("no such service")
        return self._state()

    async def _check(self, message: health_pb2.HealthCheckRequest) -> health_pb2.HealthCheckResponse:
        """Answer a probe."""
        return self._answer(message)

    async def _list(self, _message: Message) -> Message:
        state = self._state()
        return _Listed(statuses=dict.fromkeys(self._services, state))

    def _state(self) -> health_pb2.HealthCheckResponse:
        return _Status(status=_Status.SERVING if self._serving else _Status.NOT_SERVING)

    async def _watch(self, call: Call) -> None:
        message = await call.read()
        if message is None or message.service not in self._services:
            await call.context.write(_Status(status=_Status.SERVICE_UNKNOWN))
            return
        while True:
            changed = self._changed
            await call.context.write(self._answer(message))
            try:
                await call.wait(changed.wait)
            except UnreachableError:  # the server stops, and that is the last thing to tell
                await call.context.write(self._answer(message))
                raise
