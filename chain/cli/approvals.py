"""`chain approvals`: what people are asked, and what they say to it.

The law of this file: an approver sees the whole action, and signs the hash of what was shown. What an agent wrote
stands quoted and escaped, inside a frame that it cannot leave, and never as a heading.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from chain.approval import Approval, Demand, State, Verdict, Vote, missing, word
from chain.cli import remote
from chain.cli.group import Group
from chain.cli.options import bundled
from chain.cli.output import json_option, moment, print_json, quoted, row, seconds, shown, span, wrapped
from chain.errors import ApprovalError, ConfigurationError
from chain.identity import keyfile
from chain.search import MAX_FOUND, Search

F = TypeVar("F", bound=Callable[..., Any])

STATES = ("pending", "approved", "denied", "consumed", "expired")
_COLUMNS = (20, 8, 24, 18, 6)


@dataclass(frozen=True, slots=True)
class Voice:
    """Who speaks, and whether they were asked if they mean it.

    Attributes:
        key: file of the approver's own private key.
        yes: do not ask.
        lifetime: seconds that the word is good for.
        justification: why, one line.
        authority: whom alone it is signed for; None takes the server's word for who it is.
    """

    key: Path
    yes: bool
    lifetime: int
    justification: str
    authority: str | None

    def require(self, audience: str) -> None:
        """Return where the server says that it is whom the person signs for.

        Raises:
            ApprovalError: it says another name.
        """
        if self.authority not in (None, audience):
            raise ApprovalError(f"the server says that it is {quoted(audience)}, not the authority that is signed for")


voice = bundled(
    "voice",
    Voice,
    click.option(
        "--key", type=click.Path(path_type=Path), required=True, metavar="KEYFILE", help="Your own key file: signs."
    ),
    click.option("--yes", is_flag=True, help="Do not ask whether you mean it."),
    click.option(
        "--lifetime",
        metavar="TIME",
        callback=seconds,
        default="15m",
        show_default=True,
        help="How long it is good for.",
    ),
    click.option("--justification", default="", metavar="TEXT", help="Why, one line; stands in the record."),
    click.option(
        "--authority",
        envvar="CHAIN_AUTHORITY",
        metavar="URI",
        help="Sign for this authority only: refused where the server says that it is another.",
    ),
)


@click.group(cls=Group)
def approvals() -> None:
    """See what waits for people, and approve it or refuse it.

    An agent that waits got the request's id from `chain check`. Who asks never approves, nor anybody who is one party
    with an agent of the chain; whoever approves signs the very action that `show` shows.
    """


@approvals.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only those that stand so.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_FOUND), default=MAX_FOUND, show_default=True, help="Most of one page."
)
@click.option("--page", default="", metavar="TOKEN", help="Go on there, as the page before said.")
@remote.where
@json_option
def list_(state: State | None, limit: int, page: str, where: remote.Where, *, as_json: bool) -> None:
    """List requests, newest first. `show` has the arguments, which no list shows.

    Where there are more than one page holds, it says how to go on; with --json in `next`, which is empty on the last.
    """
    with where.connect() as client:
        found = client.approvals.page(Search(state, page=page, limit=limit))
    _print_list(found.approvals, as_json=as_json, following={"next": found.next})
    if found.next and not as_json:
        click.echo(f"there are more: --page {quoted(found.next)}", err=True)


@approvals.command()
@remote.where
@json_option
@click.pass_context
def review(ctx: click.Context, where: remote.Where, *, as_json: bool) -> None:
    """List emergencies that nobody has signed off. Exit 1 while there are any."""
    with where.connect() as client:
        found = client.approvals.find(in_review=True)
    if found or as_json:
        _print_list(found, as_json=as_json, why=True)
    ctx.exit(1 if found else 0)


@approvals.command()
@click.argument("request")
@remote.where
@json_option
def show(request: str, where: remote.Where, *, as_json: bool) -> None:
    """Show one request: the whole action, who said what, and what is still missing."""
    with where.connect() as client:
        found = client.approvals.get(request)
    _print_one(found, as_json=as_json)


@approvals.command()
@click.argument("request")
@voice
@click.option("--emergency", is_flag=True, help="Break the glass: instead of all others, for a minute, to be reviewed.")
@remote.where
@json_option
def approve(request: str, voice: Voice, where: remote.Where, *, emergency: bool, as_json: bool) -> None:
    """Approve the action that `show` shows: this one, once."""
    if emergency and not voice.justification:
        raise ConfigurationError("--emergency needs a --justification")
    _say(request, "approve", voice, where, emergency=emergency, as_json=as_json)


@approvals.command()
@click.argument("request")
@voice
@remote.where
@json_option
def deny(request: str, voice: Voice, where: remote.Where, *, as_json: bool) -> None:
    """Refuse the action, for good: as long as its chain's root lives, nobody is asked again."""
    _say(request, "deny", voice, where, as_json=as_json)


@approvals.command("sign-off")
@click.argument("request")
@voice
@remote.where
@json_option
def sign_off(request: str, voice: Voice, where: remote.Where, *, as_json: bool) -> None:
    """Put your name under an emergency that somebody else declared, which closes its review."""
    _say(request, "sign_off", voice, where, as_json=as_json)


