"""A client's connection, lent on a unix socket to a process that has keys and chains of its own, and no credential.

The law of this file: who borrows asks as a holder that proves itself, and never as the lender. What is lent is a closed
table; whatever would be answered by the lender's roles, its channel or its word alone is refused here, and what a newer
service would understand, and this table does not, is taken out of every message. No metadata of a caller's goes on, and
every call says that it is somebody else's, so that the service takes nothing of the lender's for theirs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from chain.client.endpoint import Endpoint
from chain.client.lines import AsyncLines
from chain.errors import ChainError, ConfigurationError, ForbiddenError, InvalidRequestError, UnreachableError
from chain.v1 import authorization_pb2, delegation_pb2, info_pb2, watch_pb2
from chain.wire.status import DETAILS, code_of, details_of

MAX_CALLS = 256
"""Calls at once of who borrows: as many as a service lets one caller make unless it is told otherwise."""

PATIENCE = 20.0
"""Seconds that beginning and ending may take, on however busy a machine."""

T = TypeVar("T")
Context: TypeAlias = "aio.ServicerContext[Any, Any]"

LENT = frozenset(
    {"Check", "BatchCheck", "CheckStream", "Delegate", "Revoke", "Watch", "GetRevision", "GetServerInfo"},
)
"""The methods that are lent. Deny by default: every other one is refused."""

FIELDS: Mapping[str, frozenset[str]] = {
    name: frozenset(fields.split())
    for name, fields in {
        "chain.v1.Chain": "tokens digest",
        "chain.v1.Intent": "digest alg salt",
        "chain.v1.CheckRequest": "chain tool arguments_json purpose intent labels proof request_id traceparent "
        "at_least_as_fresh fully_consistent",
        "chain.v1.BatchCheckRequest": "items semantic chain",
        "chain.v1.CheckStreamRequest": "correlation_id check",
        "chain.v1.DelegateRequest": "parent child proof idempotency_key",
        "chain.v1.RevokeRequest": "target chain proof cause dry_run idempotency_key",
        "chain.v1.WatchRequest": "chain after kinds until_now heartbeat_ms",
        "chain.v1.GetRevisionRequest": "",
        "chain.v1.GetServerInfoRequest": "",
    }.items()
}
"""Message -> what may be set in it, and no more: not `channel`, `vouched`, `classification`, `unsigned`, `named`, which
stand for the lender's channel, word, knowledge, key and role; nor what comes one day, until somebody thinks of it."""


def require_lent(message: Message) -> None:
    """Return where a message asks for nothing in the lender's name.

    Raises:
        ForbiddenError: it does.
    """
    allowed = FIELDS.get(message.DESCRIPTOR.full_name, frozenset())
    for field, value in message.ListFields():
        if field.name not in allowed:
            raise ForbiddenError(f"over a lent connection `{field.name}` is not taken: it would be the lender's")
        if field.message_type is not None:
            for one in (value,) if isinstance(value, Message) else value:
                require_lent(one)
    if isinstance(message, delegation_pb2.RevokeRequest) and not message.HasField("chain"):
        raise ForbiddenError("over a lent connection one revokes under a chain of one's own")
    if isinstance(message, watch_pb2.WatchRequest) and not message.chain.tokens:
        raise ForbiddenError("over a lent connection one watches a chain whose tokens one has, and not the ledger")


_SERVICES = (
    authorization_pb2.DESCRIPTOR.services_by_name["AuthorizationService"],
    delegation_pb2.DESCRIPTOR.services_by_name["DelegationService"],
    info_pb2.DESCRIPTOR.services_by_name["ServerInfoService"],
    watch_pb2.DESCRIPTOR.services_by_name["WatchService"],
)


@contextmanager
def lent(place: Endpoint, path: Path) -> Iterator[None]:
    """Lend a connection while the context lasts; calls under way end with it.

    Args:
        place: the service, and the lender's credential for it.
        path: of a unix socket that is not there yet, in a directory that only who borrows may enter.

    Raises:
        ConfigurationError: the socket cannot be bound.
    """
    lending = _Lending(replace(place, lent=True))
    with loop_of_its_own("chain-lending") as run:
        try:
            run(lending.start(path))
            path.chmod(0o600)
            yield
        finally:
            run(lending.stop())


