"""How a command comes by the passphrase of a sealed key.

The law of this file: from a file, from systemd or from a terminal, never from the line itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from chain.identity import passphrase, sealed
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
