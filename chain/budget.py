"""Budgets: how much a delegation and everything beneath it has used up.

The law of this file: exact decimals, never a float. What is spent is named by the decision and taken in its commit,
so that siblings share one purse; a call that is not allowed costs nothing, and nothing is ever given back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, NamedTuple

import msgspec
from msgspec import UnsetType

from chain import jcs
from chain.delegation import Delegation
from chain.grant import Amount, Budget, Decimals
from chain.ledger import StandingRow, Store
from chain.recent import Recent

SPENT = "spent"
"""Kind of what stands (`chain.row.StandingRow`)."""

_text = msgspec.json.Decoder(Decimals)
_exact = Context(prec=64, traps=[Inexact, InvalidOperation])
"""Adds without rounding, whatever the thread's own context says: an embedding program may have set that."""


class Spent(NamedTuple):
    """What was used up under one delegation: calls, and money in the currency of its budget."""

    calls: int = 0
    amount: Decimal = Decimal(0)


class Spend(NamedTuple):
    """What one decision uses up of one budget.

    Attributes:
        digest: of the delegation whose budget it is.
        amount: money, 0 where the budget has none.
        currency: of the budget; empty where it has none.
        expires: seconds, when it can be forgotten, since the delegation has ended.
    """

    digest: bytes
    amount: Decimal
    currency: str
    expires: int


class UnreadableError(ValueError):
    """An amount that cannot be read."""


def read(arguments: Mapping[str, Any], argument: str) -> Decimal:
    """Return the amount that a call states, exactly as its canonical JSON spells it.

    Args:
        arguments: of the call.
        argument: which of them.

    Raises:
        UnreadableError: absent, no number, negative, or with more digits than `chain.grant.Decimals` has.
    """
    value = arguments.get(argument)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UnreadableError(f"`{argument}` is missing or no amount")
    try:
        text = value if isinstance(value, str) else jcs.dumps(value).decode()
        return Decimal(_text.decode(msgspec.json.encode(text)))
    except (ValueError, msgspec.ValidationError):
        raise UnreadableError(f"`{argument}` is no unsigned amount of at most 18 and 9 digits") from None


def left(budget: Budget, spent: Spent, amount: Decimal | None) -> str | None:
    """Return what a call asks beyond what is left of a hop's budget, in words, or None.

    Args:
        budget: of the hop.
        spent: of it.
        amount: of the call; None where the budget has no money.
    """
    if not isinstance(budget.calls, UnsetType) and spent.calls >= budget.calls:
        return f"all {budget.calls} calls are used up"
    if amount is not None and not isinstance(budget.amount, UnsetType):
        ceiling = Decimal(budget.amount.value)
        if _exact.add(spent.amount, amount) > ceiling:
            rest = max(ceiling - spent.amount, Decimal(0))
            return f"asks {amount:f} {budget.amount.currency} where {rest:f} of {ceiling:f} is left"
    return None


def money(hop: Delegation) -> Amount | None:
    """Return the ceiling on money of a hop's budget, if it has one."""
    budget = hop.budget
    return None if budget is None or isinstance(budget.amount, UnsetType) else budget.amount


class Purse:
    """What was spent under every delegation: in memory lately, else in the store.

    What the store has not committed yet is never dropped: a group of batches shares one transaction, and reads the
    store as it was before.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: Recent[bytes, Spent] = Recent()
        self._uncommitted: dict[bytes, tuple[Spent, int]] = {}

    def spent(self, digest: bytes) -> Spent:
        """Return what was used up of one delegation's budget. It remembers nothing: a reader may be late."""
        fresh = self._uncommitted.get(digest)
        if fresh is not None:
            return fresh[0]
        known = self._known.get(digest)
        if known is not None:
            return known
        row = self._store.stands(SPENT, digest.hex())
        return Spent() if row is None else _decoded(row.body)

    def spend(self, spend: Spend, revision: int) -> StandingRow:
        """Take a spend (writer only), and return the row that keeps it."""
        before = self.spent(spend.digest)
        after = Spent(before.calls + 1, _exact.add(before.amount, spend.amount))
        self._settle()
        self._uncommitted.pop(spend.digest, None)  # the youngest stands last
        self._uncommitted[spend.digest] = (after, revision)
        body = msgspec.json.encode((after.calls, f"{after.amount:f}", spend.currency))
        return StandingRow(SPENT, spend.digest.hex(), body, spend.expires, revision)

    def undo(self, digest: bytes) -> Callable[[], None]:
        """Return what takes the next spend of a budget back, where its batch is not written after all (writer only)."""
        before = self._uncommitted.get(digest)

        def restore() -> None:
            self._uncommitted.pop(digest, None)
            if before is not None:
                self._uncommitted[digest] = before

        return restore

    def _settle(self) -> None:
        """Move what the store has committed to the bounded memory, oldest first."""
        head = self._store.head
        while self._uncommitted:
            digest = next(iter(self._uncommitted))
            spent, revision = self._uncommitted[digest]
            if revision > head:
                break
            self._known.put(digest, spent)
            del self._uncommitted[digest]


def _decoded(body: bytes) -> Spent:
    calls, amount, _ = msgspec.json.decode(body, type=tuple[int, str, str])
    return Spent(calls, Decimal(amount))
