"""grpc.reflection.v1alpha: what is served here, told to callers.

The law of this file: it names the services and nothing that they hold; only callers are told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import cast

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from grpc_reflection.v1alpha import reflection, reflection_pb2

from chain.service.gate import Call, Context

DESCRIPTOR = cast("ServiceDescriptor", reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"])


def reflecting(services: Iterable[ServiceDescriptor]) -> Mapping[str, Callable[[Call], Awaitable[None]]]:
    """Return the handler of each method."""
    servicer = reflection.aio.ReflectionServicer([descriptor.full_name for descriptor in services])
    answers = cast("Callable[[AsyncIterator[object], Context], AsyncIterator[Message]]", servicer.ServerReflectionInfo)

    async def requests(call: Call) -> AsyncIterator[object]:
        while (message := await call.read()) is not None:
            yield message

    async def reflect(call: Call) -> None:
        async for reply in answers(requests(call), call.context):
            await call.context.write(reply)

    return {"ServerReflectionInfo": reflect}
