"""`chain controls`: what frameworks ask for, and what answers it here."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from chain.bundle import load
from chain.cli import remote
from chain.cli.group import Group
from chain.cli.output import json_option, moment, pairs, print_json, printable, wrapped
from chain.cli.reading import Record, record
from chain.configuration import Configuration
from chain.controls import Evidence, Report, Row, State, data
from chain.controls import report as made
from chain.errors import ConfigurationError, NotFoundError
from chain.framework import FRAMEWORKS
from chain.policypaths import Paths, cell, markdown, paths
from chain.policypaths import data as paths_data


@click.group(cls=Group)
def controls() -> None:
    """Say how each item of a framework is answered: by what, whether that is on, and what the record shows of it."""


@controls.command()
@click.option(
    "--framework",
    "names",
    type=click.Choice(list(FRAMEWORKS)),
    multiple=True,
    help="Only this one; may stand several times.",
)
@click.option("--md", "as_markdown", is_flag=True, help="Print Markdown instead of text.")
@record
@remote.where
@json_option
@click.pass_context
def report(
    ctx: click.Context,
    names: tuple[str, ...],
    record: Record,
    where: remote.Where,
    *,
    as_markdown: bool,
    as_json: bool,
) -> None:
    """Report on every item: label, mechanism, whether it is on, evidence, tests; then what people have to do.

    Exit 1 where something is off that a label rests on, an emergency is not signed off, or nobody answers for what
    stands. An export does not hold the configuration: then that is unknown, and no gap. With --at, the record is read
    as of then; the configuration is today's.
    """
    if as_markdown and as_json:
        raise ConfigurationError("give --md or --json")
    told, approving = _told(record, where)
    history = record.history(where)
    found = made(history, told, time.time() if record.at is None else record.at, names or tuple(FRAMEWORKS))
    if as_json:
        print_json(data(found) | {"approval_paths": None if approving is None else paths_data(approving)})
    else:
        lines = _markdown(found, approving) if as_markdown else _text(found)
        for line in lines:
            click.echo(printable(line))
    ctx.exit(1 if found.gaps or found.findings else 0)


def _told(record: Record, where: remote.Where) -> tuple[Configuration | None, Paths | None]:
    """Return how the authority is configured, and the approval paths of its policy; of an export neither is known."""
    if record.export is not None:
        return None, None
    with where.connect() as client:
        told = client.info().configuration
        try:
            files = client.policies.get("").files
        except NotFoundError:  # no policy is active, which is a gap of its own
            return told, None
    return told, paths(load(files))


def _text(found: Report) -> Iterator[str]:
    framework = ""
    for row in found.rows:
        if row.framework != framework:
            framework = row.framework
            yield from ("", FRAMEWORKS[framework].title)
            if FRAMEWORKS[framework].limit:
                yield f"  {FRAMEWORKS[framework].limit}"
        yield f"  {row.item.id:6}{row.state.value:13}{row.item.label.value:14}{row.item.title}"
        if row.item.by:
            yield from _wrapped(f"{', '.join(row.item.by)}; {_shows(row.evidence)}; {_tests(row)}", " " * 8)
        for line in _off(row):
            yield from _wrapped(line, " " * 8)
        if row.item.limit:
            yield from _wrapped(row.item.limit, " " * 8)
    off = {one.mechanism.name: one.mechanism.setting for one in found.shown if one.state is State.GAP}
    if off:
        yield from ("", "Switched off, and what switches it on")
        yield from pairs({f"  {name}": setting for name, setting in off.items()}).splitlines()
    yield from ("", "For people to do" if found.findings else "Nothing waits for people.")
    for one in found.findings:
        yield from _wrapped(f"record {one.record}, {moment(one.since)}: {one.detail}", "  ", "    ")
    yield ""
    yield _sum(found)


def _wrapped(text: str, indent: str, more: str | None = None) -> list[str]:
    return wrapped(text, indent, more).splitlines()


def _markdown(found: Report, approving: Paths | None) -> Iterator[str]:
    yield from ("# Controls", "", _sum(found))
    framework = ""
    for row in found.rows:
        if row.framework != framework:
            framework = row.framework
            yield from ("", f"## {FRAMEWORKS[framework].title}", "")
            if FRAMEWORKS[framework].limit:
                yield from (FRAMEWORKS[framework].limit, "")
            yield from (
                "| | item | label | state | by | evidence | tests | limit |",
                "|---|---|---|---|---|---|---|---|",
            )
        item = row.item
        state = "; ".join((f"**{row.state.value}**" if row.state is State.GAP else row.state.value, *_off(row)))
        tests = "<br>".join(f"`{test}`" for test in row.tests)
        shows = cell(_shows(row.evidence)) if item.by else ""
        yield (
            f"| {item.id} | {item.title} | {item.label.value} | {state} | {', '.join(item.by)} | {shows} | {tests} "
            f"| {item.limit} |"
        )
    yield from ("", "## Mechanisms", "", "| | state | what it does | switched on by |", "|---|---|---|---|")
    for one in found.shown:
        mechanism = one.mechanism
        yield f"| {mechanism.name} | {one.state.value} | {mechanism.text} | {cell(mechanism.setting)} |"
    yield from ("", "## For people to do", "")
    yield from (f"- record {one.record}, {moment(one.since)}: {cell(one.detail)}" for one in found.findings)
    if not found.findings:
        yield "Nothing."
    yield ""
    if approving is not None:
        yield from markdown(approving, 2)
    else:
        yield from ("## Approval paths", "", "No policy is active." if found.configured else "Not known of an export.")


def _shows(one: Evidence) -> str:
    """Say what the record shows."""
    said = [f"{one.records} record" + "s" * (one.records > 1)] if one.records else []
    if one.last is not None:
        said.append(f"{one.refused} refused, last {one.last.body['reason']} in record {one.last.revision}")
    return ", ".join(said) or "nothing recorded yet"


def _tests(row: Row) -> str:
    return f"{len(row.tests)} tests" if len(row.tests) != 1 else "1 test"


def _off(row: Row) -> Iterator[str]:
    if row.off:
        yield f"off: {', '.join(row.off)}"
    if row.weaker:
        yield f"would be stronger with: {', '.join(row.weaker)}"


def _sum(found: Report) -> str:
    told = "" if found.configured else " How it is configured is unknown: an export does not say."
    gaps = f"{len(found.gaps)} gap" + "s" * (len(found.gaps) != 1)
    return (
        f"{len(found.rows)} items up to record {found.revision}: {gaps}, {len(found.findings)} for people to do.{told}"
    )
