"""A spend that is not written after all is taken back, whatever else of its budget is still on its way."""

from __future__ import annotations

from decimal import Decimal

from chain.budget import Purse, Spend
from chain.store.memory import MemoryStore


def test_the_spend_before_stands_again() -> None:
    purse = Purse(MemoryStore())
    one = Spend(bytes(32), Decimal(5), "EUR", 10)
    undo_all = purse.undo(one.digest)
    purse.spend(one, 9)  # of a batch that the store has not committed yet
    undo = purse.undo(one.digest)
    purse.spend(one, 10)
    assert purse.spent(one.digest).calls == 2
    undo()
    assert (purse.spent(one.digest).calls, purse.spent(one.digest).amount) == (1, Decimal(5))
    undo_all()
    assert purse.spent(one.digest).calls == 0
