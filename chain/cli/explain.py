"""`chain explain`: the decision on a call, and every hop laid open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from chain import counterfactual
from chain.cli import asking, options, remote, source
from chain.cli.output import decision_data, json_option, print_decision, print_json, wrapped
from chain.decision import Decision
from chain.explain import Change, Explanation, HopExplanation


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
    """Ask a service as `chain check` does, and see how the answer comes about.

    Each hop tells what it gives, took away and has against the call; in the end stands the smallest change that would
    make it ALLOW. Nothing is recorded or used up. Exit 0 allowed, 1 denied.
    """
    tokens = source.tokens(chain_file)
    with where.connect() as client:
        told = client.explain(tokens, holder.request(call, tokens), holder.audience)
    if as_json:
        print_json(explanation_data(told))
    else:
        _print(told)
    ctx.exit(0 if told.decision.allowed else 1)


def explanation_data(told: Explanation) -> dict[str, Any]:
    """Return an explanation for `--json`; a change's values as the JSON that they are, absent where nothing stands."""
    return decision_data(told.decision) | {
        "hops": list(map(hop_data, told.hops)),
        "changes": list(map(_change, told.changes)),
        "unhelped": _unhelped(told.decision, told.changes),
    }


def _change(change: Change) -> dict[str, Any]:
    data: dict[str, Any] = {"kind": change.kind, "field": change.field, "words": change.words}
    stands = {"before": change.before, "after": change.after}
    return data | {name: msgspec.Raw(value.encode()) for name, value in stands.items() if value}


def _unhelped(decision: Decision, changes: Sequence[Change]) -> str:
    """Say why no change is told, where none is; the empty string for what is allowed or can be changed."""
    if decision.allowed or changes:
        return ""
    return counterfactual.unhelped(decision) or "no change was found that would make it ALLOW"


def hop_data(hop: HopExplanation) -> dict[str, Any]:
    """Return a hop for `--json`."""
    return {
        "hop": hop.hop,
        "id": hop.id,
        "holder": hop.holder,
        "requested": hop.requested,
        "granted": list(hop.granted),
        "lost": [lost._asdict() for lost in hop.lost],
        "findings": [{"reason": f.reason.value, "hop": f.hop, "detail": f.detail} for f in hop.findings],
        "rules": list(hop.rules),
    }


def _print(told: Explanation) -> None:
    print_decision(told.decision, as_json=False)
    if told.decision.rules:
        click.echo(wrapped(f"rules    {', '.join(told.decision.rules)}", "  ", "           "))
    print_hops(told.hops)
    reason = _unhelped(told.decision, told.changes)
    if told.changes:
        click.echo("\nit would be ALLOW, if")
    for change in told.changes:
        click.echo(wrapped(f"{change.kind:<8} {change.words}", "  ", "           "))
        stands = " -> ".join(value or "nothing" for value in (change.before, change.after))
        click.echo(wrapped(f"{change.field}: {stands}", "           "))
    if reason:
        click.echo(wrapped(f"nothing to change: {reason}", "\n"))


def print_hops(hops: Sequence[HopExplanation]) -> None:
    """Print every hop, what it gives, took away and has against the call."""
    for hop in hops:
        click.echo(f"\nhop {hop.hop}  held by {hop.holder}")
        if hop.requested:
            click.echo(wrapped(f"asked    {hop.requested}", "  ", "           "))
        for line in hop.granted or ("nothing",):
            click.echo(wrapped(f"grants   {line}", "  ", "           "))
        for lost in hop.lost:
            click.echo(wrapped(f"narrows  {lost.field}: {lost.before} -> {lost.after}", "  ", "           "))
        for finding in hop.findings:
            click.echo(wrapped(f"REFUSES  {finding.detail} ({finding.reason.value})", "  ", "           "))
        if hop.rules:
            click.echo(wrapped(f"rules    {', '.join(hop.rules)}", "  ", "           "))
