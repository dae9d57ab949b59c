"""`chain resume`: let something go on that was suspended or quarantined."""

from __future__ import annotations

from typing import get_args

import click

from chain.cli import remote
from chain.cli.output import json_option, print_json, printable
from chain.cli.suspend import scoped
from chain.control import Scope


@click.command()
@click.argument("scope", type=click.Choice([scope.replace("_", "-") for scope in get_args(Scope)]))
@click.argument("name", required=False)
@click.option("--cause", required=True, help="Why, one line, for the record.")
@remote.where
@json_option
def resume(scope: str, name: str | None, cause: str, where: remote.Where, *, as_json: bool) -> None:
    """Let something go on that `chain suspend` or the circuit breaker stopped. For operators."""
    with where.connect() as client:
        told = client.steering.resume(scope.replace("-", "_"), scoped(scope, name), cause)
    if as_json:
        print_json({"scope": told.scope, "name": told.name, "revision": told.revision})
    else:
        click.echo(printable(f"RESUMED {told.scope} {told.name} (revision {told.revision})"))
