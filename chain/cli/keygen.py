"""`chain keygen`: a private key in a file of its own."""

from __future__ import annotations

from pathlib import Path

import click

from chain.cli import source
from chain.cli.output import json_option, pairs, print_json
from chain.identity import keyfile


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--es256", is_flag=True, help="An ECDSA P-256 key instead of Ed25519.")
@click.option("--public", type=click.Path(path_type=Path), help="Write the public JWK to this file as well.")
@json_option
def keygen(file: Path, public: Path | None, *, es256: bool, as_json: bool) -> None:
    """Make a private key in FILE (mode 0600, never over another file) and print its public half.

    The thumbprint (RFC 7638) is the key's name everywhere: in tokens, in the ledger, in the service.
    """
    private = keyfile.generate("ES256" if es256 else "EdDSA")
    key = private.signer().key
    keyfile.save(file, private)
    if public is not None:
        source.write_new(public, key.to_json() + "\n", 0o644)
    if as_json:
        print_json({"file": str(file), "jwk": key.jwk, "thumbprint": key.thumbprint})
    else:
        click.echo(pairs({"file": str(file), "thumbprint": key.thumbprint}))
        click.echo(f"public key  {key.to_json()}")
