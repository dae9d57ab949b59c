"""The same through a real server: stop, resume, revoke by name, signals, limits; and by whom it may be done."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import queue
import signal as signals
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import pytest

from chain import enrolment, mint, proof, token
from chain.authority import Authority
from chain.client import AsyncClient, Client
from chain.control import Named, Strike
from chain.decision import Decision
from chain.errors import (
    ConfigurationError,
    DeniedError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    ResourceExhaustedError,
    SignalError,
)
from chain.key import KeySigner
from chain.mint import grant
from chain.order import Issue, Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.service.compose import compose
from chain.service.gate import PLACES
from chain.service.room import Kind
from chain.service.safety import require_safe
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.signal import make
from chain.store.memory import MemoryStore
from chain.v1 import control_pb2, delegation_pb2
from chain.wire import control
from chain.wire.change import revoke_from
from chain.writing import CIRCUIT_BREAKER
from tests.client import running
from tests.client.running import secret
from tests.control.material import IDP, IDP_KEY, plain
from tests.support import ALICE, BOB, CAROL, HOME, ISSUER, PEP, ROOT_KEY, jwk, signer

TOOLS = {
    "tools": {"mail.read": {}, "bank.pay": {"amount": {"constraint_type": "range", "max": 100}}},
    "limits": {"classes": ["read", "act"]},
}
PRINCIPALS = {ALICE: "spiffe://example.org/0", BOB: "spiffe://example.org/1"}
TRUSTED = [{"iss": IDP, "jwk": jwk(IDP_KEY)}]


def settings(directory: Path, **changes: object) -> ServeSettings:
    told = json.loads(running.settings(directory).model_dump_json(exclude_none=True))
    auditor = {"name": "auditor", "roles": ["auditor"], "credentials": [_hash("auditor")]}
    told["callers"].append(auditor)
    return ServeSettings.model_validate(told | {"policy": "none", "signals": TRUSTED} | changes)


def _hash(name: str) -> str:
    return sha256(secret(name).encode()).hexdigest()


class House:
    """A server, and who calls it."""

    def __init__(self, server: ChainServer, authority: Authority) -> None:
        self.server = server
        self.authority = authority
        self._clients: dict[str, Client] = {}

    def __getitem__(self, caller: str) -> Client:
        if caller not in self._clients:
            self._clients[caller] = Client(self.server.address, secret(caller), timeout=20)
        return self._clients[caller]

    def root(self, holder: KeySigner = ALICE, task: str = "t1", lifetime: int = 300) -> list[str]:
        order = Issue(holder=holder.key, grant=grant(TOOLS), lifetime=lifetime, task=task)
        return [self["issuer"].issue(order).token]

    def child(self, tokens: list[str], by: KeySigner, to: KeySigner) -> list[str]:
        above, now = mint.unverified(tokens[-1]), time.time()
        claims = mint.child_claims(
            above, grant(TOOLS), to.key, jti=mint.uuid7(now, os.urandom(10)), now=int(now), lifetime=200
        )
        return [*tokens, token.sign(claims, by)]

    def ask(self, tokens: list[str], by: KeySigner, tool: str = "mail.read", **arguments: object) -> Decision:
        made = proof.make(
            by,
            mint.unverified(tokens[-1]),
            tool,
            arguments,
            audience=PEP,
            jti=os.urandom(9).hex(),
            iat=int(time.time()),
        )
        return self["point"].check(tokens, Request(tool=tool, arguments=arguments, proof=made, audience=PEP))

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


@contextmanager
def house(directory: Path, **changes: object) -> Iterator[House]:
    told = settings(directory, **changes)
    authority = compose(told, MemoryStore(), signer=ROOT_KEY)
    with running.serving(lambda: ChainServer(authority, told, log=io.StringIO())) as server:
        made = House(server, authority)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("h")) as made:
        yield made


SCOPES = [
    ("agent", PRINCIPALS[ALICE]),
    ("agent", PRINCIPALS[BOB]),
    ("trust_domain", "example.org"),
    ("task", "t1"),
    ("tool", "bank.pay"),
    ("everything", ""),
]


@pytest.mark.parametrize(("scope", "name"), SCOPES)
@pytest.mark.parametrize("mode", ["suspended", "quarantined"])
def test_the_next_call_is_denied_until_it_is_resumed(at: House, scope: str, name: str, mode: str) -> None:
    tokens, steering = at.child(at.root(), ALICE, BOB), at["operator"].steering
    assert at.ask(tokens, BOB, "bank.pay", amount=5).allowed
    told = steering.suspend(scope, name, "because", mode, 600)
    assert (told.scope, told.mode, told.cause, told.author) == (scope, mode, "because", "operator")
    assert told.until == told.since + 600
    assert at["auditor"].steering.suspensions() == [plain(told)]
    assert told.keys == {"agent": 1, "trust_domain": 3}.get(scope)
    assert not told.lifted
    denied = at.ask(tokens, BOB, "bank.pay", amount=5)
    assert denied.reason is (Reason.SUSPENDED if mode == "suspended" else Reason.QUARANTINED)
    reads = at.ask(tokens, BOB).allowed
    assert reads is (mode == "quarantined" or scope == "tool")
    lifted = steering.resume(scope, name, "over")
    assert lifted.revision > told.revision
    assert at.ask(tokens, BOB, "bank.pay", amount=5).allowed
    with pytest.raises(NotFoundError):
        steering.resume(scope, name, "again")


def test_the_client_for_asyncio_says_the_same(at: House) -> None:
    async def story() -> None:
        async with AsyncClient(at.server.address, secret("operator"), timeout=20) as client:
            told = await client.steering.suspend("task", "t9", "because")
            assert await client.steering.suspensions() == [plain(told)]
            assert (await client.steering.resume("task", "t9", "over")).name == "t9"
            event = _event("risk-level-change", PRINCIPALS[ALICE], level="low")
            assert (await client.steering.signal(event)).principals == (PRINCIPALS[ALICE],)

    asyncio.run(story())


def test_a_name_that_can_never_match_is_refused_with_what_it_should_be(at: House) -> None:
    steering = at["operator"].steering
    with pytest.raises(InvalidRequestError, match="SPIFFE id"):
        steering.suspend("agent", f"{PRINCIPALS[ALICE]}/", "because")
    assert steering.suspensions() == []
    nobody = steering.suspend("agent", "spiffe://example.org/nobody", "because")
    assert nobody.keys == 0
    steering.resume("agent", nobody.name, "over")


def test_a_repeated_order_says_that_it_was_lifted(at: House) -> None:
    steering = at["operator"].steering
    first = steering.suspend("task", "t7", "because", key="kill-switch")
    assert steering.suspend("task", "t7", "because", key="kill-switch") == first
    steering.resume("task", "t7", "over")
    again = steering.suspend("task", "t7", "because", key="kill-switch")
    assert (again.revision, again.lifted, first.lifted) == (first.revision, True, False)
    assert not steering.suspend("task", "t7", "because").lifted  # a fresh key, as always where none is named
    steering.resume("task", "t7", "over")


def test_a_late_event_is_told_to_have_changed_nothing(at: House) -> None:
    steering, now = at["operator"].steering, int(time.time())
    told = steering.signal(_event("risk-level-change", PRINCIPALS[ALICE], level="low", now=now))
    late = steering.signal(_event("risk-level-change", PRINCIPALS[ALICE], level="low", now=now - 60))
    assert (told.late, late.late, late.count) == (False, True, 1)


def _event(kind: Any, subject: str, by: KeySigner = IDP_KEY, **changed: Any) -> str:
    made: dict[str, Any] = {"issuer": IDP, "audience": HOME, "jti": os.urandom(9).hex(), "now": int(time.time())}
    return make(by, event=kind, subject=subject, **(made | changed))


@pytest.mark.parametrize("caller", ["issuer", "agent", "point", "auditor"])
def test_only_operators_steer(at: House, caller: str) -> None:
    steering = at[caller].steering
    for ask in (
        lambda: steering.suspend("task", "t1", "because"),
        lambda: steering.resume("task", "t1", "because"),
        lambda: steering.signal(_event("session-revoked", PRINCIPALS[ALICE])),
    ):
        with pytest.raises(ForbiddenError):
            ask()
    if caller != "auditor":
        with pytest.raises(ForbiddenError):
            steering.suspensions()
    assert at.ask(at.root(), ALICE).allowed
    assert at["operator"].steering.suspensions() == []


KINDS: list[tuple[Strike, str]] = [
    ("holder", signer("falls").key.thumbprint),
    ("holder", "spiffe://example.org/falls"),
    ("task", "falls"),
    ("key", signer("falls").key.thumbprint),
]


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_revocation_by_name(tmp_path: Path, kind: Strike, name: str) -> None:
    falls = signer("falls")
    agents = [{"jwk": jwk(falls), "id": "spiffe://example.org/falls", "owner": "team"}]
    with house(tmp_path, agents=agents) as at:
        top = at.root(falls, task="falls" if kind == "task" else "t1")
        below, other = at.child(top, falls, CAROL), at.root(CAROL)
        for tokens, by in ((top, falls), (below, CAROL), (other, CAROL)):
            assert at.ask(tokens, by).allowed
        order = Revoke(cause="because", named=Named(kind, name))
        for caller in ("agent", "point", "auditor"):
            with pytest.raises(ForbiddenError):
                at[caller].revoke(order)
        fallen = {mint.unverified(tokens[-1]).id for tokens in ([below] if kind == "key" else [top, below])}
        dry = at["issuer"].revoke(order, dry_run=True)
        assert (set(dry.fallen), dry.count) == (fallen, len(fallen))
        assert at.ask(below, CAROL).allowed
        done = at["operator"].revoke(order)
        assert set(done.fallen) == fallen
        assert at.ask(below, CAROL).reason is Reason.REVOKED
        assert at.ask(top, falls).allowed is (kind == "key")
        assert at.ask(other, CAROL).allowed


def test_an_issuer_and_its_key_fall_with_all_that_they_issued(tmp_path: Path) -> None:
    with house(tmp_path) as at:
        tokens = at.root()
        assert at.ask(tokens, ALICE).allowed
        for named in (Named("issuer", ISSUER), Named("key", ROOT_KEY.key.thumbprint)):
            assert at["issuer"].revoke(Revoke(named=named), dry_run=True).count == 1
        assert at["issuer"].revoke(Revoke(named=Named("key", ROOT_KEY.key.thumbprint))).count == 1
        assert at.ask(tokens, ALICE).reason is Reason.REVOKED
        with pytest.raises(DeniedError) as raised:
            at.root()  # nothing new comes of it either
        assert raised.value.reason is Reason.REVOKED


def test_signals_are_taken_and_refused_with_their_code(tmp_path: Path) -> None:
    with house(tmp_path) as at:
        tokens, steering = at.child(at.root(), ALICE, BOB), at["operator"].steering
        assert at.ask(tokens, BOB).allowed
        bad = {
            "invalid_request": _event("session-revoked", PRINCIPALS[ALICE], now=int(time.time()) + 100),
            "invalid_issuer": _event("session-revoked", PRINCIPALS[ALICE], issuer="https://evil.example"),
            "invalid_audience": _event("session-revoked", PRINCIPALS[ALICE], audience=PEP),
            "authentication_failed": _event("session-revoked", PRINCIPALS[ALICE], by=BOB),
        }
        for code, text in bad.items():
            with pytest.raises(SignalError) as raised:
                steering.signal(text)
            assert (raised.value.code, raised.value.reason) == (code, Reason.SIGNAL_INVALID)
        assert at.ask(tokens, BOB).allowed
        good = _event("session-revoked", PRINCIPALS[ALICE])
        told = steering.signal(good)
        assert (told.principals, told.repeated) == ((PRINCIPALS[ALICE],), False)
        assert at.ask(tokens, BOB).reason is Reason.REVOKED
        assert steering.signal(good) == told.__class__(told.principals, told.revision, repeated=True, count=1)


def test_what_a_transmitter_may_is_set(tmp_path: Path) -> None:
    one = {"iss": IDP, "jwk": jwk(IDP_KEY), "may": ["risk-level-change"], "trust_domains": ["example.org"]}
    with house(tmp_path, signals=[one]) as at:
        with pytest.raises(SignalError) as raised:
            at["operator"].steering.signal(_event("session-revoked", PRINCIPALS[ALICE]))
        assert raised.value.code == "access_denied"
        told = at["operator"].steering.signal(_event("risk-level-change", PRINCIPALS[ALICE], level="high"))
        assert told.principals == (PRINCIPALS[ALICE],)


def test_limits_are_set(tmp_path: Path) -> None:
    with house(tmp_path, pace={"denials": 3, "cooldown": 1, "window": 1, "outstanding": 1}) as at:
        tokens = at.root()
        assert at.ask(tokens, ALICE).allowed
        for _ in range(3):
            assert at.ask(tokens, ALICE, "bank.pay", amount=500).reason is Reason.CONSTRAINT_VIOLATED
        decision = at.ask(tokens, ALICE)
        assert decision.reason is Reason.SUSPENDED
        (one,) = at["operator"].steering.suspensions()
        assert (one.author, one.until - one.since) == (CIRCUIT_BREAKER, 1)
        _until(lambda: at.ask(tokens, ALICE).allowed)


def test_how_many_workers_an_agent_enrols_is_set(tmp_path: Path) -> None:
    """A worker's place in the count comes back when its key is revoked."""
    with house(tmp_path, max_workers=1) as at:
        alice, own = at["agent"], ALICE.key.thumbprint

        def enrol(number: int) -> str:
            key, name = signer(f"worker {number}"), f"{PRINCIPALS[ALICE]}/w{number}"
            agreed = enrolment.make(key, name, own, audience=HOME, jti=f"w{number}", iat=int(time.time()))
            owner = at.authority.principal(own)
            assert owner is not None
            return alice.enrol(key.key, Principal(id=name, owner=owner.owner, under=own), proof=agreed).holder

        first = enrol(1)
        with pytest.raises(ResourceExhaustedError):
            enrol(2)
        at["operator"].revoke(Revoke(named=Named("holder", first)))
        assert enrol(2)


