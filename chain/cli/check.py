"""`chain check`: is this call allowed, now? Asked of a service, or decided here against a trusted key."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import click

from chain import judge
from chain.cli import asking, options, remote, source
from chain.cli.options import bundled
from chain.cli.output import json_option, print_decision
from chain.containment import Profile
from chain.decision import Decision
from chain.errors import ConfigurationError
from chain.request import Request
from chain.token import Rules, Verifier


@dataclass(frozen=True, slots=True)
class Offline:
    """What a decision without a service stands on.

    Attributes:
        anchor: path of the key trusted for the root.
        issuer: the only issuer that it may speak for.
        certifies: whether it certifies the keys that sign, and signs no root.
        catalogue: JSON text, or a path; None knows no tool.
        profile: which constraints count as narrower.
    """

    anchor: str | None
    issuer: str | None
    certifies: bool
    catalogue: str | None
    profile: str

    def decide(self, tokens: Sequence[str], request: Request) -> Decision:
        """Decide here.

        Raises:
            ConfigurationError: no trusted key.
            InvalidRequestError: the catalogue is not well formed.
        """
        if self.anchor is None:
            raise ConfigurationError("give --server or --ledger to ask an authority, or --anchor to decide here")
        rules = Rules(profile=Profile(self.profile))
        verifier = Verifier([source.anchor(self.anchor, self.issuer, certifies=self.certifies)], rules)
        known = {} if self.catalogue is None else source.json(self.catalogue, "--catalogue")
        return judge.decide(
            verifier, tokens, request, judge.catalogue(known), time.time(), channel=request.holder is not None
        )


offline = bundled(
    "offline",
    Offline,
    click.option("--anchor", metavar="JWKFILE", help="Decide here: the key trusted for the root."),
    click.option("--issuer", metavar="URI", help="With --anchor: the only issuer that it may speak for."),
    source.certifies_option,
    click.option("--catalogue", metavar="JSON|FILE", help="With --anchor: what each tool is; the rest is `act`."),
    click.option("--profile", type=click.Choice([p.value for p in Profile]), default="sound", show_default=True),
)


@click.command()
@options.call
@source.chain_option
@asking.holder
@offline
@remote.where
@json_option
@click.pass_context
def check(
    ctx: click.Context,
    call: options.Call,
    chain_file: str,
    holder: asking.Holder,
    offline: Offline,
    where: remote.Where,
    *,
    as_json: bool,
) -> None:
    """Ask whether TOOL may be called with these arguments, now. Exit 0 allowed, 1 denied.

    \b
    chain check mail.read '{"folder":"inbox"}' --chain leaf.chain --key agent.key \\
      --audience https://mail.example --server 127.0.0.1:50051 --credential-file pep.secret

    With --anchor it is decided here: nothing is recorded, and revocations and enrolment are not known.
    """  # noqa: D301 - click reads \b as a mark, not Python
    tokens = source.tokens(chain_file)
    request = holder.request(call, tokens)
    if offline.anchor is not None and (where.ledger is not None or options.on_the_line("server")):
        raise ConfigurationError("--anchor decides here; it is not for asking an authority")
    if offline.anchor is None and where.named:
        with where.connect() as client:
            decision = client.check(tokens, request)
    else:
        decision = offline.decide(tokens, request)
    print_decision(decision, as_json=as_json)
    ctx.exit(0 if decision.allowed else 1)
