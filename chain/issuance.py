"""What a root has to say of itself before it is issued, and how long it may live.

The law of this file: a root is for one task, somebody answers for it, and it dies soon: the more harm its tools can
do, the sooner. An order that asks for more is refused and never cut down; one that asks for no life gets the longest
that all of its tools allow, or the default where that is shorter.
"""

from __future__ import annotations

from collections.abc import Iterator

from chain.catalog import UNKNOWN, Catalogue
from chain.errors import InvalidRequestError
from chain.order import Issue
from chain.reason import Reason
from chain.state import MustName, Settings

_WORDS: dict[MustName, str] = {
    "owner": "no `owner` who answers for it",
    "purposes": "no `purposes` among its limits",
    "task": "no `task` that it is for",
}


def require_named(order: Issue, settings: Settings) -> None:
    """Return where an order names all that a root must name here.

    Raises:
        InvalidRequestError: it does not (`FACT_MISSING`); the text names everything that is missing.
    """
    missing = [words for name, words in _WORDS.items() if name in settings.roots_must_name and not _named(order, name)]
    if missing:
        raise InvalidRequestError(f"the root names {', '.join(missing)}", Reason.FACT_MISSING)


def _named(order: Issue, name: MustName) -> bool:
    if name == "purposes":
        return bool(order.grant.limits.purposes)
    return bool(order.owner if name == "owner" else order.task)


def lifetime(order: Issue, catalogue: Catalogue, settings: Settings) -> int:
    """Return how many seconds a root lives.

    Args:
        order: what is asked for.
        catalogue: how sensitive each tool is, and of which class.
        settings: the ceilings.

    Raises:
        InvalidRequestError: longer than the lowest ceiling of its tools, whose name is told (`LIFETIME_EXCEEDED`); or
            no time at all.
    """
    ceiling, whose = settings.max_lifetime, "any token"
    for seconds, tool in _ceilings(order, catalogue, settings):
        if seconds < ceiling:
            ceiling, whose = seconds, tool
    asked = min(settings.default_lifetime, ceiling) if order.lifetime is None else order.lifetime
    if asked < 1:
        raise InvalidRequestError(f"a lifetime of {asked} s")
    if asked > ceiling:
        said = f"a lifetime of {asked} s, above the {ceiling} s of {whose}"
        raise InvalidRequestError(said, Reason.LIFETIME_EXCEEDED)
    return asked


def _ceilings(order: Issue, catalogue: Catalogue, settings: Settings) -> Iterator[tuple[int, str]]:
    """Yield each ceiling that a tool of the grant brings, with its words."""
    for name in order.grant.tools:
        tool = catalogue.tool(name)
        unlisted = ", as no catalogue lists it" if tool is UNKNOWN else ""
        for kind in (tool.sensitivity, tool.action_class):
            seconds = settings.lifetimes.get(kind)
            if seconds is not None:
                yield seconds, f"`{name}` (`{kind}`{unlisted})"
