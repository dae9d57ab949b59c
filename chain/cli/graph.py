"""`chain graph`: the graph of delegations, and its questions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from chain import jcs
from chain.auditor import Row, named
from chain.cli import remote
from chain.cli.app import DENIED
from chain.cli.audit import answer
from chain.cli.group import Group
from chain.cli.options import IDS, bundled
from chain.cli.output import json_option, print_json, printable, seconds
from chain.cli.reading import Record, instant, record
from chain.errors import ConfigurationError, InvalidRequestError
from chain.graph import choke, cut, difference, lineage, reach, review
from chain.graph.cut import Work
from chain.graph.forest import Forest
from chain.history import History

FORMATS = ("dot", "graphml", "mermaid", "json", "prov")
"""What the graph is exported as."""

limit = click.option(
    "--limit", type=click.IntRange(0, 1_000_000), default=200, show_default=True, help="Rows that are printed."
)


@click.group(cls=Group)
def graph() -> None:
    """Ask who can do what, what falls with what, and what to revoke; draw it.

    Each answer is read from the ledger: of a service (--server, as an auditor or operator), of a directory (--ledger),
    or of an exported file (--export). With --at it is the answer as of that instant. Every row names its record.
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


def _forest(record: Record, where: remote.Where) -> Forest:
    return Forest(record.history(where), record.now)


def _question(
    name: str, metavar: str, text: str, ask: Callable[[Forest, str], Sequence[Row]], columns: Sequence[str]
) -> click.Command:
    """Return the command of a question about one name."""

    @click.command(name, help=text, context_settings=IDS)
    @click.argument("name", metavar=metavar)
    @limit
    @record
    @remote.where
    @json_option
    def command(name: str, limit: int, record: Record, where: remote.Where, *, as_json: bool) -> None:
        forest = _forest(record, where)
        answer(forest.history, ask(forest, name), columns, as_json=as_json, limit=limit)

    return command


graph.add_command(
    _question(
        "lineage",
        "AGENT|KEY|DELEGATION",
        "Where it comes from and what was made of it, whether or not that stands.",
        lineage.lineage,
        ("record", "place", "hop", "agent", "from", "narrowed", "status"),
    )
)
graph.add_command(
    _question(
        "blast",
        "AGENT|KEY|DELEGATION",
        "What falls if it is revoked, and what a thief of it could call.",
        lineage.blast,
        ("record", "what", "agent", "name", "detail"),
    )
)


@graph.command("who-can")
@click.argument("tool", required=False)
@click.option("--target", metavar="SYSTEM", help="Instead of a tool: all tools of this system, as decisions tell.")
@arguments
@limit
@record
@remote.where
@json_option
def who_can(
    tool: str | None,
    target: str | None,
    arguments: dict[str, Any] | None,
    limit: int,
    record: Record,
    where: remote.Where,
    *,
    as_json: bool,
) -> None:
    """Who can call a tool, or anything on a system: by delegation, with what a call must bring besides."""
    if (tool is None) is (target is None):
        raise ConfigurationError("name a tool, or a --target")
    forest = _forest(record, where)
    found = reach.who_can(forest, tool, target, arguments)
    answer(
        forest.history, found, ("record", "agent", "tool", "arguments", "needs", "task"), as_json=as_json, limit=limit
    )


@graph.command("what-can", context_settings=IDS)
@click.argument("agent", metavar="ID|KEY")
@click.option("--tool", help="Only this tool.")
@limit
@record
@remote.where
@json_option
def what_can(agent: str, tool: str | None, limit: int, record: Record, where: remote.Where, *, as_json: bool) -> None:
    """What an agent can do, and what each hop narrowed on the way to it."""
    forest = _forest(record, where)
    found = reach.what_can(forest, agent, tool)
    answer(forest.history, found, ("record", "tool", "arguments", "narrowed", "needs"), as_json=as_json, limit=limit)


@dataclass(frozen=True, slots=True)
class Stop:
    """What an agent is to be stopped from, and what goes on.

    Attributes:
        tool: what it calls.
        keep: agents and tools.
        arguments: of just the calls that are to be stopped.
    """

    tool: str
    keep: Sequence[tuple[str, str]]
    arguments: dict[str, Any] | None


stop = bundled(
    "stop",
    Stop,
    click.option("--tool", required=True, help="What it is to be stopped from."),
    click.option("--keep", nargs=2, multiple=True, metavar="ID|KEY TOOL", help="Work that goes on; repeatable."),
    arguments,
)


@graph.command("cut", context_settings=IDS)
@click.argument("agent", metavar="ID|KEY")
@stop
@limit
@record
@remote.where
@json_option
@click.pass_context
def cut_(
    ctx: click.Context, agent: str, stop: Stop, limit: int, record: Record, where: remote.Where, *, as_json: bool
) -> None:
    """The least set of revocations that stops an agent from calling a tool, while named work goes on.

    `revoke` rows are that set. An `or` row is one revocation by name that does the same. A `cannot` row is a way that
    cannot be stopped, because kept work would fall: then the exit code is 1.
    """
    forest = _forest(record, where)
    keep = [Work(*one) for one in stop.keep]
    found = cut.least(forest, Work(agent, stop.tool), keep, stop.arguments)
    columns = ("record", "do", "agent", "stops", "falls", "command", "kept")
    answer(forest.history, cut.rows(forest, found), columns, as_json=as_json, limit=limit)
    if not found.ways:
        words = f"chain: nothing that stands lets `{agent}` call `{stop.tool}`; what is suspended does not stand"
        click.echo(printable(words), err=True)
    if found.blocked:
        ctx.exit(DENIED)


