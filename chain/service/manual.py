"""What `chain serve --help` says beyond its flags: the keys of lists and tables, and the environment.

The law of this file: drawn from the settings themselves, so that no key is missing and none is told that is not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from textwrap import wrap
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

WIDTH = 110
"""Characters of a line."""

_PLAIN: dict[object, str] = {
    str: "text",
    int: "number",
    float: "number",
    bool: "true|false",
    Path: "path",
    AwareDatetime: "time, RFC 3339 with its offset",
}

_NOTES = """\
Sockets: the socket of a caller is SOCKETS/NAME/chain.sock, in a directory that only its owner may enter. Who may open
it speaks as that caller, without a secret. The kernel tells users apart, and not processes: processes of one uid can
open each other's sockets. To keep callers apart on one machine, give each its own `uid` (the server then needs to run
as root, or with CAP_CHOWN), or let them show a secret.

Exit codes: 0 stopped as it was told to, 2 usage or configuration, 3 internal, and where the ledger failed: then the
server drains and ends, so that a supervisor starts it again.
"""


def manual(settings: Mapping[str, FieldInfo], prefix: str) -> str:
    """Return the text.

    Args:
        settings: of the server, by name.
        prefix: of its environment variables.
    """
    lines: list[str] = []
    for name, field in settings.items():
        for model in _models(field.annotation):
            listed = get_origin(field.annotation) is tuple
            head = f", each item (in a TOML file: [[{name}]]):" if listed else f" (in a TOML file: [{name}]):"
            lines += ["", f"--{name}{head}", *_keys(model, "  ")]
    lines += ["", "environment:"]
    variables = ", ".join(f"{prefix}{name}".upper() for name in settings)
    lines += wrap(variables, WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join([*lines, "", _NOTES])


def _keys(model: type[BaseModel], indent: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        needed = ", required" if field.is_required() else ""
        text = f"{name}  {_kind(field.annotation)}{needed}: {field.description or ''}"
        yield from wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "    ", break_on_hyphens=False)
        for inner in _models(field.annotation):
            yield from _keys(inner, indent + "    ")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401  # an annotation can be anything
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _kind(annotation: Any) -> str:  # noqa: ANN401  # as above
    parts = get_args(annotation)
    match get_origin(annotation):
        case origin if origin is Annotated:
            kind = _kind(parts[0])
        case origin if origin is Literal:
            kind = "|".join(map(str, parts))
        case origin if origin in {Union, UnionType}:
            kind = " or ".join(_kind(part) for part in parts if part is not NoneType)
        case origin if origin in {frozenset, tuple}:
            kind = f"list of {_kind(parts[0])}"
        case None if isinstance(annotation, type) and issubclass(annotation, Enum):
            kind = "|".join(str(member.value) for member in annotation)
        case _:
            kind = _PLAIN.get(annotation, "object")
    return kind
