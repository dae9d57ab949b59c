"""Whom a signal is about: subject identifiers (RFC 9493), and what they mean here.

The law of this file: a format that is not known, or a member too many, names nobody. A name is taken as it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from chain.base64url import b64decode
from chain.errors import SignalError
from chain.key import THUMBPRINT_URI


class Subject(NamedTuple):
    """One way in which a token says whom it is about.

    Attributes:
        kind: `principal` by its id, `key` by its thumbprint, `owner` by name: all that somebody answers for.
        name: as the token says it.
    """

    kind: Literal["principal", "key", "owner"]
    name: str


def identifier(name: str) -> dict[str, str]:
    """Return the subject identifier of a principal's id, a key's thumbprint, an e-mail address or another name."""
    if name.startswith("spiffe://"):
        return {"format": "uri", "uri": name}
    if _is_thumbprint(name):
        return {"format": "jkt", "jkt": name}
    return {"format": "email", "email": name} if "@" in name else {"format": "opaque", "id": name}


_MEMBERS: dict[str, tuple[str, ...]] = {
    "opaque": ("id",),
    "uri": ("uri",),
    "iss_sub": ("iss", "sub"),
    "email": ("email",),
    "account": ("uri",),
    "jkt": ("jkt",),
}
"""Members of each format of a subject identifier (RFC 9493 s3.2); the last one says who. `jkt` is RFC 7638's."""

_PARTS = frozenset({"user", "device", "application"})
"""Members of a complex subject that are understood (SSF 1.0 s3.2.6); all of them have to name the same one."""


def subjects(given: Mapping[str, Any]) -> tuple[Subject, ...]:
    """Return whom a subject identifier names; of a complex one every part, all of which name the same.

    Raises:
        SignalError: a format that is not known, or not in its form.
    """
    if given.get("format") != "complex":
        return (_subject(given),)
    parts = {name: part for name, part in given.items() if name != "format"}
    if not parts or not parts.keys() <= _PARTS:
        raise SignalError(f"a complex subject has some of {', '.join(sorted(_PARTS))}, and nothing else")
    return tuple(_subject(part) for _, part in sorted(parts.items()))


def _subject(given: object) -> Subject:
    form = given.get("format") if isinstance(given, dict) else None
    members = _MEMBERS.get(form) if isinstance(form, str) else None
    if not isinstance(given, dict) or members is None:
        raise SignalError("the subject is of a format that is not known")
    values = [given.get(name) for name in members]
    if given.keys() != {"format", *members} or not all(isinstance(value, str) and value for value in values):
        raise SignalError(f"a subject of format `{form}` has the members {', '.join(members)}")
    return _who(str(form), str(values[-1]))


def _who(form: str, name: str) -> Subject:
    thumbprint = name.removeprefix(THUMBPRINT_URI)
    if form == "jkt" or thumbprint != name:
        if not _is_thumbprint(thumbprint):
            raise SignalError("the subject's key is named by its thumbprint, 43 characters")
        return Subject("key", thumbprint)
    if name.startswith("spiffe://"):
        return Subject("principal", name)
    if form == "uri":
        raise SignalError("a subject's URI is a SPIFFE id, or the thumbprint of a key (RFC 9278)")
    if form == "opaque" and _is_thumbprint(name):
        return Subject("key", name)
    return Subject("owner", name.removeprefix("acct:") if form == "account" else name)


def _is_thumbprint(text: str) -> bool:
    try:
        return len(b64decode(text.encode())) == 32
    except ValueError:
        return False
