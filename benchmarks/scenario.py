"""The one question that `benchmarks.hops` puts to every engine, and what an engine must offer.

A tool that reads an account's statement, with three arguments: `account` is one of a list of strings,
`currency` is exactly one string, `days` is a number in a range. Every hop narrows: the range shrinks at each one, the
list at the first few. Every hop has a key of its own. The call asked about is allowed by all hops;
its twin asks for more than the leaf grants (but not more than the leaf's parent does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

TOOL: Final = "accounts.statement"
CURRENCY: Final = "EUR"
LIFETIME_S: Final = 3_600
DEPTHS: Final = (1, 2, 4, 8, 16, 32)

COLD: Final = "cold"
NEW_HOP: Final = "new_hop"
WARM: Final = "warm"
WARM_CHANNEL: Final = "warm_channel"
MODES: Final = (COLD, NEW_HOP, WARM, WARM_CHANNEL)

Arguments = dict[str, str | int]

_ROOT_CEILING = 5_000
_STEP = 10  # taken off the ceiling at each hop
_ACCOUNTS = 4
_FEWEST_ACCOUNTS = 2


class Unfit(Exception):
    """An engine answered otherwise than the scenario demands: it must not be timed."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A prepared cell of the table: one engine, one mode, one depth.

    Attributes:
        bytes: tokens and proof of one request, in the smallest form that the engine can put into
            a binary message body.
        call: the timed call, see `measure.Call`; raises `Unfit` or the engine's own error unless
            the answer is "allowed".
        denied: twins of the call that must be refused, by name, each True when it was. Untimed.
    """

    bytes: int
    call: Callable[[int], None]
    denied: Mapping[str, Callable[[], bool]]


class Engine(Protocol):
    """What is compared."""

    @property
    def name(self) -> str: ...

    @property
    def modes(self) -> frozenset[str]:
        """The modes of MODES that the engine can say."""
        ...

    def prepare(self, mode: str, depth: int, calls: int) -> Workload:
        """Mints what `calls` calls need: `depth` tokens presented by each."""
        ...


def accounts(hop: int) -> list[str]:
    """The accounts that hop `hop` (root = 0) grants: its parent's or one fewer."""
    kept = max(_FEWEST_ACCOUNTS, _ACCOUNTS - hop)
    return [f"DE0{number}" for number in range(kept)]


def ceiling(hop: int) -> int:
    """The highest `days` that hop `hop` (root = 0) grants: always less than its parent's."""
    return _ROOT_CEILING - _STEP * hop


def allowed_arguments() -> Arguments:
    """Arguments that every hop permits."""
    return {"account": "DE01", "currency": CURRENCY, "days": 100}


def excessive_arguments(depth: int) -> Arguments:
    """Arguments that only the leaf of a chain of `depth` tokens refuses."""
    return {"account": "DE01", "currency": CURRENCY, "days": ceiling(depth - 1) + 1}
