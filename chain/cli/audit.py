"""`chain audit`: the questions of an auditor, and whether the record is what was written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from chain import auditor, jcs, records
from chain.auditor import Row, Which
from chain.cli import audit_record, remote
from chain.cli.audit_stream import stream
from chain.cli.group import Group
from chain.cli.options import IDS, bundled
from chain.cli.output import json_option, moment, print_json, printable, row
from chain.cli.reading import Record, instant, record

_TIMES = frozenset({"time", "until"})
_WIDE = 28
"""Columns of a cell; its whole text is in the JSON."""


@click.group(cls=Group)
def audit() -> None:
    """Ask who did what, for whom, by which hops and rules, who approved it, and what could still happen.

    Each answer is read from the ledger: of a service (--server, as an auditor or operator), of a directory (--ledger),
    or of an exported file (--export). With --at it is the answer as of that instant. Every row names its record.
    """


def _arguments(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Turn arguments into the digest by which the ledger knows them."""
    if value is None:
        return None
    try:
        return records.digest(jcs.dumps(jcs.loads(value.encode())))
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}") from None


which = bundled(
    "which",
    Which,
    click.option("--decision", metavar="ID", help="Only this decision."),
    click.option(
        "--agent", metavar="ID|KEY", help="Only of this agent: SPIFFE id, pattern (`/*`, `/**`) or thumbprint."
    ),
    click.option("--tool", help="Only calls of this tool."),
    click.option("--task", help="Only of this task."),
    click.option("--target", help="Only on this target system."),
    click.option("--sub", help="Only on behalf of this principal."),
    click.option("--effect", type=click.Choice(["ALLOW", "DENY", "APPROVAL_REQUIRED"]), help="Only with this outcome."),
    click.option(
        "--arguments", callback=_arguments, metavar="JSON", help="Only with just these arguments: their digest is kept."
    ),
    click.option("--since", callback=instant, metavar="TIME", help="Only from then on."),
    click.option("--trace", metavar="ID", help="Only of this trace (W3C Trace Context, 32 hexadecimal digits)."),
)


def _question(ask: Callable[[Any, Which], list[Row]], name: str, text: str, columns: Sequence[str]) -> click.Command:
    """Return the command of a question about calls."""

    @click.command(name, help=text)
    @which
    @record
    @remote.where
    @json_option
    def command(which: Which, record: Record, where: remote.Where, *, as_json: bool) -> None:
        history = record.history(where)
        answer(history.revision, ask(history, which), columns, as_json=as_json)

    return command


audit.add_command(
    _question(
        auditor.who,
        "who",
        "Who did it: principal and key, on which system, with what outcome, at which enforcement point.",
        ("record", "time", "principal", "did", "on", "effect"),
    )
)
audit.add_command(
    _question(
        auditor.for_whom,
        "for-whom",
        "On whose behalf, for which task, and who answers for it.",
        ("record", "time", "for", "owner", "task", "did", "effect"),
    )
)
audit.add_command(
    _question(
        auditor.rule,
        "rule",
        "Under which version of the policy, by which rules, and for what reason.",
        ("record", "time", "did", "effect", "reason", "rules", "activated"),
    )
)
audit.add_command(
    _question(
        auditor.approvals,
        "approvals",
        "Who approved exactly what, when, and whether it was used: a row for each word and each use.",
        ("record", "time", "who", "said", "did", "amount", "request"),
    )
)
audit.add_command(
    _question(
        auditor.attempts,
        "attempts",
        "What was tried and refused: calls, delegations that asked for more, other changes.",
        ("record", "time", "principal", "tried", "reason", "detail"),
    )
)


@audit.command(context_settings=IDS)
@click.argument("name", metavar="DECISION|DELEGATION")
@record
@remote.where
@json_option
def path(name: str, record: Record, where: remote.Where, *, as_json: bool) -> None:
    """Through which hops, and what each of them narrowed; of a decision, or of a delegation."""
    history = record.history(where)
    found = auditor.path(history, name)
    if as_json:
        print_json({"revision": history.revision, "rows": found})
        return
    for hop in found:
        made = "issued by" if hop["hop"] == 0 else "from"
        click.echo(printable(f"{hop['hop']}  {hop['holder']}  {made} {hop['from']}  until {moment(hop['until'])}"))
        click.echo(f"   record {hop['record']}, id {hop['id']}")
        for words in hop["narrowed"]:
            click.echo(printable(f"   narrowed {words}"))


audit.add_command(stream)

for _command in ("export", "verify", "intact", "checkpoint", "prove", "proven", "cosign"):
    audit.add_command(getattr(audit_record, _command))


@audit.command(context_settings=IDS)
@click.argument("agent", metavar="ID|KEY")
@click.option("--tool", help="Only this tool.")
@record
@remote.where
@json_option
def could(agent: str, tool: str | None, record: Record, where: remote.Where, *, as_json: bool) -> None:
    """What an agent could still do: tools and constraints of every delegation that it holds and that stands."""
    history = record.history(where)
    found = auditor.could(history, agent, record.now, tool)
    answer(history.revision, found, ("record", "tool", "arguments", "until", "task", "for"), as_json=as_json)


def answer(
    revision: int, rows: Sequence[Row], columns: Sequence[str], *, as_json: bool, total: int | None = None
) -> None:
    """Print the rows of an answer: as JSON, or some columns as a table.

    Args:
        revision: the last record that it rests on; 0 where there is none.
        rows: in order.
        columns: of the table.
        as_json: all that a row holds, as one JSON object.
        total: how many rows there are, where these may be the first ones; how many more is said.
    """
    more = 0 if total is None else total - len(rows)
    if as_json:
        print_json({"revision": revision, "rows": list(rows)} | ({} if total is None else {"more": more}))
        return
    cells = [[_cell(name, one.get(name, "")) for name in columns] for one in rows]
    widths = [min(_WIDE, max(map(len, (name, *(line[place] for line in cells))))) for place, name in enumerate(columns)]
    click.echo(row(columns, widths))
    for line in cells:
        click.echo(row(line, widths))
    counted = f"{len(rows) + more} rows" if len(rows) + more != 1 else "1 row"
    click.echo(counted if not more else f"{len(rows)} of {counted}; {more} more with --limit")


def _cell(name: str, value: object) -> str:
    if name in _TIMES and isinstance(value, (int, float)):
        return moment(value)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {one}" for key, one in value.items()) or "any"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
