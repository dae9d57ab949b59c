"""No method is open to a peer that is not authenticated, health aside: at every door, for all that is no credential."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

import chain.v1
from chain.caller import ALLOWED, Role
from chain.service.health import DESCRIPTOR as HEALTH
from chain.service.health import OPEN
from chain.service.server import SERVICES

from .conftest import Serve, bearer, configuration, fingerprint, secret
from .test_gate import METHODS, REFUSED, by_role, code

INFO = "/chain.v1.ServerInfoService/GetServerInfo"
REFLECTION = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
BESIDE = [
    f"/{service.full_name}/{method.name}"
    for service in (HEALTH, REFLECTION)
    for method in service.methods
    if method.name not in OPEN
]
UNKNOWN = (
    "/chain.v1.AuthorizationService/Nothing",
    "/chain.v1.AuthorizationService/",
    "/chain.v1.AuthorizationService/check",
    "/chain.v2.AuthorizationService/Check",
    "/AuthorizationService/Check",
    "/grpc.health.v1.Health/Nothing",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/no.such.Service/Method",
    "/",
)
EVERY = (*METHODS, *BESIDE, *UNKNOWN)
"""Every method that there is, but for those of health that are open, and some that there are not."""

GOOD = secret("operator")
NONE = {
    "nothing": (),
    "empty": (("authorization", ""),),
    "no secret": (("authorization", "Bearer "),),
    "unknown": (("authorization", "Bearer " + "x" * 40),),
    "no scheme": (("authorization", GOOD),),
    "another case": (("authorization", f"bearer {GOOD}"),),
    "another scheme": (("authorization", f"Basic {GOOD}"),),
    "a space more before it": (("authorization", f"Bearer  {GOOD}"),),
    "a space more after it": (("authorization", f"Bearer {GOOD} "),),
    "a sign less": (("authorization", f"Bearer {GOOD[:-1]}"),),
    "a sign more": (("authorization", f"Bearer {GOOD}s"),),
    "its hash": (("authorization", f"Bearer {fingerprint('operator')}"),),
    "a token that nobody takes": (("authorization", "Bearer eyJhbGciOiJub25lIn0.e30."),),
    "8 kB": (("authorization", "Bearer " + "x" * 8192),),
    "in bytes": (("authorization-bin", f"Bearer {GOOD}".encode()),),
    "under another name": (("x-authorization", f"Bearer {GOOD}"), ("x-caller", "operator")),
    "two, the first is good": (*bearer("operator"), ("authorization", "Bearer x")),
    "two, the last is good": (("authorization", "Bearer x"), *bearer("operator")),
    "two that are the same": (*bearer("operator"), *bearer("operator")),
    "two of two callers": (*bearer("operator"), *bearer("agent")),
}


def test_what_is_walked_is_all_there_is() -> None:
    made = [
        import_module(f"chain.v1.{one.name}") for one in iter_modules(chain.v1.__path__) if one.name.endswith("_pb2")
    ]
    services = {name for module in made for name in module.DESCRIPTOR.services_by_name}
    assert services == {service.name for service in SERVICES}
    assert len(METHODS) == len(ALLOWED) >= 27
    assert (len(NONE), len(EVERY)) == (20, len(METHODS) + 2 + len(UNKNOWN))


@pytest.mark.parametrize("reflection", [False, True])
async def test_nothing_but_health_answers_a_stranger(serve: Serve, *, reflection: bool) -> None:
    world = await serve(callers=by_role(), sockets=None, reflection=reflection)
    channel = world.channel()
    for name, metadata in NONE.items():
        for path in EVERY:
            assert await code(channel, path, metadata) is grpc.StatusCode.UNAUTHENTICATED, (name, path)
    health = health_pb2_grpc.HealthStub(channel)
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING
    assert (await health.List(health_pb2.HealthListRequest())).statuses
    for role in Role:
        assert await code(channel, INFO, bearer(role.value)) is grpc.StatusCode.OK
        assert await code(channel, INFO, (*bearer(role.value), ("x-more", "1"), ("x-more", "2"))) is grpc.StatusCode.OK


async def test_a_role_s_credential_that_is_almost_right_opens_no_method(serve: Serve) -> None:
    world = await serve(callers=by_role(), sockets=None)
    channel = world.channel()
    for role in Role:
        (_, good), *_ = bearer(role.value)
        almost = (("authorization", good[:-1] + ("t" if good[-1] == "s" else "s")),)
        for path, method in METHODS.items():
            assert await code(channel, path, almost) is grpc.StatusCode.UNAUTHENTICATED, (role, path)
            assert await code(channel, path, bearer(role.value)) is not grpc.StatusCode.UNAUTHENTICATED
            assert method.name in ALLOWED


async def test_a_socket_opens_to_its_caller_what_its_role_may_and_metadata_changes_nothing(
    serve: Serve, directory: Path
) -> None:
    holder = next(one["jwk"] for one in configuration(directory)["callers"] if one["name"] == "alice")
    callers = [one | {"socket": True} | ({"jwk": holder} if one["name"] == "agent" else {}) for one in by_role()]
    world = await serve(callers=callers)
    other = (("authorization", "Bearer x"), ("x-caller", "operator"))
    for role in Role:
        channel = world.channel(role.value, socket=True)
        for path, method in METHODS.items():
            for metadata in (other, bearer("operator")):
                told = await code(channel, path, metadata)
                assert (told in REFUSED) is (role not in ALLOWED[method.name]), (role, path)
        for path in UNKNOWN:
            assert await code(channel, path, bearer("operator")) is grpc.StatusCode.PERMISSION_DENIED
        assert await code(channel, INFO, (*bearer("operator"), *other)) is grpc.StatusCode.UNAUTHENTICATED
