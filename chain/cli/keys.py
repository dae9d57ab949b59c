"""`chain keys`: issuer keys under a passphrase, and agents' keys that a service keeps.

The law of this file: a passphrase comes from a file, from systemd or from a terminal, never from the line itself.
"""

from __future__ import annotations

from pathlib import Path

import click

from chain.cli.custody import custody
from chain.cli.group import Group
from chain.cli.hsm import hsm
from chain.cli.output import json_option, pairs, print_json
from chain.cli.passing import ask, passphrase_option, signer
from chain.cli.ring import ring
from chain.identity import keyfile, sealed
from chain.key import KeySigner
from chain.privatekey import PrivateJwk


@click.group(cls=Group)
def keys() -> None:
    """Keep keys: an issuer's, sealed under a passphrase, in a ring or in an HSM, and those in custody."""


keys.add_command(custody)
keys.add_command(ring)
keys.add_command(hsm)


@keys.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--es256", is_flag=True, help="An ECDSA P-256 key instead of Ed25519.")
@passphrase_option
@json_option
def new(file: Path, passphrase_file: Path | None, *, es256: bool, as_json: bool) -> None:
    """Make a private key in FILE, sealed, without it ever lying in a file in the clear."""
    _seal(file, keyfile.generate("ES256" if es256 else "EdDSA"), passphrase_file, as_json=as_json)


@keys.command()
@click.argument("plain", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@passphrase_option
@json_option
def seal(plain: Path, file: Path, passphrase_file: Path | None, *, as_json: bool) -> None:
    """Seal the key in PLAIN into FILE. PLAIN stays: erase it once FILE opens."""
    private, _ = keyfile.parse(plain, keyfile.read_private(plain))
    _seal(file, private, passphrase_file, as_json=as_json)


@keys.command()
@click.argument("file", type=click.Path(path_type=Path))
@passphrase_option
@json_option
def show(file: Path, passphrase_file: Path | None, *, as_json: bool) -> None:
    """Open the key in FILE, plain or sealed, and print its public half: a trial that the passphrase is right."""
    _print(file, signer(file, passphrase_file), as_json=as_json)


def _seal(file: Path, private: PrivateJwk, passphrase_file: Path | None, *, as_json: bool) -> None:
    made = sealed.seal(private, ask(passphrase_file, confirm=True))
    sealed.save(file, made)
    _print(file, private.signer(), as_json=as_json)


def _print(file: Path, held: KeySigner, *, as_json: bool) -> None:
    if as_json:
        print_json({"file": str(file), "jwk": held.key.jwk, "thumbprint": held.key.thumbprint})
    else:
        click.echo(pairs({"file": str(file), "thumbprint": held.key.thumbprint}))
        click.echo(f"public key  {held.key.to_json()}")
