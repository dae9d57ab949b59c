"""`chain keys ring`: an issuer's keys, each in its state: in a directory, or of a server that runs.

The law of this file: FOLDER changes a directory that no server holds; without it an authority is asked, which changes
its own. One command, one place.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from chain.cli import remote
from chain.cli.group import Group
from chain.cli.output import json_option, moment, pairs, print_json, printable
from chain.cli.passing import ask, passphrase_option
from chain.errors import ConfigurationError
from chain.identity import keyfile, keyring, sealed
from chain.key import Algorithm
from chain.keyring import Held, Ring, State
from chain.keyview import Distrusted, Turned

folder_argument = click.argument("folder", type=click.Path(path_type=Path), required=False)
thumbprint_option = click.option("--thumbprint", required=True, help="The key's name.")
cause_option = click.option("--cause", default="", help="Why, one line; an authority records it.")


@click.group(cls=Group)
def ring() -> None:
    """Keep an issuer's keys: pending, active, retiring, retired or compromised.

    In the directory FOLDER, while no server holds it; or those of a server that runs, with --server and as an operator.
    """


@ring.command()
@folder_argument
@click.option("--es256", is_flag=True, help="An ECDSA P-256 key instead of Ed25519.")
@passphrase_option
@cause_option
@remote.where
@json_option
def add(
    folder: Path | None,
    passphrase_file: Path | None,
    cause: str,
    where: remote.Where,
    *,
    es256: bool,
    as_json: bool,
) -> None:
    """Make a sealed key, pending: published from now on, and not signing yet."""
    algorithm: Algorithm = "ES256" if es256 else "EdDSA"
    if _asked(folder, where, cause):
        with where.connect() as client:
            _tell(client.keys.add(algorithm, cause), as_json=as_json)
        return
    place = _place(folder)
    keyring.create(place)
    made = sealed.seal(keyfile.generate(algorithm), ask(passphrase_file, confirm=True))
    keyring.add(place, made, int(time.time()))
    _print(keyring.load(place), as_json=as_json)


@ring.command(name="list")
@folder_argument
@remote.where
@json_option
def show(folder: Path | None, where: remote.Where, *, as_json: bool) -> None:
    """Tell where each key stands."""
    if _asked(folder, where):
        with where.connect() as client:
            _print(Ring(client.keys.listed().keys), as_json=as_json)
    else:
        _print(keyring.load(_place(folder)), as_json=as_json)


@ring.command()
@folder_argument
@remote.where
@json_option
def jwks(folder: Path | None, where: remote.Where, *, as_json: bool) -> None:  # noqa: ARG001 - JSON either way
    """Print the JSON Web Key Set to publish: the keys that are pending, active or retiring."""
    if _asked(folder, where):
        with where.connect() as client:
            print_json(Ring(client.keys.listed().keys).jwks())
    else:
        print_json(keyring.load(_place(folder)).jwks())


@ring.command()
@folder_argument
@thumbprint_option
@cause_option
@remote.where
@json_option
def activate(folder: Path | None, thumbprint: str, cause: str, where: remote.Where, *, as_json: bool) -> None:
    """Let a pending key sign; the active one retires: it verifies and signs no more."""
    if _asked(folder, where, cause):
        with where.connect() as client:
            _tell(client.keys.activate(thumbprint, cause), as_json=as_json)
    else:
        _become(folder, thumbprint, "active", as_json=as_json)


@ring.command()
@folder_argument
@thumbprint_option
@cause_option
@remote.where
@json_option
def retire(folder: Path | None, thumbprint: str, cause: str, where: remote.Where, *, as_json: bool) -> None:
    """Let a key go that never signed, or whose last roots have ended."""
    if _asked(folder, where, cause):
        with where.connect() as client:
            _tell(client.keys.retire(thumbprint, cause), as_json=as_json)
    else:
        _become(folder, thumbprint, "retired", as_json=as_json)


@ring.command()
@folder_argument
@thumbprint_option
@cause_option
@click.option("--activate", "successor", default="", metavar="THUMBPRINT", help="A pending key that takes over.")
@click.option("--dry-run", is_flag=True, help="Only tell what would fall.")
@remote.where
@json_option
def compromise(
    folder: Path | None,
    thumbprint: str,
    cause: str,
    successor: str,
    where: remote.Where,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Distrust a key for ever, and all that it signed: on a running server from the next call on.

    Without --activate nothing is issued until another key is activated.
    """
    if _asked(folder, where, cause, successor, dry_run):
        with where.connect() as client:
            told = client.keys.compromise(thumbprint, cause, successor, dry_run=dry_run)
        _tell_fallen(told, dry_run=dry_run, as_json=as_json)
    else:
        _become(folder, thumbprint, "compromised", as_json=as_json)


