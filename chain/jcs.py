"""JSON values: what one may be, when two are equal, and their one canonical form.

The law of this file: equality is equality of RFC 8785 (JCS) bytes and nothing else. `True` is not `1`;
`1` and `1.0` are one number; strings are compared as given. Bounds are those of I-JSON (RFC 7493): finite
numbers, integers up to 2**53 - 1, no lone surrogates, no duplicate members.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from math import isfinite
from typing import Any, TypeAlias, cast

import msgspec
import rfc8785

Json: TypeAlias = Any
"""A JSON value: None, bool, int, float, str, list or dict with str keys."""

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exact (RFC 7493 s2.2)."""

MAX_NESTING = 32
"""Deepest value accepted: enough for any real call, far below the interpreter's recursion limit."""

_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def check(value: Json, depth: int = MAX_NESTING) -> bool:
    """Refuse a value outside I-JSON; tell whether the fast canonical form serves.

    Args:
        value: a decoded value.
        depth: how many levels of nesting are left.

    Returns:
        True where the value holds no float and only ASCII member names. Then sorting by code point is
        sorting by UTF-16 unit, and plain JSON output equals JCS output.

    Raises:
        ValueError: the value is not I-JSON, or nests deeper than `MAX_NESTING`.
    """
    kind = type(value)
    scalar = _SCALARS.get(kind)
    if scalar is not None:
        return scalar(value)
    if depth == 0:
        raise ValueError(f"a value nested deeper than {MAX_NESTING}")
    plain = True
    if kind is list or kind is tuple:
        for item in value:
            plain &= check(item, depth - 1)
    elif kind is dict:
        for name, item in value.items():
            if type(name) is not str:
                raise ValueError("a member name that is not a string")
            plain &= _string(name) and name.isascii()
            plain &= check(item, depth - 1)
    else:
        raise ValueError(f"a {kind.__name__} is not a JSON value")
    return plain


def _string(value: str) -> bool:
    if not value.isascii():
        value.encode()  # a lone surrogate raises UnicodeEncodeError, which is a ValueError
    return True


def _integer(value: int) -> bool:
    if not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise ValueError("an integer beyond 2^53 - 1")
    return True


def _float(value: float) -> bool:
    if not isfinite(value):
        raise ValueError("a number that is not finite")
    return False


def _constant(_value: bool | None) -> bool:  # noqa: FBT001 - it is the value that is checked
    return True


_SCALARS: dict[type, Callable[[Any], bool]] = {
    str: _string,
    bool: _constant,
    type(None): _constant,
    int: _integer,
    float: _float,
}


_TRUE, _FALSE = object(), object()
"""Stand for the booleans in a key, because Python calls True and 1 equal."""


def key(value: Json) -> Hashable:
    """Return a hashable stand-in; two are equal exactly when the values' JCS bytes are.

    Args:
        value: a value that `check` accepted.
    """
    kind = type(value)
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is list or kind is tuple:
        return ("list", *map(key, value))
    if kind is dict:
        return ("dict", frozenset((name, key(item)) for name, item in value.items()))
    return cast("Hashable", value)  # str, None, and numbers, where 1 == 1.0 and -0.0 == 0 as in JCS


def size(value: Json) -> int:
    """Return how many values stand in a value, itself included: what making its `key` costs."""
    if type(value) is list or type(value) is tuple:
        return 1 + sum(map(size, value))
    if type(value) is dict:
        return 1 + sum(map(size, value.values()))
    return 1


def dumps(value: Json) -> bytes:
    """Return the canonical bytes (RFC 8785).

    Raises:
        ValueError: the value is not I-JSON.
    """
    if check(value):
        return _encode_sorted(value)
    return rfc8785.dumps(value)


def loads(data: bytes | str) -> Json:
    """Decode strictly.

    Args:
        data: UTF-8 JSON text.

    Raises:
        ValueError: not JSON, not I-JSON, a duplicate member or trailing bytes.
    """
    try:
        value = _decode(data)
        check(value)
        raw = data.encode() if isinstance(data, str) else data
        if _encode(value) != raw:  # white space, number spelling, or a duplicate that the decoder dropped
            refuse_duplicates(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not strict JSON: {error}") from None
    return value


def refuse_duplicates(data: bytes) -> None:
    """Raise ValueError where an object anywhere in valid JSON text names a member twice."""
    try:
        _pairs(data.decode())
    except RecursionError:
        raise ValueError("a value nested too deeply") from None


def _distinct(pairs: list[tuple[str, Json]]) -> None:
    names = {name for name, _ in pairs}
    if len(names) != len(pairs):
        raise ValueError("a duplicate member name")


_pairs = json.JSONDecoder(object_pairs_hook=_distinct).decode
