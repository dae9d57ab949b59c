"""What is printed, and how.

The law of this file: an answer goes to stdout, as text for a person or as one JSON value for a program. Names
inside tokens are a stranger's words: a control character among them never reaches the terminal.
"""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import msgspec

from chain.decision import Awaited, Decision
from chain.errors import ChainError, DeniedError, ExcessError, InvalidTokenError

F = TypeVar("F", bound=Callable[..., Any])

WIDTH = 80
"""Columns of text: what the narrowest terminal in use has."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_ENDINGS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


_JSON = f"{__name__}.json"
"""Where a context keeps that JSON is asked for, for the outermost ring to see."""


def json_option(command: F) -> F:
    """Add `--json`."""
    add = click.option(
        "--json", "as_json", is_flag=True, callback=_noted, help="Print one JSON object instead of text."
    )
    return add(command)


def _noted(ctx: click.Context, _param: click.Parameter, asked: bool) -> bool:  # noqa: FBT001 - click's own signature
    ctx.meta[_JSON] = asked
    return asked


def wants_json(ctx: click.Context) -> bool:
    """Tell whether the command that runs was asked for JSON."""
    return bool(ctx.meta.get(_JSON))


def print_json(value: object) -> None:
    """Print one JSON value on a line of its own."""
    click.echo(msgspec.json.encode(value).decode())


def printable(text: str) -> str:
    """Return text with everything escaped that a terminal might obey."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Characters that Python calls printable, and that show nothing."""


def quoted(value: object) -> str:
    """Return a value as JSON on one line, with everything escaped that a terminal obeys, or that nobody sees."""
    return _visible(json.dumps(value, ensure_ascii=False))


def shown(value: object) -> list[str]:
    """Return a JSON value on many lines, each within `WIDTH` columns and marked where it goes on.

    What is untrusted in it can neither end its line nor fill one up until the terminal begins another.
    """
    lines = []
    for line in json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True).splitlines():
        mark = "  | "
        for part in _parts(_visible(line), WIDTH - len(mark)):
            lines.append(mark + part)
            mark = "  + "
    return lines


def _parts(text: str, width: int) -> Iterator[str]:
    """Yield a line in parts; beyond ASCII a character may take two columns."""
    part, taken = "", 0
    for char in text:
        columns = 1 if char.isascii() else 2
        if taken + columns > width:
            yield part
            part, taken = "", 0
        part, taken = part + char, taken + columns
    yield part


def _visible(text: str) -> str:
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), printable(text))


def colour() -> bool:
    """Tell whether colour is wanted: on a terminal only, and not against https://no-color.org."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, fg: str, *, on: bool) -> str:
    """Return text in a colour, where colour is on."""
    return click.style(text, fg=fg) if on else text


def wrapped(text: str, indent: str = "", more: str | None = None) -> str:
    """Return a paragraph within `WIDTH` columns.

    Args:
        text: one paragraph; untrusted words are made printable.
        indent: before the first line.
        more: before the lines that follow; None takes `indent`.
    """
    follow = indent if more is None else more
    return textwrap.fill(
        printable(text), WIDTH, initial_indent=indent, subsequent_indent=follow, break_on_hyphens=False
    )


def moment(seconds: float) -> str:
    """Return an instant in UTC, to the second; a number beyond the calendar stays a number."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s after 1970"


def span(seconds: float) -> str:
    """Return a length of time in its two largest units."""
    left, parts = int(abs(seconds)), []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def seconds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> int | None:
    """Read an option that is a length of time (`length`); None where it was not given."""
    return None if value is None else length(value)


def length(value: str) -> int:
    """Read a length of time: a number of seconds, or a number with s, m, h or d.

    Raises:
        BadParameter: anything else, or no time at all.
    """
    number, unit = (value[:-1], value[-1:]) if value[-1:] in _ENDINGS else (value, "s")
    if not (number.isascii() and number.isdigit() and int(number) > 0):
        raise click.BadParameter(f"`{value}` is no time; write 90, 90s, 15m, 1h or 7d")
    return int(number) * _ENDINGS[unit]


