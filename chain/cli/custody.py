"""`chain keys custody`: the keys that a service keeps for agents that hold none of their own.

The law of this file: public halves only, and only what a seal or the service itself vouches for.
"""

from __future__ import annotations

from pathlib import Path

import click

from chain.cli import remote
from chain.cli.group import Group
from chain.cli.output import json_option, pairs, print_json
from chain.cli.passing import ask, passphrase_option
from chain.identity.custody import open_folder, path_of
from chain.key import PublicKey


@click.group(cls=Group)
def custody() -> None:
    """Tell the public keys of agents whose keys a service keeps."""


@custody.command(name="list")
@click.argument("folder", type=click.Path(path_type=Path))
@passphrase_option
@json_option
def show(folder: Path, passphrase_file: Path | None, *, as_json: bool) -> None:
    """Open the keys in FOLDER and tell whose they are, with their public halves.

    It needs the passphrase: without it, nobody can tell that a file was not exchanged.
    """
    held = open_folder(folder, ask(passphrase_file, confirm=False), new=False).keys
    files = {agent: path_of(folder, agent).name for agent in held}
    if as_json:
        print_json({"keys": [{"agent": agent, **_told(key), "file": files[agent]} for agent, key in held.items()]})
        return
    for agent, key in held.items():
        click.echo(pairs({"agent": agent, "thumbprint": key.thumbprint, "file": files[agent]}))
        click.echo(f"public key  {key.to_json()}\n")


@custody.command()
@remote.where
@json_option
def own(where: remote.Where, *, as_json: bool) -> None:
    """Print the caller's own public key, as the service keeps it: what a parent delegates to (`--to`).

    The caller is an agent that calls on a socket of its own or shows its X.509-SVID. The first call makes the key.
    """
    with where.connect() as client:
        key = client.own_key()
    if as_json:
        print_json(_told(key))
    else:
        click.echo(key.to_json())


def _told(key: PublicKey) -> dict[str, object]:
    return {"jwk": key.jwk, "thumbprint": key.thumbprint}
