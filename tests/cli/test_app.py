"""The outermost ring: exit codes, one line on stderr, and what is loaded for which command."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from chain import errors
from chain.cli import app, main
from chain.decision import Decision, Effect
from chain.reason import Reason
from tests.cli.conftest import run

DENIAL = Decision(effect=Effect.DENY, reason=Reason.REVOKED)

CODES: dict[int, tuple[BaseException, ...]] = {
    1: (
        errors.DeniedError(DENIAL),
        errors.InvalidTokenError(Reason.EXPIRED, 1, "x"),
        errors.ExcessError(Reason.TOOL_ADDED, 1, "tools.x", "a", "b"),
        errors.ForbiddenError("x"),
        errors.NotFoundError("x"),
        errors.ConflictError("x"),
    ),
    2: (
        errors.ConfigurationError("x"),
        errors.PolicyError("x"),
        errors.InvalidRequestError("x"),
        errors.UnauthenticatedError("x"),
        click.UsageError("x\ny"),
        click.ClickException("x"),
    ),
    3: (
        errors.UnreachableError("x"),
        errors.StoreError("x"),
        errors.LedgerLockedError("x"),
        errors.ResourceExhaustedError("x"),
        errors.ChainError("x"),
        ValueError("a secret"),
        KeyError("a secret"),
    ),
    130: (KeyboardInterrupt(), click.Abort()),
}


@pytest.mark.parametrize(("code", "error"), [(code, error) for code, many in CODES.items() for error in many])
def test_each_error_has_its_exit_code_and_one_line(
    code: int, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setattr(app._Commands, "get_command", lambda *_: failing)
    result = CliRunner().invoke(main, ["failing"])
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.lstrip("\n").startswith("chain: ")  # the first goes behind the ^C of the terminal
    assert result.stderr.strip().count("\n") == 0
    assert "a secret" not in result.stderr


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    program = "import sys; from chain.cli import main; sys.stdout.close(); main(['--help'])"
    pipe = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert "Traceback" not in pipe.stderr
    shell = subprocess.run(
        ["/bin/sh", "-c", f"{sys.executable} -m chain verify --jsonl - | head -1"],
        input="{}\n" * 5000,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert shell.stdout.count("\n") == 1
    assert shell.stderr == ""


def commands() -> list[tuple[str, ...]]:
    """Every command, and those of groups too, as they are typed."""
    return [typed for name in app._COMMANDS for typed in beneath((name,), main.get_command(click.Context(main), name))]


def beneath(typed: tuple[str, ...], command: click.Command | None) -> list[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        return [typed]
    return [found for name, inner in command.commands.items() for found in beneath((*typed, name), inner)]


def groups() -> list[tuple[str, ...]]:
    """Everything that has commands beneath it, as it is typed."""
    return sorted({typed[:length] for typed in commands() for length in range(len(typed))})


@pytest.mark.parametrize("typed", commands(), ids=" ".join)
def test_every_command_has_help_and_json(typed: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*typed, "--help"])
    assert result.exit_code == 0
    assert "--help" in result.stdout
    if typed != ("serve",):
        assert "--json" in result.stdout


def test_help_names_every_command_and_the_exit_codes() -> None:
    ended = run("--help")
    assert ended.code == 0
    assert all(name in ended.out for name in app._COMMANDS)
    assert "0 allowed or done, 1 denied, 2 usage" in " ".join(ended.out.split())


def test_help_cuts_no_sentence_short() -> None:
    shown = [CliRunner().invoke(main, [*typed, "--help"]).stdout.partition("\nCommands:\n")[2] for typed in groups()]
    assert len(shown) == len(list(filter(None, shown))) > 7
    assert [text for text in shown if "..." in text] == []


OFFLINE = ["verify", "inspect", "keygen", "credential", "issue", "delegate", "check", "revoke", "audit", "graph"]


@pytest.mark.parametrize("name", OFFLINE)
def test_what_can_do_without_loads_no_transport_no_database_and_no_networkx(name: str) -> None:
    heavy = {"grpc", "http.client", "apsw", "networkx"}
    program = f"import sys, chain.cli.{name}; sys.exit(bool({heavy} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == 0
