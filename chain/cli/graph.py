"""`chain graph`: the graph of delegations, and its questions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from chain import jcs
from chain.cli import remote
from chain.cli.app import DENIED
from chain.cli.audit import answer
from chain.cli.group import Group
from chain.cli.options import IDS, Decorator, bundled
from chain.cli.output import json_option, print_json, printable, seconds
from chain.cli.reading import Record, instant, record
from chain.errors import ConfigurationError, InvalidRequestError
from chain.graph.answers import Answers
from chain.inquiry import (
    FORMATS,
    Answer,
    Asked,
    BlastRadius,
    Chokepoints,
    DiffDelegations,
    DiffTimes,
    ExportGraph,
    LeastCut,
    Lineage,
    Page,
    ReviewAccess,
    WhatCan,
    WhoCan,
    Work,
)


@click.group(cls=Group)
def graph() -> None:
    """Ask who can do what, what falls with what, and what to revoke; draw it.

    Each answer is read from the ledger: of a service (--server, as an auditor or operator), of a directory (--ledger),
    or of an exported file (--export). With --at it is the answer as of that instant. Every row names its record.

    With --by-service, the service itself works out the answer, which is quicker than to read its whole record.
    """


def _arguments(_ctx: click.Context, _param: click.Parameter, value: str | None) -> dict[str, Any] | None:
    """Read an option that holds the arguments of a call."""
    if value is None:
        return None
    try:
        found = jcs.loads(value.encode())
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.BadParameter("arguments are one JSON object")
    return found


arguments = click.option("--args", "arguments", callback=_arguments, metavar="JSON", help="Only just this call.")
limit = click.option(
    "--limit", type=click.IntRange(0, 1_000_000), default=200, show_default=True, help="Rows that are printed."
)
by_service = click.option("--by-service", is_flag=True, help="Let the service answer, instead of reading its record.")


@dataclass(frozen=True, slots=True)
class Asking:
    """Who answers, and from which record.

    Attributes:
        record: which.
        where: of which authority.
        by_service: whether that works the answer out.
    """

    record: Record
    where: remote.Where
    by_service: bool

    def answer(self, asked: Asked, limit: int, at: float | None = None) -> Answer:
        """Return the first rows of an answer.

        Args:
            asked: the question.
            limit: rows at most.
            at: seconds; the instant. None for that of the command line.

        Raises:
            ConfigurationError: no record is named, or two.
            ForbiddenError: this caller is not told the whole ledger.
            StoreError: the export is not intact.
        """
        page = Page(self.record.at if at is None else at, limit)
        if not self.by_service:
            return Answers(self.record.entries(self.where)).ask(asked, page, now=time.time())
        if self.record.export is not None or self.record.key is not None or self.where.ledger is not None:
            raise ConfigurationError("--by-service asks a --server")
        from chain.client import Client  # noqa: PLC0415 - loads gRPC, which offline commands do without

        with self.where.connect() as client:
            if not isinstance(client, Client):
                raise ConfigurationError("--by-service asks a --server")
            return client.graph.ask(asked, page)

    def print(
        self, asked: Asked, limit: int, columns: Sequence[str], *, as_json: bool, at: float | None = None
    ) -> Answer:
        """Print the first rows of an answer, and return at least the first one."""
        found = self.answer(asked, max(limit, 1), at)
        answer(found.revision, found.rows[:limit], columns, as_json=as_json, total=found.total)
        return found


asking = bundled("asking", Asking, record, remote.where, by_service)


def _question(name: str, text: str, kind: type[Asked], columns: Sequence[str], *options: Decorator) -> click.Command:
    """Return the command of a question that these options make."""

    @click.command(name, help=text, context_settings=IDS)
    @bundled("asked", kind, *options)
    @limit
    @asking
    @json_option
    def command(asked: Asked, limit: int, asking: Asking, *, as_json: bool) -> None:
        asking.print(asked, limit, columns, as_json=as_json)

    return command


graph.add_command(
    _question(
        "lineage",
        "Where it comes from and what was made of it, whether or not that stands.",
        Lineage,
        ("record", "place", "hop", "agent", "from", "narrowed", "status"),
        click.argument("name", metavar="AGENT|KEY|DELEGATION"),
    )
)
graph.add_command(
    _question(
        "blast",
        "What falls if it is revoked, and what a thief of it could call.",
        BlastRadius,
        ("record", "what", "agent", "name", "detail"),
        click.argument("name", metavar="AGENT|KEY|DELEGATION"),
    )
)
graph.add_command(
    _question(
        "who-can",
        "Who can call a tool, or anything on a system: by delegation, with what a call must bring besides.",
        WhoCan,
        ("record", "agent", "tool", "arguments", "needs", "task"),
        click.argument("tool", required=False),
        click.option("--target", metavar="SYSTEM", help="Instead of a tool: all tools of this system, by decisions."),
        arguments,
    )
)
graph.add_command(
    _question(
        "what-can",
        "What an agent can do, and what each hop narrowed on the way to it.",
        WhatCan,
        ("record", "tool", "arguments", "narrowed", "needs"),
        click.argument("agent", metavar="ID|KEY"),
        click.option("--tool", help="Only this tool."),
    )
)
graph.add_command(
    _question(
        "chokepoints",
        "What the most agents depend on wholly: delegations and agents that every way to them leads through.",
        Chokepoints,
        ("record", "kind", "name", "agents", "falls", "who"),
        click.option("--tool", help="Only for what it takes to call this one."),
    )
)
graph.add_command(
    _question(
        "review",
        "Access review: unused, over-broad, orphaned, overlong and shared, each with the records that show it.",
        ReviewAccess,
        ("record", "finding", "agent", "detail", "evidence"),
        click.option("--idle", metavar="TIME", callback=seconds, default="15m", show_default=True, help="May be idle."),
        click.option("--life", metavar="TIME", callback=seconds, default="1d", show_default=True, help="May live."),
        click.option(
            "--times",
            type=click.FloatRange(1),
            default=10,
            show_default=True,
            help="How much longer than it is used it may live, and how much more than is used it may give.",
        ),
    )
)


@graph.command(context_settings=IDS)
@click.argument("agent", metavar="ID|KEY")
@click.option("--tool", required=True, help="What it is to be stopped from.")
@click.option("--keep", nargs=2, multiple=True, metavar="ID|KEY TOOL", help="Work that goes on; repeatable.")
@arguments
@limit
@asking
@json_option
@click.pass_context
def cut(
    ctx: click.Context,
    agent: str,
    tool: str,
    keep: Sequence[tuple[str, str]],
    arguments: dict[str, Any] | None,
    limit: int,
    asking: Asking,
    *,
    as_json: bool,
) -> None:
    """The least set of revocations that stops an agent from calling a tool, while named work goes on.

    `revoke` rows are that set. An `or` row is one revocation by name that does the same. A `cannot` row is a way that
    cannot be stopped, because kept work would fall: such rows come first, and the exit code is 1.
    """
    asked = LeastCut(Work(agent, tool), tuple(Work(*one) for one in keep), arguments)
    found = asking.print(asked, limit, ("record", "do", "agent", "stops", "falls", "command", "kept"), as_json=as_json)
    if not found.total:
        words = f"chain: nothing that stands lets `{agent}` call `{tool}`; what is suspended does not stand"
        click.echo(printable(words), err=True)
    elif found.rows[0]["do"] == "cannot":
        ctx.exit(DENIED)


@graph.command(context_settings=IDS)
@click.argument("first", metavar="[DELEGATION", required=False)
@click.argument("second", metavar="DELEGATION]", required=False)
@click.option(
    "--to", callback=instant, metavar="TIME", help="Instead of delegations: what changed from --at until then."
)
@limit
@asking
@json_option
def diff(first: str | None, second: str | None, to: float | None, limit: int, asking: Asking, *, as_json: bool) -> None:
    """What differs between two delegations; or what appeared and fell between two instants, --at and --to (now)."""
    if first is not None and second is not None and to is None:
        asking.print(DiffDelegations(first, second), limit, ("what", "a", "b"), as_json=as_json)
        return
    since = asking.record.at
    if first is not None or since is None:
        raise ConfigurationError("name two delegations, or --at and --to without any")
    to = time.time() if to is None else to
    if to < since:
        raise InvalidRequestError("--to lies before --at")
    columns = ("record", "change", "agent", "why", "ended", "task")
    asking.print(DiffTimes(since), limit, columns, as_json=as_json, at=to)


@graph.command(context_settings=IDS)
@bundled(
    "asked",
    ExportGraph,
    click.argument("name", metavar="[AGENT|KEY|DELEGATION]", required=False),
    click.option("--format", type=click.Choice(FORMATS), default="dot", show_default=True, help="As what."),
    click.option("--live", is_flag=True, help="Only what stands."),
    click.option(
        "--limit",
        type=click.IntRange(1, 1_000_000),
        default=2_000,
        show_default=True,
        help="Delegations that are drawn.",
    ),
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it there instead of printing it.")
@asking
@json_option
def export(asked: ExportGraph, out: Path | None, asking: Asking, *, as_json: bool) -> None:
    """Draw the graph, or what has to do with one name, for other programs: DOT, GraphML, Mermaid, JSON, PROV-JSON."""
    (told,) = asking.answer(asked, 1).rows
    text, drawn, more = told["text"], told["delegations"], told["more"]
    if more:
        click.echo(f"chain: {more} delegations were left out; --limit draws more", err=True)
    if out is not None:
        _write(out, text)
    if as_json:
        print_json({"format": asked.format, "delegations": drawn, "more": more} | ({} if out else {"text": text}))
    elif out is None:
        click.echo(text, nl=False)
    else:
        click.echo(printable(f"{drawn} delegations in {out}"))


def _write(out: Path, text: str) -> None:
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"`{out}`: {error.strerror}") from None
