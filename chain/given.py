"""One delegation and one record, as the ledger tells them.

The law of this file: values. A delegation knows what stands above and below it, and nothing of what became of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from chain import mint
from chain.constraint import AnyConstraint
from chain.errors import InvalidRequestError
from chain.grant import Grant


class _Rules(msgspec.Struct):
    """Carries one tool's constraints: of a struct, unlike of a map, it is looked up once what it may hold."""

    of: dict[str, AnyConstraint]


class Entry(NamedTuple):
    """A record, decoded.

    Attributes:
        revision, kind, time, body: as in `chain.ledger.Record`.
    """

    revision: int
    kind: str
    time: int
    body: Mapping[str, Any]

    @property
    def seconds(self) -> float:
        """When it was written, seconds since the epoch."""
        return self.time / 1000


class End(NamedTuple):
    """Why a delegation does not stand any more.

    Attributes:
        reason: expired, revoked or suspended.
        revision: of the record that ended it; 0 where it ended by itself.
        at: seconds.
        cause: in words.
        of: id of the delegation that ended, itself or an ancestor; empty where a name ended it.
    """

    reason: str
    revision: int
    at: float
    cause: str
    of: str = ""


class Given:
    """A delegation, as its record tells it.

    Attributes:
        entry: the record.
        above: the one that it was made from; None for a root, and where the record of that is not there.
        below: those made from it.

    Of the record are `task`, what it belongs to; `names`, what its holder is called and what else it is bound to;
    `signers`, the key that signed it and that which certified this one, so that either ends it; `granted`, its tools as
    they stand there, none where the reader may not be told; and `limits`, in the same way.
    """

    __slots__ = (
        "__dict__",  # of `grant`, which is kept
        "above",
        "below",
        "bound",
        "entry",
        "exp",
        "facts",
        "granted",
        "holder",
        "hop",
        "iat",
        "id",
        "issuer",
        "limits",
        "names",
        "signer",
        "signers",
        "task",
    )
    # A question looks at a hundred thousand of them: with slots what stands is told in two thirds of the time.

    def __init__(self, entry: Entry, above: Given | None = None) -> None:
        """Take out of a record what is asked for again and again."""
        body = entry.body
        self.entry = entry
        self.above = above
        self.below: list[Given] = []
        self.id: str = body["id"]
        self.holder: str = body["holder"]
        self.bound: str | None = body.get("bound")
        self.issuer: str = body["issuer"]
        self.signer: str = body["signer"]
        self.signers = (self.signer, body["certifier"]) if "certifier" in body else (self.signer,)
        self.hop: int = body["hop"]
        self.iat: int = body["iat"]
        self.exp: int = body["exp"]
        self.facts: Mapping[str, Any] = body.get("facts", {})
        self.task = str(self.facts.get("txn", ""))
        self.names = (self.holder,) if not self.bound else (self.holder, self.bound)
        told: Mapping[str, Any] = body.get("grant") or {}
        self.granted: Mapping[str, Any] = told.get("tools", {})
        self.limits: Mapping[str, Any] = told.get("limits", {})

    @cached_property
    def grant(self) -> Grant | None:
        """What it gives; None where the reader may not be told, or cannot read it."""
        try:
            return mint.grant(self.entry.body["grant"])
        except (KeyError, InvalidRequestError):
            return None

    def rules(self, tool: str) -> Mapping[str, AnyConstraint] | None:
        """Return what it asks of a tool's arguments; None where it does not grant the tool, or is not readable.

        One tool is read by itself: a question about one tool asks a hundred thousand delegations.
        """
        found = self.granted.get(tool)
        try:
            return None if found is None else msgspec.convert({"of": found}, _Rules).of
        except (msgspec.ValidationError, RecursionError):
            return None

    @property
    def tools(self) -> list[str]:
        """The tools that it grants, in order."""
        return sorted(self.granted)

    @property
    def ajar(self) -> list[str]:
        """The tools that it grants whatever their arguments."""
        return [name for name, rules in self.granted.items() if not rules]

    @property
    def chain(self) -> list[Given]:
        """From the root to this one."""
        found: list[Given] = []
        at: Given | None = self
        while at is not None:
            found.append(at)
            at = at.above
        return found[::-1]

    @property
    def beneath(self) -> Iterator[Given]:
        """Everything made from it, parents before children."""
        queue = list(self.below)
        for one in queue:
            yield one
            queue.extend(one.below)

    @property
    def sub(self) -> str:
        """On whose behalf."""
        return str(self.facts.get("sub", ""))


@dataclass
class Asked:
    """A request for approval, and what became of it.

    Attributes:
        entry: the latest record of the request.
        words: what people said.
        uses: where it was used.
    """

    entry: Entry
    words: list[Entry] = field(default_factory=list)
    uses: list[Entry] = field(default_factory=list)
