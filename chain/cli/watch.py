"""`chain watch`: what happens, as it happens; or whether one chain still stands."""

from __future__ import annotations

from typing import Any

import click

from chain.cli import remote, source
from chain.cli.output import json_option, moment, print_json, printable
from chain.errors import ChainError
from chain.watch import Stand, Told

LONGEST = 200
"""Characters of a record's body on a line for a person; `--json` shows it whole."""


@click.command()
@click.option("--after", type=click.IntRange(0), metavar="REVISION", help="Go on after this revision; 0: all of it.")
@click.option("--kinds", default="", metavar="KIND,...", help="Only records of these kinds; see below.")
@click.option("--until-now", is_flag=True, help="End once all up to now was told.")
@click.option("--chain", "chain_file", metavar="FILE|-", help="Only whether this chain stands, until it does not.")
@remote.where
@json_option
@click.pass_context
def watch(
    ctx: click.Context,
    after: int | None,
    kinds: str,
    chain_file: str | None,
    where: remote.Where,
    *,
    until_now: bool,
    as_json: bool,
) -> None:
    """Follow the ledger, one line a record; with --json one JSON object a line. Needs --server or --ledger.

    Without --after it tells what comes from now on. A lost connection is made again, and nothing is told twice or
    left out. Ctrl-C ends it, with exit code 0. A ledger at hand is told to its end: nobody else writes it meanwhile.

    With --chain it tells whether that chain stands, at every change, and ends with exit code 1 once it does not.

    Kinds: issued, delegated, admitted, refused, revoked, decided, enrolled, approval_requested, approval_resolved,
    approval_consumed, policy_activated, suspended, lifted (what `chain resume` does), signalled, key_changed (of the
    issuer's own keys), resumed (an operator accepted a clock that was behind the ledger), and ledger_accepted (an
    operator went on with a ledger that does not continue a checkpoint).
    """
    named = [kind.strip() for kind in kinds.split(",") if kind.strip()]
    if chain_file is not None and (named or after is not None):
        raise click.UsageError("--chain tells how a chain stands, and takes neither --after nor --kinds")
    tokens = None if chain_file is None else source.tokens(chain_file)
    try:
        with where.connect() as client, where.closing(client) as interrupted:
            try:
                stand = _follow(client, after, named, tokens, until_now=until_now, as_json=as_json)
            except ChainError:
                if not interrupted():
                    raise
                return
    except KeyboardInterrupt:  # before there was anything to close, or for the second time
        return
    if stand is not None and not stand.stands:
        ctx.exit(1)


def _follow(
    client: remote.Authority,
    after: int | None,
    kinds: list[str],
    tokens: list[str] | None,
    *,
    until_now: bool,
    as_json: bool,
) -> Stand | None:
    """Tell all there is to tell, and return how the chain stood in the end, if it is one that is followed."""
    now = client.revision()  # a server that was never there is no lost connection
    if tokens is None:
        with client.watch(now if after is None else after, kinds, until_now=until_now) as news:
            for told in news:
                _print(_record(told) if as_json else _line(told))
        return None
    stand = None
    if until_now:
        stand = client.standing(tokens)
        _print(_standing(stand) if as_json else _sentence(stand))
        return stand
    with client.watch_chain(tokens) as stands:
        for stand in stands:
            _print(_standing(stand) if as_json else _sentence(stand))
    return stand


def _print(what: str | dict[str, Any]) -> None:
    if isinstance(what, str):
        click.echo(what)
    else:
        print_json(what)


def _record(told: Told) -> dict[str, Any]:
    return {"revision": told.revision, "kind": told.kind, "time": told.time, "body": told.members}


def _line(told: Told) -> str:
    body = printable(told.body.decode("utf-8", "replace"))
    shown = body if len(body) <= LONGEST else f"{body[:LONGEST]}…"
    return f"{told.revision}  {moment(told.time // 1000)}  {printable(told.kind)}  {shown}"


def _standing(stand: Stand) -> dict[str, Any]:
    finding = {"reason": stand.reason.value, "hop": stand.hop, "detail": stand.detail}
    told = {"stands": stand.stands, "reason": stand.reason.value, "hop": stand.hop}
    return told | {"findings": [] if stand.stands else [finding]}


def _sentence(stand: Stand) -> str:
    if stand.stands:
        return "stands"
    where = "" if stand.hop is None else f"hop {stand.hop}: "
    return f"does not stand: {where}{printable(stand.detail)} ({stand.reason.value})"
