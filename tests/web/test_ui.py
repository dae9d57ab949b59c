"""The live page: who is told what, how a stream goes on, and how it ends."""

from __future__ import annotations

import json
import re
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256

import httpx
import pytest

from chain.caller import ALLOWED, Role
from chain.errors import ConfigurationError, UnauthenticatedError
from chain.peer import Person
from chain.service.safety import require_safe
from chain.window import Window

from .conftest import Host
from .hosted import PEP, Hosted, bearer, secret, settings
from .test_routes import GARBAGE, TWICE
from .test_slow import dial, ended, until

FED = ("/ui/data", "/ui/record?revision=1", "/ui/events?after=0")
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    hosted = Hosted(settings(tmp_path_factory.mktemp("ui"), ui=True))
    hosted.root()
    yield hosted
    hosted.close()


@contextmanager
def stream(web: Hosted, after: int | None = 0, who: str = "auditor", **more: str) -> Iterator[httpx.Response]:
    path = "/ui/events" if after is None else f"/ui/events?after={after}"
    with web.client.stream("GET", path, headers={**bearer(who), **more}) as answered:
        yield answered


def events(answered: httpx.Response) -> Iterator[dict[str, str]]:
    """The events of a stream, as they come."""
    found: dict[str, str] = {}
    for line in answered.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            found[name] = value
        else:
            yield found
            found = {}


def records(answered: httpx.Response, count: int) -> list[dict[str, str]]:
    """The first so many events of records."""
    found: list[dict[str, str]] = []
    for event in events(answered):
        found += [event] if "id" in event else []
        if len(found) == count:
            return found
    raise AssertionError("the stream ended before")


def revision(web: Hosted) -> int:
    return int(web.client.get("/ui/data", headers=bearer("auditor")).json()["revision"])


def told(web: Hosted, least: int) -> dict[str, object]:
    """The document, once it has so many records."""
    until(lambda: revision(web) >= least)
    answered: dict[str, object] = web.client.get("/ui/data", headers=bearer("auditor")).json()
    return answered


def test_without_the_setting_nothing_of_it_is_there(web: Hosted, live: Hosted) -> None:
    for path in ("/ui", *FED):
        assert web.client.get(path, headers=bearer("auditor")).status_code == 404
    rows = {(row.path, row.verb, row.asks) for row in live.side.rows} - {
        (row.path, row.verb, row.asks) for row in web.side.rows
    }
    assert rows == {
        ("/ui", "GET", ""),
        ("/ui/data", "GET", "ListCheckpoints"),
        ("/ui/record", "GET", "ProveRecord"),
        ("/ui/events", "GET", "ListCheckpoints"),
    }


def test_it_needs_an_address(tmp_path: object, live: Hosted) -> None:
    require_safe(live.settings)
    with pytest.raises(ConfigurationError, match="`ui` is served at `http_listen`"):
        require_safe(live.settings.model_copy(update={"http_listen": ""}))


def test_the_page_is_for_everybody_and_holds_nothing(live: Hosted) -> None:
    shown = [live.client.get("/ui", headers=headers) for headers in ({}, *GARBAGE.values(), bearer("auditor"))]
    assert len({one.content for one in shown}) == 1
    assert [one.status_code for one in shown] == [200] * (2 + len(GARBAGE))
    assert re.search(r'id="data">null</script>', shown[0].text)
    assert secret("auditor") not in shown[0].text
    assert shown[0].headers["content-type"] == "text/html; charset=utf-8"


def test_the_policy_names_the_digests_of_what_runs_and_no_other_place(live: Hosted) -> None:
    shown = live.client.get("/ui")
    said = dict(part.split(" ", 1) for part in shown.headers["content-security-policy"].split("; "))
    script, style = (re.findall(rf"<{tag}>(.*?)</{tag}>", shown.text, re.DOTALL) for tag in ("script", "style"))
    assert (len(script), len(style)) == (1, 1)
    assert said == {
        "default-src": "'none'",
        "script-src": f"'sha256-{b64encode(sha256(script[0].encode()).digest()).decode()}'",
        "style-src": f"'sha256-{b64encode(sha256(style[0].encode()).digest()).decode()}'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "connect-src": "'self'",
        "frame-ancestors": "'none'",
    }


@pytest.mark.parametrize("path", FED)
def test_exactly_the_overseers_are_told(live: Hosted, path: str) -> None:
    row = next(row for row in live.side.rows if row.path == path.partition("?")[0])
    seen = {}
    for role in Role:
        with live.client.stream("GET", path, headers=bearer(role.value)) as answered:
            seen[role] = answered.status_code
            assert answered.headers["cache-control"] == "no-store"
            assert answered.headers["content-security-policy"].startswith("default-src 'none'")
    assert seen == {role: 200 if role in ALLOWED[row.asks] else 403 for role in Role}
    assert {role for role, status in seen.items() if status == 200} == {Role.AUDITOR, Role.OPERATOR}