def test_a_rate_that_is_set_recovers(tmp_path: Path) -> None:
    with house(tmp_path, pace={"calls": 2, "window": 1}) as at:
        tokens = at.root()
        decisions = [at.ask(tokens, ALICE) for _ in range(40)]
        denied = [decision for decision in decisions if not decision.allowed]
        assert {decision.reason for decision in denied} == {Reason.RATE_LIMITED}
        assert "again in 1 s" in denied[0].findings[0].detail
        _until(lambda: at.ask(tokens, ALICE).allowed)


def _until(true: Callable[[], bool]) -> None:
    for _ in range(200):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


def test_what_stops_has_room_where_nothing_else_has(tmp_path: Path) -> None:
    assert {PLACES[name] for name in ("Revoke", "Suspend", "ReportSignal")} == {Kind.URGENT}
    assert "Resume" not in PLACES
    with house(tmp_path, max_calls_per_caller=1) as at, grpc.insecure_channel(at.server.address) as channel:
        tokens = at.root()
        assert at.ask(tokens, ALICE).allowed
        ended: queue.Queue[None] = queue.Queue()
        metadata = (("authorization", f"Bearer {secret('operator')}"),)
        held: Any = channel.stream_unary("/chain.v1.DelegationService/GetDelegation").future(
            iter(ended.get, None), metadata=metadata
        )
        operator = at["operator"]
        _until(lambda: _full(operator))
        assert operator.steering.suspend("task", "t1", "because").name == "t1"
        assert operator.revoke(Revoke(named=Named("task", "t1"))).count == 1
        assert operator.steering.signal(_event("session-revoked", PRINCIPALS[ALICE])).revision > 0
        assert _full(operator)
        held.cancel()
        ended.put(None)
        _until(lambda: not _full(operator))
        assert operator.steering.resume("task", "t1", "over").revision > 0


