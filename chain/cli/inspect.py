"""`chain inspect`: a chain explained to a person."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from msgspec import UnsetType, to_builtins

from chain import explain
from chain.cli import source
from chain.cli.output import colour, json_option, moment, paint, print_json, span, wrapped
from chain.containment import Profile
from chain.delegation import Delegation
from chain.errors import InvalidTokenError
from chain.mint import unverified
from chain.token import Rules, Verifier

NOT_VERIFIED = "NOT VERIFIED: no signature was checked, anybody could have written this. Give --anchor to verify."

_DOTS = 2
_LONGEST_PATH = 256
"""Characters of a path that is worth looking for; no token of a delegation is as short."""


@click.command()
@click.argument("token", nargs=-1, required=True, metavar="TOKEN...|FILE|-")
@click.option("--anchor", metavar="JWKFILE", help="Verify the chain against this trusted key.")
@click.option("--issuer", metavar="URI", help="With --anchor: the only issuer that the key may speak for.")
@source.certifies_option
@click.option("--profile", type=click.Choice([p.value for p in Profile]), default="sound", show_default=True)
@json_option
@click.pass_context
def inspect(
    ctx: click.Context,
    token: tuple[str, ...],
    anchor: str | None,
    issuer: str | None,
    profile: str,
    *,
    certifies: bool,
    as_json: bool,
) -> None:
    """Explain a chain: its hops, what each narrowed, what remains and when it dies.

    Takes the tokens root first, or a file of them, one a line. Whether the chain is revoked only its authority
    knows.

    Without --anchor nothing is verified: the output begins with NOT VERIFIED (`verified` is false in JSON), and
    exit 0 says no more than that the tokens could be read. With --anchor exit 0 says that every signature and
    every link holds, and exit 1 that the chain is not authentic. What is no token at all is exit 1 either way.
    """
    tokens = _tokens(token)
    hops = [_decode(text, place) for place, text in enumerate(tokens)]
    fault = None
    if anchor is not None:
        verifier = Verifier([source.anchor(anchor, issuer, certifies=certifies)], Rules(profile=Profile(profile)))
        try:
            hops = list(verifier.verify(tokens).hops)
        except InvalidTokenError as error:
            fault = error
    told = _told(hops, verified=anchor is not None and fault is None, fault=fault, now=time.time())
    if as_json:
        print_json(told)
    else:
        _print(told)
    ctx.exit(0 if fault is None else 1)


def _tokens(given: Sequence[str]) -> list[str]:
    """Return the tokens given; a lone argument without a token's two dots, or one that is there, names a file."""
    lone = given[0] if len(given) == 1 else None
    if lone is not None and (lone.count(".") != _DOTS or (len(lone) < _LONGEST_PATH and Path(lone).is_file())):
        return source.tokens(lone)
    return list(given)


def _decode(text: str, place: int) -> Delegation:
    try:
        return unverified(text)
    except InvalidTokenError as error:
        raise InvalidTokenError(error.reason, place, error.detail) from None


def _told(hops: Sequence[Delegation], *, verified: bool, fault: InvalidTokenError | None, now: float) -> dict[str, Any]:
    dies = min(hop.exp for hop in hops)
    root = hops[0].claims
    facts = {name: getattr(root, name) for name in ("sub", "owner", "txn", "home")} if hops[0].extended else {}
    return {
        "verified": verified,
        "fault": None if fault is None else {"reason": fault.reason.value, "hop": fault.hop, "detail": fault.detail},
        "issuer": root.iss,
        "facts": {name: value for name, value in facts.items() if isinstance(value, str)},
        "intent": None if isinstance(root.intent, UnsetType) or not hops[0].extended else to_builtins(root.intent),
        "hops": [_hop(hop, hops[place - 1] if place else None, now) for place, hop in enumerate(hops)],
        "remains": list(explain.described(hops[-1].grant)),
        "may_delegate": max(0, hops[-1].claims.del_max_depth - hops[-1].hop) if hops[-1].key is not None else 0,
        "expires": dies,
        "expires_in": round(dies - now),
    }


