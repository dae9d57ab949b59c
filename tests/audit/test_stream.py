"""The record in the forms of others, judged by their own libraries and schemas."""

from __future__ import annotations

import json
import shutil
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cloudevents.core.formats.json import JSONFormat
from google.protobuf import json_format
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from chain import cloudevent, ocsf, otlp, outward
from chain.cli import main
from chain.given import Entry
from chain.ledger import decode
from chain.watch import KINDS

FORMS = ("cloudevents", "ocsf", "otlp")
SENTINEL = "sentinel-of-an-argument-7391"

Write = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def asked(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration's ledger, and one call more, whose argument is like no other text."""
    folder = tmp_path_factory.mktemp("streamed") / "kept"
    shutil.copytree(kept, folder)
    config = folder / "chain.toml"
    config.write_text(config.read_text().replace(str(kept), str(folder)))
    words = ["check", "mail.read", json.dumps({"folder": SENTINEL}), "--purpose", "travel", "--audience"]
    words += ["https://tools.example", "--chain", str(folder / "chains" / "researcher.chain")]
    words += ["--key", str(folder / "keys" / "researcher.key"), "--ledger", str(folder)]
    assert CliRunner().invoke(main, words).exit_code == 1
    return folder


@pytest.fixture(scope="module")
def write(asked: Path) -> Write:
    @cache
    def text(form: str, *words: str) -> str:
        result = CliRunner().invoke(main, ["audit", "stream", "--format", form, "--ledger", str(asked), *words])
        assert result.exit_code == 0, result.stderr
        return result.stdout

    return lambda form, *words: [json.loads(line) for line in text(form, *words).splitlines()]


def test_cloudevents_are_what_the_sdk_reads(write: Write) -> None:
    events = write("cloudevents")
    assert len(events) > 50
    for number, event in enumerate(events, 1):
        read = JSONFormat().read(None, json.dumps(event))
        assert (read.get_id(), read.get_specversion()) == (str(number), "1.0")
        assert read.get_source() == "https://chain.example"
        assert read.get_type().removeprefix(cloudevent.PREFIX) in KINDS
        assert read.get_data() == event["data"]
        assert read.get_time() is not None
    assert [event["sequence"] for event in events] == sorted(event["sequence"] for event in events)
    assert write("cloudevents", "--batch") == [events]


def test_ocsf_events_are_what_its_schema_says(write: Write) -> None:
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(ocsf.VERSION)).get_class_schema(
        "api_activity", ["security_control"]
    )
    judge = Draft202012Validator(schema)
    events = write("ocsf")
    assert len(events) > 50
    assert [fault.message for event in events for fault in judge.iter_errors(event)] == []
    spoilt = {name: value for name, value in events[0].items() if name != "actor"}
    assert not judge.is_valid(spoilt)
    assert not judge.is_valid(events[0] | {"nothing_like_this": 1})
    assert {event["type_uid"] for event in events} <= {600301, 600302, 600303, 600304, 600399}


def test_what_was_refused_is_told_as_refused_and_how_grave_it_is(write: Write) -> None:
    by_code: dict[str, dict[str, Any]] = {}
    for event in write("ocsf"):
        by_code.setdefault(event.get("status_code", ""), event)
    told = {
        code: (event["severity"], event["status"], event["action_id"], event["disposition_id"])
        for code, event in by_code.items()
    }
    assert told[""] == ("Informational", "Success", 1, 1)
    assert told["holder_mismatch"] == told["constraint_widened"] == ("High", "Failure", 2, 2)
    assert told["budget_exceeded"] == ("Medium", "Failure", 2, 2)
    assert told["approval_required"] == ("Medium", "Failure", 2, 14)


def test_a_refusal_in_shadow_is_observed_and_not_told_as_blocked() -> None:
    body = {"id": "d", "effect": "DENY", "reason": "policy_denied", "tool": "t", "class": "read", "enforced": False}
    event = ocsf.event(Entry(1, "decided", 1, body), "https://a.test", "1")
    assert (event["action_id"], event["disposition_id"], event["status_code"]) == (3, 15, "policy_denied")
    enforced = ocsf.event(Entry(1, "decided", 1, body | {"enforced": True}), "https://a.test", "1")
    assert (enforced["action_id"], enforced["disposition_id"]) == (2, 2)


@pytest.mark.parametrize("kind", sorted(KINDS | {"of-a-later-version"}))
def test_every_kind_of_record_has_its_event(kind: str) -> None:
    call = {"id": "d1", "effect": "ALLOW", "reason": "allowed", "tool": "t", "class": "act"}
    body = call if kind == "decided" else {"method": "Delegate", "reason": "tool_added"} if kind == "refused" else {}
    entry = Entry(7, kind, 1_700_000_000_123, body)
    event = ocsf.event(entry, "https://a.test", "1")
    assert event["metadata"]["event_code"] == kind
    assert cloudevent.event(entry, "https://a.test")["time"] == "2023-11-14T22:13:20.123Z"


