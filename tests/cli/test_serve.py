"""`chain serve` as an operator meets it: what it says, what it refuses, how it ends."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from chain.cli.composition import authority
from chain.client import Client
from chain.errors import ConfigurationError
from chain.service.settings import load
from tests.cli.conftest import Service, command, run
from tests.demonstration import Played


def configuration(played: Played, tmp_path: Path, **changes: str) -> Path:
    """Copy what the demonstration kept, with other lines at the top."""
    lines = (played.folder / "chain.toml").read_text().splitlines()
    for name, value in ({"ledger": f'"{tmp_path / "ledger"}"'} | changes).items():
        lines = [f"{name} = {value}", *(line for line in lines if not line.startswith(f"{name} = "))]
    file = tmp_path / "chain.toml"
    file.write_text("\n".join(lines))
    return file


def test_help_is_complete() -> None:
    ended = run("serve", "--help")
    assert ended.code == 0
    for flag in ("--config", "--listen", "--tls-cert", "--ledger", "--audience", "--anchors", "--callers", "--drain"):
        assert flag in ended.out


def test_it_says_where_it_serves_and_ends_when_asked(played: Played, tmp_path: Path) -> None:
    file = configuration(played, tmp_path)
    with subprocess.Popen(
        command("serve", "--config", file), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        ready = json.loads(process.stdout.readline())
        secret = (played.folder / "secrets" / "gate.secret").read_text().strip()
        with Client(ready["serving"], secret) as client:
            assert client.info().audience == "https://tools.example"
        process.terminate()
        log = process.stderr.read()
        assert process.wait(20) == 0
    assert [json.loads(line) for line in log.splitlines()]
    assert secret not in log


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--listen", "0.0.0.0:0"), "without TLS"),
        (("--anchors", "[]"), "anchor"),
        (("--callers", "[]"), "caller"),
        (("--tls-cert", "/nonexistent.pem"), "key"),
        (("--no-such-flag",), "no-such-flag"),
        (("--log-level", "loud"), "log"),
    ],
)
def test_what_is_unsafe_is_refused_with_exit_2(
    played: Played, tmp_path: Path, flags: tuple[str, ...], said: str
) -> None:
    ended = run("serve", "--config", configuration(played, tmp_path), *flags)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err


def test_a_port_in_use_is_refused(played: Played, service: Service, tmp_path: Path) -> None:
    ended = run("serve", "--config", configuration(played, tmp_path, listen=f'"{service.address}"'))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.count("\n") == 1


def test_a_ledger_in_use_is_refused(played: Played, service: Service, tmp_path: Path) -> None:
    used = re.search(r'(?m)^ledger = "(.*)"$', _configuration_of(service))
    assert used is not None
    ended = run("serve", "--config", configuration(played, tmp_path, ledger=f'"{used[1]}"'))
    assert (ended.code, ended.out) == (3, "")
    assert "owned by another" in ended.err


def test_no_command_reads_or_signs_a_ledger_that_a_server_has(service: Service, tmp_path: Path) -> None:
    folder, as_operator = Path(str(service.process.args[-1])).parent, service.as_caller("operator")
    before = run("audit", "checkpoint", *as_operator, "--json").json
    kept = tmp_path / "kept"
    kept.write_text(before["note"])
    for words in (
        ("export", tmp_path / "a.export"),
        ("checkpoint",),
        ("who",),
        ("prove", "1", "--out", tmp_path / "p"),
    ):
        ended = run("audit", *words, "--ledger", folder)
        assert (ended.code, ended.out) == (3, "")
        assert ended.err.endswith("is owned by another process, a server or a command (store_unavailable)\n")
    assert sorted(tmp_path.iterdir()) == [kept]
    assert run("suspend", "tool", "no.such.tool", "--cause", "to have a record", *as_operator).code == 0
    assert run("audit", "intact", "--key", before["key"], "--checkpoint", kept, *as_operator).code == 0
    assert run("audit", "export", tmp_path / "a.export", *as_operator).code == 0
    ended = run("audit", "verify", tmp_path / "a.export", "--key", before["key"], "--checkpoint", kept, "--json")
    assert (ended.code, ended.json["intact"], ended.json["records"] > before["size"]) == (0, True, True)


def _configuration_of(service: Service) -> str:
    arguments = service.process.args
    assert isinstance(arguments, list)
    return Path(str(arguments[-1])).read_text()


def test_an_unknown_setting_is_refused(played: Played, tmp_path: Path) -> None:
    ended = run("serve", "--config", configuration(played, tmp_path, listenn='"127.0.0.1:0"'))
    assert ended.code == 2
    assert "listenn" in ended.err
    ended = run("serve", "--config", configuration(played, tmp_path), CHAIN_SERVE_LISTENN="x")
    assert ended.code == 2


def test_a_refused_composition_lets_the_ledger_go(played: Played, tmp_path: Path) -> None:
    file = configuration(played, tmp_path)
    with pytest.raises(ConfigurationError):
        authority(load(["--config", str(file), "--issuer", "https://other.example"]))
    authority(load(["--config", str(file)])).close()
    assert (tmp_path / "ledger").is_dir()


def test_a_ledger_in_memory_leaves_nothing(played: Played, tmp_path: Path) -> None:
    made = authority(load(["--config", str(configuration(played, tmp_path, ledger='"memory"'))]))
    made.close()
    assert [path.name for path in tmp_path.iterdir()] == ["chain.toml"]
