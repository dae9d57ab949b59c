"""Policy bundles as folders: read from a disk, and the one that ships with this package.

The law of this folder: it reads files and judges nothing; `chain.bundle` says what a bundle must be.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from chain.errors import PolicyError

SUFFIXES = (".cedar", ".cedarschema", ".toml", ".json")
"""What is read."""

BESIDE = ("README", "LICENSE", "CHANGELOG")
"""What may lie beside it, with whatever is hidden; anything else is refused."""

MAX_FILE = 1024 * 1024
"""Bytes of one file."""


def default() -> dict[str, str]:
    """Return the files of the bundle that ships with this package."""
    return _read(files(__name__) / "default")


def read(folder: Path) -> dict[str, str]:
    """Return the files of a bundle: those of the folder itself, and of its folder `cases`.

    Raises:
        PolicyError: the folder or a file in it cannot be read.
    """
    if not folder.is_dir():
        raise PolicyError(f"no folder `{folder}`")
    return _read(folder)


def _read(folder: Traversable) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, file in _listed(folder):
        try:
            data = file.read_bytes()
            if len(data) > MAX_FILE:
                raise PolicyError(f"{name}: more than {MAX_FILE} bytes")
            found[name] = data.decode()
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyError(f"{name}: {error}") from None
    return found


def _listed(folder: Traversable) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if entry.is_file() and entry.name.endswith(SUFFIXES):
            yield entry.name, entry
        elif entry.is_dir() and entry.name == "cases":
            yield from ((f"cases/{name}", file) for name, file in _listed(entry))
        elif not entry.name.startswith(BESIDE):
            raise PolicyError(f"`{entry.name}` is no part of a bundle; a rule in it would be lost without a word")
