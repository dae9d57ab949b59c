"""`chain keys hsm`: an issuer's key in a PKCS#11 token, which certifies the keys that sign.

The law of this file: the PIN comes from a file, never from the line. What is printed is public.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from chain.cli import composition
from chain.cli.group import Group
from chain.cli.output import json_option, pairs, print_json
from chain.key import PublicKey


def _where(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where a key lies."""
    for option in (
        click.option("--key-id", help="CKA_ID of the key, hexadecimal."),
        click.option("--key-label", help="CKA_LABEL of the key."),
        click.option("--pin-file", required=True, type=click.Path(path_type=Path), help="The user's PIN, mode 0600."),
        click.option("--token-label", required=True, help="Label of the token."),
        click.option("--module", required=True, type=click.Path(path_type=Path), help="The vendor's shared library."),
    ):
        command = option(command)
    return command


@click.group(cls=Group)
def hsm() -> None:
    """Keep an issuer's key in an HSM, reached through PKCS#11: it certifies the short-lived keys that sign."""


@hsm.command()
@_where
@click.option("--ed25519", is_flag=True, help="An Ed25519 key, where the token has such, instead of ECDSA P-256.")
@json_option
def new(*, ed25519: bool, as_json: bool, **where: Any) -> None:  # noqa: ANN401 - the options above
    """Make a key pair in the token, one that does not leave it; needs --key-label and --key-id."""
    pkcs11 = composition.hsm()
    _print(pkcs11.generate(_place(pkcs11, **where), "EdDSA" if ed25519 else "ES256"), as_json=as_json)


@hsm.command()
@_where
@json_option
def show(*, as_json: bool, **where: Any) -> None:  # noqa: ANN401 - the options above
    """Print the public half of a key as a server would use it: it is not extractable, and it signs."""
    pkcs11 = composition.hsm()
    signer = pkcs11.Pkcs11Signer(_place(pkcs11, **where))
    try:
        _print(signer.key, as_json=as_json)
    finally:
        signer.close()


def _place(
    pkcs11: Any,  # noqa: ANN401 - a module that may be missing
    module: Path,
    token_label: str,
    pin_file: Path,
    key_label: str | None,
    key_id: str | None,
) -> Any:  # noqa: ANN401 - as above
    try:
        name = None if key_id is None else bytes.fromhex(key_id)
    except ValueError:
        raise click.BadParameter("not hexadecimal", param_hint="--key-id") from None
    return pkcs11.Place(module, token_label, pin_file, key_label, name)


def _print(key: PublicKey, *, as_json: bool) -> None:
    if as_json:
        print_json({"jwk": key.jwk, "thumbprint": key.thumbprint})
    else:
        click.echo(pairs({"thumbprint": key.thumbprint}))
        click.echo(f"public key  {key.to_json()}")
