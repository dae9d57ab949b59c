"""Where in a file of policies each statement stands, for messages that say so.

The law of this file: it only finds places. Cedar alone says what a statement means, and whether it is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from chain.bounds import COMMENT, STRING

_PIECE = re.compile(rf'{COMMENT}|{STRING}|;|[^;"/]+|.', re.DOTALL)
_BLANK = re.compile(rf"(?:\s+|{COMMENT})+")
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
    begun, line = 0, 1
    for piece in _PIECE.finditer(text):
        if piece[0] == ";":
            yield _statement(text, line, begun, piece.end())
            line += text.count("\n", begun, piece.end())
            begun = piece.end()
    if _BLANK.sub("", text[begun:]):
        yield _statement(text, line, begun, len(text))


def _statement(text: str, line: int, begun: int, end: int) -> Statement:
    blank = _BLANK.match(text, begun, end)
    start = begun if blank is None else blank.end()
    return Statement(line + text.count("\n", begun, start), text[start:end])


def faulty(statement: Statement, error: str) -> int:
    """Return the line of a syntax error in a statement: that of the token that the error names, if it names one."""
    named = _TOKEN.search(error)
    place = -1 if named is None else statement.text.find(named[1])
    return statement.line + (statement.text.count("\n", 0, place) if place > 0 else 0)
