"""How deep and how long a text of policies, or of a schema, may be: counted before any parser sees it.

The law of this file: it counts brackets, operators and names, and understands nothing. The engine's parser, its
validation and what it builds recurse on the stack, and exponentially where types name each other; a text that would
exhaust them ends the process, so that it never reaches them. A text that is no policy at all is counted like one.

Strings and comments are told apart exactly as the engine's lexer does it: a comment ends at a line feed or a carriage
return, and a quotation mark that begins no string is skipped, so that what stands behind it counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from chain.errors import PolicyError

MAX_NESTING = 32
"""Brackets within brackets; the engine exhausts a stack of 8 MiB at some 600."""

MAX_LINKS = 512
"""Operators, negations and `if`s on one path of a condition, brackets included; the stack is exhausted at some 8,000.

A chain of 512 alternatives is 511 links. Members of a set or a record are beside each other, not on one path.
"""

MAX_PATH = 32
"""Accesses in a row: `a.b.c`, `a["b"]["c"]`, `a.b().c()`."""

MAX_PIECES = 65_536
"""Brackets, operators, commas, strings and comments of one statement."""

MAX_SCHEMA = 65_536
"""Bytes of a schema; the one that ships has 5,000."""

MAX_DECLARED = 64
"""Types, entities and actions that one schema declares."""

MAX_LISTED = 24
"""Entries of a schema's lists (`in [A, B]`, `principal: [A, B]`), which the engine multiplies with each other."""

MAX_EXPANDED = 16_384
"""Names in a schema once every type stands in full wherever it is named, as the engine writes it out."""

COMMENT = r"//[^\n\r]*"
STRING = r'"(?:\\[^\n]|[^"\\])*"'

_PIECE = re.compile(COMMENT + "|" + STRING + r"|\b(?:if|when|unless)\b|\|\||&&|[=<>!]=|[-+*!<>=.,;()\[\]{}]", re.ASCII)
_LINKS = frozenset(("if", "when", "unless", "||", "&&", "+", "-", "*", "!"))
_BREAKS = frozenset(("==", "!=", "<=", ">=", "<", ">", "="))

_WORD = re.compile(COMMENT + "|" + STRING + r"|::|[_A-Za-z][_A-Za-z0-9]*|[<>()\[\]{},;:?=@]", re.ASCII)


class _Level:
    """What was counted between two brackets, up to here.

    Attributes:
        links: since it began, or since the last comma.
        inner: longest path of a bracket in that.
        longest: of what the commas ended.
        path: accesses since anything else.
    """

    __slots__ = ("inner", "links", "longest", "path")

    def __init__(self) -> None:
        self.links = self.inner = self.longest = self.path = 0

    def end(self) -> int:
        """End a member, and return the longest path of all."""
        self.longest = max(self.longest, self.links + self.inner)
        self.links = self.inner = self.path = 0
        return self.longest


def policies(file: str, text: str) -> None:
    """Refuse a text of policies that is too deep or too long for the engine.

    Args:
        file: its name, for the message.
        text: of any kind.

    Raises:
        PolicyError: with the line of what is too much, and what to do instead.
    """
    levels, pieces = [_Level()], 0
    for found in _PIECE.finditer(text):
        piece, pieces, fault = found[0], pieces + 1, None
        if piece == ";":
            levels, pieces = [_Level()], 0
        elif piece in "([{":
            fault = _open(levels, piece)
        elif piece in ")]}":
            fault = _close(levels)
        else:
            fault = _count(levels[-1], piece)
        if pieces > MAX_PIECES:
            fault = f"a policy of more than {MAX_PIECES} pieces; make it several"
        if fault is not None:
            raise PolicyError(f"{file}:{text.count(chr(10), 0, found.start()) + 1}: {fault}")


def _open(levels: list[_Level], piece: str) -> str | None:
    levels.append(_Level())
    if len(levels) > MAX_NESTING + 1:
        return f"brackets more than {MAX_NESTING} deep; parts of a long condition are policies of their own"
    return _access(levels[-2]) if piece == "[" else None


def _close(levels: list[_Level]) -> str | None:
    inner = levels.pop().end()
    if not levels:
        levels.append(_Level())
    levels[-1].inner = max(levels[-1].inner, inner)
    return _long(levels[-1])


