"""Amounts: exact decimals as the call states them, in the currency of the budget; what cannot be read is refused."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.budget import UnreadableError, read
from chain.bundles import default
from chain.catalog import AmountOf
from chain.decision import Effect
from chain.reason import Reason
from tests.budget.counter import TOOLS, Counter, calls, euros, metered, money, standing
from tests.support import ALICE, Json, World, root, seal

SEEDED = settings(derandomize=True, deadline=None, max_examples=300)

LARGEST = "999999999999999999.999999999"


def test_tenths_add_up_exactly(counter: Counter) -> None:
    """0.1 and 0.2 are 0.3, which floats deny."""
    tokens = [metered(euros("0.3"))]
    counter.allowed(tokens, ALICE, "bank.pay", {"amount": 0.1})
    counter.allowed(tokens, ALICE, "bank.pay", {"amount": "0.2"})
    counter.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE, "bank.pay", {"amount": "0.000000001"})
    assert counter.spent(tokens[0]) == (2, Decimal("0.3"))


def test_all_digits_count(counter: Counter) -> None:
    """18 digits before the point and 9 behind it: a float tells neither of these from its neighbour."""
    tokens = [metered(euros(LARGEST))]
    counter.allowed(tokens, ALICE, "bank.pay", {"amount": "999999999999999999.999999998"})
    counter.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE, "bank.pay", {"amount": "0.000000002"})
    counter.allowed(tokens, ALICE, "bank.pay", {"amount": "0.000000001"})
    assert counter.spent(tokens[0]) == (2, Decimal(LARGEST))
    counter.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE, "bank.pay", {"amount": LARGEST})


@pytest.mark.parametrize("amount", [7, 7.0, "7", "7.0", "7.000000000"])
def test_every_way_to_write_one_amount(counter: Counter, amount: Any) -> None:
    tokens = [metered(euros("14"))]
    counter.allowed(tokens, ALICE, "bank.pay", {"amount": amount})
    assert counter.spent(tokens[0]) == (1, Decimal(7))


UNREADABLE: list[Any] = [
    True, False, None, -1, "-1", "-0", "+1", 1e21, 1e-7, "1e3", "NaN", "Infinity", "inf", "", " 1", "1 ", "1\n", "1,5",
    "01", ".5", "1.", "0x1", "1_000", "\u0661", "1" * 19, "0." + "1" * 10, [1], {"value": 1}, 0.1 + 0.2,
]  # fmt: skip


@pytest.mark.parametrize("amount", UNREADABLE, ids=repr)
def test_what_cannot_be_read(counter: Counter, amount: Any) -> None:
    tokens = [metered(euros("100"))]
    counter.denied(Reason.AMOUNT_UNREADABLE, 0, tokens, ALICE, "bank.pay", {"amount": amount})
    assert standing(counter.store) == {}
    counter.allowed(tokens, ALICE, "bank.pay", {"amount": 1})


def test_an_amount_that_is_missing(counter: Counter) -> None:
    tokens = [metered(euros("100"))]
    for arguments in ({}, {"Amount": 1}, {"amount ": 1}, {"sum": 1}):
        counter.denied(Reason.AMOUNT_UNREADABLE, 0, tokens, ALICE, "bank.pay", arguments)
    counter.denied(Reason.AMOUNT_UNREADABLE, 0, tokens, ALICE, "mail.send", {})
    counter.allowed(tokens, ALICE, "bank.pay", {"amount": 1})


def test_a_read_moves_no_money_unless_it_says_so(counter: Counter) -> None:
    tokens = [metered(euros("10", calls=4))]
    counter.allowed(tokens, ALICE)
    counter.allowed(tokens, ALICE, "bank.quote", {"of": "gold"})
    counter.allowed(tokens, ALICE, "bank.quote", {"amount": 4})
    counter.denied(Reason.AMOUNT_UNREADABLE, 0, tokens, ALICE, "mail.read", {"amount": "much"})
    counter.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE, "mail.read", {"amount": 7})
    assert counter.spent(tokens[0]) == (3, Decimal(4))


def test_a_budget_of_calls_reads_no_amount(counter: Counter) -> None:
    tokens = [metered(calls(2))]
    counter.allowed(tokens, ALICE, "bank.pay", {"amount": "much"})
    assert counter.spent(tokens[0]) == (1, Decimal(0))


def test_currency_by_the_catalogue(counter: Counter) -> None:
    euro, dollar = [metered(euros("10"))], [metered({"amount": money("10", currency="USD")})]
    counter.denied(Reason.AMOUNT_UNREADABLE, 0, dollar, ALICE, "bank.move", {"amount": 1})
    counter.denied(Reason.AMOUNT_UNREADABLE, 0, dollar, ALICE, "bank.move", {"amount": 1, "currency": "USD"})
    counter.allowed(euro, ALICE, "bank.move", {"amount": 1})
    counter.allowed(euro, ALICE, "bank.move", {"amount": 1, "currency": "USD"})  # the catalogue's word, not the agent's


def test_currency_by_an_argument_that_the_catalogue_names(counter: Counter) -> None:
    tokens = [metered({"amount": money("10", "sum")})]
    refused: list[Json] = [
        {"sum": 1},
        {"sum": 1, "unit": "USD"},
        {"sum": 1, "unit": "eur"},
        {"sum": 1, "unit": ["EUR"]},
        {"sum": 1, "unit": None},
        {"sum": 1, "currency": "EUR"},
    ]
    for arguments in refused:
        counter.denied(Reason.AMOUNT_UNREADABLE, 0, tokens, ALICE, "bank.wire", arguments)
    counter.allowed(tokens, ALICE, "bank.wire", {"sum": 1, "unit": "EUR"})
    assert counter.spent(tokens[0]) == (1, Decimal(1))


def test_currency_by_an_argument_of_that_name(counter: Counter) -> None:
    """Where the catalogue says nothing: a call that names another currency is not in the budget's."""
    tokens = [metered(euros("10"))]
    other: list[Any] = ["USD", "eur", "", None, ["EUR"], 978]
    for stated in other:
        counter.denied(Reason.AMOUNT_UNREADABLE, 0, tokens, ALICE, "bank.pay", {"amount": 1, "currency": stated})
    counter.allowed(tokens, ALICE, "bank.pay", {"amount": 1, "currency": "EUR"})
    counter.allowed(tokens, ALICE, "bank.pay", {"amount": 1})


