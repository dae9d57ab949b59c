"""`chain keys`: issuer keys under a passphrase.

The law of this file: a passphrase comes from a file, from systemd or from a terminal, never from the line itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from chain.cli.output import json_option, pairs, print_json
from chain.identity import keyfile, passphrase, sealed
from chain.key import KeySigner

passphrase_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    envvar=passphrase.VARIABLE,
    help="File with the passphrase, mode 0600; else the systemd credential, else asked at the terminal.",
)


def signer(path: Path, file: Path | None) -> KeySigner:
    """Return what signs with a key file, plain or sealed.

    Raises:
        ConfigurationError: it cannot be read or opened.
    """
    return sealed.load(path, lambda: ask(file, confirm=False))


def ask(file: Path | None, *, confirm: bool) -> bytes:
    """Return the passphrase from where it is configured, or from the terminal.

    Args:
        file: that was given.
        confirm: ask twice.

    Raises:
        ConfigurationError: neither, or a file that is refused.
    """
    if not sys.stdin.isatty():
        return passphrase.need(file)
    found = passphrase.find(file)
    if found is not None:
        return found
    asked: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return asked.encode()


@click.group()
def keys() -> None:
    """Keep issuer keys: sealed under a passphrase."""


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


def _seal(file: Path, private: keyfile.PrivateJwk, passphrase_file: Path | None, *, as_json: bool) -> None:
    made = sealed.seal(private, ask(passphrase_file, confirm=True))
    sealed.save(file, made)
    _print(file, private.signer(), as_json=as_json)


def _print(file: Path, held: KeySigner, *, as_json: bool) -> None:
    if as_json:
        print_json({"file": str(file), "jwk": held.key.jwk, "thumbprint": held.key.thumbprint})
    else:
        click.echo(pairs({"file": str(file), "thumbprint": held.key.thumbprint}))
        click.echo(f"public key  {held.key.to_json()}")
