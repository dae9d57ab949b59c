"""`chain revoke`: end a delegation and everything beneath it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from chain import mint, proof
from chain.base64url import b64decode, b64encode
from chain.cli import remote, source
from chain.cli.options import bundled
from chain.cli.output import json_option, print_json
from chain.control import Named
from chain.errors import ConfigurationError, InvalidRequestError
from chain.identity import keyfile
from chain.order import Revoke

_DIGEST = 32

_DASHED_ID = re.compile("-[A-Za-z0-9_-]{42}")
"""An id is base64url, and one in 64 begins with a dash."""


class _TakesId(click.Command):
    """A command whose argument may look like an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put an id that begins with a dash where no option is looked for."""
        ids = [arg for arg in args if _DASHED_ID.fullmatch(arg)]
        if ids and "--" not in args:
            args = [*(arg for arg in args if arg not in ids), "--", *ids]
        return super().parse_args(ctx, args)


@dataclass(frozen=True, slots=True)
class Names:
    """What is revoked by name."""

    holder: str | None
    task: str | None
    signing_key: str | None
    issuer: str | None

    @property
    def given(self) -> list[Named]:
        """The names that were given."""
        found = (
            None if self.holder is None else Named("holder", self.holder),
            None if self.task is None else Named("task", self.task),
            None if self.signing_key is None else Named("key", self.signing_key),
            None if self.issuer is None else Named("issuer", self.issuer),
        )
        return [named for named in found if named is not None]


names = bundled(
    "names",
    Names,
    click.option("--holder", metavar="NAME", help="By name: all that a key or an enrolled principal holds."),
    click.option("--task", metavar="ID", help="By name: all chains of a task."),
    click.option("--signing-key", metavar="THUMBPRINT", help="By name: all that a key signed."),
    click.option("--issuer", metavar="URI", help="By name: all that an issuer issued."),
)


@click.command(cls=_TakesId)
@click.argument("delegation", metavar="[ID|TOKEN]", required=False)
@names
@click.option("--reason", "cause", default="", help="Why, for the record.")
@click.option("--dry-run", is_flag=True, help="Only tell what would fall.")
@click.option("--chain", "chain_file", metavar="FILE|-", help="As an agent: the chain under which you revoke.")
@click.option("--key", type=click.Path(path_type=Path), metavar="KEYFILE", help="As an agent: signs the proof.")
@remote.where
@json_option
def revoke(
    delegation: str | None,
    names: Names,
    cause: str,
    chain_file: str | None,
    key: Path | None,
    where: remote.Where,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Revoke a delegation, named by its id or its token, with everything beneath it. Needs --server or --ledger.

    An issuer or operator revokes what it likes, also by name, which is for good; an agent what it holds or handed on,
    with --chain and --key.
    """
    named = names.given
    if len(named) + (delegation is not None) != 1:
        raise ConfigurationError("give one thing to revoke: a delegation, or one of its names")
    if delegation is None and (chain_file is not None or key is not None):
        raise ConfigurationError("an agent revokes a delegation; by name revokes an issuer or operator")
    target = b"" if delegation is None else _digest(delegation)
    order = Revoke(target, cause, named[0] if named else None)
    standing = None if chain_file is None else source.tokens(chain_file)
    if standing is None and key is not None:
        raise ConfigurationError("--key signs for a chain: give --chain")
    with where.connect() as client:
        made = None
        if standing is not None and key is not None:
            made = _proof(standing, key, target, client.audience())
        told = client.revoke(order, standing, made, dry_run=dry_run)
    if as_json:
        data = {"fallen": told.fallen, "count": told.count, "at_least": told.at_least, "revision": told.revision}
        print_json(data | {"dry_run": dry_run})
        return
    click.echo(f"{'at least ' if told.at_least else ''}{told.count} {'would fall' if dry_run else 'fell'}")
    for one in told.fallen:
        click.echo(f"  {one}")


def _digest(text: str) -> bytes:
    if text.count(".") == 2:
        return mint.unverified(text).digest
    try:
        digest = b64decode(text.encode())
    except ValueError as error:
        raise InvalidRequestError(f"the delegation's id: {error}") from None
    if len(digest) != _DIGEST:
        raise InvalidRequestError("the delegation's id is not a SHA-256 digest")
    return digest


def _proof(standing: Sequence[str], key: Path, target: bytes, audience: str) -> str:
    now = time.time()
    return proof.make(
        keyfile.load(key),
        mint.unverified(standing[-1]),
        proof.REVOKE,
        {"target": b64encode(target)},
        audience=audience,
        jti=mint.uuid7(now, os.urandom(10)),
        iat=int(now),
    )
