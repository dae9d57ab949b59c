"""People with OIDC tokens: who of them is a caller, and what a provider that is lost, slow or hostile can do."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from chain.caller import ALLOWED, Caller, Role
from chain.cli.identities import people_of
from chain.errors import ConfigurationError, UnauthenticatedError
from chain.identity import jwks as followed
from chain.identity.devca import DevAuthority
from chain.identity.material import Material, TrustBundle
from chain.identity.tls import Channels
from chain.peer import Person
from chain.service import settling
from chain.service.compose import compose, expected, persons
from chain.service.people import Description, Persons
from chain.service.safety import require_safe
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.store.memory import MemoryStore
from chain.v1 import watch_pb2, watch_pb2_grpc
from tests.identity import test_oidc
from tests.identity.provider import NOW, Provider, claims, jwks, serving, token

from .conftest import KEYS, bearer, configuration, fingerprint, jwk
from .test_gate import METHODS, REFUSED, code

US = "https://chain.example"
PEOPLE = [Role.ISSUER, Role.APPROVER, Role.AUDITOR, Role.OPERATOR]
INFO = "/chain.v1.ServerInfoService/GetServerInfo"
UNAUTHENTICATED, OK = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.OK


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving("a") as made:
        yield made


def described(issuer: str, name: str, role: Role, **oidc: Any) -> dict[str, Any]:
    return {"name": name, "roles": [role.value], "oidc": {"issuer": issuer} | oidc}


def lines(issuer: str) -> list[dict[str, Any]]:
    """A person of every role that people have, a group, and a program with a secret."""
    return [
        *(described(issuer, role.value, role, subject=role.value) for role in PEOPLE),
        described(issuer, "payments", Role.APPROVER, claims={"groups": "payments-approvers"}),
        {"name": "point", "roles": ["auditor"], "credentials": [fingerprint("point")]},
    ]


@dataclass
class House:
    """A server that takes tokens of one provider; its clock is the test's."""

    provider: Provider
    server: ChainServer
    log: io.StringIO
    now: list[float]
    reports: list[str]
    channels: list[grpc.aio.Channel] = field(default_factory=list)

    def channel(self) -> grpc.aio.Channel:
        channel = grpc.aio.insecure_channel(self.server.address)
        self.channels.append(channel)
        return channel

    def bearer(self, sub: str = "auditor", key: str = "a", **said: Any) -> tuple[tuple[str, str], ...]:
        made = claims(**{"iss": self.provider.issuer, "sub": sub} | said)
        return (("authorization", f"Bearer {token(made, key)}"),)

    async def asked(self, metadata: tuple[tuple[str, str], ...]) -> str:
        """How a call to which every caller has the role ends: `OK`, or the refusal's own words."""
        call = self.channel().unary_unary(INFO)(b"", metadata=metadata, timeout=20)
        return "OK" if await call.code() is OK else await call.details()

    def callers(self) -> list[str]:
        return [line["caller"] for line in map(json.loads, self.log.getvalue().splitlines()) if "caller" in line]


def settings(directory: Path, provider: Provider, **changes: Any) -> ServeSettings:
    oidc = {"issuer": provider.issuer, "audience": [US], "jwks_uri": provider.uri}
    told = {"sockets": None, "identity": {"oidc": [oidc]}, "callers": lines(provider.issuer)}
    return ServeSettings(**configuration(directory, **(told | changes)))


def open_house(told: ServeSettings, provider: Provider, **more: Any) -> House:
    now, log, reports = [float(NOW)], io.StringIO(), []
    people = people_of(told.identity, reports.append, lambda: now[0])
    authority = compose(told, MemoryStore(), signer=KEYS["issuer"], clock=lambda: now[0])
    server = ChainServer(authority, told, log=log, clock=lambda: now[0], people=people, **more)
    return House(provider, server, log, now, reports)


async def close(house: House) -> None:
    for channel in house.channels:
        await channel.close()
    await house.server.stop(0)
    if house.server._people is not None:
        house.server._people.close()  # type: ignore[attr-defined]