def _full(operator: Client) -> bool:
    try:
        operator.steering.suspensions()
    except Exception as error:  # noqa: BLE001 - looked at below
        return "calls under way" in str(error)
    return False


def test_what_is_not_understood_is_refused_and_stops_nothing(at: House) -> None:
    channel = grpc.insecure_channel(at.server.address)
    metadata = (("authorization", f"Bearer {secret('operator')}"),)
    suspend: Any = channel.unary_unary("/chain.v1.ControlService/Suspend")
    right = control.suspend_to("task", "t8", "because", "suspended", 0, "key-1")
    bad: list[dict[str, Any]] = [
        {"scope": 0}, {"scope": 77}, {"mode": 77}, {"cause": ""}, {"idempotency_key": ""}, {"name": ""},
        {"scope": control_pb2.SUSPENSION_SCOPE_EVERYTHING},  # with a name
    ]  # fmt: skip
    with channel:
        for change in bad:
            message = control_pb2.SuspendRequest()
            message.CopyFrom(right)
            for member, value in change.items():
                setattr(message, member, value)
            with pytest.raises(grpc.RpcError) as raised:
                suspend(message.SerializeToString(), metadata=metadata, timeout=20)
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT, change
        assert at["operator"].steering.suspensions() == []
        plain = control_pb2.SuspendRequest()
        plain.CopyFrom(right)
        plain.mode = control_pb2.SUSPENSION_MODE_UNSPECIFIED
        reply = control_pb2.SuspendResponse.FromString(
            suspend(plain.SerializeToString(), metadata=metadata, timeout=20)
        )
        assert control.suspension_from(reply.suspension).mode == "suspended"
    at["operator"].steering.resume("task", "t8", "over")


