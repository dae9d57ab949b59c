"""`chain signal`: hand in a security event, or make one."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import click

from chain import mint
from chain import signal as events
from chain.cli import remote, source
from chain.cli.options import bundled
from chain.cli.output import json_option, print_json, printable
from chain.errors import ConfigurationError
from chain.identity import keyfile
from chain.signal import Kind
from chain.signalling import Signalled

_CHANGES = ("create", "revoke", "update", "delete")


@dataclass(frozen=True, slots=True)
class Terms:
    """An event that is made."""

    kind: Kind | None
    subject: str | None
    level: str
    change: str
    key: Path | None
    issuer: str | None
    audience: str | None

    def made(self, kind: Kind, audience: str) -> str:
        """Return the event, signed.

        Raises:
            ConfigurationError: something of it is missing, or the key cannot be read.
        """
        if self.subject is None or self.key is None or self.issuer is None:
            raise ConfigurationError("an event needs --subject, --key and --issuer")
        if kind.endswith("level-change") and not self.level:
            raise ConfigurationError(f"`{kind}` needs --level")
        now = time.time()
        return events.make(
            keyfile.load(self.key),
            issuer=self.issuer,
            audience=audience,
            event=kind,
            subject=self.subject,
            jti=mint.uuid7(now, os.urandom(10)),
            now=int(now),
            level=self.level,
            change=self.change,
        )


terms = bundled(
    "terms",
    Terms,
    click.option("--type", "kind", type=click.Choice(get_args(Kind)), help="Make an event of this type."),
    click.option("--subject", metavar="NAME", help="Whom it is about: a SPIFFE id, a thumbprint, an owner's name."),
    click.option("--level", default="", help="Of risk (low, medium, high) or assurance (nist-aal2)."),
    click.option("--change", type=click.Choice(_CHANGES), default="revoke", show_default=True, help="Of a credential."),
    click.option("--key", type=click.Path(path_type=Path), metavar="KEYFILE", help="The transmitter's key: signs it."),
    click.option("--issuer", metavar="URI", help="The transmitter: `iss`."),
    click.option("--audience", metavar="URI", help="The authority; asked for where it is not given."),
)


@click.command()
@click.argument("file", required=False, metavar="[FILE|-]")
@terms
@click.option("--print", "only_print", is_flag=True, help="Print the event instead of sending it.")
@remote.where
@json_option
def signal(file: str | None, terms: Terms, where: remote.Where, *, only_print: bool, as_json: bool) -> None:
    """Hand in a Security Event Token that was received, from FILE, or make one with --type. For operators."""
    kind = terms.kind
    if (file is None) == (kind is None):
        raise ConfigurationError("give a FILE with an event, or --type to make one")
    if only_print and kind is not None and terms.audience is not None:
        _print(terms.made(kind, terms.audience), as_json=as_json)
        return
    with where.connect() as client:
        received = "" if file is None else source.text(file).strip()
        text = received if kind is None else terms.made(kind, terms.audience or client.audience())
        if only_print:
            _print(text, as_json=as_json)
            return
        told = client.steering.signal(text)
    if as_json:
        print_json({name: getattr(told, name) for name in Signalled.__struct_fields__})
        return
    late = "; nothing changed, since a newer event was taken before" if told.late else ""
    click.echo("taken before; nothing changed" if told.repeated else f"TAKEN (revision {told.revision}){late}")
    for principal in told.principals:
        click.echo(f"  {printable(principal)}")
    if told.count > len(told.principals):
        click.echo(f"  and {told.count - len(told.principals)} more")


def _print(text: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"set": text})
    else:
        click.echo(text)
