"""The keys of a provider: fetched strictly, followed without anybody waiting, and believed for a bounded time."""

from __future__ import annotations

import gc
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from chain.cli.identities import people_of
from chain.errors import ConfigurationError, UnreachableError
from chain.identity import jwks as followed
from chain.identity.devca import DevAuthority
from chain.identity.document import MAX_BYTES, Web, require_url
from chain.identity.jwks import PAUSE, Keys, KeySet, Reading, from_file, from_web, parse
from chain.service.tables import IdentitySettings, OidcSettings
from tests.identity.conftest import CHAIN, eventually, pem
from tests.identity.provider import Provider, jwks, reply, serving

ELSEWHERE = "http://localhost:1/keys"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving("a") as made:
        yield made


def names(keys: KeySet | None) -> set[str] | None:
    return None if keys is None else set(keys.named)


class Scripted:
    """A reader whose answers the test writes, and a clock that the test moves."""

    def __init__(self, *names: str) -> None:
        self.says: Callable[[], Reading] = lambda: Reading(parse(jwks(*names)))
        self.times, self.passed = 0, 0.0
        self.reports: list[str] = []
        self.free = threading.Event()
        self.free.set()

    def __call__(self) -> Reading:
        self.times += 1
        assert self.free.wait(30)
        return self.says()

    def keys(self, **changes: Any) -> Keys:
        told = {"every": 1e6, "stale": 100.0, "report": self.reports.append, "steady": lambda: self.passed}
        return Keys("https://login.example", self, **(told | changes))

    def fail(self) -> None:
        def down() -> Reading:
            raise UnreachableError("it is down")

        self.says = down


def await_(keys: Keys) -> None:
    coming = keys.coming()
    assert coming is not None
    coming.result(20)


def test_a_flood_of_unknown_names_causes_one_reading_in_a_pause() -> None:
    script = Scripted("a")
    keys = script.keys()
    await_(keys)
    eventually(lambda: names(keys.current()) == {"a"})
    began = script.times
    for round_ in range(1, 4):
        asked = keys.coming()
        if asked is not None:
            asked.result(20)
        assert [keys.coming() for _ in range(1000)] == [None] * 1000
        assert script.times <= began + round_
        script.passed += PAUSE
    assert script.times >= began + 2  # and it is asked again once the pause is over
    keys.close()
    assert keys.coming() is None


def test_all_who_miss_a_key_wait_for_the_same_reading_and_none_cancels_it() -> None:
    script = Scripted("a")
    keys = script.keys()
    eventually(lambda: keys.current() is not None)
    script.free.clear()
    first = keys.coming()
    eventually(lambda: script.times == 2)
    assert first is not None
    assert not first.cancel()
    assert not first.done()
    assert names(keys.current()) == {"a"}  # nobody waits who needs no new key
    script.free.set()
    first.result(20)
    keys.close()


def test_what_is_asked_during_a_reading_is_answered_by_the_next_one() -> None:
    script = Scripted("a")
    keys = script.keys()
    eventually(lambda: keys.current() is not None)
    before = script.times
    script.free.clear()
    script.passed = 1e6  # the regular reading is due, and began before the key was made
    with keys._wake:
        keys._wake.notify()
    eventually(lambda: script.times == before + 1)
    script.passed = 1e6 + 50
    keys._held = (keys._held[0], script.passed) if keys._held else None
    asked = keys.coming()
    script.says = lambda: Reading(parse(jwks("a", "b")))
    script.free.set()
    assert asked is not None
    asked.result(20)
    assert script.times == before + 2
    assert names(keys.current()) == {"a", "b"}
    keys.close()


def test_what_was_read_last_stands_for_a_bounded_time_and_then_nothing_does() -> None:
    script = Scripted("a")
    keys = script.keys()
    eventually(lambda: keys.current() is not None)
    held = keys.current()
    script.fail()
    await_(keys)
    script.passed = 100.0
    assert keys.current() is held
    script.passed = 100.1
    assert keys.current() is None
    script.says = lambda: Reading(parse(jwks("a")))
    await_(keys)
    assert names(keys.current()) == {"a"}
    eventually(lambda: len(script.reports) == 2)
    assert script.reports == [
        "keys of `https://login.example` cannot be read: it is down",
        "keys of `https://login.example` are read again",
    ]
    keys.close()


