"""`chain policy init | validate | test`: what is done with a bundle's folder, without a server."""

from __future__ import annotations

from pathlib import Path

import click

from chain import bundles, policylint
from chain.cli import bundle
from chain.cli.output import colour, json_option, paint, print_json, printable, wrapped
from chain.policycase import run
from chain.policyload import validated
from chain.policyview import Ran

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("folder", type=_FOLDER, metavar="DIR")
@json_option
def init(folder: Path, *, as_json: bool) -> None:
    """Copy the bundle that ships to DIR, to start from."""
    files = bundles.default()
    bundle.write(files, folder)
    if as_json:
        print_json({"folder": str(folder), "files": sorted(files)})
    else:
        click.echo(wrapped(f"{folder}: {', '.join(sorted(files))}"))


@click.command()
@click.argument("folder", type=_FOLDER, metavar="DIR")
@bundle.labels
@json_option
def validate(folder: Path, labels: tuple[str, ...], *, as_json: bool) -> None:
    """Say whether the bundle in DIR would be taken. Exit 0 if so, 2 if not, with file, line and rule."""
    found = validated(bundle.prepared(folder, labels))
    if as_json:
        print_json(bundle.data(found))
    else:
        bundle.show(found)


@click.command()
@click.argument("folder", type=_FOLDER, metavar="DIR")
@bundle.labels
@json_option
@click.pass_context
def test(ctx: click.Context, folder: Path, labels: tuple[str, ...], *, as_json: bool) -> None:
    """Run the cases of the bundle in DIR. Exit 1 if one came out otherwise than it says."""
    ran = run(bundle.prepared(folder, labels))
    failed = sum(not one.passed for one in ran)
    if as_json:
        print_json({"cases": [one._asdict() for one in ran], "failed": failed})
    else:
        _print(ran)
    ctx.exit(1 if failed else 0)


@click.command()
@click.argument("folder", type=_FOLDER, metavar="DIR")
@bundle.labels
@json_option
@click.pass_context
def lint(ctx: click.Context, folder: Path, labels: tuple[str, ...], *, as_json: bool) -> None:
    """Find rules in DIR that change no answer, or permit everything. Exit 1 if there is one.

    What is tried are the requests that the rules mention, with their neighbours: a rule that none of them needs may
    still matter for another.
    """
    remarks = policylint.lint(bundle.prepared(folder, labels))
    if as_json:
        print_json({"remarks": [one._asdict() for one in remarks]})
    else:
        for one in remarks:
            click.echo(printable(f"{one.file}:{one.line}: {one.words}"))
        if not remarks:
            click.echo("every rule changes some answer, and none permits everything")
    ctx.exit(1 if remarks else 0)


def _print(ran: tuple[Ran, ...]) -> None:
    if not ran:
        click.echo("no cases: nothing was tested")
        return
    file = ""
    for one in ran:
        if one.file != file:
            file = one.file
            click.echo(printable(file))
        mark = paint("ok", "green", on=colour()) if one.passed else paint("FAILED", "red", on=colour())
        click.echo(f"  {mark}  {printable(one.name)}")
        if not one.passed:
            click.echo(wrapped(one.detail, "      "))
    failed = sum(not one.passed for one in ran)
    click.echo(f"{bundle.cases(len(ran))}, {failed} failed" if failed else f"{bundle.cases(len(ran))}, all as they say")
