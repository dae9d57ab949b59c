"""Reasons not to start, each with the twin that does; and what a stop and a restart keep."""

import asyncio
import json
import socket
from concurrent.futures import Future
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chain import mint
from chain.errors import ConfigurationError
from chain.order import Revoke
from chain.reason import Reason
from chain.service.compose import compose
from chain.service.safety import require_safe
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings, load
from chain.service.settled import settled
from chain.service.tables import AgentSettings, AnchorSettings, CallerSettings, CeilingSettings, CredentialSettings
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from chain.wire import convert

from .conftest import AUTHORITY, KEYS, PEP, Serve, World, ask, bearer, configuration, fingerprint, jwk


def caller(**changes: object) -> list[dict]:
    return [
        {"name": "point", "roles": ["enforcement_point"], "audience": PEP, "credentials": [fingerprint("p")]} | changes
    ]


def twice(**changes: object) -> list[dict]:
    return [*caller(), *caller(**({"name": "other", "credentials": [fingerprint("o")]} | changes))]


REFUSALS = {
    "no trust anchor": {"anchors": []},
    "`jwk` or `jwk_file`": {"anchors": [{"iss": "https://issuer.example"}]},
    "the key is missing": {"tls_cert": "catalogue.json"},
    "the certificate is missing": {"tls_key": "issuer.jwk"},
    "not a loopback address": {"listen": "0.0.0.0:0"},
    "host:port": {"listen": "50051"},
    "nothing to listen on": {"listen": "", "callers": caller()},
    "neither a credential, a socket, a SPIFFE id nor": {"callers": caller(credentials=[])},
    "has no audience": {"callers": caller(audience=None)},
    "no caller": {"callers": []},
    "the name `point` stands 2 times": {"callers": twice(name="point")},
    "two credentials are the same": {"callers": twice(credentials=[fingerprint("p")])},
    "names no directory": {"callers": caller(socket=True), "sockets": None},
    "no key for the socket to prove": {"callers": caller(roles=["agent"], socket=True)},
    "and is no agent": {"callers": caller(thumbprint="x" * 43)},
    "no socket that could be given": {"callers": caller(uid=1)},
    "one caller could take every place": {"max_calls_per_caller": 1000},
    "more than one of": {"callers": caller(roles=["agent"], thumbprint="x" * 43, jwk=jwk(KEYS["bob"]))},
    "go together": {"issuer_key": None},
    "a label stands twice": {"labels": ["a", "a"]},
    "`default_lifetime` is above": {"default_lifetime": 100, "max_lifetime": 99},
    "no file": {"catalogue": "nowhere.json"},
}


@pytest.mark.parametrize("said", REFUSALS)
def test_an_unsafe_configuration_is_refused(directory: Path, said: str) -> None:
    changes = dict(REFUSALS[said])
    for name in ("tls_cert", "tls_key", "catalogue"):
        if name in changes:
            changes[name] = directory / changes[name]
    with pytest.raises(ConfigurationError, match=said.replace("|", r"\|")):
        require_safe(ServeSettings(**configuration(directory, **changes)))
    require_safe(ServeSettings(**configuration(directory)))


