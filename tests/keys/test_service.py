"""Keys of a server that runs, through its clients and commands; under load, and through kill -9."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from click.testing import CliRunner, Result

from chain.cli import main
from chain.client import AsyncClient
from chain.errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    KeyRingError,
    NotFoundError,
    UnreachableError,
)
from chain.reason import Reason
from chain.service.gate import PLACES
from chain.service.room import Kind
from tests.client import running
from tests.client.running import secret
from tests.keys.ringserver import People, people, serving

ROUNDS, SEED = 2, 20261126


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    with serving(tmp_path_factory.mktemp("k")) as made:
        yield made


def test_a_rotation_while_everybody_calls_refuses_nothing(at: People) -> None:
    at.active()
    old, stop, done, wrong = at.root(), Event(), [0], []
    stream = at["point"].check_stream()

    def work(ask: Callable[[str], bool]) -> None:
        while not stop.is_set():
            try:
                assert ask(old)
                assert ask(at.root())
                done[0] += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing may fail
                wrong.append(error)

    asks: list[Callable[[str], bool]] = [
        lambda token: at.ask(token).allowed,
        lambda token: stream.check([token], at.asked(token)).allowed,
    ]
    threads = [Thread(target=work, args=(ask,)) for ask in asks]
    for thread in threads:
        thread.start()
    names = [at.active() for _ in range(4)]
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert done[0] > 0
    assert stream.check([old], at.asked(old)).allowed
    stream.close()
    assert at["auditor"].keys.listed().signing == names[-1]


def test_a_distrusted_key_is_dead_on_the_next_call_and_on_open_streams(at: People) -> None:
    name = at.active()
    token = at.root()
    with at["point"].check_stream() as stream, at["point"].watch_chain([token], heartbeat=0.2) as news:
        assert stream.check([token], at.asked(token)).allowed
        assert next(iter(news)).stands
        successor = at["operator"].keys.add().key.key.thumbprint
        dry = at["operator"].keys.compromise(name, "a laptop is gone", successor, dry_run=True)
        assert (dry.count, dry.signing, dry.revision) == (1, successor, 0)
        assert stream.check([token], at.asked(token)).allowed
        told = at["operator"].keys.compromise(name, "a laptop is gone", successor)
        assert (told.fallen, told.count, told.signing, told.warnings) == (dry.fallen, 1, successor, ())
        answers = [stream.check([token], at.asked(token)), at.ask(token)]
        assert [(answer.allowed, answer.reason) for answer in answers] == [(False, Reason.ANCHOR_UNKNOWN)] * 2
        stand = next(stand for stand in news if not stand.stands)
        assert stand.reason is Reason.REVOKED
    assert at.ask(at.root()).allowed
    with at["auditor"].watch(0, ["key_changed"], until_now=True) as records:
        last = [record.members for record in records][-2:]
    assert [(one["key"], one["state"], one["caller"]) for one in last] == [
        (name, "compromised", "operator"),
        (successor, "active", "operator"),
    ]


def test_errors_travel_as_what_they_are(at: People) -> None:
    name, keys = at.active(), at["operator"].keys
    assert keys.add(key="same") == keys.add(key="same")
    with pytest.raises(ConflictError):
        keys.add("ES256", key="same")
    with pytest.raises(KeyRingError, match="active cannot become retired") as refused:
        keys.retire(name)
    assert refused.value.reason is Reason.KEY_STATE_INVALID
    with pytest.raises(NotFoundError):
        keys.activate("nobody")
    with pytest.raises(InvalidRequestError):
        keys.add("RS256")
    with pytest.raises(InvalidRequestError, match="a cause"):
        keys.compromise(name, "")
    with pytest.raises(ForbiddenError):
        at["auditor"].keys.add()
    spare = keys.add("ES256").key
    assert spare.key.alg == "ES256"
    assert keys.compromise(name, "why").signing == ""
    with pytest.raises(KeyRingError) as missing:
        at.root()
    assert missing.value.reason is Reason.SIGNING_KEY_MISSING
    assert keys.activate(spare.key.thumbprint).signing == spare.key.thumbprint
    assert at.ask(at.root()).allowed
    assert PLACES["CompromiseKey"] is Kind.URGENT


def test_the_client_for_asyncio_says_the_same(at: People) -> None:
    async def story() -> None:
        async with AsyncClient(at.address, secret("operator"), timeout=20) as client:
            first = (await client.keys.add("ES256", "spring")).key.key.thumbprint
            assert (await client.keys.activate(first)).signing == first
            second = (await client.keys.add()).key.key.thumbprint
            assert (await client.keys.retire(second)).key.state == "retired"
            told = await client.keys.compromise(first, "why", dry_run=True)
            assert (told.count, told.signing) == (0, "")
            listed = await client.keys.listed()
            assert listed == at["auditor"].keys.listed()
            assert {held.key.thumbprint: held.state for held in listed.keys}[first] == "active"

    asyncio.run(story())


def test_without_a_ring_the_one_key_is_listed_and_nothing_changes(tmp_path: Path) -> None:
    with running.running(tmp_path) as server, people(server.address) as there:
        keys = there["operator"].keys
        assert [held.state for held in keys.listed().keys] == ["active"]
        for change in (
            keys.add,
            lambda: keys.activate("a"),
            lambda: keys.retire("a"),
            lambda: keys.compromise("a", "b"),
        ):
            with pytest.raises(KeyRingError, match="no key ring is kept here") as error:
                change()
            assert error.value.reason is Reason.KEY_RING_MISSING


def test_the_commands_change_the_ring_of_a_server(at: People, tmp_path: Path) -> None:
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text(secret("operator"))

    def chain(*arguments: str) -> Result:
        where = ("--server", at.address, "--credential-file", str(tmp_path / "secret"), "--timeout", "20")
        return CliRunner().invoke(main, ["keys", "ring", *arguments, *where])

    def data(*arguments: str) -> dict[str, object]:
        result = chain(*arguments, "--json")
        assert result.exit_code == 0, result.output
        found: dict[str, object] = json.loads(result.stdout)
        return found

    first = data("add", "--cause", "spring")["key"]["thumbprint"]  # type: ignore[index]
    assert data("activate", "--thumbprint", first)["signing"] == first
    token = at.root()
    second = data("add", "--es256")["key"]["thumbprint"]  # type: ignore[index]
    states = {key["thumbprint"]: key["state"] for key in data("list")["keys"]}  # type: ignore[attr-defined]
    assert (states[first], states[second]) == ("active", "pending")
    assert first in {key["kid"] for key in data("jwks")["keys"]}  # type: ignore[attr-defined]
    dry = chain("compromise", "--thumbprint", first, "--cause", "gone", "--activate", second, "--dry-run")
    assert (dry.exit_code, dry.stdout.splitlines()[0]) == (0, "1 would fall")
    assert ("would be compromised" in dry.stdout, f"signing then  {second}" in dry.stdout) == (True, True)
    assert at.ask(token).allowed
    done = chain("compromise", "--thumbprint", first, "--cause", "gone", "--activate", second)
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "1 fell")
    assert second in done.stdout
    assert not at.ask(token).allowed
    again = chain("compromise", "--thumbprint", first, "--cause", "gone")
    assert (again.exit_code, "compromised cannot become compromised" in again.stderr) == (2, True)
    assert chain("retire", "--thumbprint", second).exit_code == 2
    both = chain("list", str(tmp_path))
    assert (both.exit_code, "not both" in both.stderr) == (2, True)
    neither = CliRunner().invoke(main, ["keys", "ring", "list"])
    assert (neither.exit_code, "give the directory of a ring" in neither.stderr) == (2, True)
    offline = CliRunner().invoke(main, ["keys", "ring", "activate", str(tmp_path), "--thumbprint", "x", "--cause", "y"])
    assert (offline.exit_code, "are for a server" in offline.stderr) == (2, True)


class Known:
    """What the server said it had done."""

    def __init__(self) -> None:
        self.tokens: list[tuple[str, str]] = []
        self.compromised: set[str] = set()
        self.doubtful: set[str] = set()
        self.activated = 0


def work(there: People, known: Known) -> None:
    """Rotate, issue and distrust until the server is gone."""
    number = 0
    try:
        while True:
            number += 1
            name = there.active()
            known.activated += 1
            known.tokens.append((name, there.root()))
            if number % 2:
                known.doubtful.add(name)
                there["operator"].keys.compromise(name, "why")
                known.compromised.add(name)
    except UnreachableError:
        return


def started(directory: Path) -> tuple[subprocess.Popen[bytes], str]:
    command = [sys.executable, "-m", "tests.keys.ringserver", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line
    return process, json.loads(line)["serving"]


def test_kill_nine_brings_no_distrusted_key_back_and_loses_none_that_signed(tmp_path: Path) -> None:
    chance, known = random.Random(SEED), Known()
    for last in [False] * ROUNDS + [True]:
        process, address = started(tmp_path)
        with people(address) as there:
            states = there.states()
            for name, token in known.tokens:
                if name in known.compromised:
                    assert states[name] == "compromised"
                if name not in known.doubtful:
                    assert states[name] in ("active", "retiring")
                assert there.ask(token).allowed is (states[name] != "compromised")
            assert list(states.values()).count("active") <= 1
            if not last:
                thread = Thread(target=work, args=(there, known))
                thread.start()
                time.sleep(chance.uniform(0.4, 0.9))
            process.send_signal(signal.SIGTERM if last else signal.SIGKILL)
            assert process.wait(20) == (0 if last else -signal.SIGKILL)
            if not last:
                thread.join()
        assert process.stdout is not None
        process.stdout.close()
    assert known.activated >= ROUNDS
    assert known.compromised
