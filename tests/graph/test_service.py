"""The graph's questions over gRPC: the same answers as the library gives, of the same record, to the same callers."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple

import grpc
import pytest
from click.testing import CliRunner

from chain.caller import ALLOWED, Caller, Role, embedded
from chain.cli import main
from chain.client import AsyncClient
from chain.client.graph import AsyncGraph, Graph
from chain.errors import ForbiddenError, InvalidRequestError, NotFoundError
from chain.inquiry import (
    BlastRadius,
    Chokepoints,
    DiffDelegations,
    ExportGraph,
    Lineage,
    Page,
    ReviewAccess,
    WhatCan,
    WhoCan,
)
from chain.v1 import audit_pb2, audit_pb2_grpc, graph_pb2
from chain.wire import graph as wire
from tests.graph.served import ORCHESTRATOR, RESEARCHER, Told, every, ids


def test_over_the_wire_it_is_what_the_library_says(told: Told) -> None:
    asked = every(told)
    assert len(asked) == 21
    assert {one.method for one in asked.values()} == set(wire.METHODS)
    with told.client() as client:
        for name, one in asked.items():
            page = Page(at=told.now, limit=1_000)
            here, there = told.library.ask(embedded(), one, page), client.graph.ask(one, page)
            assert there.rows == here.rows, name
            assert here.rows, name
            assert (there.total, there.revision, there.place.at_ms) == (here.total, here.revision, here.place.at_ms)
            assert there.next == here.next == ""


async def test_awaited_too(told: Told) -> None:
    page = Page(at=told.now)
    async with AsyncClient(told.server.address, credential=told.secret()) as client:
        for name, one in every(told).items():
            assert (await client.graph.ask(one, page)).rows == told.library.ask(embedded(), one, page).rows, name


async def test_more_than_a_page_is_fetched_page_by_page(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    one, page = ReviewAccess(idle=0, life=1, times=1), Page(at=told.now)
    whole = told.library.ask(embedded(), one, page).rows
    assert len(whole) > 4
    monkeypatch.setattr(wire, "MOST", 3)
    with told.client() as client:
        assert client.graph.ask(one, page).rows == whole
        part = client.graph.ask(one, Page(at=told.now, limit=4))
        assert part.rows == whole[:4]
        assert client.graph.ask(one, Page(token=part.next)).rows == whole[4:]
    async with AsyncClient(told.server.address, credential=told.secret()) as waiting:
        assert (await waiting.graph.ask(one, page)).rows == whole


def answer(rows: int, token: str) -> Any:
    """What a server may say, whoever it is."""
    about = graph_pb2.GraphAnswer(revision=1, at_ms=1, total_rows=10**9, next_page_token=token)
    return graph_pb2.ChokepointsResponse(answer=about, rows=[graph_pb2.ChokepointRow(kind="agent")] * rows)


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize(("brings", "calls"), [((1, 0, 1), 2), ((0, 1), 1), ((1, 2, 3, 0), 4), ((2, 5), 2)])
async def test_a_server_that_always_has_more_and_brings_nothing_is_asked_no_further(
    brings: tuple[int, ...], calls: int, *, awaited: bool
) -> None:
    told, asked = iter(brings), list[Any]()

    def run(call: Any) -> Any:
        asked.append(call)
        return call.answer(answer(next(told), "more"))

    async def wait(call: Any) -> Any:
        return run(call)

    one, page = Chokepoints(), Page(limit=7)
    found = await AsyncGraph(wait).ask(one, page) if awaited else Graph(run).ask(one, page)
    assert (len(asked), len(found.rows), found.next) == (calls, sum(brings[:calls]), "more")


def test_a_page_of_long_rows_is_shorter_and_nothing_is_lost(told: Told) -> None:
    one = ReviewAccess(idle=0, life=1, times=1)
    whole = told.library.ask(embedded(), one, Page(at=told.now))
    for room in (1, 500, 1_000, 100_000):
        found, page = [], Page(at=told.now)
        while True:
            answer = told.library.ask(embedded(), one, page)
            message = wire.answer_to(one, answer, room)
            assert isinstance(message, graph_pb2.ReviewAccessResponse)
            assert message.ByteSize() <= room + 200 or len(message.rows) == 1
            part = wire.answer_from(one, message)
            found += part.rows
            if not part.next:
                break
            page = Page(token=part.next)
        assert found == whole.rows
    drawn = told.library.ask(embedded(), ExportGraph(), Page(at=told.now))
    with pytest.raises(InvalidRequestError, match="draw less"):
        wire.answer_to(ExportGraph(), drawn, 100)
    assert wire.answer_to(ExportGraph(), drawn, 1_000_000)


def test_only_those_who_oversee_may_ask(told: Told) -> None:
    for name in ("alice", "gate", "orchestrator", "ann"):
        with told.client(name) as client:
            for one in every(told).values():
                with pytest.raises(ForbiddenError):
                    client.graph.ask(one)
    for role in Role:
        caller = Caller(name=role.value, roles=frozenset({role}))
        for one in every(told).values():
            if role in (Role.AUDITOR, Role.OPERATOR):
                assert told.library.ask(caller, one).total
            else:
                with pytest.raises(ForbiddenError):
                    told.library.ask(caller, one)
    assert {method for method, roles in ALLOWED.items() if roles == ALLOWED["WhoCan"]} >= set(wire.METHODS)


def test_who_is_unknown_is_said_so(told: Told) -> None:
    with told.client() as client:
        for one in (Lineage("nobody"), WhatCan("nobody"), BlastRadius("nobody"), DiffDelegations("nobody", "else")):
            with pytest.raises(NotFoundError):
                client.graph.ask(one)
        assert client.graph.ask(WhatCan(RESEARCHER)).rows


BAD: dict[str, tuple[str, Any]] = {
    "no name": ("Lineage", graph_pb2.LineageRequest()),
    "no name of what falls": ("BlastRadius", graph_pb2.BlastRadiusRequest()),
    "neither tool nor target": ("WhoCan", graph_pb2.WhoCanRequest()),
    "both": ("WhoCan", graph_pb2.WhoCanRequest(tool="a", target="b")),
    "arguments of no tool": ("WhoCan", graph_pb2.WhoCanRequest(target="b", arguments_json=b"{}")),
    "no JSON": ("WhoCan", graph_pb2.WhoCanRequest(tool="a", arguments_json=b"{")),
    "JSON of two minds": ("WhoCan", graph_pb2.WhoCanRequest(tool="a", arguments_json=b'{"a":1,"a":2}')),
    "JSON that is no object": ("WhoCan", graph_pb2.WhoCanRequest(tool="a", arguments_json=b"[]")),
    "JSON without a floor": ("WhoCan", graph_pb2.WhoCanRequest(tool="a", arguments_json=b"[" * 100_000)),
    "no agent": ("WhatCan", graph_pb2.WhatCanRequest(tool="a")),
    "nobody to stop": ("LeastCut", graph_pb2.LeastCutRequest()),
    "nothing to keep": (
        "LeastCut",
        graph_pb2.LeastCutRequest(stop=graph_pb2.GraphWork(agent="a", tool="b"), keep=[graph_pb2.GraphWork()]),
    ),
    "negative norms": ("ReviewAccess", graph_pb2.ReviewAccessRequest(idle_seconds=-1)),
    "norms that are none": ("ReviewAccess", graph_pb2.ReviewAccessRequest(life_seconds=float("nan"))),
    "norms without end": ("ReviewAccess", graph_pb2.ReviewAccessRequest(life_seconds=float("inf"))),
    "less than once": ("ReviewAccess", graph_pb2.ReviewAccessRequest(times=0.5)),
    "one delegation": ("DiffDelegations", graph_pb2.DiffDelegationsRequest(first="a")),
    "before time began": ("DiffTimes", graph_pb2.DiffTimesRequest(since_ms=-1)),
    "the later one first": ("DiffTimes", graph_pb2.DiffTimesRequest(since_ms=2, page=graph_pb2.GraphPage(at_ms=1))),
    "no instant": ("Chokepoints", graph_pb2.ChokepointsRequest(page=graph_pb2.GraphPage(at_ms=-1))),
    "an instant beyond all": ("Chokepoints", graph_pb2.ChokepointsRequest(page=graph_pb2.GraphPage(at_ms=2**62))),
    "no token": ("Chokepoints", graph_pb2.ChokepointsRequest(page=graph_pb2.GraphPage(page_token="x"))),
    "no format": ("ExportGraph", graph_pb2.ExportGraphRequest(format=99)),  # type: ignore[arg-type]
    "an instant of a drawing": ("ExportGraph", graph_pb2.ExportGraphRequest(at_ms=-5)),
}


def test_what_is_not_well_formed_is_refused_with_its_code(told: Told) -> None:
    assert len(BAD) == 24
    metadata = (("authorization", f"Bearer {told.secret()}"),)
    with grpc.insecure_channel(told.server.address) as channel:
        stub = audit_pb2_grpc.AuditServiceStub(channel)
        for name, (method, message) in BAD.items():
            with pytest.raises(grpc.RpcError) as refused:
                getattr(stub, method)(message, metadata=metadata, timeout=20)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, name
        for method in wire.METHODS:
            kind = audit_pb2.DESCRIPTOR.services_by_name["AuditService"].methods_by_name[method]
            assert kind.input_type.name == f"{method}Request"
        assert stub.Chokepoints(graph_pb2.ChokepointsRequest(), metadata=metadata, timeout=20).answer.revision
        usual = stub.ReviewAccess(graph_pb2.ReviewAccessRequest(), metadata=metadata, timeout=20)
        assert usual.answer.revision
        assert stub.ExportGraph(graph_pb2.ExportGraphRequest(), metadata=metadata, timeout=20).text.startswith(b"dig")


def test_a_client_sends_nothing_that_is_not_well_formed(told: Told) -> None:
    with told.client() as client:
        for one, page in (
            (WhoCan("bank.pay"), Page(limit=0)),
            (WhoCan("bank.pay"), Page(at=float("nan"))),
            (WhoCan("bank.pay", arguments={"a": object()}), Page()),
        ):
            with pytest.raises(InvalidRequestError):
                client.graph.ask(one, page)
        assert client.graph.ask(WhoCan("bank.pay"), Page(limit=1)).rows


def test_what_happens_is_in_the_next_answer_and_not_on_the_next_page(told: Told) -> None:
    with told.client() as client, told.client("alice") as issuer:
        before = client.graph.ask(Lineage(ORCHESTRATOR), Page(limit=1))
        client.steering.suspend("agent", RESEARCHER, "looked at")
        stands = {row["agent"] for row in client.graph.ask(WhoCan("web.search")).rows}
        assert RESEARCHER not in stands
        later = client.graph.ask(Lineage(ORCHESTRATOR), Page(token=before.next)).rows
        assert [row["status"] for row in later if row["agent"] == RESEARCHER] == ["stands"]
        now = client.graph.ask(Lineage(ORCHESTRATOR)).rows
        assert [row["status"] for row in now if row["agent"] == RESEARCHER] == ["suspended"]
        client.steering.resume("agent", RESEARCHER, "all is well")
        assert RESEARCHER in {row["agent"] for row in client.graph.ask(WhoCan("web.search")).rows}
        with pytest.raises(ForbiddenError):
            issuer.graph.ask(WhoCan("web.search"))


def test_one_caller_asks_one_question_at_a_time_and_others_are_served(told: Told) -> None:
    metadata = (("authorization", f"Bearer {told.secret()}"),)
    with told.client() as client, told.client("gate") as gate, grpc.insecure_channel(told.server.address) as channel:
        assert client.graph.ask(WhoCan("web.search")).rows
        process = told.server._graph._projector._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            ended: Queue[grpc.Future] = Queue()
            ask = audit_pb2_grpc.AuditServiceStub(channel).WhoCan
            for _ in range(2):
                ask.future(graph_pb2.WhoCanRequest(tool="web.search"), metadata=metadata, timeout=60).add_done_callback(
                    ended.put
                )
            refused = ended.get(timeout=20).exception()
            assert isinstance(refused, grpc.RpcError)
            assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert gate.revision() == client.revision()
            assert client.steering.suspensions()
        finally:
            process.send_signal(signal.SIGCONT)
        assert ended.get(timeout=20).result().rows


class Commands(NamedTuple):
    """The same command, answered by the service and from its record."""

    told: Told

    def __call__(self, *words: str, code: int = 0) -> list[dict[str, Any]]:
        secret = str(self.told.folder / "secrets" / "operator.secret")
        where = ["--server", self.told.server.address, "--credential-file", secret, "--json"]
        run = CliRunner()
        by, read = (run.invoke(main, ["graph", *words, *where, *more]) for more in (["--by-service"], []))
        assert (by.exit_code, read.exit_code) == (code, code), by.stderr + read.stderr
        assert json.loads(by.stdout) == json.loads(read.stdout)
        found: list[dict[str, Any]] = json.loads(by.stdout).get("rows", [])
        return found


def test_each_command_says_the_same_by_the_service(told: Told) -> None:
    ask, at, (first, *_, last) = Commands(told), ("--at", str(told.now)), ids(told)
    assert ask("lineage", ORCHESTRATOR, *at)
    assert len(ask("lineage", ORCHESTRATOR, "--limit", "1", *at)) == 1
    assert ask("lineage", ORCHESTRATOR, "--limit", "0", *at) == []
    assert ask("blast", ORCHESTRATOR, *at)
    assert ask("who-can", "bank.pay", "--args", '{"amount":50}', *at)
    assert ask("who-can", "--target", "bank", *at)
    assert ask("what-can", RESEARCHER, *at)
    assert ask("cut", RESEARCHER, "--tool", "web.search", *at)
    assert ask("cut", ORCHESTRATOR, "--tool", "web.search", "--keep", RESEARCHER, "web.search", *at, code=1)
    assert ask("chokepoints", *at)
    assert ask("review", "--life", "1", *at)
    assert ask("diff", first, last, *at)
    assert ask("diff", "--at", str(told.now - 3600), "--to", str(told.now))
    for kind in ("dot", "graphml", "mermaid", "json", "prov"):
        ask("export", "--format", kind, *at)
    ask("lineage", "nobody", code=1)


def test_by_the_service_needs_a_service(told: Told, tmp_path: Path) -> None:
    where = ["--server", told.server.address, "--credential-file", str(told.folder / "secrets" / "operator.secret")]
    for words in (
        ["--ledger", str(told.folder)],
        [],
        ["--export", str(tmp_path / "none")],
        [*where, "--export", str(tmp_path / "none")],
        [*where, "--key", "k"],
    ):
        result = CliRunner().invoke(main, ["graph", "chokepoints", "--by-service", *words])
        assert result.exit_code == 2, result.output
    assert CliRunner().invoke(main, ["graph", "chokepoints", "--by-service", *where]).exit_code == 0