@pytest.mark.parametrize(
    "message",
    [
        delegation_pb2.RevokeRequest(named=delegation_pb2.RevocationName(name="x")),
        delegation_pb2.RevokeRequest(named=delegation_pb2.RevocationName(kind=77, name="x")),  # type: ignore[arg-type]
        delegation_pb2.RevokeRequest(target=bytes(32), named=delegation_pb2.RevocationName(kind=2, name="x")),  # type: ignore[arg-type]
        delegation_pb2.RevokeRequest(channel=True, named=delegation_pb2.RevocationName(kind=2, name="x")),  # type: ignore[arg-type]
    ],
)
def test_a_name_on_the_wire_is_read_strictly(message: delegation_pb2.RevokeRequest) -> None:
    with pytest.raises(InvalidRequestError):
        revoke_from(message)
    right = delegation_pb2.RevokeRequest(named=delegation_pb2.RevocationName(kind=2, name="x"))  # type: ignore[arg-type]
    assert revoke_from(right).order == Revoke(named=Named("task", "x"))


UNSAFE: list[tuple[dict[str, object], str]] = [
    ({"signals": [{"iss": IDP}]}, "needs `jwk`"),
    ({"signals": [*TRUSTED, {"iss": IDP, "jwk": jwk(BOB), "may": ["session-revoked"]}]}, "different things"),
    ({"callers": [{"name": "issuer", "roles": ["issuer"], "credentials": ["a" * 64]}]}, "no caller is one"),
]