def test_a_budget_that_counts_another_argument_than_the_tool_moves(counter: Counter) -> None:
    decoy = [metered(euros("10"))]  # counts `amount`, where the wire moves `sum`
    for arguments in ({"sum": 1000, "unit": "EUR", "amount": 0}, {"sum": 0, "unit": "EUR"}):
        counter.denied(Reason.AMOUNT_UNREADABLE, 0, decoy, ALICE, "bank.wire", arguments)
    right = [metered({"amount": money("10", "sum")})]
    counter.allowed(right, ALICE, "bank.wire", {"sum": 10, "unit": "EUR", "amount": 1000})


def test_a_policy_is_asked_about_an_amount_that_can_be_read() -> None:
    """Whether or not a budget counts it: what cannot be told is not asked, and a read that states none moves none."""
    world = World(catalogue=TOOLS)
    world.authority.policies.activate(world.caller, default())
    tokens = [seal(root(ALICE, {"bank.wire": {}, "bank.quote": {}}))]
    unreadable: list[Json] = [{}, {"sum": "much", "unit": "EUR"}, {"sum": 1}, {"sum": 1, "unit": 7}, {"sum": -1}]
    for arguments in unreadable:
        world.denied(Reason.AMOUNT_UNREADABLE, None, tokens, ALICE, "bank.wire", arguments)
    world.denied(Reason.AMOUNT_UNREADABLE, None, tokens, ALICE, "bank.quote", {"amount": "much"})
    world.allowed(tokens, ALICE, "bank.quote", {"of": "gold"})
    asked = world.ask(tokens, ALICE, "bank.wire", {"sum": 1, "unit": "EUR"})
    assert asked.effect is Effect.APPROVAL_REQUIRED


def test_an_amount_has_one_currency() -> None:
    for wrong in ({}, {"currency": "EUR", "currency_argument": "unit"}, {"currency": "eur"}):
        with pytest.raises(ValueError, match="currency"):
            AmountOf(argument="amount", **wrong)
    assert AmountOf(argument="amount", currency="EUR").currency == "EUR"


written = st.tuples(st.integers(0, 10**18 - 1), st.integers(0, 9), st.integers(0, 10**9 - 1))


@SEEDED
@given(written)
def test_text_is_read_exactly(parts: tuple[int, int, int]) -> None:
    whole, places, rest = parts
    behind = f"{rest:09d}"[:places]
    text = f"{whole}.{behind}" if places else str(whole)
    assert Fraction(read({"amount": text}, "amount")) == whole + (Fraction(int(behind), 10**places) if places else 0)


@SEEDED
@given(st.one_of(st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_number_is_read_as_its_canonical_json_or_not_at_all(number: float) -> None:
    """What is read is the shortest text that names this number: never another number, never a negative one."""
    try:
        amount = read({"amount": number}, "amount")
    except UnreadableError:
        return
    assert amount >= 0
    assert float(amount) == number
    assert amount == amount.quantize(Decimal("1E-9"))
