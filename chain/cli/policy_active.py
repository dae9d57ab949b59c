"""`chain policy activate | show`: which bundle is in force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chain.catalog import Catalogue
from chain.cli import bundle, remote
from chain.cli.output import json_option, moment, print_json, printable
from chain.errors import ConfigurationError
from chain.grant import LABELS
from chain.policyload import prepare, validated
from chain.policyview import Shown

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("folder", type=_FOLDER, required=False, metavar="[DIR]")
@click.option("--none", "without", is_flag=True, help="Put the active policy out of force: the chain alone decides.")
@remote.where
@json_option
def activate(folder: Path | None, where: remote.Where, *, without: bool, as_json: bool) -> None:
    """Put the bundle in DIR in force, from the next call on. Needs --server or --ledger.

    A bundle that does not validate changes nothing: the one before goes on.
    """
    if (folder is None) is not without:
        raise ConfigurationError("give a folder, or --none")
    files = None if folder is None else bundle.read(folder)
    with where.connect() as client:
        done = client.policies.activate(files)
    if as_json:
        print_json({"digest": done.digest, "previous": done.previous, "revision": done.revision})
        return
    click.echo(f"active: {done.digest or 'none'}, from revision {done.revision} on")
    click.echo(f"before: {done.previous or 'none'}")


@click.command()
@click.argument("folder", type=_FOLDER, required=False, metavar="[DIR]")
@click.option("--digest", default="", help="A bundle that was active once.")
@click.option("--out", type=_FOLDER, metavar="DIR", help="Write its files there.")
@bundle.labels
@remote.where
@json_option
def show(
    folder: Path | None,
    digest: str,
    out: Path | None,
    labels: tuple[str, ...],
    where: remote.Where,
    *,
    as_json: bool,
) -> None:
    """Show the rules of the active bundle (--server or --ledger), of one that was active, or of the one in DIR."""
    if folder is not None and digest:
        raise ConfigurationError("give a folder or --digest")
    if folder is None:
        with where.connect() as client:
            shown = client.policies.get(digest)
    else:
        shown = Shown("", bundle.read(folder), active=False, by="", at=0)
    if out is not None:
        bundle.write(shown.files, out)
    found = validated(prepare(shown.files, Catalogue(), labels or LABELS))
    if as_json:
        print_json(bundle.data(found) | _standing(shown))
        return
    if shown.active:
        click.echo(f"active since {moment(shown.at)}, by {printable(shown.by)}")
    bundle.show(found)


def _standing(shown: Shown) -> dict[str, Any]:
    return {"active": shown.active, "by": shown.by, "at": shown.at} if shown.digest else {}
