"""What every RPC passes: authentication, role, request id, log line, and an error that says no more than it should.

The law of this file: a method is reachable only through here, and each one of a service is, because handlers are
made from the service's descriptor. Whoever is not known learns nothing else; a role that the table does not name is
refused; an unexpected error is `INTERNAL` without text. A stranger's message is not even awaited: every method is
registered as one that reads its own messages, because grpc.aio would wait for a single one before it asks us, and a
call without a message would stay. (Handlers are wrapped when they are registered: a server interceptor of grpc.aio
costs a coroutine and a handler lookup more on every call.)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from time import perf_counter_ns
from typing import Any, NamedTuple, NoReturn, TypeAlias, TypeVar

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from chain.caller import LENT, Caller
from chain.decision import Decision
from chain.errors import (
    ChainError,
    ConfigurationError,
    ForbiddenError,
    InvalidRequestError,
    ResourceExhaustedError,
    UnauthenticatedError,
)
from chain.peer import NotYetError
from chain.service.calllog import MAX_DECISIONS, CallLine, CallLog
from chain.service.credentials import Identity
from chain.service.room import GUESTS, Kind, Room
from chain.service.settling import settle
from chain.service.waiting import Waiting
from chain.wire.graph import METHODS as GRAPH
from chain.wire.status import DETAILS, code_of, details_of

TRACEPARENT = "traceparent"
"""Metadata by which instrumented clients name the trace of a call (W3C Trace Context)."""

REQUEST_ID = "x-request-id"
"""Metadata that names a call to client and operator; echoed, or made where there is none."""

MAX_REQUEST_ID = 128
"""Characters of a request id that is echoed."""

MAX_METHOD = 64
"""Characters of a method that does not exist, in the log: a stranger's may have kilobytes."""

MESSAGE_PATIENCE = 30.0
"""Seconds that the one message of a call may take; it travels with the call, and a slow line takes seconds."""

PLACES = (
    dict.fromkeys(("Revoke", "Suspend", "ReportSignal", "CompromiseKey"), Kind.URGENT)
    | dict.fromkeys(("Explain", "Simulate"), Kind.STUDY)
    | dict.fromkeys(GRAPH, Kind.QUESTION)
)
"""Method -> the kind of place that it takes (`chain.service.room`); all others are calls. What is urgent has room
whatever else is under way: it takes authority away, and waiting would leave it."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
R = TypeVar("R")

Decode: TypeAlias = Callable[[bytes], Message]
Authenticate: TypeAlias = Callable[[Mapping[str, str | bytes], Context], Identity]


class Call:
    """One call that passed the gate.

    Attributes:
        caller: whose it is.
        context: gRPC's, for streams and deadlines.
        decisions: ids made on the way, the first `MAX_DECISIONS`.
        decided: how many.
        trace: what its metadata say of the trace that it belongs to: any text, and used only if it is one.
    """

    __slots__ = ("_decode", "_identity", "_patience", "_waiting", "caller", "context", "decided", "decisions", "trace")

    def __init__(self, identity: Identity, context: Context, decode: Decode, waiting: Waiting, patience: float) -> None:
        self._identity = identity
        self.caller: Caller = identity.caller
        self.context = context
        self._decode = decode
        self._waiting = waiting
        self._patience = patience
        self.decisions: list[str] = []
        self.decided = 0
        self.trace = ""

    async def read(self) -> Any:  # noqa: ANN401  # of the method's own type
        """Return the next message, or None where there is no more.

        Raises:
            InvalidRequestError: it is not a message of this method.
            UnauthenticatedError: the credential ended.
            UnreachableError: nothing came in time, or the server stops.
        """
        data = await self._waiting.next(self.context.read, self._identity, self._patience)
        return None if data is grpc.aio.EOF else _decoded(self._decode, data)

    async def wait(self, event: Callable[[], Awaitable[object]]) -> None:
        """Wait for something of the server's own, as long as the credential and the server last."""
        await self._waiting.next(event, self._identity)

    def note(self, decision: Decision) -> None:
        """Remember a decision for the log."""
        self.decided += 1
        if decision.id and self.decided <= MAX_DECISIONS:
            self.decisions.append(decision.id)


Unary: TypeAlias = Callable[[Any, Call], Awaitable[Message]]
Stream: TypeAlias = Callable[[Call], Awaitable[None]]
Guest: TypeAlias = Callable[[Any], Awaitable[Message]]


class Bounds(NamedTuple):
    """How much may go on at once, and for how long in silence.

    Attributes:
        room: says who may call now.
        waiting: calls that wait for a message.
        guests: strangers' calls that do.
        unsettled: calls that wait for the key that their credential names.
        stream_idle: seconds that a stream may say nothing.
    """

    room: Room
    waiting: Waiting
    guests: Waiting
    unsettled: Waiting
    stream_idle: float


