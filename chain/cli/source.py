"""What commands read: tokens, keys, JSON and secrets, each from a file, from stdin or from the line itself.

The law of this file: a path that cannot be read, or holds something else, is a wrong usage with one clear line.
Secrets are never taken from the command line, where every other process can read them.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from chain import jcs
from chain.anchor import TrustAnchor
from chain.errors import ConfigurationError, InvalidRequestError
from chain.identity import keyfile
from chain.key import PublicKey

MAX_INPUT = 8 * 1024 * 1024
"""Bytes read from one file or from stdin: the largest chain is 256 KiB, the rest is room for arguments."""


def data(path: str) -> bytes:
    """Return the bytes of a file, or of stdin for ``-``.

    Raises:
        ConfigurationError: it cannot be read, or is too large.
    """
    try:
        if path == "-":
            found = sys.stdin.buffer.read(MAX_INPUT + 1)
        else:
            with Path(path).open("rb") as file:
                found = file.read(MAX_INPUT + 1)
    except OSError as error:
        raise ConfigurationError(f"`{path}`: {error.strerror or type(error).__name__}") from None
    if len(found) > MAX_INPUT:
        raise ConfigurationError(f"`{path}`: more than {MAX_INPUT} bytes")
    return found


def text(path: str) -> str:
    """Return the text of a file, or of stdin for ``-``.

    Raises:
        ConfigurationError: it cannot be read, is too large or is not UTF-8.
    """
    try:
        return data(path).decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"`{path}`: not UTF-8 text") from None


def tokens(path: str) -> list[str]:
    """Return the tokens of a chain file: one a line, root first; or a JSON object with `tokens`.

    Raises:
        ConfigurationError: it cannot be read, or holds no token.
    """
    return tokens_in(text(path), path)


def tokens_in(content: str, name: str) -> list[str]:
    """Return the tokens in the content of a chain file.

    Raises:
        ConfigurationError: there is none.
    """
    found: object = content.split()
    if content.lstrip().startswith("{"):
        held = json(content, name)
        found = held.get("tokens")
    if not isinstance(found, list) or not found or not all(isinstance(token, str) for token in found):
        raise ConfigurationError(f"`{name}`: no tokens")
    return found


def json(value: str, name: str) -> dict[str, Any]:
    """Return a JSON object that stands on the line itself, in a file, or on stdin.

    Args:
        value: text that begins with ``{``, a path, or ``-``.
        name: what it is, for the message.

    Raises:
        InvalidRequestError: not one strict JSON object.
    """
    content = value if value.lstrip().startswith("{") else text(value)
    try:
        found = jcs.loads(content)
    except ValueError as error:
        raise InvalidRequestError(f"{name}: {error}") from None
    if not isinstance(found, dict):
        raise InvalidRequestError(f"{name}: not a JSON object")
    return found


def public_key(path: str) -> PublicKey:
    """Return a public key from a file that holds it, or from a key file of one's own.

    Raises:
        ConfigurationError: neither.
    """
    content = text(path)
    try:
        held = jcs.loads(content)
        if isinstance(held, dict) and "d" in held and path != "-":
            return keyfile.load(Path(path)).key
        return PublicKey.from_json(
            msgspec.json.encode(held["jwk"] if isinstance(held, dict) and "jwk" in held else held)
        )
    except ValueError as error:
        raise ConfigurationError(f"`{path}`: {error}") from None


def anchor(path: str, issuer: str | None, *, certifies: bool) -> TrustAnchor:
    """Return the trust anchor that a key file makes.

    Args:
        path: of the key.
        issuer: the only one that it may speak for.
        certifies: whether it certifies the keys that sign.

    Raises:
        ConfigurationError: no key, or one that certifies for any issuer.
    """
    if certifies and issuer is None:
        raise ConfigurationError("a key that certifies does so for one issuer: give --issuer")
    return TrustAnchor(public_key(path), issuer, certifies=certifies)


certifies_option = click.option(
    "--certifies",
    is_flag=True,
    help="With --anchor: it certifies the keys that sign, as an HSM's does; needs --issuer.",
)


def secret(path: str) -> str:
    """Return a bearer secret from a file that nobody else can read.

    Raises:
        ConfigurationError: no such file, others may read it, or it is empty.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise ConfigurationError(f"credential file `{path}`: {error.strerror}") from None
    if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(f"credential file `{path}`: others may read it; make it 0600")
    found = text(path).strip()
    if len(found.split()) != 1 or not found.isascii() or not found.isprintable():
        raise ConfigurationError(f"credential file `{path}`: holds no secret")
    return found


def write_new(path: Path, content: str, mode: int = 0o600) -> None:
    """Write a file that did not exist.

    Raises:
        ConfigurationError: it exists, or cannot be written.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
    except OSError as error:
        raise ConfigurationError(f"`{path}`: {error.strerror or type(error).__name__}") from None


chain_option = click.option(
    "--chain",
    "chain_file",
    envvar="CHAIN_CHAIN",
    required=True,
    metavar="FILE|-",
    help="The chain: its tokens, one a line, root first.",
)
