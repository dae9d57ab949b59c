"""`chain credential`: a secret for a caller of the service."""

from __future__ import annotations

import secrets
from hashlib import sha256
from pathlib import Path

import click

from chain.cli import source
from chain.cli.output import json_option, pairs, print_json

_BYTES = 32
"""Entropy of a secret: 256 bits, so that its plain SHA-256 in a configuration tells nothing."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def credential(file: Path, *, as_json: bool) -> None:
    """Make a secret in FILE (mode 0600, never over another file) and print its SHA-256.

    The secret goes to the caller (`--credential-file`); the hash goes into the configuration of the service,
    under the caller's `credentials`.
    """
    secret = secrets.token_urlsafe(_BYTES)
    source.write_new(file, secret + "\n")
    digest = sha256(secret.encode()).hexdigest()
    if as_json:
        print_json({"file": str(file), "sha256": digest})
    else:
        click.echo(pairs({"file": str(file), "sha256": digest}))
