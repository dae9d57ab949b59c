"""Mutual TLS: whom a client knows, what it shows, and that nothing fails while identities and authorities change."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509

from chain.client import AsyncClient, Client
from chain.client.endpoint import endpoint
from chain.errors import ChainError, ConfigurationError, UnauthenticatedError, UnreachableError
from chain.identity.material import Svid
from chain.request import Request
from tests.client.domain import NAME, Authority, Held, authority
from tests.client.secured import Secured

OURS, THEIRS = "ours.test", "theirs.test"
CLIENT, SERVER = f"spiffe://{OURS}/client", f"spiffe://{OURS}/server"
CHAIN = ["token"]
ASKED = Request(tool="mail.read", arguments={})


@pytest.fixture(scope="module")
def ca() -> Authority:
    return authority(OURS)


@pytest.fixture(scope="module")
def other() -> Authority:
    return authority(THEIRS)


@pytest.fixture
def server(ca: Authority) -> Iterator[Secured]:
    with Secured(Held(ca.svid(SERVER, NAME), ours_test=[ca])) as started:
        yield started


def serial(svid: Svid) -> int:
    return x509.load_pem_x509_certificate(svid.chain).serial_number


def client(server: Secured, source: Held, **more: str) -> Client:
    return Client(server.target, identity=source, **({"server_name": NAME} | more), timeout=20)


def until(true: object, seconds: float = 10) -> None:
    assert callable(true)
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_both_ends_are_known_by_their_svids(server: Secured, ca: Authority) -> None:
    source = Held(ca.svid(CLIENT), ours_test=[ca])
    with client(server, source) as asking:
        assert asking.info().authority == "https://chain.example"
    svid = source.current().svid
    assert svid is not None
    assert server.seen == [serial(svid)]


def test_the_name_of_the_target_is_taken_where_none_is_given(server: Secured, ca: Authority) -> None:
    with Client(server.target, identity=Held(ca.svid(CLIENT), ours_test=[ca]), timeout=20) as asking:
        asking.info()
    assert len(server.seen) == 1


def test_a_server_of_another_name_is_not_spoken_to(server: Secured, ca: Authority) -> None:
    source = Held(ca.svid(CLIENT), ours_test=[ca])
    refused = pytest.raises(UnreachableError, match="does not name this host")
    with client(server, source, server_name="other.test") as asking, refused:
        asking.info()
    assert server.seen == []


def test_authorities_of_another_trust_domain_do_not_vouch_for_the_server(
    server: Secured, ca: Authority, other: Authority
) -> None:
    """The union of all bundles would let any domain that we federate with play our server."""
    source = Held(ca.svid(CLIENT), ours_test=[ca], theirs_test=[other])
    with Secured(Held(other.svid(f"spiffe://{THEIRS}/server", NAME), ours_test=[ca])) as strange:
        with client(strange, source) as asking, pytest.raises(UnreachableError):
            asking.info()
        assert strange.seen == []
        with client(strange, source, trust_domain=THEIRS) as asking:
            asking.info()
        assert len(strange.seen) == 1
    with client(server, source) as asking:
        asking.info()
    with client(server, source, trust_domain=THEIRS) as asking, pytest.raises(UnreachableError):
        asking.info()
    assert len(server.seen) == 1


def test_without_an_svid_nothing_is_sent_and_with_one_again_it_is(server: Secured, ca: Authority) -> None:
    source = Held(None, ours_test=[ca])
    with client(server, source) as asking:
        with pytest.raises(UnreachableError, match="no SVID to show"):
            asking.info()
        source.fill(ca.svid(CLIENT), ours_test=[ca])
        asking.info()
        source.fill(None, ours_test=[ca])
        with pytest.raises(UnreachableError, match="no SVID to show"):
            asking.info()
    assert len(server.seen) == 1


@pytest.mark.parametrize("bundles", [{}, {"ours_test": []}, {"theirs_test": ["other"]}])
def test_a_domain_without_authorities_is_not_trusted(
    server: Secured, ca: Authority, other: Authority, bundles: dict[str, list[str]]
) -> None:
    held = {name: [other for _ in authorities] for name, authorities in bundles.items()}
    source = Held(ca.svid(CLIENT), **held)
    with client(server, source) as asking:
        with pytest.raises(UnreachableError, match=f"trust domain `{OURS}` is not trusted"):
            asking.info()
        source.fill(ca.svid(CLIENT), ours_test=[ca])
        asking.info()


def test_a_source_of_bundles_alone_lets_a_token_be_shown_over_tls(ca: Authority) -> None:
    """The server here wants a certificate as well, so the handshake fails; but it was known, and tried."""
    place = endpoint("127.0.0.1:1", "token", identity=Held(None, ours_test=[ca]), trust_domain=OURS)
    assert place.tls(Held(None, ours_test=[ca]).current()) is not None
    nowhere = endpoint("127.0.0.1:1", "token", identity=Held(None, ours_test=[ca]))
    with pytest.raises(UnreachableError, match="trust domain is not known"):
        nowhere.tls(Held(None, ours_test=[ca]).current())


@pytest.mark.parametrize(
    ("target", "more"),
    [
        ("unix:/run/a.sock", {"identity": True}),
        ("unix:/run/a.sock", {"server_name": NAME}),
        ("127.0.0.1:1", {"server_name": NAME}),
        ("127.0.0.1:1", {"identity": True, "roots": b"-----BEGIN"}),
        ("127.0.0.1:1", {"identity": True, "server_name": SERVER}),
        ("127.0.0.1:1", {"identity": True, "server_name": "a b"}),
        ("127.0.0.1:1", {"identity": True, "server_name": ""}),
        ("127.0.0.1:1", {"identity": True, "server_name": "a" * 254}),
        ("127.0.0.1:1", {"identity": True, "trust_domain": "Ours.test"}),
        ("127.0.0.1:1", {"trust_domain": OURS}),
    ],
)
def test_what_does_not_go_together_is_refused(ca: Authority, target: str, more: dict[str, object]) -> None:
    identity = Held(ca.svid(CLIENT), ours_test=[ca]) if more.pop("identity", False) else None
    endpoint("127.0.0.1:1", identity=identity or Held(None), server_name=NAME, trust_domain=OURS)
    endpoint("10.0.0.1:1", roots=b"-----BEGIN", server_name=NAME)
    with pytest.raises(ConfigurationError):
        endpoint(target, identity=identity, **more)  # type: ignore[arg-type]


def test_no_key_and_no_credential_is_shown(ca: Authority) -> None:
    place = endpoint("127.0.0.1:1", lambda: "s3cret", identity=Held(ca.svid(CLIENT), ours_test=[ca]))
    assert "PRIVATE" not in repr(place)
    assert "s3cret" not in repr(place)


def test_a_new_identity_is_used_from_the_next_call_on_and_the_old_line_ends_what_it_began(
    server: Secured, ca: Authority
) -> None:
    first, second = ca.svid(CLIENT), ca.svid(CLIENT)
    source = Held(first, ours_test=[ca])
    with client(server, source) as asking, ThreadPoolExecutor(1) as pool:
        server.answering.clear()
        slow = pool.submit(asking.info)
        until(lambda: server.seen)
        source.fill(second, ours_test=[ca])
        lines = asking._lines
        revision = ThreadPoolExecutor(1).submit(asking.revision)
        until(lambda: len(server.seen) == 2)
        assert len(lines._old) == 1
        server.answering.set()
        assert slow.result(20).authority == "https://chain.example"
        assert revision.result(20) == 1
        until(lambda: not lines._old)
        assert server.seen == [serial(first), serial(second)]


async def test_an_asynchronous_client_does_the_same(server: Secured, ca: Authority) -> None:
    first, second = ca.svid(CLIENT), ca.svid(CLIENT)
    source = Held(first, ours_test=[ca])
    async with AsyncClient(server.target, identity=source, server_name=NAME, timeout=20) as asking:
        server.answering.clear()
        slow = asyncio.create_task(asking.info())
        await asyncio.to_thread(until, lambda: server.seen)
        source.fill(second, ours_test=[ca])
        revision = asyncio.create_task(asking.revision())
        await asyncio.to_thread(until, lambda: len(server.seen) == 2)
        assert len(asking._lines._old) == 1
        server.answering.set()
        assert (await slow).authority == "https://chain.example"
        assert await revision == 1
        assert not asking._lines._old
        assert server.seen == [serial(first), serial(second)]


class Rotating:
    """Everything changes, with overlap: new authority trusted, then new SVIDs, then the old authority is forgotten."""

    def __init__(self) -> None:
        self.authorities = [authority(OURS)]
        ca = self.authorities[0]
        self.server_source = Held(ca.svid(SERVER, NAME), ours_test=[ca])
        self.client_source = Held(ca.svid(CLIENT), ours_test=[ca])

    def rotate(self, pause: float = 0.05) -> None:
        old, new = self.authorities[-1], authority(OURS)
        self.authorities.append(new)
        for made_by, trusted in ((old, [old, new]), (new, [old, new]), (new, [new])):
            for source, name, dns in ((self.server_source, SERVER, NAME), (self.client_source, CLIENT, None)):
                source.fill(made_by.svid(name, dns), ours_test=trusted)
            time.sleep(pause)


def test_no_call_fails_while_svids_and_authorities_are_replaced_under_load() -> None:
    rotating, stop, failed = Rotating(), threading.Event(), list[str]()
    done = [0] * 4
    with Secured(rotating.server_source) as server, client(server, rotating.client_source) as asking:

        def load(number: int) -> None:
            with asking.check_stream() as stream:
                while not stop.is_set():
                    try:
                        asking.check(CHAIN, ASKED).require()
                        stream.check(CHAIN, ASKED).require()
                    except ChainError as error:
                        failed.append(str(error))
                    done[number] += 1

        async def asynchronous() -> None:
            source = rotating.client_source
            aasking = AsyncClient(server.target, identity=source, server_name=NAME, timeout=20)
            async with aasking, aasking.check_stream() as stream:
                while not stop.is_set():
                    try:
                        (await aasking.check(CHAIN, ASKED)).require()
                        (await stream.check(CHAIN, ASKED)).require()
                    except ChainError as error:
                        failed.append(str(error))
                    done[3] += 1

        with ThreadPoolExecutor(4) as pool:
            loads = [pool.submit(load, number) for number in range(3)]
            loads.append(pool.submit(asyncio.run, asynchronous()))
            until(lambda: all(done))
            for _ in range(3):
                before = list(done)
                rotating.rotate()
                until(lambda: all(now > then for now, then in zip(done, before, strict=True)))  # noqa: B023 - ends here
            stop.set()
            for one in loads:
                one.result(20)
        until(lambda: not asking._lines._old)
        assert failed == []
        assert len(set(server.seen)) >= 4
    gone = Held(rotating.authorities[0].svid(CLIENT), ours_test=rotating.authorities[-1:])
    with Secured(rotating.server_source) as server, client(server, gone) as asking, pytest.raises(UnreachableError):
        asking.info()


def test_a_watch_moves_to_the_new_identity_and_tells_nothing_twice(server: Secured, ca: Authority) -> None:
    first, second = ca.svid(CLIENT), ca.svid(CLIENT)
    source = Held(first, ours_test=[ca])
    with client(server, source) as asking:
        lookout = asking.lookout(CHAIN, 0.1)
        assert lookout.stand().stands
        source.fill(second, ours_test=[ca])
        until(lambda: server.seen[-1] == serial(second))
        assert lookout.stand().stands
        until(lambda: server.streams == 1 and not asking._lines._old)
        lookout.close()
    assert server.seen == [serial(first), serial(second)]


async def test_an_asynchronous_watch_moves_too(server: Secured, ca: Authority) -> None:
    first, second = ca.svid(CLIENT), ca.svid(CLIENT)
    source = Held(first, ours_test=[ca])
    async with AsyncClient(server.target, identity=source, server_name=NAME, timeout=20) as asking:
        lookout = await asking.lookout(CHAIN, 0.1)
        assert lookout.stand().stands
        source.fill(second, ours_test=[ca])
        await asyncio.to_thread(until, lambda: server.seen[-1] == serial(second))
        assert lookout.stand().stands
        await asyncio.to_thread(until, lambda: server.streams == 1)
        await lookout.close()
    assert server.seen == [serial(first), serial(second)]


def test_a_stream_of_questions_moves_and_the_old_one_answers_what_it_was_asked(server: Secured, ca: Authority) -> None:
    source = Held(ca.svid(CLIENT), ours_test=[ca])
    with client(server, source) as asking, asking.check_stream() as stream, ThreadPoolExecutor(2) as pool:
        assert stream.check(CHAIN, ASKED).allowed
        server.answering.clear()
        slow = pool.submit(stream.check, CHAIN, ASKED)
        until(lambda: stream._lane.waiting._waiting)
        source.fill(ca.svid(CLIENT), ours_test=[ca])
        quick = pool.submit(stream.check, CHAIN, ASKED)
        until(lambda: len(server.seen) == 2)
        server.answering.set()
        assert slow.result(20).allowed
        assert quick.result(20).allowed
        until(lambda: server.streams == 1)


def test_a_token_is_asked_for_at_every_call(server: Secured, ca: Authority) -> None:
    tokens = iter(["one", "two", "three"])
    source = Held(ca.svid(CLIENT), ours_test=[ca])
    asking = Client(server.target, lambda: next(tokens), identity=source, server_name=NAME, timeout=20)
    with asking:
        asking.info()
        asking.info()
        asking.revision()
    assert server.credentials == ["Bearer one", "Bearer two", "Bearer three"]


@pytest.mark.parametrize("fault", ["", "two words", None, ValueError("s3cret")])
async def test_a_token_that_cannot_be_had_sends_nothing(server: Secured, ca: Authority, fault: object) -> None:
    given: list[object] = ["token"]

    def give() -> str:
        if isinstance(given[0], Exception):
            raise given[0]
        return given[0]  # type: ignore[return-value]

    source = Held(ca.svid(CLIENT), ours_test=[ca])
    async with AsyncClient(server.target, give, identity=source, server_name=NAME, timeout=20) as asking:
        await asking.info()
        given[0] = fault
        with pytest.raises(UnreachableError, match="no credential") as raised:
            await asking.info()
    assert "s3cret" not in str(raised.value)
    assert len(server.seen) == 1


def test_what_a_source_of_tokens_says_in_our_words_is_passed_on(server: Secured, ca: Authority) -> None:
    def give() -> str:
        raise UnauthenticatedError("sign in first")

    source = Held(ca.svid(CLIENT), ours_test=[ca])
    asking = Client(server.target, give, identity=source, server_name=NAME)
    with asking, pytest.raises(UnauthenticatedError, match="sign in first"):
        asking.info()
    assert server.seen == []


def test_a_stream_whose_token_ended_goes_on_with_the_next_one(server: Secured, ca: Authority) -> None:
    tokens = ["one"]
    source = Held(ca.svid(CLIENT), ours_test=[ca])
    asking = Client(server.target, lambda: tokens[-1], identity=source, server_name=NAME, timeout=20)
    with asking, asking.check_stream() as stream:
        assert stream.check(CHAIN, ASKED).allowed
        lookout = asking.lookout(CHAIN, 0.1)
        assert lookout.stand().stands
        tokens.append("two")
        server.ended.add("Bearer one")
        until(lambda: server.credentials[-1] == "Bearer two")
        until(lambda: lookout.stand().stands)
        assert stream.check(CHAIN, ASKED).allowed
        server.ended.add("Bearer two")  # and nobody gives another
        until(lambda: not lookout.stand().stands)
        lookout.close()
    assert server.credentials[-1] == "Bearer two"
