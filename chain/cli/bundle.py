"""Bundles as commands take and show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from chain import bundles
from chain.catalog import Catalogue
from chain.cli.output import row
from chain.errors import ConfigurationError, PolicyError
from chain.grant import LABELS
from chain.policy import Policy
from chain.policyload import prepare
from chain.policyview import RuleView, Validated

_WIDTHS = (28, 15, 35)

labels = click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME",
    help="Data labels, lowest first, where they are not the usual ones; give each.",
)


def read(folder: Path) -> dict[str, str]:
    """Return the files of a bundle's folder.

    Raises:
        PolicyError: it cannot be read, or has no file of a bundle.
    """
    files = bundles.read(folder)
    if not files:
        raise PolicyError(f"`{folder}` holds no bundle")
    return files


def prepared(folder: Path, names: Sequence[str] = ()) -> Policy:
    """Return a policy from its folder, offline: tools are those of its own catalogue.

    Raises:
        PolicyError: it does not validate.
    """
    return prepare(read(folder), Catalogue(), tuple(names) or LABELS)


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write the files of a bundle to a folder that holds nothing.

    Raises:
        ConfigurationError: there is something already, or it cannot be written.
    """
    try:
        if folder.exists() and any(folder.iterdir()):
            raise ConfigurationError(f"`{folder}` is not empty")
        for name, text in files.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(text.encode())
    except OSError as error:
        raise ConfigurationError(f"`{folder}`: {error.strerror or type(error).__name__}") from None


def data(found: Validated) -> dict[str, Any]:
    """Return a bundle for `--json`."""
    return {"digest": found.digest, "rules": [one._asdict() for one in found.rules], "cases": found.cases}


def show(found: Validated) -> None:
    """Print a bundle's rules."""
    click.echo(f"bundle {found.digest}: {len(found.rules)} rules, {cases(found.cases)}")
    for one in found.rules:
        click.echo(row((one.id, _effect(one), one.note), _WIDTHS))


def cases(count: int) -> str:
    """Say how many cases there are."""
    return f"{count} case{'' if count == 1 else 's'}" if count else "no cases"


def _effect(rule: RuleView) -> str:
    return f"{rule.effect} until {rule.threshold}" if rule.threshold else rule.effect
