"""What leaves the ledger for other people's tools.

The law of this file: a record as it stands, or with less; what is withheld can still be proven from the ledger. No
token, proof or raw argument stands in a record (`chain.records`), and what people signed stays in it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from chain.given import Entry

WITHHELD = frozenset({"statement", "jwk"})
"""Members that verifiers of the ledger need, and nobody else: a person's signed word, and keys."""


def body(entry: Entry) -> dict[str, Any]:
    """Return what is told of a record."""
    return {name: value for name, value in entry.body.items() if name not in WITHHELD}


def subject(entry: Entry) -> str:
    """Return what a record is about: a decision, a delegation, a request, a key or a name."""
    told: Mapping[str, Any] = entry.body
    return next((str(told[name]) for name in ("id", "holder", "name", "key", "target", "digest") if told.get(name)), "")


def stamp(entry: Entry) -> str:
    """Return when it was written, as RFC 3339 in UTC."""
    return datetime.fromtimestamp(entry.seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def principal(entry: Entry) -> str:
    """Return who acted, as the record has it: a principal, else a key."""
    told = entry.body
    return str(next((told[name] for name in ("principal", "approver", "holder", "author") if _text(told, name)), ""))


def _text(told: Mapping[str, Any], name: str) -> bool:
    return isinstance(told.get(name), str) and bool(told[name])
