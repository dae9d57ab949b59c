"""`chain revoke`: end a delegation and everything beneath it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

import click

from chain import mint, proof
from chain.base64url import b64decode, b64encode
from chain.change import Revoke
from chain.cli import remote, source
from chain.cli.output import json_option, print_json
from chain.errors import ConfigurationError, InvalidRequestError
from chain.identity import keyfile

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


@click.command(cls=_TakesId)
@click.argument("delegation", metavar="ID|TOKEN")
@click.option("--reason", "cause", default="", help="Why, for the record.")
@click.option("--dry-run", is_flag=True, help="Only tell what would fall.")
@click.option("--chain", "chain_file", metavar="FILE|-", help="As an agent: the chain under which you revoke.")
@click.option("--key", type=click.Path(path_type=Path), metavar="KEYFILE", help="As an agent: signs the proof.")
@remote.where
@json_option
def revoke(
    delegation: str,
    cause: str,
    chain_file: str | None,
    key: Path | None,
    where: remote.Where,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Revoke a delegation, named by its id or its token, with everything beneath it. Needs --server.

    An issuer or operator revokes what it likes; an agent what it holds or handed on, with --chain and --key.
    """
    target = _digest(delegation)
    standing = None if chain_file is None else source.tokens(chain_file)
    if standing is None and key is not None:
        raise ConfigurationError("--key signs for a chain: give --chain")
    with where.connect() as client:
        made = None
        if standing is not None and key is not None:
            made = _proof(standing, key, target, client.audience())
        told = client.revoke(Revoke(target, cause), standing, made, dry_run=dry_run)
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
