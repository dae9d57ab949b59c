"""Who gets through: every method of every service, for every role, drawn from the descriptors."""

import asyncio
import contextlib
import hashlib
from pathlib import Path
from typing import Never

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from chain.caller import ALLOWED, Role
from chain.errors import ForbiddenError, UnauthenticatedError
from chain.service.server import SERVICES
from chain.wire.status import error_from

from .conftest import PEP, Serve, World, ask, bearer, configuration, fingerprint, secret

Metadata = tuple[tuple[str, str], ...]
METHODS = {f"/{s.full_name}/{m.name}": m for s in SERVICES for m in s.methods}
REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


async def code(channel: grpc.aio.Channel, path: str, metadata: Metadata = ()) -> grpc.StatusCode:
    """How a call with an empty message ends."""
    method = METHODS.get(path)
    encode = None if method is None else GetMessageClass(method.input_type).SerializeToString
    empty = b"" if method is None else GetMessageClass(method.input_type)()
    if method is not None and method.name == "Watch":
        empty.chain.SetInParent()  # an empty chain: whoever may call it at all may ask about one
    if method is not None and method.client_streaming:
        call = channel.stream_stream(path, encode)(iter([empty]), metadata=metadata, timeout=20)
        with contextlib.suppress(grpc.aio.AioRpcError):  # its code is what is asked for
            await call.read()
        return await call.code()
    call = channel.unary_unary(path, encode)(empty, metadata=metadata, timeout=20)
    return await call.code()


def test_the_table_names_every_method_and_no_other() -> None:
    assert {method.name for method in METHODS.values()} == ALLOWED.keys()


def by_role() -> list[dict]:
    return [
        {"name": role.value, "roles": [role.value], "credentials": [fingerprint(role.value)], "audience": PEP}
        for role in Role
    ]


async def test_exactly_the_roles_of_the_table_pass(serve: Serve) -> None:
    world = await serve(callers=by_role(), sockets=None)
    channel = world.channel()
    for path, method in METHODS.items():
        for role in Role:
            told = await code(channel, path, bearer(role.value))
            if role in ALLOWED[method.name]:
                assert told not in REFUSED, (path, role)
            else:
                assert told is grpc.StatusCode.PERMISSION_DENIED, (path, role)


async def test_what_does_not_exist_is_refused_to_everybody(world: World) -> None:
    channel = world.channel()
    for path in ("/chain.v1.AuthorizationService/Nothing", "/grpc.reflection.v1alpha.ServerReflection/Nothing"):
        assert await code(channel, path, bearer("operator")) is grpc.StatusCode.PERMISSION_DENIED


async def test_a_strangers_method_does_not_fill_the_log(world: World) -> None:
    for name in ("Nothing", "N" * 6000):
        path, before = f"/chain.v1.AuthorizationService/{name}", len(world.lines())
        assert await code(world.channel(), path) is grpc.StatusCode.UNAUTHENTICATED
        while len(world.lines()) == before:  # noqa: ASYNC110 - the line is written when the call has ended
            await asyncio.sleep(0.01)
        last = world.lines()[-1]
        assert (last["method"], last["code"]) == (name[:64], "UNAUTHENTICATED")


async def test_reflection_is_off_unless_it_is_asked_for_and_never_open(serve: Serve) -> None:
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    shut = await serve(sockets=None, callers=by_role())
    assert await code(shut.channel(), path, bearer("auditor")) is grpc.StatusCode.PERMISSION_DENIED
    world = await serve(reflection=True, sockets=None, callers=by_role())
    assert await code(world.channel(), path) is grpc.StatusCode.UNAUTHENTICATED
    stub = reflection_pb2_grpc.ServerReflectionStub(world.channel())
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    call = stub.ServerReflectionInfo(iter([request]), metadata=bearer("auditor"), timeout=20)
    names = [item.name async for reply in call for item in reply.list_services_response.service]
    assert {s.full_name for s in SERVICES} <= set(names)


async def test_a_socket_speaks_for_its_own_caller_whatever_the_metadata_says(world: World) -> None:
    channel = world.channel("alice", socket=True)
    assert await code(channel, "/chain.v1.ServerInfoService/GetServerInfo") is grpc.StatusCode.OK
    path = "/chain.v1.DelegationService/Issue"
    assert await code(channel, path, bearer("issuer")) is grpc.StatusCode.PERMISSION_DENIED
    assert await code(world.channel(), path, bearer("issuer")) is grpc.StatusCode.INVALID_ARGUMENT
    assert world.server.sockets["alice"].stat().st_mode & 0o077 == 0
    assert world.server.sockets["alice"].parent.stat().st_mode & 0o077 == 0


