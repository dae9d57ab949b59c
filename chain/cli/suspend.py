"""`chain suspend`: stop an agent, a trust domain, a task, a tool, or everything."""

from __future__ import annotations

from typing import Any, get_args

import click

from chain.cli import remote
from chain.cli.output import json_option, moment, pairs, print_json, seconds
from chain.control import EVERYTHING, Mode, Scope, Suspension
from chain.errors import InvalidRequestError


def scoped(scope: str, name: str | None) -> str:
    """Return the name of what is meant; only everything has none.

    Raises:
        InvalidRequestError: a name is missing, or there is one too many.
    """
    if (scope == "everything") != (name is None):
        raise InvalidRequestError("everything has no name, and everything else needs one")
    return EVERYTHING if name is None else name


def data(suspension: Suspension) -> dict[str, Any]:
    """Return a suspension for `--json`."""
    return {name: getattr(suspension, name) for name in Suspension.__struct_fields__}


def _stops(keys: int) -> str:
    if not keys:
        return "0 enrolled keys: nobody of that name is enrolled here"
    return "1 enrolled key" if keys == 1 else f"{keys} enrolled keys"


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> int:
    return seconds(ctx, param, value) or 0


@click.command()
@click.argument("scope", type=click.Choice([scope.replace("_", "-") for scope in get_args(Scope)]))
@click.argument("name", required=False)
@click.option("--cause", required=True, help="Why, one line, for the record.")
@click.option("--quarantine", is_flag=True, help="Let it read, and nothing else.")
@click.option("--lifetime", metavar="TIME", callback=_seconds, help="Until it ends by itself: 90s, 15m, 1h.")
@remote.where
@json_option
def suspend(
    scope: str,
    name: str | None,
    cause: str,
    lifetime: int,
    where: remote.Where,
    *,
    quarantine: bool,
    as_json: bool,
) -> None:
    """Stop an agent and all who work under it, a trust domain, a task, a tool, or everything. For operators.

    It counts from the next call on. What is stopped already stays stopped as far and as long as it was: `chain resume`
    lets it go on.
    """
    mode: Mode = "quarantined" if quarantine else "suspended"
    with where.connect() as client:
        told = client.steering.suspend(scope.replace("-", "_"), scoped(scope, name), cause, mode, lifetime)
    if as_json:
        print_json(data(told) | {"keys": told.keys, "lifted": told.lifted})
        return
    until = "until " + moment(told.until) if told.until else "until it is resumed"
    click.echo("NOT STOPPED ANY MORE: it was lifted, or ended" if told.lifted else f"{told.mode.upper()} {until}")
    lines = {told.scope: told.name, "cause": told.cause, "revision": str(told.revision)}
    if told.keys is not None:
        lines["stops"] = _stops(told.keys)
    click.echo(pairs(lines))
