"""`chain policy diff`: what another bundle would permit or refuse that this one does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chain.cli import bundle, remote
from chain.cli.output import json_option, print_json, printable, wrapped
from chain.errors import ConfigurationError
from chain.jcs import dumps
from chain.policydiff import diff as compare
from chain.policyview import Answer, Difference, Relation

_FOLDER = click.Path(path_type=Path)
_REPLAYED = 1_000


@click.command()
@click.argument("folders", type=_FOLDER, nargs=-1, required=True, metavar="[A] B")
@click.option(
    "--replay",
    type=click.IntRange(0, 10_000),
    is_flag=False,
    flag_value=_REPLAYED,
    default=0,
    metavar="[N]",
    help=f"Decide the ledger's last N recorded checks under B ({_REPLAYED} if no number is given).",
)
@bundle.labels
@remote.where
@json_option
def diff(
    folders: tuple[Path, ...], replay: int, labels: tuple[str, ...], where: remote.Where, *, as_json: bool
) -> None:
    """Tell how bundle B relates to bundle A: equal, narrower, wider or incomparable, each with a request that shows it.

    Two folders are compared without a server; one alone with the active bundle, which needs --server or --ledger, and
    so does --replay. Differences are found by trying requests made of what the rules mention; `equal` means that none
    of them told the two apart.
    """
    if len(folders) > 2:
        raise ConfigurationError("a comparison has two sides: give A and B, or B alone")
    if len(folders) == 2 and not replay:
        found = compare(bundle.prepared(folders[0], labels), bundle.prepared(folders[1], labels))
    else:
        before = bundle.read(folders[0]) if len(folders) == 2 else None
        after = bundle.read(folders[-1])
        with where.connect() as client:
            found = client.policies.diff(before, after, replay)
    if as_json:
        print_json(_data(found, replay))
    else:
        _print(found, replay)


def _data(found: Difference, replay: int) -> dict[str, Any]:
    witnesses = [
        {"request": one.request, "before": _answer(one.before), "after": _answer(one.after)} for one in found.witnesses
    ]
    data: dict[str, Any] = {"relation": found.relation.value, "tried": found.tried, "witnesses": witnesses}
    if replay:
        told = found.replay
        data |= {"flips": [flip._asdict() for flip in told.flips], "replayed": told.replayed, "skipped": told.skipped}
        data["drifted"] = told.drifted
    return data


def _answer(answer: Answer) -> dict[str, Any]:
    return {"word": answer.word, "people": answer.people, "rules": list(answer.rules)}


def _print(found: Difference, replay: int) -> None:
    click.echo(f"{found.relation.value}: {found.tried} requests tried")
    if found.relation is Relation.EQUAL:
        click.echo("  none of them told the two apart" if found.tried else "  the rules are the same")
    for one in found.witnesses:
        click.echo(wrapped(dumps(dict(one.request)).decode(), "  ", "    "))
        click.echo(wrapped(f"{_said(one.before)} -> {_said(one.after)}", "      ", "      "))
    if not replay:
        return
    told = found.replay
    click.echo(f"{len(told.flips)} of {told.replayed} recorded checks would come out otherwise", nl=False)
    drifted = (
        f"; {told.drifted} others would under the first one too, as facts have changed since" if told.drifted else ""
    )
    click.echo(drifted + (f"; {told.skipped} could not be decided anew" if told.skipped else ""))
    for flip in told.flips:
        click.echo(f"  {flip.revision}  {printable(flip.tool)}: {flip.before} -> {flip.after}")
        click.echo(wrapped(flip.detail, "      "))


def _said(answer: Answer) -> str:
    return f"{answer} ({', '.join(answer.rules)})" if answer.rules else str(answer)
