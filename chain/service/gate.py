"""What every RPC passes: authentication, role, request id, log line, and an error that says no more than it should.

The law of this file: a method is reachable only through here, and each one of a service is, because handlers are
made from the service's descriptor. Whoever is not known learns nothing else; a role that the table does not name is
refused; an unexpected error is `INTERNAL` without text. A stranger's bytes are not even parsed. (Handlers are wrapped
when they are registered: a server interceptor of grpc.aio costs a coroutine and a handler lookup more on every call.)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter_ns
from typing import Any, NoReturn, TypeAlias, TypeVar

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from chain.caller import Caller
from chain.decision import Decision
from chain.errors import ChainError, ConfigurationError, ForbiddenError, InvalidRequestError
from chain.service.calllog import MAX_DECISIONS, CallLine, CallLog
from chain.service.credentials import Identity
from chain.wire.status import DETAILS, code_of, details_of

REQUEST_ID = "x-request-id"
"""Metadata that names a call to client and operator; echoed, or made where there is none."""

MAX_REQUEST_ID = 128
"""Characters of a request id that is echoed."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
R = TypeVar("R")

Decode: TypeAlias = Callable[[bytes], Message]
Authenticate: TypeAlias = Callable[[Mapping[str, str | bytes]], Identity]


class Call:
    """One call that passed the gate.

    Attributes:
        identity: whose it is.
        caller: the same, for the authority.
        context: gRPC's, for streams and deadlines.
        decisions: ids made on the way, the first `MAX_DECISIONS`.
        decided: how many.
    """

    __slots__ = ("_decode", "caller", "context", "decided", "decisions", "identity")

    def __init__(self, identity: Identity, context: Context, decode: Decode) -> None:
        self.identity = identity
        self.caller: Caller = identity.caller
        self.context = context
        self._decode = decode
        self.decisions: list[str] = []
        self.decided = 0

    def message(self, data: bytes) -> Any:  # noqa: ANN401  # of the method's own type
        """Return the message that was sent.

        Raises:
            InvalidRequestError: it is none.
        """
        try:
            return self._decode(data)
        except DecodeError:
            raise InvalidRequestError("not a message of this method") from None

    async def read(self) -> Any:  # noqa: ANN401  # as above
        """Return a stream's next message, or None at its end."""
        data = await self.context.read()
        return None if data is grpc.aio.EOF else self.message(data)

    def note(self, decision: Decision) -> None:
        """Remember a decision for the log."""
        self.decided += 1
        if decision.id and self.decided <= MAX_DECISIONS:
            self.decisions.append(decision.id)


Unary: TypeAlias = Callable[[Any, Call], Awaitable[Message]]
Stream: TypeAlias = Callable[[Call], Awaitable[None]]


class Gate:
    """Lets authenticated callers with the right role through to a service's methods."""

    def __init__(
        self,
        authenticate: Authenticate,
        log: CallLog,
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """Prepare a gate.

        Args:
            authenticate: metadata -> who is calling; raises `UnauthenticatedError`.
            log: takes a line for each call.
            clock: seconds since the epoch.
            new_id: makes request ids.
        """
        self._authenticate = authenticate
        self._log = log
        self._clock = clock
        self._new_id = new_id

    def service(
        self, descriptor: ServiceDescriptor, methods: Mapping[str, Any], *, any_role: bool = False
    ) -> grpc.GenericRpcHandler:
        """Return the handlers of a whole service.

        Args:
            descriptor: names every method that the service has.
            methods: a `Unary` or `Stream` for each.
            any_role: open to every authenticated caller; otherwise `chain.caller.ALLOWED` says who.

        Raises:
            ConfigurationError: a method is missing or unknown.
        """
        if methods.keys() != set(descriptor.methods_by_name):
            raise ConfigurationError(f"{descriptor.full_name} and its handlers name different methods")
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        for name, method in descriptor.methods_by_name.items():
            handle = methods[name]
            decode = GetMessageClass(method.input_type).FromString
            encode = GetMessageClass(method.output_type).SerializeToString
            if method.client_streaming:
                stream = self._stream(name, handle, decode, any_role=any_role)
                handlers[name] = grpc.stream_stream_rpc_method_handler(stream, None, encode)
            else:
                unary = self._unary(name, handle, decode)
                handlers[name] = grpc.unary_unary_rpc_method_handler(unary, None, encode)
        return grpc.method_handlers_generic_handler(descriptor.full_name, handlers)

    def nothing(self) -> grpc.GenericRpcHandler:
        """Return the handler of every method that does not exist: a stranger does not learn that it does not."""
        return _Nothing(self)

    def _unary(self, name: str, handle: Unary, decode: Decode) -> Callable[[bytes, Context], Awaitable[Message]]:
        async def answer(data: bytes, context: Context) -> Message:
            return await self._through(name, context, decode, lambda call: handle(call.message(data), call))

        return answer

    def _stream(
        self, name: str, handle: Stream, decode: Decode, *, any_role: bool
    ) -> Callable[[object, Context], Awaitable[None]]:
        async def answer(_messages: object, context: Context) -> None:
            await self._through(name, context, decode, handle, any_role=any_role)

        return answer

    async def _through(
        self,
        name: str,
        context: Context,
        decode: Decode,
        work: Callable[[Call], Awaitable[R]],
        *,
        any_role: bool = False,
    ) -> R:
        began = perf_counter_ns()
        metadata = dict(context.invocation_metadata() or ())
        request_id = self._request_id(metadata)
        call: Call | None = None
        code = "CANCELLED"
        try:
            call = Call(self._authenticate(metadata), context, decode)
            if not any_role:
                call.caller.require(name)
            reply = await work(call)
            context.set_trailing_metadata(((REQUEST_ID, request_id),))
            code = "OK"
        except ChainError as error:
            code = code_of(error).name
            await _refuse(context, error, request_id)
        except Exception as error:  # noqa: BLE001  # the last resort: its text must not reach the client
            code = "INTERNAL"
            self._log.failure(name, request_id, error)
            await _refuse(context, ChainError("the service failed"), request_id)
        finally:
            if self._log.calls:
                self._log_call(name, request_id, call, code, began)
        return reply

    def _log_call(self, name: str, request_id: str, call: Call | None, code: str, began: int) -> None:
        line = CallLine(self._clock(), request_id, "", name, code, (perf_counter_ns() - began) // 1000)
        if call is not None:
            line.caller, line.decisions, line.decided = call.caller.name, call.decisions, call.decided
        self._log.call(line)

    def _request_id(self, metadata: Mapping[str, str | bytes]) -> str:
        given = metadata.get(REQUEST_ID)
        if isinstance(given, str) and 0 < len(given) <= MAX_REQUEST_ID and given.isascii() and given.isprintable():
            return given
        return self._new_id()


class _Nothing(grpc.GenericRpcHandler):
    """Takes what no other handler took."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401  # grpc does not export its type
        """Return a handler that refuses, whatever is sent."""
        name = handler_call_details.method.rpartition("/")[2]

        async def refuse(_call: Call) -> None:
            raise ForbiddenError("no role may call this")

        return grpc.stream_stream_rpc_method_handler(self._gate._stream(name, refuse, Empty.FromString, any_role=True))  # noqa: SLF001


async def _refuse(context: Context, error: ChainError, request_id: str) -> NoReturn:
    metadata = ((REQUEST_ID, request_id), (DETAILS, details_of(error)))
    await context.abort(code_of(error), error.detail, metadata)
    raise AssertionError("abort raises")
