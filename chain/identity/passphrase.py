"""Where the passphrase of a sealed key comes from: a file, or what systemd hands a service.

The law of this file: never the command line and never the environment itself, where other processes and every child
can read it. What others may read is no passphrase.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from chain.errors import ConfigurationError
from chain.identity import keyfile

VARIABLE = "CHAIN_PASSPHRASE_FILE"
"""The environment variable that names the file."""

CREDENTIAL = "chain-passphrase"
"""The file's name under `$CREDENTIALS_DIRECTORY` (systemd.exec(5), LoadCredential=)."""

_WORLD = 0o007
"""All that must not be set under `$CREDENTIALS_DIRECTORY`: an ACL for the service's user shows as the group's bits."""


def read(path: Path, others: int = 0o077, what: str = "passphrase") -> bytes:
    """Return the passphrase in a file: its bytes, less one line ending.

    Args:
        path: of the file.
        others: bits of its mode that must not be set.
        what: it holds, for the message.

    Raises:
        ConfigurationError: no such file, others may read it, it is empty or has several lines.
    """
    found = keyfile.read_private(path, f"{what} file", others).removesuffix(b"\n").removesuffix(b"\r")
    if not found or b"\n" in found:
        raise ConfigurationError(f"{what} file `{path}`: not one line with a {what}")
    return found


def find(file: Path | None, environ: Mapping[str, str] = os.environ) -> bytes | None:
    """Return the passphrase of the first place that names one; None where no place does.

    Args:
        file: the one that was given; before `$CHAIN_PASSPHRASE_FILE`, before `$CREDENTIALS_DIRECTORY`.
        environ: the environment.

    Raises:
        ConfigurationError: a place names a file that `read` refuses.
    """
    if file is not None:
        return read(file)
    if named := environ.get(VARIABLE):
        return read(Path(named))
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if directory and (Path(directory) / CREDENTIAL).exists():
        return read(Path(directory) / CREDENTIAL, _WORLD)
    return None


def need(file: Path | None, environ: Mapping[str, str] = os.environ) -> bytes:
    """Return the passphrase of the first place that names one (`find`).

    Raises:
        ConfigurationError: no place does, or the file is refused.
    """
    found = find(file, environ)
    if found is None:
        raise ConfigurationError(
            f"a sealed key needs its passphrase: give a passphrase file, `${VARIABLE}`, "
            f"or the systemd credential `{CREDENTIAL}`"
        )
    return found
