"""TOML of strangers.

The law of this file: a text is counted before it is parsed. The parser recurses for brackets, and takes time that
grows with the square of a dotted key's length; neither is longer than a person writes it.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from chain.errors import PolicyError, clip

MAX_NESTING = 32
"""Brackets within brackets."""

MAX_DOTS = 32
"""Of one key."""

_QUOTED = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\[^\n]|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*",
    re.DOTALL,
)
_BRACKET_OR_KEY = re.compile(r"[\[{]|[\]}]|(?:\.[ \t]*[\w-]*[ \t]*)+", re.ASCII)


def loads(file: str, text: str) -> dict[str, Any]:
    """Return what a TOML text says.

    Args:
        file: its name, for the message.
        text: of any kind.

    Raises:
        PolicyError: it is none, or too deep.
    """
    depth = 0
    for found in _BRACKET_OR_KEY.finditer(_QUOTED.sub("_", text)):
        piece = found[0]
        depth = max(0, depth + (piece in "[{") - (piece in "]}"))
        if depth > MAX_NESTING or piece.count(".") > MAX_DOTS:
            raise PolicyError(f"{file}: brackets more than {MAX_NESTING} deep, or a key of more than {MAX_DOTS} parts")
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise PolicyError(f"{file}: {clip(str(error))}") from None