async def test_a_secret_is_replaced_without_a_gap_and_ends_when_it_should(serve: Serve, directory: Path) -> None:
    now = [1_800_000_000.0]
    callers = configuration(directory)["callers"]
    point = next(caller for caller in callers if caller["name"] == "point")
    point["credentials"] = [
        {"sha256": fingerprint("old"), "not_after": "2027-01-15T08:01:00Z"},  # a minute from `now`
        fingerprint("new"),
    ]
    world = await serve(callers=callers, clock=lambda: now[0])
    path = "/chain.v1.ServerInfoService/GetServerInfo"
    assert await code(world.channel(), path, bearer("old")) is grpc.StatusCode.OK
    assert await code(world.channel(), path, bearer("new")) is grpc.StatusCode.OK
    now[0] += 60
    assert await code(world.channel(), path, bearer("old")) is grpc.StatusCode.UNAUTHENTICATED
    assert await code(world.channel(), path, bearer("new")) is grpc.StatusCode.OK


async def test_a_secret_that_is_too_short_never_opens(serve: Serve) -> None:
    short, long = "s" * 31, "s" * 32
    known = [hashlib.sha256(text.encode()).hexdigest() for text in (short, long)]
    auditor = {"name": "auditor", "roles": ["auditor"], "credentials": known}
    world = await serve(callers=[auditor], sockets=None)
    path = "/chain.v1.ServerInfoService/GetServerInfo"
    for text, told in ((short, grpc.StatusCode.UNAUTHENTICATED), (long, grpc.StatusCode.OK)):
        assert await code(world.channel(), path, (("authorization", f"Bearer {text}"),)) is told


async def test_the_request_id_is_echoed_or_made(world: World) -> None:
    point = world.stub("point")
    message = ask([], channel=True)
    for sent, echoed in (("call-17", True), ("x" * 129, False)):
        call = point.Check(message, extra=(("x-request-id", sent),))
        await call
        told = dict(await call.trailing_metadata())["x-request-id"]
        assert (told == sent) is echoed
        assert told in {line.get("request") for line in world.lines()}
    call = point.Check(message)
    await call
    assert dict(await call.trailing_metadata())["x-request-id"]


async def test_errors_travel_with_their_reason(world: World) -> None:
    stranger = world.channel().unary_unary("/chain.v1.ServerInfoService/GetServerInfo")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stranger(b"", timeout=20)
    assert isinstance(error_from(caught.value), UnauthenticatedError)
    assert dict(caught.value.trailing_metadata())["x-request-id"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.stub("operator").Check(ask([]))
    assert isinstance(error_from(caught.value), ForbiddenError)


async def test_an_unexpected_error_says_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_args: object) -> Never:
        raise RuntimeError("the secret is hunter2")

    monkeypatch.setattr(world.server._authority, "begin_check", explode)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.stub("point").Check(ask([]))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in world.log.getvalue()
    failed = next(line for line in world.lines() if line.get("event") == "failed")
    assert failed["detail"]["error"] == "RuntimeError"


async def test_the_log_holds_ids_and_no_secret_token_proof_or_argument(world: World) -> None:
    root = await world.root()
    arguments = {"folder": "in"}
    made = world.proof("alice", root, "mail.read", arguments)
    reply = await world.stub("point").Check(ask([root], arguments=arguments, proof=made))
    text = world.log.getvalue()
    line = next(line for line in world.lines() if line.get("method") == "Check")
    assert line["decisions"] == [reply.decision.decision_id]
    assert (line["caller"], line["code"]) == ("point", "OK")
    assert line["micros"] > 0
    for hidden in (root, made, secret("point"), fingerprint("point"), "folder", "eyJ"):
        assert hidden not in text


async def test_a_message_above_the_limit_is_an_error(serve: Serve) -> None:
    world = await serve(max_message_bytes=65536)
    large = ask([], channel=True)
    large.arguments_json = b'{"folder":"%s"}' % (b"x" * 70_000)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.stub("point").Check(large)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    large.arguments_json = b"{}"
    assert (await world.stub("point").Check(large)).decision.effect


@pytest.mark.parametrize("path", METHODS)
async def test_bytes_that_are_no_message_are_an_error_and_a_strangers_are_not_parsed(serve: Serve, path: str) -> None:
    world = await serve(sockets=None, callers=by_role())
    method = METHODS[path]
    role = min(ALLOWED[method.name]).value
    for data, metadata, told in (
        (b"\xff\xff", (), grpc.StatusCode.UNAUTHENTICATED),
        (b"\xff\xff", bearer(role), grpc.StatusCode.INVALID_ARGUMENT),
    ):
        if method.client_streaming:
            call = world.channel().stream_stream(path)(iter([data]), metadata=metadata, timeout=20)
            with contextlib.suppress(grpc.aio.AioRpcError):
                await call.read()
        else:
            call = world.channel().unary_unary(path)(data, metadata=metadata, timeout=20)
        assert await call.code() is told
    assert await code(world.channel(), path, bearer(role)) not in {*REFUSED, grpc.StatusCode.INTERNAL}