def _say(
    request: str, verdict: Verdict, voice: Voice, where: remote.Where, *, as_json: bool, emergency: bool = False
) -> None:
    signer = keyfile.load(voice.key)
    with where.connect() as client:
        audience = client.audience()
        voice.require(audience)
        asked = client.approvals.get(request)
        if not (voice.yes and as_json):
            click.echo(f"{_text(asked)}\nsigned   for the authority {quoted(audience)}", err=True)
        if not voice.yes:
            _confirm(verdict, emergency=emergency)
        said = word(
            asked,
            signer,
            audience,
            verdict,
            now=time.time(),
            lifetime=voice.lifetime,
            emergency=emergency,
            justification=voice.justification,
        )
        after = client.approvals.resolve(said, signer.key)
    if as_json:
        print_json(_data(after))
    else:
        click.echo(_outcome(after))


def _confirm(verdict: Verdict, *, emergency: bool) -> None:
    if not sys.stdin.isatty():
        raise ConfigurationError("nobody is there to confirm it: read what `show` shows, and give --yes")
    deed = {"approve": "Approve", "deny": "Refuse for good", "sign_off": "Sign off"}[verdict]
    if not click.confirm(f"{deed}{' as an emergency' if emergency else ''} what stands above?", err=True):
        click.echo("nothing was signed", err=True)
        click.get_current_context().exit(1)


def _outcome(after: Approval) -> str:
    if after.signed_off is not None:
        return f"{after.state}, signed off"
    lacking = "; ".join(_lacking(after))
    return f"{after.state}: {lacking}" if lacking and after.state == "pending" else after.state


def _print_list(
    found: Iterable[Approval], *, as_json: bool, why: bool = False, following: Mapping[str, str] | None = None
) -> None:
    if as_json:
        print_json({"approvals": [_data(one, whole=False) for one in found], **(following or {})})
        return
    click.echo(row(("REQUEST", "STATE", "TOOL", "UNTIL", "VOTES"), _COLUMNS))
    for one in found:
        votes = sum(vote.verdict == "approve" for vote in one.votes)
        threshold = max((demand.threshold for demand in one.demands), default=0)
        cells = (one.id, one.state, quoted(one.action.tool), moment(one.expires), f"{votes}/{threshold}")
        click.echo(row(cells, _COLUMNS))
        for vote in one.votes if why else ():
            if vote.emergency:
                click.echo(wrapped(f"emergency by {_vote(vote)}", "  ", "    "))


def _print_one(found: Approval, *, as_json: bool) -> None:
    if as_json:
        print_json(_data(found))
    else:
        click.echo(_text(found))


def _text(asked: Approval) -> str:
    """Return a request as a person reads it."""
    left = asked.expires - time.time()
    ends = f"expires in {span(left)}" if left > 0 else "over"
    lines = [
        f"request  {quoted(asked.id)} is {asked.state}; {ends}, {moment(asked.expires)}",
        "asks for this, and only this; what stands between the lines was written by an agent:",
        "---",
        *shown(msgspec.to_builtins(asked.action)),
        "---",
        f"binding  {asked.action.binding()} (of what is shown)",
        f"for      {quoted(asked.sub)}, task {quoted(asked.task)}; asked by the key {quoted(asked.holder)}",
    ]
    lines += [f"wants    {_demand(demand)}" for demand in asked.demands]
    lines += [f"said     {_vote(vote)}" for vote in asked.votes]
    if asked.state == "pending":
        lines += [f"missing  {text}" for text in _lacking(asked)]
    if asked.emergency:
        signed = "nobody has signed it off" if asked.signed_off is None else f"signed off by {_vote(asked.signed_off)}"
        lines.append(f"review   an emergency; {signed}")
    barred = [f"{quoted(name)} and its workers" for name in asked.parties]
    barred += [f"whoever {quoted(name)} answers for" for name in asked.owners]
    return "\n".join([*lines, *(f"never    {text}" for text in barred)])


def _demand(demand: Demand) -> str:
    who = f" out of {', '.join(map(quoted, demand.approvers))}" if demand.approvers else ""
    return f"{_people(demand.threshold)}{who} ({quoted(demand.source)})"


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"


def _vote(vote: Vote) -> str:
    verdict = "emergency" if vote.emergency else vote.verdict.replace("_", " ")
    why = f": {quoted(vote.justification)}" if vote.justification else ""
    return f"{quoted(vote.approver)} {verdict}, {moment(vote.at)}, good until {moment(vote.until)}{why}"


def _lacking(asked: Approval) -> list[str]:
    """Return what the votes that have not ended leave open; whether they still count, the next call will tell."""
    votes = asked.standing(time.time())
    found = []
    for demand in missing(asked.demands, votes):
        have = {vote.approver for vote in votes if not demand.approvers or vote.approver in demand.approvers}
        found.append(f"{_people(demand.threshold - len(have))} more ({quoted(demand.source)})")
    return found


def _data(asked: Approval, *, whole: bool = True) -> dict[str, Any]:
    """Return a request for `--json`."""
    data: dict[str, Any] = msgspec.to_builtins(asked)
    for name in ("root_ends", "opened"):  # the service keeps them to itself
        data.pop(name)
    if not whole:
        data["action"].pop("arguments")
    data["signed_off"] = None if asked.signed_off is None else msgspec.to_builtins(asked.signed_off)
    return data | {"in_review": asked.in_review, "missing": _lacking(asked) if asked.state == "pending" else []}