def decision_data(decision: Decision) -> dict[str, Any]:
    """Return a decision for `--json`: the members of `chain verify`, and what the ledger says of it."""
    data: dict[str, Any] = {
        "effect": decision.effect.value,
        "reason": decision.reason.value,
        "hop": decision.hop,
        "findings": [{"reason": f.reason.value, "hop": f.hop, "detail": f.detail} for f in decision.findings],
    }
    if decision.id:
        data |= {"id": decision.id, "revision": decision.revision}
    if decision.awaits is not None:
        data["awaits"] = decision.awaits.model_dump()
    if not decision.enforced:
        data["enforced"] = False
    if decision.policy:
        data |= {"policy": decision.policy, "rules": list(decision.rules)}
    return data


def print_decision(decision: Decision, *, as_json: bool) -> None:
    """Print a decision with all its findings."""
    if as_json:
        print_json(decision_data(decision))
        return
    at = "" if decision.hop is None else f" at hop {decision.hop}"
    why = "" if decision.allowed else f": {decision.reason.value}{at}"
    shadow = "" if decision.enforced else " (in shadow: not enforced yet)"
    click.echo(paint(decision.effect.value, "green" if decision.allowed else "red", on=colour()) + why + shadow)
    for finding in decision.findings:
        click.echo(wrapped(str(finding), "  ", "    "))
    if decision.awaits is not None:
        click.echo(wrapped(awaited_text(decision.awaits), "  ", "    "))


def error_data(error: ChainError) -> dict[str, Any]:
    """Return an error for `--json`: a refusal as a decision is told, with what was asked beyond; else its code."""
    told: dict[str, Any]
    if isinstance(error, DeniedError):
        decision = error.decision
        detail = "; ".join(map(str, decision.findings)) or str(error)
        told = {"effect": decision.effect.value, "reason": error.reason.value, "hop": decision.hop, "detail": detail}
        if decision.awaits is not None:
            told["awaits"] = decision.awaits.model_dump()
        return told
    if not isinstance(error, InvalidTokenError):
        return {"error": error.reason.value, "detail": error.detail}
    told = {
        "effect": "DENY",
        "reason": error.reason.value,
        "hop": error.hop,
        "detail": error.detail,
    }
    if isinstance(error, ExcessError):
        told |= {"field": error.field, "parent": error.parent, "child": error.child}
    return told


def error_text(error: ChainError) -> str:
    """Return an error in one line; who types a command is an operator, and gets every finding."""
    if not isinstance(error, DeniedError):
        return str(error)
    awaits = error.decision.awaits
    return str(error_data(error)["detail"]) + ("" if awaits is None else f"; {awaited_text(awaits)}")


def awaited_text(awaits: Awaited) -> str:
    """Return what a call waits for."""
    people = f"{awaits.approvals} of {awaits.threshold} approved"
    return f"waits for request {awaits.request_id} until {moment(awaits.expires_at)}: {people}"


def row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return one row of a table, each cell wrapped to its column.

    Args:
        cells: one a column; untrusted words are made printable.
        widths: columns of text for each; one space stands between neighbours.
    """
    wraps = [textwrap.wrap(printable(cell), width) or [""] for cell, width in zip(cells, widths, strict=True)]
    height = max(map(len, wraps))
    padded = [[*wrap, *[""] * (height - len(wrap))] for wrap in wraps]
    return "\n".join(
        " ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in zip(*padded, strict=True)
    )


def pairs(values: Mapping[str, str]) -> str:
    """Return names and values in two columns."""
    width = max(map(len, values), default=0) + 2
    return "\n".join(wrapped(value, name.ljust(width), " " * width) for name, value in values.items() if value)