def _hop(hop: Delegation, parent: Delegation | None, now: float) -> dict[str, Any]:
    beyond = [] if parent is None else list(hop.grant.excess(parent.grant))
    lost = () if parent is None else explain.narrowed(parent.grant, hop.grant)
    return {
        "hop": hop.hop,
        "id": hop.id,
        "jti": hop.claims.jti,
        "issuer": hop.claims.iss,
        "holder": hop.holder,
        "issued": hop.iat,
        "expires": hop.exp,
        "expired": hop.exp <= now,
        "audience": None if hop.audience is None else sorted(hop.audience),
        "granted": list(explain.described(hop.grant)),
        "dropped": [] if parent is None else sorted(parent.grant.tools.keys() - hop.grant.tools.keys()),
        "narrowed": [
            {"field": one.field, "before": _OPEN.get(one.before, one.before), "after": one.after}
            for one in lost
            if one.after != "not granted"  # a tool given up stands in `dropped`
        ],
        "beyond": [{"field": one.field, "parent": one.parent, "child": one.child} for one in beyond],
    }


def _print(told: dict[str, Any]) -> None:
    on = colour()
    if told["verified"]:
        click.echo(paint("VERIFIED", "green", on=on) + ": every signature and every link holds.")
    elif told["fault"] is None:
        click.echo(paint(wrapped(NOT_VERIFIED), "yellow", on=on))
    else:
        at = "" if told["fault"]["hop"] is None else f"hop {told['fault']['hop']}: "
        click.echo(paint("NOT AUTHENTIC", "red", on=on))
        click.echo(wrapped(f"{at}{told['fault']['detail']} ({told['fault']['reason']})", "  "))
    click.echo("")
    click.echo(wrapped(f"issued by {told['issuer']}", "", "  "))
    for name, value in told["facts"].items():
        click.echo(wrapped(f"{_FACTS[name]} {value}", "", "  "))
    if told["intent"] is not None:
        click.echo(wrapped(f"bound to the instruction with the digest {told['intent']['digest']}", "", "  "))
    for hop in told["hops"]:
        click.echo("")
        _print_hop(hop)
    click.echo("\nwhat remains")
    for line in told["remains"] or ["nothing"]:
        click.echo(wrapped(line, "  ", "    "))
    further = told["may_delegate"]
    click.echo(f"  may be handed on {further} more time{'' if further == 1 else 's'}")
    left = told["expires_in"]
    state = paint(f"died {span(left)} ago", "red", on=on) if left <= 0 else f"dies in {span(left)}"
    click.echo(f"\n{state}, at {moment(told['expires'])}")


_OPEN = {"no such argument": "any value"}
"""A parent that leaves the arguments open names none, and so permits every value."""

_FACTS = {"sub": "on behalf of", "owner": "accountable:", "txn": "task", "home": "state kept by"}


def _print_hop(hop: dict[str, Any]) -> None:
    ended = "  EXPIRED" if hop["expired"] else ""
    click.echo(f"hop {hop['hop']}  held by {hop['holder'] or 'nobody with a key'}{ended}")
    click.echo(f"  from {moment(hop['issued'])} to {moment(hop['expires'])}")
    if hop["audience"] is not None:
        click.echo(wrapped(f"only at {', '.join(hop['audience'])}", "  ", "    "))
    if hop["hop"] == 0:
        for line in hop["granted"]:
            click.echo(wrapped(f"grants {line}", "  ", "    "))
    for name in hop["dropped"]:
        click.echo(wrapped(f"gives up `{name}`", "  ", "    "))
    for one in hop["narrowed"]:
        click.echo(wrapped(f"narrows {one['field']}: {one['before']} -> {one['after']}", "  ", "    "))
    for one in hop["beyond"]:
        click.echo(wrapped(f"ASKS BEYOND {one['field']}: {one['parent']} -> {one['child']}", "  ", "    "))
    if hop["hop"] > 0 and not (hop["dropped"] or hop["narrowed"] or hop["beyond"]):
        click.echo("  narrows no tool and no limit")
