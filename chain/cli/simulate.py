"""`chain simulate`: what if? The answer now, and as it would be."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast, get_args

import click
from pydantic import ValidationError

from chain import mint
from chain.base64url import b64decode
from chain.bundles import read
from chain.cli import options, remote, source
from chain.cli.explain import hop_data, print_hops
from chain.cli.options import bundled
from chain.cli.output import decision_data, json_option, length, print_decision, print_json, wrapped
from chain.control import EVERYTHING, Scope
from chain.decision import Finding
from chain.errors import InvalidRequestError
from chain.request import Request
from chain.simulate import Simulation
from chain.supposed import Hypothesis

_DIGEST = 32


def instant(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """Read an instant: `+90`, `+1h`, seconds since the epoch, or ISO 8601 with its zone.

    Raises:
        BadParameter: anything else.
    """
    if value is None:
        return None
    if value.startswith("+"):
        return time.time() + length(value[1:])
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise click.BadParameter(f"`{value}` is no time; write +15m, 2030-01-31T12:00:00Z or seconds since the epoch")
    return found.timestamp()


@dataclass(frozen=True, slots=True)
class Supposing:
    """What is supposed, as it is typed.

    Attributes:
        delegate: grants of further hops, JSON each.
        revoke: ids or tokens of delegations.
        policy: folder of a bundle.
        without_policy: none would be active.
        at: seconds.
        suspend: `SCOPE:NAME`, or `everything`.
        approved: enough people would have approved.
        audience: the enforcement point that would ask.
    """

    delegate: tuple[str, ...]
    revoke: tuple[str, ...]
    policy: Path | None
    without_policy: bool
    at: float | None
    suspend: tuple[str, ...]
    approved: bool
    audience: str | None

    @property
    def hypothesis(self) -> Hypothesis:
        """All but the policy.

        Raises:
            InvalidRequestError: a grant, an id or a scope that is none.
        """
        if self.policy is not None and self.without_policy:
            raise InvalidRequestError("give --policy or --without-policy")
        return Hypothesis(
            delegate=tuple(mint.grant(source.json(one, "--delegate")) for one in self.delegate),
            revoke=frozenset(map(_digest, self.revoke)),
            without_policy=self.without_policy,
            at=self.at,
            suspend=tuple(map(_suspension, self.suspend)),
            approved=self.approved,
            audience=self.audience,
        )

    @property
    def files(self) -> dict[str, str] | None:
        """Of the bundle that would be active."""
        return None if self.policy is None else read(self.policy)


def _digest(text: str) -> bytes:
    if text.count(".") == 2:
        return mint.unverified(text).digest
    try:
        digest = b64decode(text.encode())
    except ValueError:
        digest = b""
    if len(digest) != _DIGEST:
        raise InvalidRequestError("--revoke takes a delegation's id, or its token")
    return digest


def _suspension(text: str) -> tuple[Scope, str]:
    scope, _, name = text.partition(":")
    scope = scope.replace("-", "_")  # as `chain suspend` spells it
    if scope == "everything" and name in ("", EVERYTHING):
        return "everything", EVERYTHING
    if scope not in get_args(Scope) or scope == "everything" or not name:
        raise InvalidRequestError(f"--suspend takes SCOPE:NAME, with a scope out of {', '.join(get_args(Scope))}")
    return cast("Scope", scope), name


supposing = bundled(
    "supposing",
    Supposing,
    click.option("--delegate", multiple=True, metavar="JSON|FILE", help="A further hop with this grant; repeatable."),
    click.option("--revoke", multiple=True, metavar="ID|TOKEN", help="A delegation that would be revoked; repeatable."),
    click.option("--policy", type=click.Path(path_type=Path), metavar="DIR", help="The bundle that would be active."),
    click.option("--without-policy", is_flag=True, help="No policy would be active."),
    click.option("--at", callback=instant, metavar="TIME|+TIME", help="When: +15m, ISO 8601 or epoch seconds."),
    click.option("--suspend", multiple=True, metavar="SCOPE:NAME", help="What would be suspended; repeatable."),
    click.option("--approved", is_flag=True, help="Enough people would have approved."),
    click.option("--audience", metavar="URI", help="The enforcement point that asks, now and then."),
)


@click.command()
@options.call
@source.chain_option
@supposing
@remote.where
@json_option
@click.pass_context
def simulate(
    ctx: click.Context,
    call: options.Call,
    chain_file: str,
    supposing: Supposing,
    where: remote.Where,
    *,
    as_json: bool,
) -> None:
    """Ask what the answer to a call would be, if things stood otherwise. Exit 0 if it would be allowed, 1 denied.

    \b
    chain simulate bank.pay '{"amount":5}' --chain leaf.chain --at +1h --suspend tool:bank.pay \\
      --server 127.0.0.1:50051 --credential-file auditor.secret

    The holder is taken as proven. Nothing is written or used up. For auditors and operators.
    """  # noqa: D301 - click reads \b as a mark, not Python
    tokens = source.tokens(chain_file)
    with where.connect() as client:
        told = client.simulate(tokens, _request(call, tokens), supposing.hypothesis, supposing.files)
    if as_json:
        print_json(_data(told))
    else:
        _print(told)
    ctx.exit(0 if told.then.allowed else 1)


def _request(call: options.Call, tokens: Sequence[str]) -> Request:
    try:
        return Request(tool=call.tool, arguments=call.args, **call.stated(tokens))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise InvalidRequestError(f"`{'.'.join(map(str, fault['loc']))}`: {fault['msg']}") from None


def _differs(told: Simulation) -> tuple[list[Finding], list[Finding]]:
    """Return the findings that would come, and those that would go."""
    now, then = told.now.findings, told.then.findings
    return [one for one in then if one not in now], [one for one in now if one not in then]


def _data(told: Simulation) -> dict[str, Any]:
    come, go = (_findings(found) for found in _differs(told))
    return {
        "now": decision_data(told.now),
        "then": decision_data(told.then),
        "differs": told.now.effect is not told.then.effect,
        "come": come,
        "go": go,
        "hops": list(map(hop_data, told.hops)),
    }


def _findings(found: list[Finding]) -> list[dict[str, Any]]:
    return [{"reason": one.reason.value, "hop": one.hop, "detail": one.detail} for one in found]


def _print(told: Simulation) -> None:
    for name, decision in (("now ", told.now), ("then", told.then)):
        click.echo(f"{name}  ", nl=False)
        print_decision(decision, as_json=False)
    come, go = _differs(told)
    click.echo("\nwhat differs" if come or go or told.now.effect is not told.then.effect else "\nnothing differs")
    for sign, found in (("+", come), ("-", go)):
        for one in found:
            click.echo(wrapped(f"{sign} {one}", "  ", "    "))
    if told.now.policy != told.then.policy:
        click.echo(wrapped(f"policy {told.now.policy or 'none'} -> {told.then.policy or 'none'}", "  "))
    print_hops(told.hops)
