"""`chain explain`: the decision on a call, and every hop laid open."""

from __future__ import annotations

from typing import Any

import click

from chain.cli import asking, options, remote, source
from chain.cli.output import decision_data, json_option, print_decision, print_json, wrapped
from chain.explain import Explanation, HopExplanation


@click.command()
@options.call
@source.chain_option
@asking.holder
@remote.where
@json_option
@click.pass_context
def explain(
    ctx: click.Context,
    call: options.Call,
    chain_file: str,
    holder: asking.Holder,
    where: remote.Where,
    *,
    as_json: bool,
) -> None:
    """Ask a service as `chain check` does, and see what each hop gives, took away and has against the call.

    Nothing is recorded or used up. Exit 0 allowed, 1 denied.
    """
    tokens = source.tokens(chain_file)
    with where.connect() as client:
        told = client.explain(tokens, holder.request(call, tokens))
    if as_json:
        print_json(decision_data(told.decision) | {"hops": list(map(_data, told.hops))})
    else:
        _print(told)
    ctx.exit(0 if told.decision.allowed else 1)


def _data(hop: HopExplanation) -> dict[str, Any]:
    return {
        "hop": hop.hop,
        "id": hop.id,
        "holder": hop.holder,
        "requested": hop.requested,
        "granted": list(hop.granted),
        "lost": [lost._asdict() for lost in hop.lost],
        "findings": [{"reason": f.reason.value, "hop": f.hop, "detail": f.detail} for f in hop.findings],
    }


def _print(told: Explanation) -> None:
    print_decision(told.decision, as_json=False)
    for hop in told.hops:
        click.echo(f"\nhop {hop.hop}  held by {hop.holder}")
        if hop.requested:
            click.echo(wrapped(f"asked    {hop.requested}", "  ", "           "))
        for line in hop.granted or ("nothing",):
            click.echo(wrapped(f"grants   {line}", "  ", "           "))
        for lost in hop.lost:
            click.echo(wrapped(f"narrows  {lost.field}: {lost.before} -> {lost.after}", "  ", "           "))
        for finding in hop.findings:
            click.echo(wrapped(f"REFUSES  {finding.detail} ({finding.reason.value})", "  ", "           "))
