"""What rules read, so that they are told no more than that.

The law of this file: too much is read rather than too little. What no rule can read changes no answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from chain.tree import beneath

_CONTEXT = {"Var": "context"}


class Read(NamedTuple):
    """What conditions read.

    Attributes:
        context: members of the context; None where one takes it as a whole.
        attributes: names of attributes, of whatever.
        named: type and id of the entities that they name themselves, and so may ask for attributes.
    """

    context: frozenset[str] | None
    attributes: frozenset[str]
    named: frozenset[tuple[str, str]]


def read(conditions: Iterable[Any]) -> Read:
    """Return what conditions in Cedar's JSON form read.

    An access is ``{".": {"left": {"Var": "context"}, "attr": NAME}}``, and a test ``{"has": …}``; an entity is
    ``{"Value": {"__entity": {"type": …, "id": …}}}``.
    """
    context: set[str] = set()
    attributes: set[str] = set()
    named: set[tuple[str, str]] = set()
    whole = False

    def into(name: str, value: Any) -> bool:  # noqa: ANN401 - Cedar's JSON form
        return name != "Value" and not _of_context(name, value)

    for _, name, value in beneath(list(conditions), into):
        if name in (".", "has"):
            attributes.add(value["attr"])
            if _of_context(name, value):
                context.add(value["attr"])
        elif name == "Var":
            whole |= value == "context"
        elif name == "Value" and isinstance(value, dict) and "__entity" in value:
            named.add((value["__entity"]["type"], value["__entity"]["id"]))
    return Read(None if whole else frozenset(context), frozenset(attributes), frozenset(named))


def _of_context(name: str, value: Any) -> bool:  # noqa: ANN401 - as above
    return name in (".", "has") and bool(value["left"] == _CONTEXT)
