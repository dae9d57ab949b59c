"""`chain run`: a program with a session of its own, which ends with it, however it ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from chain import mint
from chain.cli import harden, lease, main, program
from chain.cli import run as running
from chain.cli.athand import served
from chain.cli.privatedir import private_directory
from chain.client import Client, Session, ainherited, inherited
from chain.client.environment import left
from chain.decision import Decision
from chain.errors import ChainError, ConfigurationError, ForbiddenError, InvalidRequestError, UnreachableError
from chain.order import Issue
from chain.privatekey import read
from chain.reason import Reason
from tests.cli.conftest import command, run
from tests.run.conftest import BOSS, PEP, Service

GRANT = '{"tools":{"mail.send":{}}}'
ROOT = ("--task", "t1", "--owner", "team", "--purpose", "mail", "--grant", GRANT)
OBSERVING = Path(__file__).with_name("observing.py")
WORKER = "spiffe://dev.test/agents/worker"


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where directories are made."""
    made = tmp_path_factory.mktemp("p")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(made))
    return made


@pytest.fixture(scope="module")
def boss(service: Service) -> list[str]:
    """What the boss holds."""
    grant = mint.grant({"tools": {"mail.send": {}, "mail.read": {}}, "limits": {"purposes": ["mail"]}})
    with service.client() as desk:
        order = Issue(holder=service.key("boss").key, grant=grant, owner="team", task="t2")
        tokens = [str(desk.issue(order).token)]
    (service.folder / "boss.chain").write_text("\n".join(tokens))
    return tokens


def asked_again(service: Service, told: dict[str, Any]) -> Decision:
    """What somebody is answered who took the key and the chain away with him."""
    _, signer = read(told["key"].encode())
    with service.client("boss") as client:
        thief = Session(signer=signer, tokens=told["tokens"], audience=PEP, purpose="mail", door=client)
        return thief.check("mail.send", {})


def kinds(service: Service, after: int) -> list[str]:
    """What the ledger says of changes after a revision."""
    with service.client() as desk, desk.watch(after, until_now=True) as news:
        return [told.kind for told in news if told.kind not in {"decided", "admitted"}]


def revision(service: Service) -> int:
    with service.client() as desk:
        return desk.revision()


def test_a_program_has_what_it_was_given_and_nothing_of_its_launchers(service: Service, place: Path) -> None:
    before = revision(service)
    credentials = {
        "CHAIN_CREDENTIAL_FILE": str(service.secret("desk")),
        "CHAIN_SERVER": service.address,
        "CHAIN_PASSPHRASE_FILE": "/of/the/launcher",
        "CREDENTIALS_DIRECTORY": "/of/the/launcher",
        "SPIFFE_ENDPOINT_SOCKET": "unix:/of/the/launcher",
        "OF_THE_USER": "stays",
    }
    ended = run("run", "--as", WORKER, *ROOT, "--", sys.executable, OBSERVING, **credentials)
    assert (ended.code, ended.err) == (0, "")
    told = ended.json
    found = told["environ"]
    assert {name for name in found if name.startswith("CHAIN_")} == {
        "CHAIN_SERVER", "CHAIN_KEY", "CHAIN_CHAIN", "CHAIN_AUDIENCE", "CHAIN_PURPOSE",
    }  # fmt: skip
    assert found["OF_THE_USER"] == "stays"
    whole = json.dumps(found)
    assert not any(one in whole for one in ("/of/the/launcher", str(service.folder), service.address))
    assert told["modes"] == {
        Path(told["place"]).name: "0o700", "key.jwk": "0o600", "session.chain": "0o600", "chain.sock": "0o600",
    }  # fmt: skip
    assert Path(told["place"]).parent == place
    assert (told["granted"], told["beyond"], told["purpose"]) == ("ALLOW", "tool_not_granted", "mail")
    assert (told["issue"], told["revoke"]) == ("permission_denied", "permission_denied")
    assert (told["dies with"], told["blocked"]) == (signal.SIGKILL, 0)
    assert told["descriptors"] == ["0", "1", "2", "3"]  # the last is the listing's own
    assert list(place.iterdir()) == []
    assert asked_again(service, told).reason is Reason.REVOKED
    assert kinds(service, before) == ["enrolled", "issued", "revoked"]