def test_an_equal_set_is_the_same_one_so_that_what_it_verified_is_remembered() -> None:
    script = Scripted("a")
    keys = script.keys()
    eventually(lambda: keys.current() is not None)
    held = keys.current()
    await_(keys)
    assert keys.current() is held
    script.passed += PAUSE
    script.says = lambda: Reading(parse(jwks("b")))
    await_(keys)
    assert names(keys.current()) == {"b"}
    keys.close()


def test_a_reader_that_breaks_is_told_of_and_the_thread_goes_on() -> None:
    script = Scripted("a")

    def broken() -> Reading:
        raise RuntimeError("https://user:secret@login.example")

    script.says = broken
    keys = script.keys()
    eventually(lambda: bool(script.reports))
    assert script.reports == ["keys of `https://login.example` cannot be read: RuntimeError"]
    script.says = lambda: Reading(parse(jwks("a")))
    await_(keys)
    assert names(keys.current()) == {"a"}
    keys.close()


@pytest.mark.parametrize(
    ("said", "every", "due"),
    [(None, 300, 300), (120.0, 300, 120), (0.0, 300, 60), (9e8, 300, 300), (5.0, 30, 30)],
)
def test_a_provider_may_ask_to_be_read_sooner_within_bounds(said: float | None, every: float, due: float) -> None:
    script = Scripted()
    script.says = lambda: Reading(parse(jwks("a")), said)
    keys = script.keys(every=every)
    eventually(lambda: keys.current() is not None)
    assert keys._due == due
    keys.close()


def test_who_waits_when_it_is_closed_waits_no_more() -> None:
    script = Scripted("a")
    script.free.clear()
    keys = script.keys()
    eventually(lambda: script.times == 1)
    first = keys.coming()  # the reading under way: there are no keys yet
    assert first is keys.coming()
    keys.close()
    script.free.set()
    assert first is not None
    first.result(20)


WEB = Web()


def test_who_waits_for_the_next_reading_waits_no_more_either() -> None:
    script = Scripted("a")
    keys = script.keys()
    await_(keys)
    script.passed += PAUSE
    script.free.clear()
    running = keys.coming()
    eventually(lambda: script.times == 3)
    script.passed += PAUSE
    coming = keys.coming()
    assert coming is not None
    assert coming is not running
    keys.close()
    coming.result(20)
    script.free.set()


def read(provider: Provider, uri: str | None = None, web: Web = WEB) -> Reading:
    return from_web(provider.issuer, uri, web)()


def test_keys_are_where_the_provider_says_or_where_we_were_told(provider: Provider) -> None:
    provider.cache_control = "public, max-age=77, must-revalidate"
    assert names(read(provider).keys) == {"a"}
    assert read(provider).max_age == 77
    assert read(provider, provider.uri).keys == read(provider).keys
    assert provider.asked.count("/.well-known/openid-configuration") == 3
    provider.description = {"issuer": provider.issuer + "/tenant"}
    found = from_web(provider.issuer + "/tenant", None, WEB)()
    assert names(found.keys) == {"a"}
    assert provider.asked[-2] == "/tenant/.well-known/openid-configuration"


DESCRIPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"issuer": "https://evil.example"}, "another issuer's"),
    ({"issuer": None}, "another issuer's"),
    ({"jwks_uri": None}, "names no keys"),
    ({"jwks_uri": ["x"]}, "names no keys"),
    ({"jwks_uri": "file:///etc/passwd"}, "no URL"),
    ({"jwks_uri": "ftp://127.0.0.1/keys"}, "not https"),
    ({"jwks_uri": "http://keys.example/keys"}, "not https"),
    ({"jwks_uri": "data:application/json,{}"}, "no URL"),
    ({"jwks_uri": "https://user@keys.example/keys"}, "a user"),
]


