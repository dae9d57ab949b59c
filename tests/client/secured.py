"""A TLS server that requires a client's certificate, and reads its own anew for every handshake."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import grpc
from cryptography import x509
from google.protobuf.message import Message

from chain.v1 import authorization_pb2, decision_pb2, info_pb2, reason_pb2, watch_pb2
from tests.client.domain import Held


class Secured(grpc.GenericRpcHandler):
    """Answers Check, CheckStream, GetServerInfo, GetRevision and Watch; says whose certificate it saw.

    Attributes:
        target: where it listens.
        seen: serial numbers of the clients' certificates, by call.
        credentials: `authorization` of each call.
        streams: streams that are open now.
    """

    def __init__(self, source: Held) -> None:
        self.seen: list[int] = []
        self.credentials: list[str] = []
        self.streams = 0
        self.answering = threading.Event()
        self.answering.set()
        self.ended: set[str] = set()
        self._source = source
        self._server = grpc.server(ThreadPoolExecutor(24), handlers=[self])
        configured = grpc.dynamic_ssl_server_credentials(
            self._configuration(), self._configuration, require_client_authentication=True
        )
        port = self._server.add_secure_port("127.0.0.1:0", configured)
        self.target = f"127.0.0.1:{port}"

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        material = self._source.current()
        assert material.svid is not None
        roots = b"".join(bundle.pem for bundle in material.bundles.values())
        return grpc.ssl_server_certificate_configuration([(material.svid.key, material.svid.chain)], roots)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        method = handler_call_details.method.rpartition("/")[2]
        if method == "CheckStream":
            return grpc.stream_stream_rpc_method_handler(self._check_stream)
        if method == "Watch":
            return grpc.unary_stream_rpc_method_handler(self._watch)
        replies: dict[str, Message] = {
            "Check": authorization_pb2.CheckResponse(decision=_allowed()),
            "GetServerInfo": info_pb2.GetServerInfoResponse(authority="https://chain.example"),
            "GetRevision": watch_pb2.GetRevisionResponse(revision=1),
        }

        def unary(_message: bytes, context: grpc.ServicerContext) -> bytes:
            self._note(context)
            assert self.answering.wait(20)
            return replies[method].SerializeToString()

        return grpc.unary_unary_rpc_method_handler(unary)

    def _note(self, context: grpc.ServicerContext) -> str:
        (pem,) = context.auth_context()["x509_pem_cert"]
        self.seen.append(x509.load_pem_x509_certificate(pem).serial_number)
        shown = str(dict(context.invocation_metadata()).get("authorization", ""))
        self.credentials.append(shown)
        if shown in self.ended:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "the credential ended")
        return shown

    def _check_stream(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        self._note(context)
        self.streams += 1
        try:
            for message in messages:
                asked = authorization_pb2.CheckStreamRequest.FromString(message)
                assert self.answering.wait(20)
                reply = authorization_pb2.CheckStreamResponse(correlation_id=asked.correlation_id, decision=_allowed())
                yield reply.SerializeToString()
        finally:
            self.streams -= 1

    def _watch(self, message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        shown = self._note(context)
        asked = watch_pb2.WatchRequest.FromString(message)
        gone = threading.Event()
        context.add_callback(gone.set)
        self.streams += 1
        try:
            standing = watch_pb2.ChainStanding(stands=True, reason=reason_pb2.REASON_ALLOWED)
            yield watch_pb2.WatchResponse(revision=1, standing=standing).SerializeToString()
            while not gone.wait(asked.heartbeat_ms / 1000):
                if shown in self.ended:
                    context.abort(grpc.StatusCode.UNAUTHENTICATED, "the credential ended")
                beat = watch_pb2.WatchResponse(revision=1, heartbeat=watch_pb2.Heartbeat(time_ms=1))
                yield beat.SerializeToString()
        finally:  # a call that is cancelled while it yields is not gone on with
            self.streams -= 1

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.stop(None).wait()


def _allowed() -> decision_pb2.Decision:
    return decision_pb2.Decision(effect=decision_pb2.EFFECT_ALLOW, reason=reason_pb2.REASON_ALLOWED, decision_id="d")