def _count(level: _Level, piece: str) -> str | None:
    if piece == ".":
        return _access(level)
    if piece == ",":
        level.end()
    elif piece in _LINKS:
        level.links, level.path = level.links + 1, 0
        return _long(level)
    elif piece in _BREAKS:
        level.path = 0
    return None


def _access(level: _Level) -> str | None:
    level.path += 1
    return f"more than {MAX_PATH} accesses in a row" if level.path > MAX_PATH else None


def _long(level: _Level) -> str | None:
    if level.links + level.inner > MAX_LINKS:
        return (
            f"more than {MAX_LINKS} operators in one condition; alternatives are a set and `contains`"
            ' (`["a", "b"].contains(principal.id)`), or policies of their own'
        )
    return None


def schema(file: str, text: str) -> None:
    """Refuse a schema that is too deep, too long, or too much once it is written out.

    Args:
        file: its name, for the message.
        text: of any kind.

    Raises:
        PolicyError: with what is too much.
    """
    if len(text.encode()) > MAX_SCHEMA:
        raise PolicyError(f"{file}: more than {MAX_SCHEMA} bytes")
    words = [word for word in _WORD.findall(text) if not word.startswith("//")]
    _nested(file, words)
    declared = sum(words.count(kind) for kind in ("type", "entity", "action")) + _beside(words)
    if declared > MAX_DECLARED:
        raise PolicyError(f"{file}: declares more than {MAX_DECLARED} types, entities and actions")
    if _listed(words) > MAX_LISTED:
        raise PolicyError(f"{file}: more than {MAX_LISTED} entries in its lists")
    _expanded(file, words)


def _nested(file: str, words: list[str]) -> None:
    depth = 0
    for word in words:
        depth += (word in "<([{") - (word in ">)]}")
        depth = max(depth, 0)
        if depth > MAX_NESTING:
            raise PolicyError(f"{file}: brackets more than {MAX_NESTING} deep")


def _beside(words: list[str]) -> int:
    """Return how many names are declared behind a comma: `entity A, B;` and `action "a", "b";`."""
    count, declaring = 0, False
    for word, after in pairwise((*words, "")):
        if word in ("entity", "action"):
            declaring = after not in (":", "?")
        elif word in ("in", "appliesTo", "tags", "enum") or word in "=;{":
            declaring = False
        count += declaring and word == ","
    return count


def _listed(words: list[str]) -> int:
    """Return how many entries all lists have."""
    count = depth = 0
    for word in words:
        depth = max(0, depth + (word == "[") - (word == "]"))
        count += word == "[" or (word == "," and depth > 0)
    return count


def _expanded(file: str, words: list[str]) -> None:
    """Refuse types that name each other so often that writing them out explodes."""
    bodies, rest = _bodies(words)
    sizes: dict[str, int] = {}
    for name in _innermost_first(file, bodies):
        sizes[name] = sum(sizes.get(word, 1) for word in bodies[name])
        if sizes[name] > MAX_EXPANDED:
            break
    if sum(sizes.values()) + sum(sizes.get(word, 1) for word in rest) > MAX_EXPANDED:
        raise PolicyError(f"{file}: its types are more than {MAX_EXPANDED} names once they are written out")


def _bodies(words: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the words of each type that is declared, and all others; names of attributes are none of them."""
    bodies: dict[str, list[str]] = {}
    rest: list[str] = []
    here, place = rest, 0
    while place < len(words):
        if words[place] == "type" and words[place + 2 : place + 3] == ["="]:
            here, place = bodies.setdefault(words[place + 1], []), place + 3
            continue
        word, after = words[place], words[place + 1 : place + 2]
        if word == ";":
            here = rest
        elif (word[0].isalpha() or word[0] == "_") and after not in ([":"], ["?"]):
            here.append(word)
        place += 1
    return bodies, rest


def _innermost_first(file: str, bodies: dict[str, list[str]]) -> Iterator[str]:
    """Yield the types so that each one comes behind those that it names.

    Raises:
        PolicyError: there is no such order.
    """
    waiting = {name: {word for word in body if word in bodies} for name, body in bodies.items()}
    while waiting:
        ready = [name for name, needs in waiting.items() if not needs & waiting.keys()]
        if not ready:
            raise PolicyError(f"{file}: types that consist of themselves: {', '.join(sorted(waiting)[:4])}")
        for name in ready:
            del waiting[name]
        yield from ready