@pytest.mark.parametrize("path", FED)
def test_nobody_is_told_without_a_credential_that_is_known(live: Hosted, path: str) -> None:
    in_the_address = f"{path}{'&' if '?' in path else '?'}access_token={secret('auditor')}"
    for headers in [*GARBAGE.values(), TWICE]:
        assert live.client.get(path, headers=headers).status_code == 401  # type: ignore[arg-type]
    assert live.client.get(in_the_address).status_code == 401
    assert live.client.head(path, headers=bearer("operator")).status_code == 200
    assert live.client.post(path, headers=bearer("operator")).status_code == 405


def test_the_document_has_one_tag_until_something_changes(live: Hosted) -> None:
    def ask(tag: str = "") -> httpx.Response:
        return live.client.get("/ui/data", headers={**bearer("auditor"), **({"If-None-Match": tag} if tag else {})})

    first = ask()
    tag = first.headers["etag"]
    again = ask(tag)
    assert (again.status_code, again.content) == (304, b"")
    assert ask('"another"').status_code == 200
    live.root()
    until(lambda: ask(tag).status_code == 200)
    assert ask().json()["revision"] > first.json()["revision"]


def test_what_a_stranger_is_called_is_a_word_in_the_document(live: Hosted) -> None:
    live.root(sub=HOSTILE)
    row = told(live, revision(live) + 1)["nodes"]["rows"][-1]  # type: ignore[index]
    assert HOSTILE in row


def test_a_record_comes_in_its_exact_text(live: Hosted) -> None:
    def ask(query: str) -> httpx.Response:
        return live.client.get(f"/ui/record{query}", headers=bearer("auditor"))

    line = json.loads(ask("?revision=1").json()["record"])
    assert (line["revision"], line["kind"]) == (1, "issued")
    for query in ("", "?revision=", "?revision=x", "?revision=-1", "?revision=1&revision=2", "?revision=1&x=1",
                  "?revision=" + "9" * 30, "?revision=%D9%A1"):  # fmt: skip
        assert ask(query).status_code == 400, query
    for query in ("?revision=0", "?revision=99999"):
        assert ask(query).status_code == 404, query


def test_a_stream_tells_what_was_and_what_comes(live: Hosted) -> None:
    with stream(live) as answered:
        assert answered.headers["content-type"] == "text/event-stream"
        first = records(answered, 1)[0]
        assert first["id"] == "1"
        assert json.loads(first["data"])["kind"] == "issued"
    seen = revision(live)
    with stream(live, seen) as answered:
        live.root()
        assert [event["id"] for event in records(answered, 1)] == [str(seen + 1)]


def test_without_a_revision_a_stream_tells_what_comes(live: Hosted) -> None:
    with stream(live, None) as answered:
        told_ = events(answered)
        beat = next(told_)
        assert beat["event"] == "beat"
        live.root()
        assert int(next(told_)["id"]) == json.loads(beat["data"])["revision"] + 1


def test_a_reader_goes_on_after_the_last_that_it_had(live: Hosted) -> None:
    for _ in range(3):
        live.root()
    last = live.authority.watch.synced
    with stream(live, 0, **{"Last-Event-ID": str(last - 2)}) as answered:
        assert [event["id"] for event in records(answered, 2)] == [str(last - 1), str(last)]


@pytest.mark.parametrize("query", ["?after=x", "?after=", "?after=-1", "?after=1&after=2", "?at=1", "?after=1&x=2"])
def test_what_is_no_revision_is_refused(live: Hosted, query: str) -> None:
    answered = live.client.get(f"/ui/events{query}", headers=bearer("auditor"))
    assert (answered.status_code, answered.json()["error"]) == (400, "invalid_request")


def test_a_revision_of_the_future_is_refused(live: Hosted) -> None:
    with stream(live, live.authority.watch.head) as answered:
        assert answered.status_code == 200
    for after in (live.authority.watch.head + 1, 10**17):
        answered = live.client.get(f"/ui/events?after={after}", headers=bearer("auditor"))
        assert (answered.status_code, answered.json()["error"]) == (409, "cursor_invalid")
        assert "is not known here" in answered.json()["error_description"]


