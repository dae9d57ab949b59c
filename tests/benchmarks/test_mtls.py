"""`benchmarks.mtls`: every door is open to its caller alone when it is timed, and rows have their form."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import grpc
import pytest

from benchmarks import mtls
from benchmarks.mtls_host import DOMAIN, server
from chain.identity.devca import DevAuthority

CELLS = {
    ("connect", "plain"), ("connect", "tls"), ("connect", "mtls"), ("connect", "mtls_known"),
    ("check", "plain"), ("check", "tls"), ("check", "mtls"), ("check", "mtls_holder"),
}  # fmt: skip


@pytest.fixture(scope="module")
def doors() -> Iterator[mtls.Doors]:
    authority = DevAuthority(DOMAIN, time.time, 3600)
    with server(authority) as places:
        yield mtls.Doors(places, authority)


def test_each_door_opens_to_its_own_caller_and_to_nobody_else(doors: mtls.Doors) -> None:
    stranger = doors.svid(f"spiffe://{DOMAIN}/stranger")
    for door, shown in (("plain", None), ("tls", None), ("mtls", doors.svid())):
        with doors.open(door, shown) as channel:
            mtls.ask(channel, door, doors.message())
            with pytest.raises(AssertionError):  # the same caller is not the holder itself
                mtls.ask(channel, door, doors.message(vouched=False))
        with doors.open(door, stranger if shown else None) as channel, pytest.raises(grpc.RpcError) as refused:
            mtls.stubs.AuthorizationServiceStub(channel).Check(doors.message(), timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_json_prints_the_rows_as_one_array(capsys: pytest.CaptureFixture[str]) -> None:
    assert mtls.main(["--json", "--connections", "2", "--calls", "2"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {(row["call"], row["door"]) for row in rows} == CELLS
    assert {(row["call"], row["door"]): row["limit"] for row in rows if row["limit"]} == mtls.LIMITS
    for row in rows:
        assert set(row) == {"call", "door", "p50_us", "p99_us", "beside", "ratio", "limit"}
        assert row["p50_us"] > 0
        assert row["ratio"] == 1 or row["door"] != row["beside"]
