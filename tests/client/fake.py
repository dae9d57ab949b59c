"""A server that answers whatever a test tells it to: lies, garbage, silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import grpc
from google.protobuf.message import Message

Answer = Callable[[bytes, grpc.ServicerContext], Message | bytes]


class Fake(grpc.GenericRpcHandler):
    """Listens on loopback; `answer` says what to give for every call; `tls` is a private key with its certificate.

    Attributes:
        calls: method and message of every call that arrived.
        metadata: of the last call.
    """

    def __init__(self, answer: Answer | Message | bytes, tls: tuple[bytes, bytes] | None = None) -> None:
        self._answer = answer
        self.calls: list[tuple[str, bytes]] = []
        self.metadata: dict[str, str | bytes] = {}
        self._server = grpc.server(ThreadPoolExecutor(4), handlers=[self])
        if tls is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([tls]))
        self.target = f"127.0.0.1:{port}"

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        method = handler_call_details.method.rpartition("/")[2]

        def unary(message: bytes, context: grpc.ServicerContext) -> bytes:
            self.calls.append((method, message))
            self.metadata = dict(context.invocation_metadata())
            made = self._answer(message, context) if callable(self._answer) else self._answer
            return made if isinstance(made, bytes) else made.SerializeToString()

        def stream(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            for message in messages:
                yield unary(message, context)

        if method == "CheckStream":
            return grpc.stream_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(unary)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.stop(None).wait()
