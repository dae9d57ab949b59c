"""Cedar's JSON form of a policy, as values.

The law of this file: it reads what the engine wrote, without recursion: a chain of operators is as deep as it is long,
and how deep somebody else's call already is decides nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')


def parse(text: str) -> Any:  # noqa: ANN401 - Cedar's JSON form
    """Return the value of a JSON text that is known to be one.

    Raises:
        ValueError: a part of it is not; what else is wrong with it goes unnoticed.
    """
    top: list[Any] = []
    above: list[dict[str, Any] | list[Any]] = []
    here: dict[str, Any] | list[Any] = top
    name: str | None = None
    for token in _TOKEN.findall(text):
        if token in "]}":
            here = above.pop()
            continue
        if token in ",:":
            continue
        value: Any = {} if token == "{" else [] if token == "[" else _plain(token)
        if isinstance(here, list):
            here.append(value)
        elif name is None:
            name = value
            continue
        else:
            here[name], name = value, None
        if token in "{[":
            above.append(here)
            here = value
    return top[0]


def _plain(token: str) -> Any:  # noqa: ANN401 - as above
    return token[1:-1] if token[0] == '"' and "\\" not in token else json.loads(token)


def members(node: Any) -> Iterable[tuple[str, Any]]:  # noqa: ANN401 - as above
    """Return what stands right beneath a node, by operator.

    A record's members bear any names, those of operators too: they and the elements of a list have none here.
    """
    if isinstance(node, dict):
        return [("", value) for value in node["Record"].values()] if node.keys() == {"Record"} else node.items()
    return [("", value) for value in node] if isinstance(node, list) else ()


def beneath(node: Any, into: Callable[[str, Any], bool] = lambda _name, _value: True) -> Iterator[tuple[Any, str, Any]]:  # noqa: ANN401
    """Yield everything beneath a node: what it stands in, its operator, itself.

    Args:
        node: in Cedar's JSON form.
        into: tells whether what is beneath an operator's value is wanted too.
    """
    waiting = [node]
    while waiting:
        parent = waiting.pop()
        for name, value in members(parent):
            yield parent, name, value
            if into(name, value):
                waiting.append(value)