@graph.command()
@click.option("--tool", help="Only for what it takes to call this one.")
@limit
@record
@remote.where
@json_option
def chokepoints(tool: str | None, limit: int, record: Record, where: remote.Where, *, as_json: bool) -> None:
    """What the most agents depend on wholly: delegations and agents that every way to them leads through."""
    forest = _forest(record, where)
    columns = ("record", "kind", "name", "agents", "falls", "who")
    answer(forest.history, choke.chokepoints(forest, tool), columns, as_json=as_json, limit=limit)


norms = bundled(
    "norms",
    review.Norms,
    click.option("--idle", metavar="TIME", callback=seconds, default="15m", show_default=True, help="May go unused."),
    click.option("--life", metavar="TIME", callback=seconds, default="1d", show_default=True, help="May live."),
    click.option(
        "--times",
        type=click.FloatRange(1),
        default=10,
        show_default=True,
        help="How much longer than it is used it may live, and how much more than is used it may give.",
    ),
)


@graph.command("review")
@norms
@limit
@record
@remote.where
@json_option
def review_(norms: review.Norms, limit: int, record: Record, where: remote.Where, *, as_json: bool) -> None:
    """Access review: unused, over-broad, orphaned, overlong and shared, each with the records that show it."""
    forest = _forest(record, where)
    columns = ("record", "finding", "agent", "detail", "evidence")
    answer(forest.history, review.review(forest, norms), columns, as_json=as_json, limit=limit)


@graph.command(context_settings=IDS)
@click.argument("first", metavar="[DELEGATION", required=False)
@click.argument("second", metavar="DELEGATION]", required=False)
@click.option(
    "--to", callback=instant, metavar="TIME", help="Instead of delegations: what changed from --at until then."
)
@limit
@record
@remote.where
@json_option
def diff(
    first: str | None,
    second: str | None,
    to: float | None,
    limit: int,
    record: Record,
    where: remote.Where,
    *,
    as_json: bool,
) -> None:
    """What differs between two delegations; or what appeared and fell between two instants, --at and --to (now)."""
    if first is None or to is not None:
        if first is not None or record.at is None:
            raise ConfigurationError("name two delegations, or --at and --to without any")
        to = time.time() if to is None else to
        if to < record.at:
            raise InvalidRequestError("--to lies before --at")
        before, after = History(), History()
        for entry in replace(record, at=None).entries(where):
            if entry.seconds <= record.at:
                before.take(entry)
            if entry.seconds <= to:
                after.take(entry)
        changes = difference.since(Forest(before, record.at), Forest(after, to))
        answer(after, changes, ("record", "change", "agent", "why", "ended", "task"), as_json=as_json, limit=limit)
        return
    if second is None:
        raise ConfigurationError("name two delegations, or --at and --to without any")
    forest = _forest(record, where)
    history = forest.history
    found = difference.between(forest, named(history, first), named(history, second))
    answer(history, found, ("what", "a", "b"), as_json=as_json, limit=limit)


@graph.command(context_settings=IDS)
@click.argument("name", metavar="[AGENT|KEY|DELEGATION]", required=False)
@click.option("--format", "kind", type=click.Choice(FORMATS), default="dot", show_default=True, help="As what.")
@click.option("--live", is_flag=True, help="Only what stands.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write it there instead of printing it.")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=2_000, show_default=True, help="Delegations that are drawn."
)
@record
@remote.where
@json_option
def export(
    name: str | None,
    kind: str,
    out: Path | None,
    limit: int,
    record: Record,
    where: remote.Where,
    *,
    live: bool,
    as_json: bool,
) -> None:
    """Draw the graph, or what has to do with one name, for other programs: DOT, GraphML, Mermaid, JSON, PROV-JSON."""
    from chain.graph import export as writing  # noqa: PLC0415 - these load networkx, which no other question needs
    from chain.graph import project, prov  # noqa: PLC0415

    forest = _forest(record, where)
    ones, more = project.chosen(forest, name, limit, live=live)
    text = prov.document(forest, ones) if kind == "prov" else writing.WRITERS[kind](project.project(forest, ones))
    if more:
        click.echo(f"chain: {more} delegations were left out; --limit draws more", err=True)
    if out is not None:
        _write(out, text)
    if as_json:
        print_json({"format": kind, "delegations": len(ones), "more": more} | ({} if out else {"text": text}))
    elif out is None:
        click.echo(text, nl=False)
    else:
        click.echo(printable(f"{len(ones)} delegations in {out}"))


def _write(out: Path, text: str) -> None:
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"`{out}`: {error.strerror}") from None
