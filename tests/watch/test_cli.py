"""`chain watch`: a line a record, and an end when one asks for it."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chain import mint
from chain.order import Issue, Revoke
from chain.service.server import ChainServer
from tests.cli.conftest import command, played, run
from tests.client.running import secret
from tests.demonstration import Played
from tests.support import ALICE, GATE

__all__ = ["played"]


@pytest.fixture
def gate(server: ChainServer, tmp_path: Path) -> tuple[str, ...]:
    """The options of an enforcement point."""
    file = tmp_path / "gate.secret"
    file.touch(0o600)
    file.write_text(secret("point"))
    return ("--server", server.address, "--credential-file", str(file))


@pytest.fixture
def token(server: ChainServer) -> str:
    """A root of Alice's."""
    grant = mint.grant({"tools": {"mail.read": {}}})
    return server._authority.issue(GATE, Issue(holder=ALICE.key, grant=grant, lifetime=600)).token


@pytest.fixture
def chain_file(token: str, tmp_path: Path) -> Path:
    file = tmp_path / "made.chain"
    file.write_text(f"{token}\n")
    return file


@contextmanager
def watching(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """`chain watch` in a process of its own."""
    with running("watch", *arguments) as process:
        yield process


@contextmanager
def running(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A command in a process of its own."""
    with subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_whole_ledger_line_by_line(gate: tuple[str, ...], token: str) -> None:
    asked = ("watch", "--after", "0", "--until-now", *gate)
    text, told = run(*asked), run(*asked, "--json")
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert (text.code, told.code, text.err, told.err) == (0, 0, "", "")
    assert [line["revision"] for line in lines] == list(range(1, len(lines) + 1))
    assert [line.split()[0] for line in text.out.splitlines()] == [str(line["revision"]) for line in lines]
    some = run(*asked, "--kinds", "issued, revoked", "--json")
    kinds = [json.loads(line)["kind"] for line in some.out.splitlines()]
    assert "issued" in kinds
    assert set(kinds) <= {"issued", "revoked"}
    assert not any(part in told.out for part in token.split("."))


def test_the_kept_ledger_tells_the_same(played: Played) -> None:
    ended = run("watch", "--after", "0", "--ledger", played.folder, "--json")
    assert (ended.code, ended.err) == (0, "")
    revisions = [json.loads(line)["revision"] for line in ended.out.splitlines()]
    assert revisions == list(range(1, len(revisions) + 1))
    assert len(revisions) > 3
    assert run("watch", "--ledger", played.folder).out == ""


def test_control_c_ends_it_well(gate: tuple[str, ...]) -> None:
    with watching("--after", "0", *gate) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=20)
        assert (process.returncode, complaint) == (0, "")


def test_the_record_is_streamed_as_it_happens_and_only_to_whom_it_may_be(
    server: ChainServer, gate: tuple[str, ...], token: str, tmp_path: Path
) -> None:
    file = tmp_path / "operator.secret"
    file.touch(0o600)
    file.write_text(secret("operator"))
    form = ("audit", "stream", "--format", "cloudevents", "--follow", "--server", server.address)
    with running(*form, "--credential-file", file) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["source"] == server._authority.audience
        while told["type"] != "chain.v1.issued":
            told = json.loads(process.stdout.readline())
        server._authority.revoke(GATE, Revoke(mint.unverified(token).digest, "end"))
        assert json.loads(process.stdout.readline())["type"] == "chain.v1.revoked"
        process.send_signal(signal.SIGINT)
        rest, complaint = process.communicate(timeout=20)
        assert (process.returncode, rest, complaint) == (0, "", "")
    ended = run(*form, "--credential-file", gate[-1])
    assert (ended.code, "chain.v1.issued" in ended.out) == (1, False)


def test_a_chain_is_followed_to_its_end(
    server: ChainServer, gate: tuple[str, ...], token: str, chain_file: Path
) -> None:
    with watching("--chain", chain_file, *gate, "--json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["stands"] is True
        server._authority.revoke(GATE, Revoke(mint.unverified(token).digest, "end"))
        last = json.loads(process.stdout.readline())
        assert last == {
            "stands": False,
            "reason": "revoked",
            "hop": 0,
            "findings": [{"reason": "revoked", "hop": 0, "detail": "revoked"}],
        }
        assert process.wait(20) == 1
    ended = run("watch", "--chain", chain_file, "--until-now", *gate)
    assert (ended.code, ended.out) == (1, "does not stand: hop 0: revoked (revoked)\n")


@pytest.mark.parametrize("more", [("--after", "1"), ("--kinds", "revoked")])
def test_a_chain_has_no_cursor_and_no_kinds(gate: tuple[str, ...], chain_file: Path, more: tuple[str, ...]) -> None:
    ended = run("watch", "--chain", chain_file, *more, *gate)
    assert (ended.code, ended.out) == (2, "")


def test_an_unknown_kind_is_wrong_usage(gate: tuple[str, ...]) -> None:
    ended = run("watch", "--kinds", "dreamt", *gate)
    assert (ended.code, ended.out) == (2, "")
