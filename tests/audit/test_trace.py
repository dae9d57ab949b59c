"""The trace that a call is a part of: it stands in the record and in what others are told, and decides nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chain import auditor, cloudevent, mint, ocsf, otlp
from chain.auditor import Which
from chain.cli import main
from chain.client import Client, Local, Session
from chain.given import Entry
from chain.history import History
from chain.order import Issue
from chain.request import Request
from chain.service.server import ChainServer
from chain.tracecontext import Trace, parse
from chain.v1 import authorization_pb2, authorization_pb2_grpc
from chain.wire.asking import check_to
from tests.client.running import running, secret
from tests.support import ALICE, PEP, World, root, seal

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACE = f"00-{ID}-{SPAN}-01"
OTHER = f"00-{ID[::-1]}-{SPAN}-00"
STRANGE = {
    "nothing": "",
    "another version": f"01-{ID}-{SPAN}-01",
    "more than there is": f"{TRACE}-more",
    "a line more": f"{TRACE}\n",
    "a trace of zeros": f"00-{'0' * 32}-{SPAN}-01",
    "a span of zeros": f"00-{ID}-{'0' * 16}-01",
    "capitals": TRACE.upper(),
    "too short": TRACE[:-1],
    "digits that are none": TRACE.replace("0", "\u0660"),
    "no flags": f"00-{ID}-{SPAN}",
}


def entries(world: World) -> list[Entry]:
    watching = world.authority.watch
    found: list[Entry] = []
    lines, revision = watching.lines(0)
    while lines:
        found += [Entry(line.revision, line.kind, line.time, json.loads(bytes(line.body))) for line in lines]
        lines, revision = watching.lines(revision)
    return found


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_trace_is_none(name: str) -> None:
    assert parse(STRANGE[name]) is None
    assert parse(TRACE) == Trace(ID, SPAN)
    with pytest.raises(ValidationError):
        Request(tool="mail.read", trace=STRANGE[name])
    assert Request(tool="mail.read", trace=TRACE).trace == TRACE
    assert len(STRANGE) == 10


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_every_trace_is_one(trace: int, span: int, flags: int) -> None:
    assert parse(f"00-{trace:032x}-{span:016x}-{flags:02x}") == Trace(f"{trace:032x}", f"{span:016x}")


def test_it_stands_in_the_record_of_the_decision_and_decides_nothing(world: World) -> None:
    tokens = [seal(root())]
    answers = [world.ask(tokens, ALICE, **({"trace": trace} if trace else {})) for trace in (None, TRACE, OTHER)]
    assert {answer.allowed for answer in answers} == {True}
    recorded = [entry.body for entry in entries(world) if entry.kind == "decided"]
    assert [body.get("trace") for body in recorded] == [None, TRACE, OTHER]
    history = History(entries(world))
    assert [row["decision"] for row in auditor.who(history, Which(trace=ID))] == [answers[1].id]
    assert len(auditor.who(history, Which())) == 3
    assert auditor.attempts(history, Which(trace=ID)) == []


def test_what_was_refused_is_found_by_its_trace(world: World) -> None:
    denied = world.ask([seal(root())], ALICE, "bank.pay", {"amount": 10**9}, trace=TRACE)
    assert not denied.allowed
    history = History(entries(world))
    assert [row["reason"] for row in auditor.attempts(history, Which(trace=ID))] == [denied.reason]


def test_spans_are_a_part_of_it(world: World) -> None:
    tokens = [seal(root())]
    world.ask(tokens, ALICE, trace=TRACE)
    world.ask(tokens, ALICE)
    tracer = otlp.Tracer("urn:here", "1")
    told = [one for entry in entries(world) if (one := tracer.take(entry)) is not None]
    first, second = ([*one["resourceSpans"][0]["scopeSpans"][0]["spans"]] for one in told)
    assert {span["traceId"] for span in first} == {ID}
    assert [span.get("parentSpanId") for span in first] == [SPAN, *(span["spanId"] for span in first[:-1])]
    assert ID not in {span["traceId"] for span in second}
    assert "parentSpanId" not in second[0]


def test_events_name_it(world: World) -> None:
    tokens = [seal(root())]
    world.ask(tokens, ALICE, trace=TRACE)
    world.ask(tokens, ALICE)
    first, second = (entry for entry in entries(world) if entry.kind == "decided")
    assert cloudevent.event(first, "urn:here")["traceparent"] == TRACE
    assert "traceparent" not in cloudevent.event(second, "urn:here")
    assert ocsf.event(first, "urn:here", "1")["metadata"]["correlation_uid"] == ID
    assert "correlation_uid" not in ocsf.event(second, "urn:here", "1")["metadata"]


@pytest.mark.parametrize("named", [TRACE, None, "", "of a tracer that is broken"])
def test_a_session_asks_for_it_with_each_call_and_calls_whatever_it_says(world: World, named: str | None) -> None:
    asked = iter([named, OTHER])
    door = Local(world.authority, world.caller)
    session = Session(
        signer=ALICE, tokens=[seal(root())], audience=PEP, door=door, clock=world.clock, trace=lambda: next(asked)
    )
    for _ in range(2):
        assert session.check("mail.read", {"folder": "in"}).allowed
    recorded = [entry.body.get("trace") for entry in entries(world) if entry.kind == "decided"]
    assert recorded == [TRACE if named == TRACE else None, OTHER]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainServer]:
    with running(tmp_path_factory.mktemp("traced")) as server:
        yield server


def client(server: ChainServer, name: str) -> Client:
    return Client(server.address, credential=secret(name))


@pytest.fixture(scope="module")
def token(served: ChainServer) -> str:
    grant = mint.grant({"tools": {"mail.read": {}}})
    with client(served, "issuer") as issuer:
        made = issuer.issue(Issue(holder=ALICE.key, grant=grant, lifetime=300)).token
    assert made is not None
    return made


def traces(server: ChainServer, after: int) -> list[Any]:
    with client(server, "operator") as operator, operator.watch(after, ["decided"], until_now=True) as news:
        return [told.members.get("trace") for told in news]


def revision(server: ChainServer) -> int:
    with client(server, "operator") as operator:
        return operator.revision()


def stub(channel: grpc.Channel) -> Any:
    return authorization_pb2_grpc.AuthorizationServiceStub(channel)


def asking(token: str, **more: Any) -> authorization_pb2.CheckRequest:
    return check_to([token], Request(tool="mail.read", arguments={"folder": "in"}, **more))


def test_over_the_wire_a_message_or_its_metadata_name_it(served: ChainServer, token: str) -> None:
    before = revision(served)
    who = ("authorization", f"Bearer {secret('point')}")
    plain, named = asking(token), asking(token, trace=TRACE)
    with grpc.insecure_channel(served.address) as channel:
        check = stub(channel).Check
        check(named, metadata=[who], timeout=20)
        check(plain, metadata=[who, ("traceparent", TRACE)], timeout=20)
        check(named, metadata=[who, ("traceparent", OTHER)], timeout=20)
        for strange in ("", "x" * 4_000, f"01-{ID}-{SPAN}-01"):
            check(plain, metadata=[who, ("traceparent", strange)], timeout=20)
        check(plain, metadata=[who, ("traceparent", TRACE), ("traceparent", OTHER)], timeout=20)
    assert traces(served, before)[:6] == [TRACE, TRACE, TRACE, None, None, None]
    assert len(traces(served, before)) == 7


def test_each_item_of_a_batch_has_its_own_or_that_of_the_call(served: ChainServer, token: str) -> None:
    before = revision(served)
    metadata = [("authorization", f"Bearer {secret('point')}"), ("traceparent", OTHER)]
    batch = authorization_pb2.BatchCheckRequest(items=[asking(token, trace=TRACE), asking(token)])
    with grpc.insecure_channel(served.address) as channel:
        assert len(stub(channel).BatchCheck(batch, metadata=metadata, timeout=20).results) == 2
    assert traces(served, before) == [TRACE, OTHER]


def test_each_question_of_a_stream_has_its_own(served: ChainServer, token: str) -> None:
    before = revision(served)
    metadata = [("authorization", f"Bearer {secret('point')}"), ("traceparent", OTHER)]
    asked = [authorization_pb2.CheckStreamRequest(correlation_id=1, check=asking(token, trace=TRACE))]
    asked.append(authorization_pb2.CheckStreamRequest(correlation_id=2, check=asking(token)))
    with grpc.insecure_channel(served.address) as channel:
        assert len(list(stub(channel).CheckStream(iter(asked), metadata=metadata, timeout=20))) == 2
    assert traces(served, before) == [TRACE, None]


def test_a_message_that_names_none_is_refused_and_nothing_is_decided(served: ChainServer, token: str) -> None:
    before = revision(served)
    metadata = [("authorization", f"Bearer {secret('point')}")]
    with grpc.insecure_channel(served.address) as channel:
        message = asking(token)
        message.traceparent = STRANGE["another version"]
        with pytest.raises(grpc.RpcError) as refused:
            stub(channel).Check(message, metadata=metadata, timeout=20)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert revision(served) == before
        message.traceparent = TRACE
        stub(channel).Check(message, metadata=metadata, timeout=20)
    assert traces(served, before) == [TRACE]


def test_the_client_sends_it_and_the_command_finds_it(served: ChainServer, token: str, tmp_path: Any) -> None:
    with client(served, "agent") as agent:
        session = Session(
            signer=ALICE, tokens=[token], audience=PEP, door=agent, trace=lambda: f"00-{'7' * 32}-{SPAN}-01"
        )
        assert session.check("mail.read", {"folder": "in"}).allowed
    file = tmp_path / "operator.secret"
    file.write_text(secret("operator"))
    file.chmod(0o600)
    words = ["audit", "who", "--server", served.address, "--credential-file", str(file), "--json"]
    found = json.loads(CliRunner().invoke(main, [*words, "--trace", "7" * 32]).stdout)["rows"]
    assert [row["did"] for row in found] == ["mail.read"]
    assert json.loads(CliRunner().invoke(main, [*words, "--trace", "8" * 32]).stdout)["rows"] == []