def spans(requests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for request in requests:
        yield from request["resourceSpans"][0]["scopeSpans"][0]["spans"]


def attribute(span: dict[str, Any], name: str) -> Any:
    found = {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}
    return found.get(name)


def test_spans_are_what_opentelemetry_reads(write: Write) -> None:
    requests = write("otlp")
    made = list(spans(requests))
    assert len(made) > len(requests) > 20
    for span in made:
        for name in ("traceId", "spanId", "parentSpanId"):  # OTLP's JSON has hexadecimal where protobuf's has base64
            if name in span:
                span[name] = b64encode(bytes.fromhex(span[name])).decode()
    for request in requests:
        read = json_format.ParseDict(request, ExportTraceServiceRequest())
        for span in read.resource_spans[0].scope_spans[0].spans:
            assert (len(span.trace_id), len(span.span_id)) == (16, 8)
            assert span.start_time_unix_nano == span.end_time_unix_nano > 10**18


def test_one_span_stands_for_each_hop_beneath_the_one_above(write: Write) -> None:
    requests = write("otlp")
    assert write("otlp", "--after", "0") == requests, "who exports twice exports the same spans"
    depths = set()
    for request in requests:
        made = list(spans([request]))
        assert len({span["traceId"] for span in made}) == 1
        assert [span.get("parentSpanId") for span in made] == [None, *(span["spanId"] for span in made[:-1])]
        depth = attribute(made[-1], "chain.depth")
        if depth is not None:
            assert [span["name"] for span in made[:-1]] == [f"hop {hop}" for hop in range(int(depth) + 1)]
            depths.add(int(depth))
    assert {1, 2} <= depths
    assert len({span["spanId"] for span in spans(requests)}) == len(list(spans(requests)))


def test_what_failed_failed_at_its_hop(write: Write) -> None:
    tried = 0
    for request in write("otlp"):
        *hops, call = spans([request])
        failed = attribute(call, "chain.effect") != "ALLOW"
        assert (call["status"]["code"] == 2) is failed
        at = attribute(call, "chain.hop")
        if failed and at is not None and hops:
            assert [hop["status"]["code"] for hop in hops] == [2 if str(n) == at else 1 for n in range(len(hops))]
            tried += 1
    assert tried > 3


def test_what_ended_long_ago_is_forgotten_and_a_call_under_it_still_told() -> None:
    tracer = otlp.Tracer("https://a.test", "1")
    given = {"issuer": "i", "holder": "k", "hop": 0, "exp": 10}
    for number in range(otlp.SWEEP):
        assert tracer.take(Entry(number, "issued", 100_000_000, given | {"id": f"d{number}"})) is None
    call = {"id": "c", "effect": "DENY", "reason": "expired", "tool": "t", "leaf": "d1", "hop": 0}
    request = tracer.take(Entry(1, "decided", 100_000_000, call))
    assert request is not None
    assert len(list(spans([request]))) == 1
    tracer.take(Entry(1, "issued", 100_000_000, given | {"id": "new"}))
    request = tracer.take(Entry(1, "decided", 100_000_000, call | {"leaf": "new"}))
    assert request is not None
    assert len(list(spans([request]))) == 2


def secrets(folder: Path) -> list[str]:
    """Everything that must not leave: tokens and their parts, secrets, private keys."""
    chains = [line for file in (folder / "chains").iterdir() for line in file.read_text().splitlines()]
    found = [part for token in chains for part in (token, *token.split(".")[1:])]
    found += [file.read_text().strip() for file in (folder / "secrets").iterdir()]
    found += [json.loads(file.read_text())["d"] for file in (folder / "keys").glob("*.key")]
    return found


@pytest.mark.parametrize("form", FORMS)
def test_no_token_no_secret_and_no_argument_leaves(form: str, asked: Path, write: Write) -> None:
    text = "\n".join(map(json.dumps, write(form)))
    kept_out = secrets(asked)
    assert len(kept_out) > 40
    assert [secret for secret in (*kept_out, SENTINEL) if secret in text] == []
    assert "eyJ" not in text, "nothing that is signed"
    assert '"d":' not in text


def test_what_people_signed_stays_in_the_ledger(kept: Path, tmp_path: Path) -> None:
    file = tmp_path / "export"
    assert CliRunner().invoke(main, ["audit", "export", str(file), "--ledger", str(kept)]).exit_code == 0
    lines = [line for line in file.read_bytes().splitlines() if line.startswith(b'{"revision":')]
    words = [Entry(one.revision, one.kind, one.time, one.body) for one in map(decode, lines)]
    (first, *_) = [entry for entry in words if entry.kind == "approval_resolved"]
    assert first.body.keys() - outward.body(first).keys() == outward.WITHHELD
    result = CliRunner().invoke(main, ["audit", "stream", "--format", "cloudevents", "--export", str(file)])
    assert result.exit_code == 0
    assert json.loads(result.stdout.splitlines()[0])["source"] == "chain.example"


def test_one_goes_on_after_a_revision_and_loses_no_hop(write: Write) -> None:
    for form in FORMS:
        everything, later = write(form), write(form, "--after", "40")
        assert 0 < len(later) < len(everything)
        assert everything[-len(later) :] == later


def test_a_source_of_ones_own_is_a_uri(write: Write) -> None:
    (first, *_) = write("cloudevents", "--source", "urn:my ledger")
    assert first["source"] == "urn:my%20ledger"


@pytest.mark.parametrize(
    "words",
    [
        ("--format", "ocsf", "--batch"),
        ("--format", "cloudevents", "--follow"),
        ("--format", "syslog"),
        (),
        ("--format", "ocsf", "--key", "x"),
    ],
)
def test_what_does_not_go_together_is_refused(words: tuple[str, ...], kept: Path) -> None:
    result = CliRunner().invoke(main, ["audit", "stream", *words, "--ledger", str(kept)])
    assert (result.exit_code, result.stdout) == (2, "")