class Gate:
    """Lets authenticated callers with the right role through to a service's methods."""

    def __init__(
        self,
        authenticate: Authenticate,
        log: CallLog,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        bounds: Bounds,
    ) -> None:
        """Prepare a gate.

        Args:
            authenticate: metadata and gRPC's context -> who is calling; raises `UnauthenticatedError`.
            log: takes a line for each call.
            clock: seconds since the epoch.
            new_id: makes request ids.
            bounds: how much may go on at once; shared by all gates of a server.
        """
        self._authenticate = authenticate
        self._log = log
        self._clock = clock
        self._new_id = new_id
        self._bounds = bounds

    def service(
        self,
        descriptor: ServiceDescriptor,
        methods: Mapping[str, Any],
        *,
        any_role: bool = False,
        guests: frozenset[str] = frozenset(),
    ) -> grpc.GenericRpcHandler:
        """Return the handlers of a whole service.

        Args:
            descriptor: names every method that the service has.
            methods: a `Unary` or `Stream` for each, or a `Guest`.
            guests: methods that are open to strangers.
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
            if name in guests:
                handlers[name] = grpc.stream_unary_rpc_method_handler(self._guest(handle, decode), None, encode)
            elif method.client_streaming or method.server_streaming:
                stream = self._stream(name, handle, decode, any_role=any_role)
                handlers[name] = grpc.stream_stream_rpc_method_handler(stream, None, encode)
            else:
                unary = self._unary(name, handle, decode)
                handlers[name] = grpc.stream_unary_rpc_method_handler(unary, None, encode)
        return grpc.method_handlers_generic_handler(descriptor.full_name, handlers)

    def nothing(self) -> grpc.GenericRpcHandler:
        """Return the handler of every method that does not exist: a stranger does not learn that it does not."""
        return _Nothing(self)

    def _unary(self, name: str, handle: Unary, decode: Decode) -> Callable[[object, Context], Awaitable[Message]]:
        kind = PLACES.get(name, Kind.CALL)

        async def work(call: Call) -> Message:
            message = await call.read()
            if message is None:
                raise InvalidRequestError("no message")
            return await handle(message, call)

        async def answer(_messages: object, context: Context) -> Message:
            return await self._through(name, context, decode, work, kind)

        return answer

    def _guest(self, handle: Guest, decode: Decode) -> Callable[[object, Context], Awaitable[Message]]:
        async def answer(_messages: object, context: Context) -> Message:
            guests = self._bounds.guests
            if len(guests) >= GUESTS:
                guests.end_oldest(ResourceExhaustedError("too many wait"))
            try:
                data = await guests.next(context.read)
                return await handle(_decoded(decode, b"" if data is grpc.aio.EOF else data))
            except ChainError as error:
                await _refuse(context, error, self._new_id())

        return answer

    def _stream(
        self, name: str, handle: Stream, decode: Decode, *, any_role: bool
    ) -> Callable[[object, Context], Awaitable[None]]:
        async def answer(_messages: object, context: Context) -> None:
            await self._through(name, context, decode, handle, Kind.STREAM, any_role=any_role)

        return answer

    async def _through(
        self,
        name: str,
        context: Context,
        decode: Decode,
        work: Callable[[Call], Awaitable[R]],
        kind: Kind,
        *,
        any_role: bool = False,
    ) -> R:
        began, bounds = perf_counter_ns(), self._bounds
        pairs = context.invocation_metadata() or ()
        metadata = dict(pairs)
        request_id = self._request_id(metadata)
        call: Call | None = None
        entered = False
        code, refused = "CANCELLED", ""
        try:
            if len(metadata) < len(pairs):
                _require_one_credential(pairs)
            patience = bounds.stream_idle if kind is Kind.STREAM else MESSAGE_PATIENCE
            try:
                identity = self._authenticate(metadata, context)
            except NotYetError as error:
                await settle(error, bounds.unsettled)
                identity = self._authenticate(metadata, context)
            call = Call(identity, context, decode, bounds.waiting, patience)
            call.trace = str(metadata.get(TRACEPARENT, ""))
            if LENT in metadata:
                call.caller = call.caller.lending()
            if not any_role:
                call.caller.require(name)
            bounds.room.enter(_place(call.caller, kind), kind)
            entered = True
            reply = await work(call)
            context.set_trailing_metadata(((REQUEST_ID, request_id),))
            code = "OK"
        except ChainError as error:
            code = code_of(error).name
            if isinstance(error, UnauthenticatedError):
                refused = error.detail
            await _refuse(context, error, request_id)
        except Exception as error:  # noqa: BLE001  # the last resort: its text must not reach the client
            code = "INTERNAL"
            self._log.failure(name, request_id, error)
            await _refuse(context, ChainError("the service failed"), request_id)
        finally:
            if call is not None and entered:
                bounds.room.leave(_place(call.caller, kind), kind)
            if self._log.calls:
                line = CallLine(self._clock(), request_id, "", name, code, (perf_counter_ns() - began) // 1000)
                line.refused = refused
                self._log_call(line, call)
        return reply

    def _log_call(self, line: CallLine, call: Call | None) -> None:
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
        name = handler_call_details.method.rpartition("/")[2][:MAX_METHOD]

        async def refuse(_call: Call) -> None:
            raise ForbiddenError("no role may call this")

        return grpc.stream_stream_rpc_method_handler(self._gate._stream(name, refuse, Empty.FromString, any_role=True))  # noqa: SLF001


def _place(caller: Caller, kind: Kind) -> str:
    """Return whose room a call takes: who borrows a connection leaves its lender the places to take authority away."""
    return f"{caller.name} (lent)" if caller.lends and kind is Kind.URGENT else caller.name


def _require_one_credential(pairs: Iterable[tuple[str, str | bytes]]) -> None:
    """Return where a call has one credential at most: who stands before this server may have looked at the other."""
    if sum(name == "authorization" for name, _ in pairs) > 1:
        raise UnauthenticatedError("more than one bearer credential")


def _decoded(decode: Decode, data: bytes) -> Message:
    try:
        return decode(data)
    except DecodeError:
        raise InvalidRequestError("not a message of this method") from None


async def _refuse(context: Context, error: ChainError, request_id: str) -> NoReturn:
    metadata = ((REQUEST_ID, request_id), (DETAILS, details_of(error)))
    await context.abort(code_of(error), error.detail, metadata)
    raise AssertionError("abort raises")