@pytest.mark.parametrize(("description", "said"), DESCRIPTIONS)
def test_a_description_that_will_not_do_is_refused(provider: Provider, description: Any, said: str) -> None:
    assert names(read(provider).keys) == {"a"}
    provider.description = description
    with pytest.raises(ValueError, match=said):
        read(provider)
    assert len(DESCRIPTIONS) == 9


def test_a_description_with_a_slash_more_is_another_issuers(provider: Provider) -> None:
    slashed = provider.issuer + "/"
    with pytest.raises(ValueError, match="another issuer's"):
        from_web(slashed, None, WEB)()
    provider.description = {"issuer": slashed}
    assert names(from_web(slashed, None, WEB)().keys) == {"a"}


def redirected(location: str, status: int) -> Callable[[Any], None]:
    return lambda handler: reply(handler, b"", status, Location=location)


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (301, "file:///etc/passwd"),
        (302, ELSEWHERE),
        (303, "/keys"),
        (307, "//evil.example/keys"),
        (308, "https://evil.example/keys"),
        (302, "data:application/json,{}"),
    ],
)
def test_no_redirect_is_followed(provider: Provider, location: str, status: int) -> None:
    assert names(read(provider, provider.uri).keys) == {"a"}
    asked = len(provider.asked)
    provider.answer = redirected(location, status)
    with pytest.raises(UnreachableError, match=f"it answered {status}"):
        read(provider, provider.uri)
    assert len(provider.asked) == asked + 1


def endless(handler: Any) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" " * 65536)
    except OSError:
        handler.close_connection = True


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (endless, f"more than {MAX_BYTES} bytes"),
        (lambda handler: reply(handler, b"{}", 404), "it answered 404"),
        (lambda handler: reply(handler, b"{}", 500), "it answered 500"),
        (lambda handler: reply(handler, jwks("a"), 206), "it answered 206"),
        (lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n"), "BadStatusLine"),
        (lambda handler: None, "RemoteDisconnected"),
    ],
)
def test_what_is_no_answer_is_none(provider: Provider, answer: Callable[[Any], None], said: str) -> None:
    assert names(read(provider, provider.uri).keys) == {"a"}
    provider.answer = answer
    with pytest.raises(UnreachableError, match=said):
        read(provider, provider.uri)


def test_a_body_that_is_cut_off_is_no_key_set(provider: Provider) -> None:
    def cut(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "10000")
        handler.end_headers()
        handler.wfile.write(jwks("a"))
        handler.close_connection = True

    provider.answer = cut
    with pytest.raises(UnreachableError, match="it broke off"):
        read(provider, provider.uri)
    provider.answer = None
    assert names(read(provider, provider.uri).keys) == {"a"}


def test_what_takes_too_long_is_not_read_to_its_end(provider: Provider) -> None:
    passed = iter(range(0, 10_000, 6))
    provider.answer = endless
    with pytest.raises(UnreachableError, match="more than 10 seconds"):
        read(provider, provider.uri, Web(clock=lambda: float(next(passed))))
    provider.answer = None
    assert names(read(provider, provider.uri).keys) == {"a"}


