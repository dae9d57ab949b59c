"""`chain suspensions`: what is stopped now."""

from __future__ import annotations

import click

from chain.cli import remote
from chain.cli.output import json_option, moment, pairs, print_json
from chain.cli.suspend import data


@click.command()
@remote.where
@json_option
def suspensions(where: remote.Where, *, as_json: bool) -> None:
    """See what is stopped now, oldest first, by whom and why. For operators and auditors."""
    with where.connect() as client:
        found = client.steering.suspensions()
    if as_json:
        print_json({"suspensions": [data(one) for one in found]})
        return
    if not found:
        click.echo("nothing is stopped")
    for one in found:
        until = moment(one.until) if one.until else "until it is resumed"
        told = {one.scope: one.name, "mode": one.mode, "cause": one.cause, "by": one.author}
        click.echo(pairs(told | {"since": moment(one.since), "until": until}))
        click.echo()
