"""`chain shadow`: what would have been denied, had shadow mode not let it through."""

from __future__ import annotations

import click

from chain import shadow as shadows
from chain.cli import remote
from chain.cli.output import json_option, print_json, row
from chain.errors import ForbiddenError

_WIDTHS = (44, 8, 12)


@click.command()
@click.option("--after", type=click.IntRange(0), default=0, metavar="REVISION", help="Only what came after it.")
@remote.where
@json_option
def shadow(after: int, where: remote.Where, *, as_json: bool) -> None:
    """Count the calls that were denied in shadow, by reason, rule, tool and principal.

    Needs --server (as an auditor or operator) or --ledger. Exit 0, also where there were some.
    """
    with where.connect() as client, client.watch(after, [shadows.KIND], until_now=True) as news:
        told = shadows.report((one.revision, one.members) for one in news)
    if told.untold:
        raise ForbiddenError("this caller is not told the whole ledger; ask as an auditor or operator")
    if as_json:
        counts = {by: [count._asdict() for count in each] for by, each in told.counts.items()}
        print_json({"decided": told.decided, "shadowed": told.shadowed, "revision": told.revision, "by": counts})
        return
    click.echo(f"{told.shadowed} of {told.decided} calls were denied in shadow, up to revision {told.revision}")
    for by, each in told.counts.items():
        if each:
            click.echo("\n" + row((by, "calls", "last"), _WIDTHS))
        for count in each:
            click.echo(row((count.name, str(count.calls), str(count.revision)), _WIDTHS))
