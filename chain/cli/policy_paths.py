"""`chain policy approvals`: which actions wait for people, for how many, and who these may be."""

from __future__ import annotations

from pathlib import Path

import click

from chain.bundle import load
from chain.cli import bundle, remote
from chain.cli.output import json_option, print_json, printable, wrapped
from chain.errors import ConfigurationError
from chain.policypaths import data, markdown, paths


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False, metavar="[DIR]")
@click.option("--md", "as_markdown", is_flag=True, help="Print Markdown, with the rules' own text.")
@remote.where
@json_option
def approvals(folder: Path | None, where: remote.Where, *, as_markdown: bool, as_json: bool) -> None:
    """Document the approval paths of the active bundle (--server or --ledger), or of the one in DIR."""
    if as_markdown and as_json:
        raise ConfigurationError("give --md or --json")
    if folder is None:
        with where.connect() as client:
            files = client.policies.get("").files
    else:
        files = bundle.read(folder)
    found = paths(load(files))
    if as_json:
        print_json(data(found))
        return
    if as_markdown:
        for line in markdown(found):
            click.echo(printable(line))
        return
    for rule in found.gates:
        people = "1 person" if rule.threshold == 1 else f"{rule.threshold} people"
        click.echo(wrapped(f"{people}, to {' or '.join(sorted(rule.actions))} ({rule.id}): {rule.note}", "", "  "))
    if not found.gates:
        click.echo("no rule of this policy asks people")
    click.echo("who may approve:")
    for rule in found.approvers:
        click.echo(wrapped(f"{rule.effect} ({rule.id}): {rule.note}", "  ", "    "))
