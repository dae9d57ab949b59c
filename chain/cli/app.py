"""The command's outermost ring: which file holds which command, and what an error ends in.

The law of this file: exit codes are a contract. 0 allowed or done, 1 denied, 2 wrong usage or configuration,
3 unreachable or internal. An error is one line on stderr, never a traceback; an answer is on stdout. With `--json` a
call that was understood prints exactly one JSON value, an error too.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from chain.cli.output import error_data, error_text, print_json, printable, wants_json
from chain.errors import (
    ChainError,
    ConfigurationError,
    CursorError,
    InvalidRequestError,
    KeyRingError,
    PolicyError,
    ResourceExhaustedError,
    StoreError,
    UnauthenticatedError,
    UnreachableError,
)
from chain.reason import Reason

OK, DENIED, USAGE, BROKEN = 0, 1, 2, 3

_COMMANDS = {
    "demo": "Play one story through a real server, and check that it comes out as told.",
    "serve": "Run the gRPC service.",
    "run": "Run a program with a session of its own, for as long as it runs.",
    "issue": "Issue a root: an issuer's grant to the first agent.",
    "delegate": "Hand a narrower grant on to the next agent.",
    "check": "Ask whether a call is allowed, now.",
    "explain": "Ask as `check` does, and see every hop laid open.",
    "simulate": "Ask what the answer would be, if things stood otherwise.",
    "shadow": "Count what was denied in shadow, and not enforced.",
    "revoke": "Revoke a delegation, or all that bears a name, and everything beneath it.",
    "suspend": "Stop an agent, a trust domain, a task, a tool, or everything, now.",
    "resume": "Let something go on that was stopped.",
    "suspensions": "See what is stopped now.",
    "signal": "Hand in a security event, or make one.",
    "approvals": "See what waits for people; approve it, or refuse it.",
    "policy": "Validate, test, compare and activate policy bundles.",
    "watch": "Follow the ledger, or whether one chain still stands.",
    "audit": "Ask the ledger who did what, for whom and by whose leave; export and verify it.",
    "report": "Write the record as one HTML page that needs no server.",
    "controls": "Report how items of NIST, OWASP and CSA frameworks are answered, with evidence.",
    "graph": "Ask the graph of delegations: who can, what falls, the least cut, access review.",
    "verify": "Judge a chain and a call offline: JSON in, JSON out.",
    "inspect": "Explain a chain to a person: hops, what each narrowed, when it dies.",
    "status-list": "Print the list that tells verifiers who ask nobody which roots were revoked.",
    "keygen": "Make a private key in a file of its own.",
    "keys": "Keep keys: an issuer's, sealed, in a ring or in an HSM, and those in custody.",
    "dev": "Try things on one machine: a development SPIFFE Workload API.",
    "credential": "Make a secret for a caller of the service, and the hash for its configuration.",
}
"""Command -> one line of help, in the order of the help; each stands in the module of its name."""

_USAGE = (ConfigurationError, CursorError, InvalidRequestError, KeyRingError, PolicyError, UnauthenticatedError)
_BROKEN = (UnreachableError, StoreError, ResourceExhaustedError)


class _Commands(click.Group):
    """Commands that are imported when they are called: `verify` must not wait for gRPC."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        found: click.Command = getattr(import_module(f"chain.cli.{name}"), name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run a command; its error is an answer too, where JSON is asked for."""
        try:
            return super().invoke(ctx)
        except ChainError as error:
            if wants_json(ctx):
                print_json(error_data(error))
            raise

    def main(self, *args: Any, **extra: Any) -> Any:  # noqa: ANN401 - click's own signature
        """Run a command and leave with its exit code."""
        extra["standalone_mode"] = False
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its C core would write lines of its own beside ours
        try:
            code = super().main(*args, **extra)
            sys.stdout.flush()
        except click.exceptions.Exit as leave:
            code = leave.exit_code
        except (click.Abort, KeyboardInterrupt):
            code = _complain("stopped", 130)
        except click.ClickException as error:
            code = _complain(error.format_message(), USAGE)
        except BrokenPipeError:  # the reader has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = OK
        except ChainError as error:
            code = _complain(error_text(error), exit_code(error))
        except Exception as error:  # noqa: BLE001 - the outermost ring: a traceback may hold tokens
            code = _complain(f"failed: {type(error).__name__} ({Reason.INTERNAL.value})", BROKEN)
        sys.exit(code if isinstance(code, int) else OK)


def exit_code(error: ChainError) -> int:
    """Return what a program ends with that this error ended."""
    if isinstance(error, _USAGE):
        return USAGE
    if isinstance(error, _BROKEN) or error.reason is Reason.INTERNAL:
        return BROKEN
    return DENIED


def _complain(text: str, code: int) -> int:
    click.echo(f"chain: {printable(' '.join(text.split()))}", err=True)
    return code


def _version(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - click's own signature
    if not asked or ctx.resilient_parsing:
        return
    try:
        found = version("chain-authz")
    except PackageNotFoundError:  # run from a source tree
        found = "0+source"  # as the service tells it of itself
    click.echo(f"chain, version {found}")
    ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
def main() -> None:
    """The open authority for chains of agents.

    Every hop from one agent to the next is a signed delegation that can only be narrower than the one before;
    every action is decided afresh, against every hop of its chain.

    Exit codes: 0 allowed or done, 1 denied, 2 usage or configuration, 3 unreachable or internal.

    With --json a command that was understood prints exactly one JSON value; an error too, as `error` and `detail`,
    a refusal with `effect` DENY and its reason.
    """