@pytest.mark.parametrize(("change", "words"), UNSAFE)
def test_a_server_with_unsafe_signals_does_not_start(tmp_path: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        require_safe(settings(tmp_path, **change))
    require_safe(settings(tmp_path))
    require_safe(settings(tmp_path, signals=[*TRUSTED, {"iss": IDP, "jwk": jwk(BOB)}]))


@pytest.mark.parametrize(
    "signal",
    [{"iss": ""}, {"may": []}, {"may": ["everything"]}, {"trust_domains": []}, {"other": 1}, {"iss": None}],
)
def test_settings_of_signals_are_read_strictly(tmp_path: Path, signal: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="signals"):
        settings(tmp_path, signals=[TRUSTED[0] | signal])
    bad = settings(tmp_path, signals=[{"iss": IDP, "jwk": {"kty": "OKP"}}])
    with pytest.raises(ConfigurationError, match="signals of"):
        compose(bad, MemoryStore(), signer=ROOT_KEY)


def test_a_suspension_that_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """kill -9 in the midst of suspending: whatever was acknowledged stands after the restart."""
    told = settings(tmp_path, agents=[])
    file, ledger = tmp_path / "settings.json", tmp_path / "ledger"
    file.write_text(told.model_dump_json(exclude_none=True, exclude={"ledger", "config"}))
    known: list[str] = []
    for turn in range(3):
        with victim(file, ledger) as (process, address), Client(address, secret("operator"), timeout=20) as client:
            standing = {one.name for one in client.steering.suspensions()}
            assert standing >= set(known)
            for number in range(20):
                client.steering.suspend("task", f"t{turn}-{number}", "because")
                known.append(f"t{turn}-{number}")
            client.revoke(Revoke(named=Named("task", f"gone-{turn}")))
            process.send_signal(signals.SIGKILL)
            assert process.wait(20) == -signals.SIGKILL
    with victim(file, ledger) as (process, address):
        with Client(address, secret("operator"), timeout=20) as client:
            assert {one.name for one in client.steering.suspensions()} == set(known)
        process.terminate()
        process.wait(20)


@contextmanager
def victim(file: Path, ledger: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    changed = json.loads(file.read_text()) | {"ledger": str(ledger)}
    file.write_text(json.dumps(changed))
    seed = sha256(b"issuer").hexdigest()  # of `ROOT_KEY`
    script = Path(__file__).parent.parent / "service" / "victim.py"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, str(script), str(file), str(ledger), seed], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
