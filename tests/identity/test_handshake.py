"""What sources give is good for gRPC's own mTLS: the server by its DNS name, the client by its SVID."""

from __future__ import annotations

import time
from concurrent import futures

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from chain.identity.devapi import DevWorkloadApi
from chain.identity.devca import DevAuthority
from chain.identity.material import Material
from chain.identity.workloadapi import WorkloadSource
from tests.identity.conftest import ALICE, CHAIN


def material(api: DevWorkloadApi, name: str) -> Material:
    source = WorkloadSource(f"unix:{api.sockets[name]}", time.time)
    try:
        return source.current()
    finally:
        source.close()


def roots(held: Material) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in held.bundles["dev.test"].authorities)


class Named(health.HealthServicer):
    """Remembers by which names its caller was known."""

    names: tuple[bytes, ...] = ()

    def Check(self, request: health_pb2.HealthCheckRequest, context: grpc.ServicerContext) -> object:  # noqa: N802
        Named.names = tuple(context.auth_context()["x509_subject_alternative_name"])
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


def call(server: Material, client: Material, trusted: bytes) -> object:
    """One call from a client to a server, each with its SVID."""
    assert server.svid is not None
    assert client.svid is not None
    pair = (server.svid.key, server.svid.chain)
    serving = grpc.server(futures.ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(Named(), serving)
    port = serving.add_secure_port(
        "localhost:0", grpc.ssl_server_credentials([pair], root_certificates=roots(server), require_client_auth=True)
    )
    serving.start()
    credentials = grpc.ssl_channel_credentials(trusted, client.svid.key, client.svid.chain)
    try:
        with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
            return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    finally:
        serving.stop(None).wait()


def test_two_svids_meet(api: DevWorkloadApi) -> None:
    server, client = material(api, CHAIN), material(api, ALICE)
    assert call(server, client, roots(client)) is not None
    assert Named.names == (ALICE.encode(),)


def test_a_server_without_a_dns_name_is_refused(api: DevWorkloadApi) -> None:
    held = material(api, ALICE)
    with pytest.raises(grpc.RpcError) as refused:
        call(held, held, roots(held))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_before_and_after_a_rotation_they_meet(api: DevWorkloadApi, authority: DevAuthority) -> None:
    before = material(api, ALICE)
    api.rotate()
    server = material(api, CHAIN)
    assert call(server, before, roots(server)) is not None
    assert Named.names == (ALICE.encode(),)
    assert call(server, before, roots(before)) is not None  # it was published before it signed
    api.rotate()
    with pytest.raises(grpc.RpcError):
        call(material(api, CHAIN), before, roots(before))  # who follows no bundle does not know what came later