def test_a_server_that_says_nothing_is_given_up(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.identity.document.STEP", 0.1)
    over = threading.Event()
    provider.answer = lambda handler: over.wait(30)
    with pytest.raises(UnreachableError, match="TimeoutError"):
        read(provider, provider.uri)
    over.set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_proxy_is_asked_for_https_alone(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving("a") as proxy:
        monkeypatch.setenv("https_proxy", proxy.issuer)
        monkeypatch.setenv("http_proxy", proxy.issuer)
        proxy.answer = lambda handler: reply(handler, b"", 502)
        proxied = Web()
        assert names(read(provider, web=proxied).keys) == {"a"}
        with pytest.raises(UnreachableError):
            read(provider, "https://keys.example/keys", proxied)
        assert proxy.asked == ["keys.example:443"]
    gc.collect()  # Python 3.11.2 leaves the answer of a proxy that refuses open, which is told in whatever test it ends


URLS = [
    ("https://login.example", True),
    ("https://login.example:8443/realms/a", True),
    ("http://127.0.0.1:8080/a", True),
    ("http://[::1]/a", True),
    ("http://localhost/a", True),
    ("http://login.example", False),
    ("http://127.0.0.1.evil.example", False),
    ("http://localhost.evil.example", False),
    ("https://", False),
    ("https://a.example:x", False),
    ("https://a.example#f", False),
    ("https://a.example?", False),
    ("https://u:p@a.example", False),
    ("https://a.example/ b", False),
    ("https://é.example", False),
    ("HTTPS", False),
    ("file:///etc/passwd", False),
    ("", False),
]


@pytest.mark.parametrize(("url", "fits"), URLS)
def test_addresses(url: str, fits: bool) -> None:
    if fits:
        require_url(url, plain=True)
        assert url.startswith("https") or not _fits(url, plain=False)
    else:
        assert not _fits(url, plain=True)
    assert len(URLS) == 18


def _fits(url: str, *, plain: bool) -> bool:
    try:
        require_url(url, plain=plain)
    except ValueError:
        return False
    return True


def provided(provider: Provider, **changes: Any) -> IdentitySettings:
    return IdentitySettings(oidc=(OidcSettings(**{"issuer": provider.issuer, "audience": ["us"]} | changes),))


def test_a_file_is_followed_and_a_bad_one_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "RETRIES", (0.02,))
    file, reports = tmp_path / "keys.json", []
    file.write_bytes(jwks("a"))
    keys = Keys("x", from_file(file), every=0.02, stale=1000, report=reports.append)
    eventually(lambda: names(keys.current()) == {"a"})
    file.write_bytes(b"{")
    eventually(lambda: bool(reports))
    assert names(keys.current()) == {"a"}
    file.write_bytes(jwks("b"))
    eventually(lambda: names(keys.current()) == {"b"})
    file.unlink()
    eventually(lambda: len(reports) == 3)
    assert names(keys.current()) == {"b"}
    keys.close()


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"issuer": "http://login.example"}, "`issuer` is a URL that is not https"),
    ({"issuer": "https://login.example#x"}, "`issuer` is a URL with"),
    ({"jwks_uri": "http://login.example/keys"}, "`jwks_uri` is a URL that is not https"),
    ({"jwks_uri": "file:///etc/passwd"}, "`jwks_uri` is no URL"),
    ({"jwks_file": "/nowhere/keys.json"}, "No such file"),
    ({"ca": "/nowhere/ca.pem"}, "no certificates"),
]


@pytest.mark.parametrize(("changes", "said"), REFUSED)
def test_what_can_never_be_read_does_not_start(provider: Provider, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        people_of(provided(provider, **changes))
    known = people_of(provided(provider))
    assert known is not None
    known.close()
    assert len(REFUSED) == 6


def test_a_file_that_holds_no_keys_does_not_start(provider: Provider, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text("{}")
    with pytest.raises(ConfigurationError, match="no JWK set"):
        people_of(provided(provider, jwks_file=file))
    file.write_bytes(jwks("a"))
    known = people_of(provided(provider, jwks_file=file))
    assert known is not None
    known.close()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError):
        people_of(provided(provider, jwks_file=tmp_path / "pipe"))


def test_nothing_configured_is_nobody() -> None:
    assert people_of(None) is None
    assert people_of(IdentitySettings()) is None


def test_over_tls_the_authority_must_be_known_and_the_name_be_its_own(tmp_path: Path) -> None:
    authority = DevAuthority("dev.test", time.time, 3600)
    for name, content in zip(("cert", "key"), pem(authority.leaf(CHAIN, ["localhost"])), strict=True):
        (tmp_path / name).write_bytes(content)
    ca = tmp_path / "ca"
    ca.write_bytes(authority.authorities[0].public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    with serving("a", tls=context) as secured:
        assert names(read(secured, web=Web(ca)).keys) == {"a"}
        with pytest.raises(UnreachableError, match="SSLCertVerificationError"):
            read(secured)
        with pytest.raises(UnreachableError, match="SSLCertVerificationError"):
            read(secured, secured.uri.replace("localhost", "127.0.0.1"), Web(ca))
        secured.description = {"jwks_uri": "http://127.0.0.1:1/keys"}
        with pytest.raises(ValueError, match="not https"):  # an issuer on https has no keys that anybody could change
            read(secured, web=Web(ca))