def test_a_holder_hands_on_of_its_own_and_so_does_its_program(service: Service, place: Path, boss: list[str]) -> None:
    before = revision(service)
    script = (
        "chain=$0; $chain -m chain check mail.send;"
        '$chain -m chain run --grant \'{"tools":{"mail.read":{}}}\' -- $chain -m chain check mail.read; exit 5'
    )
    own = ("--chain", service.folder / "boss.chain", "--key", service.folder / "boss.key")
    both = '{"tools":{"mail.send":{},"mail.read":{}}}'
    named = ("--as", f"{BOSS}/worker", "--owner", "team", "--grant", both)
    ended = run("run", *service.as_caller("boss"), *own, *named, "--", "sh", "-c", script, sys.executable)
    assert (ended.code, ended.err) == (5, "")
    assert ended.out == "ALLOW\nALLOW\n"
    assert kinds(service, before) == ["enrolled", "delegated", "delegated", "revoked", "revoked"]
    assert list(place.iterdir()) == []
    with service.client("boss") as client:
        own_session = Session(signer=service.key("boss"), tokens=boss, audience=PEP, purpose="mail", door=client)
        assert own_session.check("mail.send", {}).allowed


def test_a_signal_that_ends_it_is_its_exit_code(service: Service, place: Path) -> None:
    before = revision(service)
    ended = run("run", *service.as_caller("desk"), *ROOT, "sh", "-c", "kill -TERM $$")
    assert ended == (143, "", "")
    assert kinds(service, before) == ["issued", "revoked"]
    assert list(place.iterdir()) == []


@contextmanager
def started(
    service: Service, script: str, before: tuple[str, ...] = (), **more: Any
) -> Iterator[subprocess.Popen[str]]:
    line = [*before, *command("run", *service.as_caller("desk"), *ROOT, "--", sys.executable, "-S", "-c", script)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


ON_TERMINAL = (
    sys.executable,
    "-S",
    "-c",
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])",
)
"""Makes its standard input the terminal that controls it; in a process of its own, not between fork and exec."""

COUNTING = """
import os, signal, sys, time
def told(number, frame):
    print(signal.Signals(number).name, flush=True)
    if number == signal.SIGTERM:
        sys.exit(9)
for name in ("SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTERM"):
    signal.signal(getattr(signal, name), told)
print(os.getpid(), flush=True)
while True:
    time.sleep(60)
"""


