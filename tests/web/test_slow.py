"""Clients that are slow, or mean to be: they hold nothing, and gRPC does not feel them."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from chain.client import Client
from chain.errors import ResourceExhaustedError

from .conftest import Host
from .hosted import FORM, Hosted, bearer, secret


def dial(web: Hosted) -> socket.socket:
    host, _, port = web.server.http_address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def until(true: Callable[[], object]) -> None:
    for _ in range(500):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to that")


def head(who: str = "operator", length: int = 100) -> bytes:
    credential = bearer(who)["Authorization"]
    lines = [
        "POST /introspect HTTP/1.1",
        "Host: x",
        "Connection: close",
        f"Authorization: {credential}",
        f"Content-Type: {FORM}",
    ]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def rest(one: socket.socket) -> bytes:
    """All that the other side says before it hangs up."""
    return b"".join(iter(lambda: one.recv(65536), b""))


def ended(one: socket.socket) -> bool:
    """Whether the other side hung up."""
    try:
        return one.recv(65536) == b""
    except ConnectionResetError:
        return True


def connections(web: Hosted) -> int:
    return len(web.state.connections)


def test_a_head_that_does_not_come_loses_its_connection(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.web.connection.PATIENCE", 0.2)
    web = host()
    with dial(web) as silent, dial(web) as dripping:
        dripping.sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        assert ended(silent)
        assert ended(dripping)
    assert web.client.get("/healthz").status_code == 200
    web.client.close()
    until(lambda: connections(web) == 0)


def test_a_body_that_does_not_come_is_given_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.web.form.PATIENCE", 0.2)
    web = host()
    with dial(web) as slow:
        slow.sendall(head() + b"token=")
        assert rest(slow).startswith(b"HTTP/1.1 408 ")
    assert web.introspect(web.root())["active"]


def test_of_a_strangers_body_no_byte_is_awaited(web: Hosted) -> None:
    with dial(web) as stranger:
        stranger.sendall(head("stranger", 60_000))
        assert rest(stranger).startswith(b"HTTP/1.1 401 ")


def test_who_takes_no_answer_is_cut(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.web.connection.PATIENCE", 0.3)
    web = host()
    monkeypatch.setattr(web.authority, "status_list", lambda _: "x" * 16_000_000)  # more than a socket takes
    with dial(web) as deaf:
        deaf.sendall(b"GET /lists/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: connections(web) == 1)
        until(lambda: connections(web) == 0)
    assert len(web.client.get("/lists/1").content) == 16_000_000


def test_the_newest_client_has_the_place_of_who_is_silent_longest(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.web.connection.MAX_CONNECTIONS", 4)
    web = host()
    with ExitStack() as opened:
        busy = opened.enter_context(dial(web))  # a caller's own request: it keeps its place
        busy.sendall(head(length=7))
        until(lambda: connections(web) == 1)
        silent = []
        for number in range(8):
            silent.append(opened.enter_context(dial(web)))
            until(lambda: connections(web) == min(4, 2 + number))  # noqa: B023 - called at once
        assert [ended(one) for one in silent[:5]] == [True] * 5
        assert web.client.get("/healthz").status_code == 200
        busy.sendall(b"token=x")
        assert rest(busy).endswith(b'{"active":false}')


def test_where_everybody_is_being_answered_the_newest_waits_outside(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chain.web.connection.MAX_CONNECTIONS", 2)
    web = host()
    with dial(web) as one, dial(web) as two:
        for busy in (one, two):
            busy.sendall(head(length=7))
        until(lambda: len(web.state.tasks) == 2)
        with dial(web) as late:
            assert ended(late)
        for busy in (one, two):
            busy.sendall(b"token=x")
            assert rest(busy).endswith(b'{"active":false}')
    assert web.client.get("/healthz").status_code == 200


def test_grpc_is_served_while_http_is_held_up(host: Host) -> None:
    web = host()
    with ExitStack() as opened:
        for number in range(300):  # more than there are places
            one = opened.enter_context(dial(web))
            one.sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: " if number % 2 else head(length=100))
        with Client(web.server.address, secret("auditor"), timeout=60) as client:
            assert client.info().authority == "https://chain.example"
        until(lambda: connections(web) <= 257)


def test_one_caller_has_room_for_so_many_and_revokes_all_the_same(host: Host) -> None:
    web = host(max_calls_per_caller=2)
    token = web.root()
    with dial(web) as one, dial(web) as two:
        for busy in (one, two):
            busy.sendall(head(length=7))
        until(lambda: len(web.state.tasks) == 2)
        until(lambda: web.post("/introspect", "operator", token=token).status_code == 429)
        assert web.post("/introspect", "auditor", token=token).status_code == 200, "its room is its own"
        with (
            Client(web.server.address, secret("operator"), timeout=60) as client,
            pytest.raises(ResourceExhaustedError),
        ):
            client.info()  # one caller, by whichever way it comes
        assert web.post("/revoke", "operator", token=token).status_code == 200
        for busy in (one, two):
            busy.sendall(b"token=x")
            assert rest(busy).startswith(b"HTTP/1.1 200 ")
    until(lambda: web.post("/introspect", "operator", token=token).status_code == 200)


def test_a_stop_lets_what_is_under_way_end_and_waits_for_nobody_else(host: Host) -> None:
    web = host()
    with dial(web) as busy, dial(web) as silent:
        busy.sendall(head(length=7))
        until(lambda: web.state.tasks)
        stopping = asyncio.run_coroutine_threadsafe(web.server.stop(5), web.loop)
        assert ended(silent)
        busy.sendall(b"token=x")
        assert rest(busy).endswith(b'{"active":false}')
        stopping.result(4)
        with pytest.raises(OSError, match="refused"):
            dial(web)


def test_a_stop_ends_who_does_not_end(host: Host) -> None:
    web = host()
    with dial(web) as busy:
        busy.sendall(head(length=7))
        until(lambda: web.state.tasks)
        web.run(web.server.stop(0))
        until(lambda: ended(busy))
    assert web.lines()[-1]["event"] == "stopped"


POST = b"POST /introspect HTTP/1.1\r\nHost: x\r\n"
BAD = {
    "no version": b"GET /\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "another coding": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "a long head": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000,
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_http_is_refused_and_logged_nowhere(
    web: Hosted, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = web.log.getvalue()
    with dial(web) as one:
        one.sendall(BAD[name])
        assert rest(one).startswith(b"HTTP/1.1 400 ")
    assert capfd.readouterr() == ("", "")
    assert web.log.getvalue() == before
    with dial(web) as one:
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert one.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("path", ["GET /healthz", "POST /introspect", "POST /revoke"])
def test_what_ends_in_two_ways_is_refused_and_nothing_behind_it_is_read(web: Hosted, path: str) -> None:
    """Who stands before this server believes one of them, and takes the rest for somebody else's request."""
    behind = b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    coded = f"{path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n".encode()
    with dial(web) as one:
        one.sendall(coded + b"Content-Length: 5\r\n\r\n" + behind)
        told = rest(one)
    assert (told.startswith(b"HTTP/1.1 400 "), told.count(b"HTTP/1.1 ")) == (True, 1)
    with dial(web) as one:
        one.sendall(coded + b"\r\n" + behind)
        told = rest(one)
    refused = path != "GET /healthz"  # without a credential, which ends the connection as well
    assert (told.startswith(b"HTTP/1.1 401 "), told.count(b"HTTP/1.1 ")) == (refused, 1 if refused else 2)


def test_an_upgrade_is_not_taken(web: Hosted) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "x", "Sec-WebSocket-Version": "13"}
    assert web.client.get("/healthz", headers=headers).status_code == 200