def test_silence_has_a_heartbeat(live: Hosted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.web.events.BEAT", 0.05)
    with stream(live, None) as answered:
        beats = [event for _, event in zip(range(3), events(answered), strict=False)]
    assert [event["event"] for event in beats] == ["beat"] * 3
    assert all(json.loads(event["data"])["revision"] >= 1 for event in beats)


def test_a_stream_lasts_longer_than_another_answer_may(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.web.connection.PATIENCE", 0.2)
    monkeypatch.setattr("chain.web.events.BEAT", 0.1)
    web = host(ui=True)
    with stream(web, None) as answered:
        assert len([event for _, event in zip(range(6), events(answered), strict=False)]) == 6
    web.client.close()
    until(lambda: not web.state.connections)


def test_streams_are_counted_as_their_callers(host: Host) -> None:
    web = host(ui=True, max_streams_per_caller=2)
    with ExitStack() as opened:
        for _ in range(2):
            assert opened.enter_context(stream(web, None)).status_code == 200
        assert web.client.get("/ui/events", headers=bearer("auditor")).status_code == 429
        with stream(web, None, "operator") as other:
            assert other.status_code == 200
        assert web.client.get("/ui/data", headers=bearer("auditor")).status_code == 200
    until(lambda: web.client.head("/ui/events", headers=bearer("auditor")).status_code == 200)

    def codes() -> list[str]:
        return [line["code"] for line in web.lines() if line.get("method") == "GET /ui/events"]

    until(lambda: codes().count("200") >= 4)
    assert "429" in codes()
    assert secret("auditor") not in web.log.getvalue()


class People:
    """Knows one person, until they are gone."""

    gone = False

    def takes(self, _token: str) -> bool:
        return True

    def person(self, _token: str) -> Person:
        if self.gone:
            raise UnauthenticatedError("nobody")
        return Person("https://idp.example", "dana", time.time() + 3600, {})


def test_a_stream_ends_with_its_credential(host: Host) -> None:
    people = People()
    oidc = {"issuer": "https://idp.example", "audience": [PEP], "jwks_uri": "https://idp.example/keys"}
    dana = {"name": "dana", "roles": ["auditor"], "oidc": {"issuer": "https://idp.example", "subject": "dana"}}
    web = host(ui=True, identity={"oidc": [oidc]}, callers=[dana], people=people)
    with web.client.stream("GET", "/ui/events", headers={"Authorization": "Bearer a.b.c"}) as answered:
        told_ = events(answered)
        assert next(told_)["event"] == "beat"
        people.gone = True
        assert next(told_) == {"event": "end", "data": '{"error":"invalid_token"}'}
        assert list(told_) == []
    assert web.client.get("/ui/events", headers={"Authorization": "Bearer a.b.c"}).status_code == 401


def test_a_stream_ends_with_the_server(host: Host) -> None:
    web = host(ui=True)
    with stream(web, None) as answered:
        told_ = events(answered)
        assert next(told_)["event"] == "beat"
        stopping = threading.Thread(target=lambda: web.run(web.server.stop(20)))
        stopping.start()
        assert json.loads(next(told_)["data"]) == {"error": "temporarily_unavailable"}
        stopping.join(10)
        assert not stopping.is_alive(), "nobody waits for a stream"


def test_who_does_not_read_is_cut_and_gives_the_place_back(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.web.events.WRITE_PATIENCE", 0.3)
    web = host(ui=True, max_streams_per_caller=1)
    web.root(sub="s" * 1000)
    lines, last = web.authority.watch.lines(0)
    monkeypatch.setattr(web.authority.watch, "lines", lambda *_: (lines * 8000, last))  # more than sockets take

    def taken() -> bool:
        return web.client.head("/ui/events", headers=bearer("auditor")).status_code == 429

    with dial(web) as deaf:
        shown = bearer("auditor")["Authorization"]
        deaf.sendall(f"GET /ui/events?after=0 HTTP/1.1\r\nHost: x\r\nAuthorization: {shown}\r\n\r\n".encode())
        until(taken)
        until(lambda: not taken())
        until(lambda: ended(deaf))


def test_what_a_page_cannot_hold_is_refused_with_what_to_ask_instead(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chain.web.mirror.Window", lambda: Window(4, 4))
    web = host(ui=True)
    for _ in range(4):
        web.root()
    assert len(told(web, 4)["nodes"]["rows"]) == 4  # type: ignore[index]
    web.root()

    def ask() -> httpx.Response:
        return web.client.get("/ui/data", headers=bearer("auditor"))

    until(lambda: ask().status_code == 400)
    assert "`chain report --task`" in ask().json()["error_description"]


def test_a_ledger_that_is_being_read_is_said_to_be(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.web.mirror.PATIENCE", 0.05)
    web = host(ui=True)
    web.root()
    go, lines = threading.Event(), web.authority.watch.lines

    def slow(after: int, limit: int) -> object:
        go.wait(10)
        return lines(after, limit)

    monkeypatch.setattr(web.authority.watch, "lines", slow)
    answered = web.client.get("/ui/data", headers=bearer("auditor"))
    assert (answered.status_code, answered.headers["retry-after"]) == (503, "5")
    go.set()
    until(lambda: web.client.get("/ui/data", headers=bearer("auditor")).status_code == 200)
    assert revision(web) == 1