@pytest.mark.parametrize(
    "changes",
    [
        {"callers": caller(roles=["root"])},
        {"callers": caller(roles=[])},
        {"callers": caller(name="../etc")},
        {"callers": caller(credentials=["not a hash"])},
        {"callers": caller(password="x")},
        {"bogus": 1},
        {"max_lifetime": 10**9},
        {"labels": []},
    ],
)
def test_a_setting_that_is_unknown_or_out_of_bounds_is_refused(directory: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        ServeSettings(**configuration(directory, **changes))
    ServeSettings(**configuration(directory))


def test_a_key_or_socket_directory_that_others_may_read_is_refused(directory: Path) -> None:
    settings = ServeSettings(**configuration(directory))
    key = directory / "issuer.jwk"
    key.chmod(0o640)
    with pytest.raises(ConfigurationError, match="0640"):
        require_safe(settings)
    key.chmod(0o600)
    sockets = directory / "sockets"
    sockets.mkdir(mode=0o755)
    sockets.chmod(0o755)
    with pytest.raises(ConfigurationError, match="0755"):
        require_safe(settings)
    sockets.chmod(0o700)
    require_safe(settings)


def test_a_key_that_is_none_is_refused(directory: Path) -> None:
    weak = {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}
    with pytest.raises(ConfigurationError, match="trust anchor"):
        compose(ServeSettings(**configuration(directory, anchors=[{"jwk": weak}])), MemoryStore())


def test_flags_come_before_environment_before_file(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = directory / "chain.toml"
    file.write_text(
        f'ledger = "memory"\naudience = "{AUTHORITY}"\ndrain = 3\nlisten = "127.0.0.1:1"\nlog_level = "debug"'
    )
    monkeypatch.setenv("CHAIN_SERVE_DRAIN", "4")
    monkeypatch.setenv("CHAIN_SERVE_LISTEN", "127.0.0.1:2")
    settings = load(["--config", str(file), "--listen", "127.0.0.1:3"])
    assert (settings.listen, settings.drain, settings.log_level) == ("127.0.0.1:3", 4, "debug")
    monkeypatch.setenv("CHAIN_SERVE_LISTN", "127.0.0.1:2")
    with pytest.raises(ConfigurationError, match="CHAIN_SERVE_LISTN"):
        load(["--config", str(file)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bogus = 1", "bogus"),
        ("listen = ", "config file"),
        ('ledger = "memory"', "audience"),
        ("[[callers]]\nname = 'a'\nroles = ['root']", "callers"),
    ],
)
def test_a_file_that_says_something_else_is_refused(directory: Path, text: str, said: str) -> None:
    file = directory / "chain.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        load(["--config", str(file)])
    with pytest.raises(ConfigurationError, match="config file"):
        load(["--config", str(directory / "nowhere.toml")])


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for name, setting in ServeSettings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert f"CHAIN_SERVE_{name.upper()}" in text
        assert setting.description
        assert setting.description.split()[0] in text
    keys = {line.split()[0] for line in text.splitlines() if line.startswith("  ") and ":" in line}
    for model in (AnchorSettings, CeilingSettings, CallerSettings, CredentialSettings, AgentSettings):
        assert model.model_fields.keys() <= keys
        assert all(field.description for field in model.model_fields.values())
    assert "{sound,aat-01}" in text
    assert "issuer|agent|enforcement_point|approver|auditor|operator, required" in text


async def test_a_port_in_use_is_refused(world: World, serve: Serve, directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="in use"):
        await serve(listen=world.server.address, sockets=directory / "others")
    await serve(sockets=directory / "third")


async def test_a_socket_in_use_is_refused_and_a_stale_one_is_not(world: World, serve: Serve, directory: Path) -> None:
    with pytest.raises(ConfigurationError, match="in use"):
        await serve()
    path = world.server.sockets["point"]
    assert (await world.stub("point", socket=True).Check(ask([]))).decision.effect
    await world.server.stop(0)
    assert not path.exists()
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    again = await serve()
    assert (await again.stub("point", socket=True).Check(ask([]))).decision.effect


async def test_a_file_in_the_way_of_a_socket_is_refused(serve: Serve, directory: Path) -> None:
    own = directory / "sockets" / "alice"
    own.mkdir(mode=0o700, parents=True)
    (directory / "sockets").chmod(0o700)
    (own / "chain.sock").write_text("mine")
    with pytest.raises(ConfigurationError, match="is no socket"):
        await serve()
    assert (own / "chain.sock").read_text() == "mine"
    (own / "chain.sock").unlink()
    await serve()


async def test_a_stop_lets_calls_end_and_health_says_so(serve: Serve, tmp_path: Path) -> None:
    world = await serve(SqliteStore(tmp_path / "ledger"))
    root = await world.root()
    health = health_pb2_grpc.HealthStub(world.channel())
    watch = health.Watch(health_pb2.HealthCheckRequest(), metadata=bearer("auditor"), timeout=20)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    alice = world.stub("alice", socket=True)
    pays = [ask([root], "bank.pay", arguments={"amount": 1}, channel=True, request_id=f"{n:016}") for n in range(50)]
    calls = [asyncio.ensure_future(alice.Check(pay)) for pay in pays]
    await asyncio.sleep(0.005)
    stopping = asyncio.create_task(world.server.stop())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    with pytest.raises(grpc.aio.AioRpcError):  # it ends of itself, and does not hold up the stop
        await watch.read()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    await stopping
    for outcome in outcomes:  # answered, or never begun; nothing in between
        if isinstance(outcome, grpc.aio.AioRpcError):
            assert outcome.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        else:
            assert convert.decision_from(outcome.decision).allowed
    allowed = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    store = SqliteStore(tmp_path / "ledger")
    decided = [json.loads(data)["body"] for data, _ in store.records(kind="decided")]
    assert {outcome.decision.decision_id for outcome in allowed} == {body["id"] for body in decided}
    store.close()


async def test_a_restart_knows_used_proofs_revocations_and_keys(serve: Serve, tmp_path: Path) -> None:
    first = await serve(SqliteStore(tmp_path / "ledger"))
    root, other = await first.root(), await first.root()
    made = first.proof("alice", root, "mail.read", {"folder": "in"})
    used = ask([root], proof=made)
    assert convert.decision_from((await first.stub("point").Check(used)).decision).allowed
    request = convert.revoke_to(Revoke(mint.unverified(other).digest, "end"), None, None, "revoke once")
    done = await first.stub("operator").Revoke(request)
    head = done.revision
    await first.server.stop()
    store = SqliteStore(tmp_path / "ledger")
    second = await serve(store)

    async def read(tokens: list[str], **facts: str | int) -> Reason:
        proof = second.proof("alice", tokens[0], "mail.read", {"folder": "in"})
        reply = await second.stub("point").Check(ask(tokens, **({"proof": proof} | facts)))
        return convert.decision_from(reply.decision).reason

    assert await read([root], proof=made) is Reason.REPLAY
    assert await read([root]) is Reason.ALLOWED
    assert await read([other]) is Reason.REVOKED
    assert await read([root], at_least=head) is Reason.ALLOWED
    assert await second.stub("operator").Revoke(request) == done
    enrolled = [data for data, _ in store.records(kind="enrolled")]
    assert len(enrolled) == 2  # a restart does not enrol again


async def test_a_cancelled_call_does_not_lose_its_commit(serve: Serve, tmp_path: Path) -> None:
    world = await serve(SqliteStore(tmp_path / "ledger"))
    root = await world.root()
    pay = ask([root], "bank.pay", arguments={"amount": 1}, channel=True, request_id="c" * 16)
    alice = world.stub("alice", socket=True)
    call = alice.Check(pay)
    while not any(line.get("method") == "Check" for line in world.lines()):
        call.cancel()
        await asyncio.sleep(0.01)
        if not any(line.get("method") == "Check" for line in world.lines()):
            call = alice.Check(pay)
            await asyncio.sleep(0.0005)
    again = convert.decision_from((await alice.Check(pay)).decision)
    assert again.reason in {Reason.REPLAY, Reason.ALLOWED}  # used up, or never begun; and the server goes on
    assert convert.decision_from((await alice.Check(pay)).decision).reason is Reason.REPLAY


async def test_a_handler_that_is_cancelled_leaves_the_commit_alone() -> None:
    commit: Future[int] = Future()
    handler = asyncio.create_task(settled(commit))
    await asyncio.sleep(0)
    handler.cancel()
    await asyncio.gather(handler, return_exceptions=True)
    assert handler.cancelled()
    assert not commit.cancelled()
    commit.set_result(7)  # the writer's thread would have failed here
    assert await settled(commit) == 7


def test_a_server_needs_safe_settings(directory: Path) -> None:
    authority = compose(ServeSettings(**configuration(directory)), MemoryStore(), signer=KEYS["issuer"])
    with pytest.raises(ConfigurationError, match="loopback"):
        ChainServer(authority, ServeSettings(**configuration(directory, listen="0.0.0.0:0")))
    ChainServer(authority, ServeSettings(**configuration(directory)))
    authority.close()