@contextmanager
def loop_of_its_own(name: str) -> Iterator[Callable[[Coroutine[Any, Any, T]], T]]:
    """Run a loop on a thread of this name; gives what runs a coroutine there and waits for its result."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name=name, daemon=True)
    thread.start()
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class _Lending:
    """One lent connection, inside its loop."""

    def __init__(self, place: Endpoint) -> None:
        self._lines = AsyncLines(place)
        self._server: aio.Server | None = None

    async def start(self, path: Path) -> None:
        """Answer on the socket."""
        self._server = aio.server(maximum_concurrent_rpcs=MAX_CALLS)
        self._server.add_generic_rpc_handlers((*self._handlers(), _Refusing()))
        try:
            self._server.add_insecure_port(f"unix:{path}")
        except RuntimeError:  # all that grpc says
            raise ConfigurationError(f"socket `{path}` cannot be bound") from None
        await self._server.start()

    async def stop(self) -> None:
        """End what is under way."""
        if self._server is not None:
            await self._server.stop(0)
        await self._lines.close()

    def _handlers(self) -> Iterator[grpc.GenericRpcHandler]:
        for service in _SERVICES:
            handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
            for name, method in service.methods_by_name.items():
                if name not in LENT:
                    continue
                read = _reader(GetMessageClass(method.input_type))
                if method.client_streaming:
                    handlers[name] = grpc.stream_stream_rpc_method_handler(self._talk(name, read), None, _encode)
                elif method.server_streaming:
                    handlers[name] = grpc.unary_stream_rpc_method_handler(self._follow(name, read), None, _encode)
                else:
                    handlers[name] = grpc.unary_unary_rpc_method_handler(self._ask(name, read), None, _encode)
            yield grpc.method_handlers_generic_handler(service.full_name, handlers)

    def _ask(self, name: str, read: Callable[[bytes], Message]) -> Callable[[bytes, Context], Awaitable[Message]]:
        async def asked(data: bytes, context: Context) -> Message:
            call = self._lines.open(name, read(data), seconds=context.time_remaining())
            reply: Message = await call
            context.set_trailing_metadata(_pairs(await call.trailing_metadata()))
            return reply

        return _passing(asked)

    def _follow(self, name: str, read: Callable[[bytes], Message]) -> Callable[[bytes, Context], Awaitable[None]]:
        async def followed(data: bytes, context: Context) -> None:
            await _told(self._lines.open(name, read(data), seconds=context.time_remaining()), context)

        return _passing(followed)

    def _talk(
        self, name: str, read: Callable[[bytes], Message]
    ) -> Callable[[AsyncIterator[bytes], Context], Awaitable[None]]:
        async def talked(messages: AsyncIterator[bytes], context: Context) -> None:
            call = self._lines.open(name, seconds=context.time_remaining())
            feeding = asyncio.create_task(_fed(call, messages, read))
            feeding.add_done_callback(_seen)
            try:
                await _told(call, context)
            except asyncio.CancelledError:
                if feeding.done() and not feeding.cancelled():
                    feeding.result()  # raises where a message was refused, which is why the call was cancelled
                raise
            finally:
                feeding.cancel()

        return _passing(talked)


def _seen(task: asyncio.Task[None]) -> None:
    """Look at how a task ended, so that asyncio does not print what was refused."""
    if not task.cancelled():
        task.exception()


async def _fed(call: Any, messages: AsyncIterator[bytes], read: Callable[[bytes], Message]) -> None:
    """Send what is asked, message by message.

    Raises:
        ChainError: a message was refused; the call is cancelled with it.
    """
    try:
        async for data in messages:
            await call.write(read(data))
        await call.done_writing()
    except ChainError:
        call.cancel()
        raise
    except (grpc.RpcError, asyncio.InvalidStateError):
        return  # it has ended by itself, and whoever reads it learns how


async def _told(call: Any, context: Context) -> None:
    """Pass on what comes, until it ends."""
    try:
        async for reply in call:
            await context.write(reply)
        context.set_trailing_metadata(_pairs(await call.trailing_metadata()))
    finally:
        call.cancel()


def _passing(work: Callable[[Any, Context], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
    """Return a handler whose errors are the service's own, word for word, or one of ours."""

    async def answer(asked: Any, context: Context) -> Any:
        try:
            return await work(asked, context)
        except aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "", _pairs(error.trailing_metadata()))
        except ChainError as error:
            await _refuse(context, error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # who borrows is gone
            await _refuse(context, UnreachableError("the service ended the call"))
        except Exception as error:  # noqa: BLE001 - the last resort: its text must not reach who borrows
            await _refuse(context, ChainError(f"the lender failed with {type(error).__name__}"))

    return answer


class _Refusing(grpc.GenericRpcHandler):
    """Takes what no other handler took."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return a handler that refuses, whatever is sent."""
        name = handler_call_details.method.rpartition("/")[2][:64]

        async def refuse(_messages: object, context: Context) -> None:
            await _refuse(context, ForbiddenError(f"{name} is not lent: it would be answered as the lender's"))

        return grpc.stream_stream_rpc_method_handler(refuse)


def _reader(kind: type[Message]) -> Callable[[bytes], Message]:
    def read(data: bytes) -> Message:
        message = kind()
        try:
            message.ParseFromString(data)
        except DecodeError:
            raise InvalidRequestError("not a message of this method") from None
        message.DiscardUnknownFields()
        require_lent(message)
        return message

    return read


def _encode(message: Message) -> bytes:
    return message.SerializeToString()


def _pairs(metadata: Any) -> tuple[tuple[str, str | bytes], ...]:
    return tuple((name, value) for name, value in metadata or ())


async def _refuse(context: Context, error: ChainError) -> None:
    await context.abort(code_of(error), error.detail, ((DETAILS, details_of(error)),))