def _asked(folder: Path | None, where: remote.Where, *only_there: object) -> bool:
    """Tell whether an authority is asked rather than a directory changed.

    Raises:
        ConfigurationError: both are named, neither is, or what only an authority does is asked of a directory.
    """
    if folder is None:
        if not where.named:
            raise ConfigurationError("give the directory of a ring, or the server that holds it: --server")
        return True
    on_the_line = click.get_current_context().get_parameter_source("server") is click.core.ParameterSource.COMMANDLINE
    if where.ledger is not None or on_the_line:  # the environment may name a server for other commands
        raise ConfigurationError("a server holds its own ring: give FOLDER or --server, not both")
    if any(only_there):
        raise ConfigurationError("--cause, --activate and --dry-run are for a server: give --server instead of FOLDER")
    return False


def _place(folder: Path | None) -> Path:
    if folder is None:
        raise ConfigurationError("give the directory of a ring")
    return folder


def _become(folder: Path | None, thumbprint: str, state: State, *, as_json: bool) -> None:
    now = int(time.time())
    _print(keyring.change(_place(folder), lambda held: held.become(thumbprint, state, now)), as_json=as_json)


def _data(name: str, held: Held) -> dict[str, Any]:
    data: dict[str, Any] = {"thumbprint": name, "state": held.state, "since": held.since}
    return data | {"until": held.until} if held.until else data


def _print(found: Ring, *, as_json: bool) -> None:
    keys = [_data(name, held) for name, held in found.held.items()]
    if as_json:
        print_json({"keys": keys})
    else:
        click.echo("\n\n".join(map(_lines, keys)))


def _lines(key: dict[str, Any], more: Iterable[tuple[str, str]] = ()) -> str:
    times = {name: moment(key[name]) for name in ("since", "until") if key.get(name)}
    return pairs({"thumbprint": key["thumbprint"], "state": key["state"], **times, **dict(more)})


def _tell(turned: Turned, *, as_json: bool) -> None:
    key = _data(turned.key.key.thumbprint, turned.key)
    if as_json:
        print_json({"key": key, "signing": turned.signing, "revision": turned.revision})
    else:
        click.echo(_lines(key, [("signing", turned.signing or "none"), ("revision", str(turned.revision))]))


def _tell_fallen(told: Distrusted, *, dry_run: bool, as_json: bool) -> None:
    key = _data(told.key.key.thumbprint, told.key)
    if as_json:
        fell = {"fallen": told.fallen, "count": told.count, "at_least": told.at_least, "warnings": told.warnings}
        print_json({"key": key, "signing": told.signing, "revision": told.revision, "dry_run": dry_run} | fell)
        return
    click.echo(f"{'at least ' if told.at_least else ''}{told.count} {'would fall' if dry_run else 'fell'}")
    for one in told.fallen:
        click.echo(f"  {one}")
    said = "signing then" if dry_run else "signing"
    key["state"] = f"would be {key['state']}" if dry_run else key["state"]
    click.echo(_lines(key, [(said, told.signing or "none: nothing is issued until a key is activated")]))
    for warning in told.warnings:
        click.echo(f"chain: {printable(warning)}", err=True)
