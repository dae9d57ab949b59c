"""Where in a file of policies each statement stands, for messages that say so.

The law of this file: it only finds places. Cedar alone says what a statement means, and whether it is one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_PIECE = re.compile(r'//[^\n]*|"(?:\\.|[^"\\])*"|;|[^;"/]+|.', re.DOTALL)
_BLANK = re.compile(r"(?:\s+|//[^\n]*)+")
_TOKEN = re.compile(r"`([^`\n]+)`")


class Statement(NamedTuple):
    """One policy as written.

    Attributes:
        line: where it begins, from 1.
        text: with its semicolon, if it has one.
    """

    line: int
    text: str


def statements(text: str) -> Iterator[Statement]:
    """Yield the statements of a file, in order; the semicolons in strings and comments end none."""
    begun = 0
    for piece in _PIECE.finditer(text):
        if piece[0] == ";":
            yield _statement(text, begun, piece.end())
            begun = piece.end()
    if _BLANK.sub("", text[begun:]):
        yield _statement(text, begun, len(text))


def _statement(text: str, begun: int, end: int) -> Statement:
    blank = _BLANK.match(text, begun, end)
    start = begun if blank is None else blank.end()
    return Statement(text.count("\n", 0, start) + 1, text[start:end])


def faulty(text: str, parse: Callable[[str], object], error: str) -> int:
    """Return the line of a syntax error.

    Args:
        text: of the file.
        parse: raises `ValueError` for a statement that is none.
        error: what was said of the whole; the token that it names is looked for.
    """
    last = 1
    for statement in statements(text):
        last = statement.line
        try:
            parse(statement.text)
        except ValueError:
            named = _TOKEN.search(error)
            place = -1 if named is None else statement.text.find(named[1])
            return statement.line + (statement.text.count("\n", 0, place) if place > 0 else 0)
    return last
