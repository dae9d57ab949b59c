"""How a token that was just made is printed, and how one that was refused is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from chain.cli.output import print_json
from chain.errors import ChainError, DeniedError, ExcessError, InvalidTokenError
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
    print_json(made if revision is None else made | {"revision": revision})


@contextmanager
def refusals(*, as_json: bool) -> Iterator[None]:
    """Print what is refused inside as an answer too, where JSON is asked for; the error goes on to the exit code."""
    try:
        yield
    except (InvalidTokenError, DeniedError) as error:
        if as_json:
            print_json(refusal(error))
        raise DeniedAsToldError(error) from None


class DeniedAsToldError(ChainError):
    """A refusal, with all that an operator wants to know in its one line."""

    def __init__(self, error: InvalidTokenError | DeniedError) -> None:
        self._told = refusal(error)["detail"] if isinstance(error, DeniedError) else str(error)
        super().__init__(error.detail, error.reason)

    def describe(self) -> str:
        """Return the sentence for operators."""
        return str(self._told)


def refusal(error: InvalidTokenError | DeniedError) -> dict[str, Any]:
    """Return a refused change for `--json`."""
    told: dict[str, Any] = {"effect": "DENY", "reason": error.reason.value}
    if isinstance(error, DeniedError):
        findings = error.decision.findings
        told |= {"hop": error.decision.hop, "detail": "; ".join(map(str, findings)) or str(error)}
    else:
        told |= {"hop": error.hop, "detail": error.detail}
    if isinstance(error, ExcessError):
        told |= {"field": error.field, "parent": error.parent, "child": error.child}
    return told
