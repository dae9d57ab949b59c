"""How a token that was just made is printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from msgspec import UnsetType

from chain.cli.output import print_json
from chain.mint import unverified


def print_minted(tokens: Sequence[str], revision: int | None, *, as_json: bool) -> None:
    """Print a chain whose leaf is new; as text, the way a chain file holds it.

    Args:
        tokens: root first.
        revision: of the ledger record; None where nothing was recorded.
        as_json: with the leaf's facts, as one object.
    """
    if not as_json:
        click.echo("\n".join(tokens))
        return
    leaf = unverified(tokens[-1])
    made: dict[str, Any] = {
        "id": leaf.id,
        "jti": leaf.claims.jti,
        "hop": leaf.hop,
        "holder": leaf.holder,
        "expires": leaf.exp,
        "tokens": list(tokens),
    }
    bound = unverified(tokens[0]).claims.intent
    if not isinstance(bound, UnsetType):
        made["intent"] = bound.digest
    print_json(made if revision is None else made | {"revision": revision})