async def until(holds: Callable[[], bool], within: float = 20) -> None:
    """Wait for what another thread or task brings about."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 - threads bring it about, and set no event of asyncio's
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def house(directory: Path, provider: Provider) -> AsyncIterator[House]:
    made = open_house(settings(directory, provider), provider)
    await made.server.start()
    yield made
    await close(made)


async def test_exactly_the_roles_of_the_table_pass(house: House) -> None:
    channel, tried = house.channel(), 0
    for role in PEOPLE:
        for path, method in METHODS.items():
            told = await code(channel, path, house.bearer(role.value))
            assert (told in REFUSED) is (role not in ALLOWED[method.name]), (path, role, told)
            tried += 1
    assert tried == len(PEOPLE) * len(METHODS) > 100


async def test_no_method_is_open_to_who_is_no_caller(house: House) -> None:
    strangers = {
        "nobody": house.bearer("nobody"),
        "another group": house.bearer("nobody", groups=["payments"]),
        "a forger": house.bearer("operator", "evil"),
        "a forger with the name of a key": (
            ("authorization", f"Bearer {token(claims(iss=house.provider.issuer, sub='operator'), 'evil', kid='a')}"),
        ),
        "another audience": house.bearer("operator", aud="https://else.example"),
        "another issuer": house.bearer("operator", iss=house.provider.issuer + "/"),
        "over": house.bearer("operator", exp=NOW),
    }
    channel = house.channel()
    for who, metadata in strangers.items():
        for path in (*METHODS, "/chain.v1.AuthorizationService/Nothing"):
            assert await code(channel, path, metadata) is UNAUTHENTICATED, (who, path)
    for path, method in METHODS.items():
        allowed = Role.OPERATOR in ALLOWED[method.name]
        assert (await code(channel, path, house.bearer("operator")) in REFUSED) is not allowed
    assert len(strangers) == 7


async def test_who_stands_in_the_log_and_no_token_does(house: House) -> None:
    told = {
        "auditor": house.bearer("auditor"),
        f"{house.provider.issuer}#dana": house.bearer("dana", groups=["all", "payments-approvers"]),
        f"{house.provider.issuer}#eve": house.bearer("eve", groups="payments-approvers"),
    }
    for metadata in told.values():
        assert await house.asked(metadata) == "OK"
    assert await house.asked(house.bearer("auditor", groups=["payments-approvers"])) == "OK"
    assert house.callers() == [*told, "auditor"]  # the person alone, not the group as well
    for metadata in told.values():
        assert metadata[0][1].split(".")[1] not in house.log.getvalue()


ISS = "https://login.example"


def described_as(subject: str | None = None, issuer: str = ISS, **stated: str) -> Description:
    return Description(issuer, subject, stated)


def person(sub: str = "dana", **said: Any) -> Person:
    return Person(ISS, sub, NOW + 300, said)


ROWS = [
    ("person", described_as("dana")),
    ("person with a factor", described_as("fay", amr="hwk")),
    ("group", described_as(groups="pay")),
    ("two", described_as(groups="pay", unit="eu")),
    ("other two", described_as(groups="pay", team="x")),
    ("mail", described_as(email="gil@example.org")),
    ("elsewhere", described_as("dana", issuer="https://other.example")),
]
NAMED = f"{ISS}#"


@pytest.mark.parametrize(
    ("who", "roles", "name"),
    [
        (person(), "person", "person"),
        (person(groups=["pay"], unit="eu"), "person", "person"),
        (person("eve", groups="pay"), "group", NAMED + "eve"),
        (person("eve", groups=["x", "pay"]), "group", NAMED + "eve"),
        (person("eve", groups=["pay"], unit=["eu", "us"]), "two", NAMED + "eve"),
        (person("fay", amr=["pwd", "hwk"]), "person with a factor", "person with a factor"),
        (person("fay", amr=["pwd"], groups="pay"), "group", NAMED + "fay"),
        (person("gil", email="gil@example.org", email_verified=True), "mail", NAMED + "gil"),
    ],
)
def test_of_the_lines_that_fit_the_most_exact_counts_alone(who: Person, roles: str, name: str) -> None:
    known = Persons((said, Caller(row, frozenset({Role.AUDITOR}), audience=row)) for row, said in reversed(ROWS))
    found = known.of(who)
    assert (found.audience, found.name) == (roles, name)
    assert (found.holder, found.channel, found.names, found.proven_holder) == (None, False, frozenset(), None)


NOBODY = [
    person("eve"),
    person("Dana"),
    person("eve", groups=[]),
    person("eve", groups=["Pay"]),
    person("eve", groups="pay eu"),
    person("eve", groups=["pay eu", ["pay"], {"pay": "pay"}]),
    person("eve", groups={"pay": True}),
    person("eve", groups=None),
    person("eve", group="pay"),
    person("fay", amr="pwd"),
    person("gil", email="gil@example.org"),
    person("gil", email="gil@example.org", email_verified=False),
    person("gil", email="gil@example.org", email_verified="true"),
    person("gil", email="gil@example.org", email_verified=1),
    Person(ISS + "/", "dana", NOW + 300, {}),
]


@pytest.mark.parametrize("who", NOBODY)
def test_whom_no_line_means_is_nobody(who: Person) -> None:
    known = Persons((said, Caller(row, frozenset({Role.AUDITOR}))) for row, said in ROWS)
    with pytest.raises(UnauthenticatedError, match=r"no caller is configured for `https://.*#"):
        known.of(who)
    assert known.of(person()).name == "person"
    assert len(NOBODY) == 15


def test_two_lines_that_are_equally_exact_let_nobody_in() -> None:
    known = Persons((said, Caller(row, frozenset({Role.AUDITOR}))) for row, said in ROWS)
    with pytest.raises(UnauthenticatedError, match="neither is more exact"):
        known.of(person("eve", groups="pay", unit="eu", team="x"))
    assert known.of(person("eve", groups="pay", team="x")).name == NAMED + "eve"
    assert known.of(person("dana", groups="pay", unit="eu", team="x")).name == "person"


def test_a_persons_own_key_is_pinned_and_never_proven(directory: Path, provider: Provider) -> None:
    row = described(provider.issuer, "dana", Role.APPROVER, subject="dana") | {"jwk": jwk(KEYS["alice"])}
    ((_, caller),) = persons(settings(directory, provider, callers=[row]))
    assert caller.holder == KEYS["alice"].key.thumbprint
    assert (caller.channel, caller.proven_holder, caller.proven_spiffe) == (False, None, None)


def test_a_group_is_room_for_many(directory: Path, provider: Provider) -> None:
    told = settings(directory, provider)
    assert expected(told) == len(told.callers) + 64


def line(role: Role, **oidc: Any) -> dict[str, Any]:
    """A line whose issuer the test fills in, where it states none."""
    return {"name": role.value, "roles": [role.value], "audience": US, "oidc": oidc}


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"identity": None}, "no `identity.oidc` is the issuer"),
    ({"listen": "", "mtls_listen": ""}, "`identity.oidc` is for `listen`"),
    ({"callers": [{"name": "a", "roles": ["auditor"], "credentials": ["0" * 64]}]}, "`identity.oidc` lets nobody in"),
    ({"callers": [line(Role.AUDITOR)]}, "stands for everybody"),
    ({"callers": [line(Role.AGENT, subject="d")]}, "an agent holds a key"),
    ({"callers": [line(Role.ENFORCEMENT_POINT, subject="d")]}, "an enforcement point is a program"),
    ({"callers": [line(Role.AUDITOR, claims={"sub": "d"})]}, "a person is named by `subject`"),
    ({"callers": [line(Role.AUDITOR, claims={"email_verified": "true"})]}, "says nothing of who somebody is"),
    ({"callers": [line(Role.AUDITOR, subject="d"), line(Role.ISSUER, subject="d")]}, "the same person"),
    ({"callers": [line(Role.AUDITOR, subject="d", issuer="https://x.example")]}, "no `identity.oidc` is"),
    ({"callers": [line(Role.APPROVER, claims={"g": "d"}) | {"thumbprint": "t"}]}, "stands for many"),
    ({"identity": [{}, {}]}, "stands 2 times"),
    ({"identity": [{"jwks_file": "keys.json"}]}, "not from both"),
    ({"identity": [{"jwks_uri": None, "jwks_file": "keys.json", "ca": "ca.pem"}]}, "has no use"),
    ({"identity": [{"max_stale": 20}]}, "would go stale"),
]


@pytest.mark.parametrize(("changes", "said"), CONTRADICTIONS)
def test_what_contradicts_itself_does_not_start(
    directory: Path, provider: Provider, changes: dict[str, Any], said: str
) -> None:
    require_safe(settings(directory, provider))
    if isinstance(told := changes.get("identity"), list):
        base = {"issuer": provider.issuer, "audience": [US], "jwks_uri": provider.uri}
        changes = {"identity": {"oidc": [base | one for one in told]}}
    if any("oidc" in one for one in changes.get("callers", ())):
        told = [one | {"oidc": {"issuer": provider.issuer} | one["oidc"]} for one in changes["callers"]]
        changes = {"callers": told}
    with pytest.raises(ConfigurationError, match=said):
        require_safe(settings(directory, provider, **changes))
    assert len(CONTRADICTIONS) == 15


@pytest.mark.parametrize("changes", [{"audience": []}, {"algorithms": ["HS256"]}, {"algorithms": ["none"]}])
def test_no_audience_and_no_secret_key_can_be_configured(
    directory: Path, provider: Provider, changes: dict[str, Any]
) -> None:
    base = {"issuer": provider.issuer, "audience": [US]}
    assert settings(directory, provider, identity={"oidc": [base]}).identity is not None
    with pytest.raises(ValueError, match=next(iter(changes))):
        settings(directory, provider, identity={"oidc": [base | changes]})


def test_nobody_who_knows_the_people_does_not_start(directory: Path, provider: Provider) -> None:
    told = settings(directory, provider)
    with pytest.raises(ConfigurationError, match="knows the people"):
        ChainServer(compose(told, MemoryStore(), signer=KEYS["issuer"]), told)


async def test_a_server_starts_without_its_provider_says_so_and_recovers(
    directory: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "RETRIES", (0.02,))
    provider.stop()
    house = open_house(settings(directory, provider), provider)
    await house.server.start()
    assert "oidc_keys_unavailable" in await house.asked(house.bearer())
    assert await house.asked(bearer("point")) == "OK"
    assert house.reports == [
        f"keys of `{provider.issuer}` cannot be read: it did not answer (ConnectionRefusedError)",
    ]
    provider.start()
    while (told := await house.asked(house.bearer())) != "OK":
        assert "oidc_keys_unavailable" in told
    assert house.reports[1:] == [f"keys of `{provider.issuer}` are read again"]
    await close(house)


async def test_a_rotation_fails_no_call_and_a_removed_key_is_refused(house: House) -> None:
    assert await house.asked(house.bearer(key="a")) == "OK"
    house.provider.keys = jwks("b")  # without any overlap
    before = len(house.provider.asked)
    told = await asyncio.gather(*(house.asked(house.bearer(key="b", jti=str(n))) for n in range(20)))
    assert told == ["OK"] * 20
    assert len(house.provider.asked) == before + 1
    assert "oidc_key_unknown" in await house.asked(house.bearer(key="a"))
    assert await house.asked(house.bearer(key="b")) == "OK"


async def test_a_flood_of_unknown_keys_asks_the_provider_once(house: House) -> None:
    assert await house.asked(house.bearer()) == "OK"
    before = len(house.provider.asked)
    flood = (house.asked(house.bearer("operator", "evil", jti=str(n))) for n in range(200))
    told = await asyncio.gather(*flood, *(house.asked(house.bearer()) for _ in range(10)))
    assert all("oidc_key_unknown" in one for one in told[:200])
    assert told[200:] == ["OK"] * 10
    assert len(house.provider.asked) <= before + 1


async def test_a_slow_provider_holds_up_nobody_else_and_too_many_do_not_wait(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "PLACES", 2)
    assert await house.asked(house.bearer()) == "OK"
    hangs, free = threading.Event(), threading.Event()

    def slow(_handler: Any) -> None:
        hangs.set()
        free.wait(30)

    house.provider.answer = slow
    waiting = [asyncio.create_task(house.asked(house.bearer(key="b", jti=str(n)))) for n in range(2)]
    await until(lambda: len(house.server._bounds.unsettled) == 2 and hangs.is_set())
    assert await house.asked(house.bearer()) == "OK"
    assert await house.asked(bearer("point")) == "OK"
    assert "oidc_key_unknown" in await house.asked(house.bearer(key="b", jti="one more"))
    assert not any(task.done() for task in waiting)
    house.provider.answer, house.provider.keys = None, jwks("a", "b")
    free.set()  # what hung gave no answer
    assert all("oidc_key_unknown" in told for told in await asyncio.gather(*waiting))
    assert len(house.server._bounds.unsettled) == 0


async def test_who_waits_for_a_key_waits_a_bounded_time_and_a_stop_ends_it(
    directory: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "PATIENCE", 0.0)
    free = threading.Event()
    provider.answer = lambda _: free.wait(30)
    house = open_house(settings(directory, provider), provider)
    await house.server.start()
    assert "oidc_keys_unavailable" in await house.asked(house.bearer())
    monkeypatch.setattr(settling, "PATIENCE", 600.0)
    waiting = asyncio.create_task(house.asked(house.bearer()))
    await until(lambda: len(house.server._bounds.unsettled) == 1)
    await house.server.stop(1)
    assert "oidc_keys_unavailable" in await waiting
    free.set()
    for channel in house.channels:
        await channel.close()


def watch(house: House, metadata: Any) -> Any:
    return watch_pb2_grpc.WatchServiceStub(house.channel()).Watch(watch_pb2.WatchRequest(), metadata=metadata)


async def _all(stream: Any) -> None:
    async for _ in stream:
        pass


async def ends(stream: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await asyncio.wait_for(_all(stream), 20)
    assert ended.value.code() is UNAUTHENTICATED
    return str(ended.value.details())


async def test_a_stream_ends_with_its_token(house: House) -> None:
    short, long = (watch(house, house.bearer(exp=NOW + life)) for life in (60, 3600))
    await until(lambda: len(house.server._bounds.waiting) == 2)
    house.now[0] += 60
    assert "jwt_expired" in await ends(short)
    assert not long.done()
    house.now[0] += 3600
    assert "jwt_expired" in await ends(long)


async def test_a_stream_ends_with_its_key(house: House) -> None:
    stream = watch(house, house.bearer())
    await until(lambda: len(house.server._bounds.waiting) == 1)
    house.provider.keys = jwks("b")
    assert await house.asked(house.bearer(key="b")) == "OK"
    assert "oidc_key_unknown" in await ends(stream)


async def test_over_the_wire_a_bad_token_is_nobodys_and_its_twin_a_persons(directory: Path, provider: Provider) -> None:
    file = directory / "keys.json"
    file.write_bytes(test_oidc.SET)
    trusted = test_oidc.TRUSTED
    oidc = {"issuer": trusted.name, "audience": [*trusted.audiences], "algorithms": [*trusted.algorithms]}
    people = described(trusted.name, "people", Role.AUDITOR, claims={"nonce": "n"})
    told = settings(directory, provider, identity={"oidc": [oidc | {"jwks_file": file}]}, callers=[people])
    house = open_house(told, provider)
    await house.server.start()
    tried = 0
    for fault, wrong, right in test_oidc.CASES:
        if not wrong.isascii():  # gRPC does not send it
            continue
        said = await house.asked((("authorization", f"Bearer {wrong}"),))
        assert fault.value in said or wrong.count(".") != 2, fault  # that is not even a token
        assert await house.asked((("authorization", f"Bearer {right}"),)) == "OK", fault
        tried += 1
    assert tried == len(test_oidc.CASES) - 1
    assert provider.asked == []
    await close(house)


class Held:
    """Bundles of one trust domain."""

    def __init__(self, own: DevAuthority) -> None:
        bundle = TrustBundle("acme.test", own.authorities, {str(key["kid"]): key for key in own.jwt_keys})
        self.material = Material(None, {"acme.test": bundle}, 1)

    def current(self) -> Material:
        return self.material

    def close(self) -> None:
        """Nothing is followed."""


async def test_each_token_goes_to_one_verifier_and_to_no_second(directory: Path, provider: Provider) -> None:
    own = DevAuthority("acme.test", lambda: float(NOW), 3600)
    name = "spiffe://acme.test/auditor"
    told = settings(
        directory,
        provider,
        identity={
            "jwt_audience": [US],
            "oidc": [{"issuer": provider.issuer, "audience": [US], "jwks_uri": provider.uri}],
        },
        callers=[*lines(provider.issuer), {"name": "workload", "roles": ["auditor"], "spiffe": name}],
    )
    house = open_house(told, provider, workloads=Channels(Held(own), lambda: float(NOW), [US], mutual=False))
    await house.server.start()
    svid = own.token(name, [US])
    assert await house.asked((("authorization", f"Bearer {svid}"),)) == "OK"
    assert await house.asked(house.bearer()) == "OK"
    assert await house.asked(bearer("point")) == "OK"
    assert house.callers() == ["workload", "auditor", "point"]
    told_of = {
        f"no caller is configured for `{provider.issuer}#{name}`": house.bearer(
            name
        ),  # a provider that says it is a workload
        "oidc_issuer_unknown": house.bearer(iss="https://else.example"),
        "oidc_issuer_missing": house.bearer(iss=None),
        "jwt_kid_unknown": house.bearer(name, iss=None),
        "jwt_malformed": (("authorization", "Bearer a.b.c"),),
        "the bearer credential is not known": (("authorization", "Bearer " + "x" * 40),),
    }
    for expected_, metadata in told_of.items():
        assert expected_ in await house.asked(metadata), expected_
    logged = [
        line.get("refused", "") for line in map(json.loads, house.log.getvalue().splitlines()) if "caller" in line
    ]
    assert logged[:3] == ["", "", ""]
    assert all(expected_ in line for expected_, line in zip(told_of, logged[3:], strict=True))
    await close(house)


def test_time_is_the_tests_own() -> None:
    assert time.time() < NOW  # a token of a test is never valid by the machine's clock
