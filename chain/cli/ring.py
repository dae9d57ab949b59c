"""`chain keys ring`: an issuer's keys in a directory, each in its state.

The law of this file: it changes the directory, and no running server. A server reads its ring when it starts.
"""

from __future__ import annotations

import time
from pathlib import Path

import click

from chain.cli.output import json_option, pairs, print_json
from chain.cli.passing import ask, passphrase_option
from chain.identity import keyfile, keyring, sealed
from chain.keyring import Ring, State

folder_argument = click.argument("folder", type=click.Path(path_type=Path))


@click.group()
def ring() -> None:
    """Keep an issuer's keys in a directory: pending, active, retiring, retired or compromised."""


@ring.command()
@folder_argument
@click.option("--es256", is_flag=True, help="An ECDSA P-256 key instead of Ed25519.")
@passphrase_option
@json_option
def add(folder: Path, passphrase_file: Path | None, *, es256: bool, as_json: bool) -> None:
    """Make a sealed key in FOLDER, pending: published from now on, and not signing yet."""
    keyring.create(folder)
    made = sealed.seal(keyfile.generate("ES256" if es256 else "EdDSA"), ask(passphrase_file, confirm=True))
    keyring.add(folder, made, int(time.time()))
    _print(keyring.load(folder), as_json=as_json)


@ring.command(name="list")
@folder_argument
@json_option
def show(folder: Path, *, as_json: bool) -> None:
    """Tell where each key stands."""
    _print(keyring.load(folder), as_json=as_json)


@ring.command()
@folder_argument
@json_option
def jwks(folder: Path, *, as_json: bool) -> None:  # noqa: ARG001 - what it prints is JSON either way
    """Print the JSON Web Key Set to publish: the keys that are pending, active or retiring."""
    print_json(keyring.load(folder).jwks())


def _to(name: str, state: State, text: str) -> None:
    @ring.command(name=name, help=text)
    @folder_argument
    @click.option("--thumbprint", required=True, help="The key's name.")
    @json_option
    def become(folder: Path, thumbprint: str, *, as_json: bool) -> None:
        now = int(time.time())
        _print(keyring.change(folder, lambda held: held.become(thumbprint, state, now)), as_json=as_json)


_to("activate", "active", "Let a pending key sign; the active one retires: it verifies and signs no more.")
_to("retire", "retired", "Let a key go that never signed, or whose last roots have ended.")
_to(
    "compromise",
    "compromised",
    "Distrust a key for ever. First `chain revoke --signing-key`, which a running server obeys at once; then restart.",
)


def _print(found: Ring, *, as_json: bool) -> None:
    keys = [
        {"thumbprint": name, "state": each.state, "since": each.since} | ({"until": each.until} if each.until else {})
        for name, each in found.held.items()
    ]
    if as_json:
        print_json({"keys": keys})
    else:
        click.echo("\n\n".join(pairs({name: str(value) for name, value in key.items()}) for key in keys))