def test_signals_are_passed_on_and_what_the_terminal_tells_both_is_told_once(service: Service, place: Path) -> None:
    before = revision(service)
    outer, inner = pty.openpty()
    with started(service, COUNTING, ON_TERMINAL, stdin=inner, start_new_session=True) as process:
        assert said(process).isdigit()
        for key, name in ((b"\x03", "SIGINT"), (b"\x1c", "SIGQUIT")):
            os.write(outer, key)
            assert said(process) == name
        # Those that the launcher kept to itself were taken before SIGUSR1: pending ones come by number.
        for name in ("SIGUSR1", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR2", "SIGTERM"):
            process.send_signal(getattr(signal, name))
            assert said(process) == name  # and not one of the terminal's again
        assert process.wait(20) == 9
    os.close(outer)
    os.close(inner)
    assert kinds(service, before) == ["issued", "revoked"]
    assert list(place.iterdir()) == []


def test_a_killed_launcher_takes_its_program_with_it_and_the_next_one_cleans_up(service: Service, place: Path) -> None:
    with started(service, COUNTING) as process:
        pid = int(said(process))
        (there,) = place.iterdir()
        with private_directory() as other:  # whoever comes meanwhile leaves it alone
            assert {path.name for path in place.iterdir()} == {there.name, other.name}
        process.kill()
        process.wait(20)
        eventually(lambda: gone(pid))
    assert [path.name for path in place.iterdir()] == [there.name]
    assert (there / "key.jwk").exists()
    foreign = place / "chain-run-file"
    foreign.write_text("not a directory of ours")
    with private_directory() as other:
        assert {path.name for path in place.iterdir()} == {foreign.name, other.name}
        assert other.stat().st_mode & 0o777 == 0o700


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.01)
    pytest.fail("it never came about")


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Commands run in this process, which keeps its signals; what would have been started is noted."""
    programs: list[tuple[str, ...]] = []

    def note(_path: str, words: tuple[str, ...], *_more: object) -> int:
        programs.append(words)
        return 5

    monkeypatch.setattr(harden, "keep_memory", lambda: None)
    monkeypatch.setattr(program, "hold_signals", frozenset)
    monkeypatch.setattr(program, "run", note)
    return programs


def invoke(*words: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["run", *map(str, words)])
    return result.exit_code, result.stdout, result.stderr


TASK = ("--task", "t1", "--owner", "team")
REFUSED: dict[str, tuple[tuple[str, ...], int, str, list[str]]] = {
    "no server": ((*ROOT,), 2, "give --server or --ledger", []),
    "no such ledger": ((*ROOT, "--ledger", "x"), 2, "chain.toml", []),
    "a ledger and a server": (("SERVER", *ROOT, "--ledger", "x"), 2, "instead of a server", []),
    "nobody answers": (("--server", "127.0.0.1:1", "--timeout", "0.3", *ROOT), 3, "unreachable", []),
    "no grant": (("SERVER", *TASK), 2, "--grant", []),
    "a grant that is none": (("SERVER", *TASK, "--grant", "{"), 2, "--grant", []),
    "no task": (("SERVER", "--owner", "team", "--purpose", "mail", "--grant", GRANT), 2, "no `task`", []),
    "no purpose": (("SERVER", *TASK, "--grant", GRANT), 2, "no `purposes`", []),
    "nobody answers for it": (("SERVER", "--as", WORKER, "--task", "t1", "--grant", GRANT), 2, "give --owner", []),
    "no id": (("SERVER", "--as", "worker", *ROOT), 2, "--as: ", []),
    "too long a life, once enrolled": (
        ("SERVER", "--as", WORKER, *ROOT, "--lifetime", "2d"), 2, "lifetime_exceeded", ["enrolled", "revoked"],
    ),
    "a key without a chain": (("SERVER", *ROOT, "--key", "KEY"), 2, "give --chain", []),
    "a chain without a key": (("BOSS", "--chain", "CHAIN", "--grant", GRANT), 2, "give --key", []),
    "a root and a chain": (("BOSS", "--chain", "CHAIN", "--key", "KEY", *ROOT), 2, "a root's", []),
    "another's key": (("BOSS", "--chain", "CHAIN", "--key", "OTHER", "--grant", GRANT), 2, "not the leaf holder's", []),
    "more than one holds": (
        ("BOSS", "--chain", "CHAIN", "--key", "KEY", "--grant", '{"tools":{"x.y":{}}}', "--as", f"{BOSS}/w",
         "--owner", "team"), 1, "tool_added", [],
    ),
    "an id not beneath one's own": (
        ("BOSS", "--chain", "CHAIN", "--key", "KEY", "--grant", GRANT, "--as", WORKER, "--owner", "team"),
        1, "under its own id", [],
    ),
    "no audience": (("UNNAMED", *ROOT), 2, "no `audience`", []),
    "nobody who may ask": (("SILENT", *ROOT), 2, "no role that may call BatchCheck", []),
    "no such command": (("SERVER", *ROOT, "no-such-command"), 127, "no such command", []),
    "no command": (("SERVER", *ROOT, "KEY"), 126, "cannot be executed", []),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_what_is_refused_starts_nothing_and_leaves_nothing(
    service: Service, place: Path, boss: list[str], inside: list[tuple[str, ...]], why: str
) -> None:
    line, code, words, what = REFUSED[why]
    before = revision(service)
    command = () if code > 100 else ("--", "true")
    status, out, err = invoke(*filled(service, line), *command)
    assert (status, out) == (code, ""), err
    assert any(word in err for word in words.split("|")), err
    assert err.count("\n") == 1
    assert inside == []
    assert list(place.iterdir()) == []
    assert kinds(service, before) == what


def filled(service: Service, line: tuple[str, ...]) -> list[str]:
    """The line with what its words in capitals stand for."""
    stand: dict[str, tuple[str, ...]] = {
        word: (str(service.folder / file),)
        for word, file in {"KEY": "boss.key", "OTHER": "issuer.key", "CHAIN": "boss.chain"}.items()
    }
    for word, caller in {"SERVER": "desk", "BOSS": "boss", "UNNAMED": "unnamed", "SILENT": "silent"}.items():
        stand[word] = service.as_caller(caller)
    return [part for word in line for part in stand.get(word, (word,))]


def test_the_twin_of_all_that_is_refused(service: Service, place: Path, inside: list[tuple[str, ...]]) -> None:
    assert invoke(*service.as_caller("desk"), "--as", WORKER, *ROOT, "true", "--as", "mine") == (5, "", "")
    assert inside == [("true", "--as", "mine")]


def test_where_it_cannot_be_taken_back_that_is_said_and_the_code_stays(
    service: Service, place: Path, inside: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[lease.Given] = []

    def lost(_lease: object, what: lease.Given, _cause: str) -> ChainError:
        given.append(what)
        return UnreachableError("gone")

    monkeypatch.setattr(running, "taken_back", lost)
    status, out, err = invoke(*service.as_caller("desk"), *ROOT, "--", "true")
    assert (status, out) == (5, "")
    assert f"delegation {given[0].id} is NOT revoked, it ends by itself at" in err
    assert "gone (unreachable)" in err


def test_a_ledger_at_hand_is_served_for_the_program_alone(
    service: Service, place: Path, tmp_path: Path, inside: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chain.toml").write_text(
        f"""
        listen = "0.0.0.0:1"  # nobody listens there: it is the owner's own
        ledger = "{tmp_path}/ledger"
        audience = "https://chain.example"
        issuer = "https://issuer.example"
        issuer_key = "{service.folder}/issuer.key"
        policy = "none"
        anchors = [{{jwk_file = "{service.folder}/issuer.jwk", iss = "https://issuer.example"}}]
        """
    )
    line = ("--ledger", str(tmp_path), "--as", WORKER, *ROOT, "--", "true")
    effects: list[str] = []

    def work(_path: str, _words: object, environ: dict[str, str], _held: object) -> int:
        found = left(environ)
        with Client(found.server, timeout=20) as client:
            session = Session(door=client, **found.facts)
            effects.extend(session.check(tool, {}).effect.value for tool in ("mail.send", "bank.pay"))
            with pytest.raises(ForbiddenError):
                client.issue(Issue(holder=session.signer.key, grant=mint.grant({"tools": {"bank.pay": {}}})))
        assert found.server.startswith(f"unix:{place}")
        assert sorted(path.name for path in next(place.iterdir()).iterdir()) == [
            "chain.sock", "key.jwk", "session.chain",
        ]  # fmt: skip
        assert invoke(*line)[0] == 3  # another process owns the ledger, for as long as it runs
        return 6

    monkeypatch.setattr(program, "run", work)
    status, out, err = invoke(*line)
    assert (status, out) == (6, ""), err
    assert effects == ["ALLOW", "DENY"]
    assert list(place.iterdir()) == []
    with served(tmp_path, 20) as owner, owner.watch(0, until_now=True) as news:
        assert [told.kind for told in news] == ["enrolled", "issued", "decided", "decided", "revoked"]


@pytest.mark.parametrize("keeps", [True, False])
def test_a_ledger_whose_server_keeps_keys_is_served_without_them(service: Service, tmp_path: Path, keeps: bool) -> None:
    """Their agents have no socket meanwhile, so that nothing could be signed for them."""
    kept = f"""
        custody = "{tmp_path}/custody"
        passphrase_file = "{tmp_path}/passphrase"
        agents = [{{id = "spiffe://dev.test/clerk", owner = "team", custody = true}}]
    """
    (tmp_path / "chain.toml").write_text(
        f"""
        ledger = "{tmp_path}/ledger"
        audience = "https://chain.example"
        issuer = "https://issuer.example"
        issuer_key = "{service.folder}/issuer.key"
        policy = "none"
        anchors = [{{jwk_file = "{service.folder}/issuer.jwk", iss = "https://issuer.example"}}]
        {kept if keeps else ""}
        """
    )
    (tmp_path / "passphrase").touch(0o600)
    with served(tmp_path, 20) as owner:
        assert owner.audience() == "https://chain.example"
    assert not (tmp_path / "custody").exists()


class Failing:
    """Is not taken back, for these reasons in turn."""

    def __init__(self, *errors: ChainError) -> None:
        self.errors = list(errors)
        self.tried = 0

    def give(self) -> lease.Given:
        raise AssertionError

    def take_back(self, given: lease.Given, cause: str) -> None:
        self.tried += 1
        if self.errors:
            raise self.errors.pop(0)


@pytest.mark.parametrize(
    ("errors", "tried", "done"),
    [
        ([], 1, True),
        ([UnreachableError("x")] * 2, 3, True),
        ([UnreachableError("x")] * 3, 3, False),
        ([ForbiddenError("x")], 1, False),
    ],
)
def test_it_is_tried_again_where_nobody_answered(errors: list[ChainError], tried: int, done: bool) -> None:
    failing, paused = Failing(*errors), list[float]()
    error = lease.taken_back(failing, lease.Given((), "x", 0), "end", paused.append)
    assert (failing.tried, error is None) == (tried, done)
    assert paused == list(lease.PAUSES[: tried - 1])


def test_a_session_lies_ready_or_is_none(tmp_path: Path, boss: list[str], service: Service) -> None:
    key, chain = tmp_path / "key.jwk", tmp_path / "session.chain"
    key.touch(0o600)
    key.write_text((service.folder / "boss.key").read_text())
    chain.touch(0o600)
    chain.write_text("\n".join(boss))
    good = {"CHAIN_SERVER": "unix:/x", "CHAIN_KEY": str(key), "CHAIN_CHAIN": str(chain), "CHAIN_AUDIENCE": PEP}
    found = left(good)
    assert (list(found.tokens), found.signer.key, found.purpose) == (boss, service.key("boss").key, None)
    bad = [
        *({name: value for name, value in good.items() if name != missing} for missing in good),
        good | {"CHAIN_KEY": str(tmp_path)},
        good | {"CHAIN_KEY": str(tmp_path / "none")},
        good | {"CHAIN_KEY": str(chain)},
        good | {"CHAIN_KEY": "/dev/null"},
    ]
    key_text = key.read_text()
    for environ in bad:
        with pytest.raises(ConfigurationError) as raised:
            left(environ)
        assert json.loads(key_text)["d"] not in str(raised.value)
    for path, mode in ((key, 0o640), (chain, 0o622)):
        path.chmod(mode)
        with pytest.raises(ConfigurationError, match="closed to others"):
            left(good)
        path.chmod(0o600)
    assert len(bad) == 8


async def test_both_kinds_of_session_are_inherited(
    tmp_path: Path, boss: list[str], service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="no session lies ready"):
        inherited()
    (tmp_path / "c").write_text("\n".join(boss))
    there = {"SERVER": "unix:/x", "KEY": service.folder / "boss.key", "CHAIN": tmp_path / "c", "AUDIENCE": PEP}
    for name, value in there.items():
        monkeypatch.setenv(f"CHAIN_{name}", str(value))
    assert inherited(purpose="mail").purpose == "mail"
    assert isinstance(inherited().door, Client)
    assert ainherited(labels=("x",)).labels == ("x",)
    monkeypatch.setenv("CHAIN_KEY", str(service.folder / "issuer.key"))
    with pytest.raises(InvalidRequestError):
        inherited()
