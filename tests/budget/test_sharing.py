"""One purse for a delegation and all beneath it, whoever spends, in whatever order; by the library and over gRPC."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations

import pytest

from chain.decision import Decision, Effect
from chain.reason import Reason
from tests.budget.counter import OPEN, Counter, calls, euros, identity, metered, standing, under
from tests.support import ALICE, BOB, CAROL, HOME, MALLORY, Json, child, payload_of, root, seal


def test_calls_are_counted(counter: Counter) -> None:
    tokens = [metered(calls(3))]
    for _ in range(3):
        counter.allowed(tokens, ALICE)
    counter.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE)
    assert counter.spent(tokens[0]) == (3, Decimal(0))


def test_amounts_are_counted(counter: Counter) -> None:
    tokens = [metered(euros("100"))]
    counter.allowed(tokens, ALICE, "bank.pay", {"amount": 60})
    counter.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE, "bank.pay", {"amount": "40.000000001"})
    counter.allowed(tokens, ALICE, "bank.pay", {"amount": "40"})
    counter.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE, "bank.pay", {"amount": "0.000000001"})
    counter.allowed(tokens, ALICE, "bank.pay", {"amount": 0})
    assert counter.spent(tokens[0]) == (3, Decimal(100))


def test_calls_and_amounts_together(counter: Counter) -> None:
    """Either one that is used up is enough, and what one refuses the other does not lose."""
    tokens = [metered(euros("10", calls=2))]
    counter.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE, "bank.pay", {"amount": 11})
    counter.allowed(tokens, ALICE, "bank.pay", {"amount": 1})
    counter.allowed(tokens, ALICE, "bank.pay", {"amount": 1})
    counter.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE, "bank.pay", {"amount": 1})
    assert counter.spent(tokens[0]) == (2, Decimal(2))


def test_a_budget_of_nothing(counter: Counter) -> None:
    counter.denied(Reason.BUDGET_EXCEEDED, 0, [metered(calls(0))], ALICE)
    nothing = [metered(euros("0"))]
    counter.denied(Reason.BUDGET_EXCEEDED, 0, nothing, ALICE, "bank.pay", {"amount": 1})
    counter.allowed(nothing, ALICE, "bank.pay", {"amount": 0})


@pytest.mark.parametrize("order", list(permutations(("root", "bob", "carol"))), ids="-".join)
def test_siblings_and_parent_share_in_any_order(counter: Counter, order: tuple[str, ...]) -> None:
    first = metered(euros("100"))
    whose = {
        "root": ([first], ALICE),
        "bob": ([first, under(first, ALICE, BOB)], BOB),
        "carol": ([first, under(first, ALICE, CAROL)], CAROL),
    }
    for name in order:
        counter.allowed(*whose[name], "bank.pay", {"amount": 33})
    for name in order:
        counter.denied(Reason.BUDGET_EXCEEDED, 0, *whose[name], "bank.pay", {"amount": "1.01"})
    counter.allowed(*whose[order[0]], "bank.pay", {"amount": 1})
    assert counter.spent(first) == (4, Decimal(100))


def test_all_beneath_counts(counter: Counter) -> None:
    """A grandchild spends out of every budget above it."""
    first = metered(calls(4))
    second = under(first, ALICE, BOB)
    third = under(second, BOB, CAROL)
    for tokens, by in (([first], ALICE), ([first, second], BOB), ([first, second, third], CAROL)):
        counter.allowed(tokens, by)
    counter.allowed([first, second, third], CAROL)
    counter.denied(Reason.BUDGET_EXCEEDED, 0, [first], ALICE)
    found = standing(counter.store)
    assert [found[identity(token)][0] for token in (first, second, third)] == [4, 3, 2]


def test_the_tightest_of_several_counts_and_all_are_charged(counter: Counter) -> None:
    first = metered(euros("100"))
    second = under(first, ALICE, BOB, euros("50"))
    third = under(second, BOB, CAROL, euros("20", calls=5))
    tokens = [first, second, third]
    counter.denied(Reason.BUDGET_EXCEEDED, 2, tokens, CAROL, "bank.pay", {"amount": 21})
    counter.allowed(tokens, CAROL, "bank.pay", {"amount": 20})
    counter.denied(Reason.BUDGET_EXCEEDED, 2, tokens, CAROL, "bank.pay", {"amount": 1})
    counter.allowed([first, second], BOB, "bank.pay", {"amount": 30})
    counter.denied(Reason.BUDGET_EXCEEDED, 1, [first, second], BOB, "bank.pay", {"amount": 1})
    counter.denied(Reason.BUDGET_EXCEEDED, 1, tokens, CAROL, "bank.pay", {"amount": 1})
    counter.allowed([first], ALICE, "bank.pay", {"amount": 50})
    decision = counter.denied(Reason.BUDGET_EXCEEDED, 0, tokens, CAROL, "bank.pay", {"amount": 1})
    assert [finding.hop for finding in decision.findings] == [0, 1, 2]  # every hop says so
    found = standing(counter.store)
    assert [found[identity(token)] for token in tokens] == [
        (3, Decimal(100)), (2, Decimal(50)), (1, Decimal(20))
    ]  # fmt: skip


def test_a_hop_without_a_budget_between_two_that_have_one(counter: Counter) -> None:
    """The root has none; what its child has is the child's, and the child's sibling does not spend it."""
    plain = metered_not()
    limits: Json = payload_of(plain)["authorization_details"][0]["limits"]
    second = seal(child(plain, BOB, limits=limits | {"budget": calls(1)}), ALICE)
    other = under(plain, ALICE, CAROL)
    counter.allowed([plain, second], BOB)
    counter.denied(Reason.BUDGET_EXCEEDED, 1, [plain, second], BOB)
    for _ in range(3):
        counter.allowed([plain, other], CAROL)
    assert standing(counter.store) == {identity(second): (1, Decimal(0))}


def metered_not() -> str:
    return seal(root(ALICE, OPEN, {"classes": ["read", "write", "act"]}, home=HOME))


def test_what_is_refused_costs_nothing(counter: Counter) -> None:
    first = metered(euros("10", calls=1))
    tokens = [first, under(first, ALICE, BOB)]
    refusals: list[tuple[Reason, int, Json]] = [
        (Reason.BUDGET_EXCEEDED, 0, {"amount": 11}),
        (Reason.AMOUNT_UNREADABLE, 0, {}),
    ]
    for reason, hop, arguments in refusals:
        counter.denied(reason, hop, tokens, BOB, "bank.pay", arguments)
    counter.denied(Reason.HOLDER_MISMATCH, 1, tokens, MALLORY, "bank.pay", {"amount": 1})
    counter.denied(Reason.TOOL_NOT_GRANTED, 0, tokens, BOB, "bank.rob", {"amount": 1})
    assert standing(counter.store) == {}
    counter.allowed(tokens, BOB, "bank.pay", {"amount": 10})


def test_what_waits_for_people_costs_nothing(counter: Counter) -> None:
    gate = {"when": {"tool": "bank.pay"}, "threshold": 1, "approvers": ["spiffe://example.org/human/ann"]}
    tokens = [seal(root(ALICE, OPEN, {"budget": calls(1), "approval": [gate]}, home=HOME))]
    decision = counter.ask(tokens, ALICE, "bank.pay", {"amount": 1})
    assert (decision.effect, decision.reason) == (Effect.APPROVAL_REQUIRED, Reason.APPROVAL_REQUIRED)
    assert standing(counter.store) == {}
    counter.allowed(tokens, ALICE)
    assert counter.spent(tokens[0]) == (1, Decimal(0))
    exceeded = counter.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE, "bank.pay", {"amount": 1})
    assert {finding.reason for finding in exceeded.findings} == {Reason.APPROVAL_REQUIRED, Reason.BUDGET_EXCEEDED}


def test_a_replay_costs_nothing_twice(counter: Counter) -> None:
    tokens = [metered(calls(2))]
    request = counter.request(tokens, ALICE)
    assert counter.send(tokens, request).allowed
    for _ in range(3):
        assert counter.send(tokens, request).reason is Reason.REPLAY
    assert counter.spent(tokens[0]) == (1, Decimal(0))
    counter.allowed(tokens, ALICE)


def _outcome(decisions: list[Decision]) -> list[Reason]:
    return [decision.reason for decision in decisions]


def test_a_batch_spends_item_by_item(counter: Counter) -> None:
    first = metered(euros("10"))
    bob, carol = [first, under(first, ALICE, BOB)], [first, under(first, ALICE, CAROL)]
    asked: list[tuple[list[str], Json]] = [(bob, {"amount": 6}), (carol, {"amount": 5}), (carol, {"amount": 4})]
    items = [
        (tokens, counter.request(tokens, BOB if tokens is bob else CAROL, "bank.pay", arguments))
        for tokens, arguments in asked
    ]
    assert _outcome(counter.batch(items)) == [Reason.ALLOWED, Reason.BUDGET_EXCEEDED, Reason.ALLOWED]
    assert counter.spent(first) == (2, Decimal(10))


def test_a_stream_spends_question_by_question(counter: Counter) -> None:
    tokens = [metered(calls(2))]
    items = [(tokens, counter.request(tokens, ALICE)) for _ in range(4)]
    assert _outcome(counter.stream(items)) == [Reason.ALLOWED] * 2 + [Reason.BUDGET_EXCEEDED] * 2
    assert counter.spent(tokens[0]) == (2, Decimal(0))


def test_to_explain_costs_nothing(counter: Counter) -> None:
    tokens = [metered(calls(1))]
    for _ in range(3):
        assert counter.explain(tokens, counter.request(tokens, ALICE)).allowed
    assert standing(counter.store) == {}
    counter.allowed(tokens, ALICE)
    assert counter.explain(tokens, counter.request(tokens, ALICE)).reason is Reason.BUDGET_EXCEEDED


def test_to_suppose_costs_nothing(counter: Counter) -> None:
    tokens = [metered(calls(1))]
    for _ in range(3):
        assert counter.simulate(tokens, counter.request(tokens, ALICE)).allowed
    assert standing(counter.store) == {}
    counter.allowed(tokens, ALICE)
    assert counter.simulate(tokens, counter.request(tokens, ALICE)).reason is Reason.BUDGET_EXCEEDED


@pytest.mark.parametrize("home", [None, "https://other.example"])
def test_a_budget_without_a_home_here(counter: Counter, home: str | None) -> None:
    """A plain root, and a second authority's: nobody here counts them, so nothing of them is spent."""
    foreign = metered(calls(5), home=home)
    for tokens, by in (([foreign], ALICE), ([foreign, under(foreign, ALICE, BOB)], BOB)):
        counter.denied(Reason.STATE_UNAVAILABLE, 0, tokens, by)
    assert standing(counter.store) == {}
    counter.allowed([metered(calls(5))], ALICE)


def test_budgets_of_two_roots_are_two(counter: Counter) -> None:
    one, two = metered(calls(1)), metered(calls(1), jti="another")
    counter.allowed([one], ALICE)
    counter.allowed([two], ALICE)
    for token in (one, two):
        counter.denied(Reason.BUDGET_EXCEEDED, 0, [token], ALICE)


def test_a_child_raises_and_drops_no_budget(counter: Counter) -> None:
    first = metered(euros("10", calls=3))
    lower, raised = euros("9", calls=3), euros("11", calls=3)
    counter.denied(Reason.BUDGET_RAISED, 1, [first, under(first, ALICE, BOB, raised)], BOB)
    counter.denied(Reason.LIMIT_DROPPED, 1, [first, under(first, ALICE, BOB, calls(3))], BOB)
    counter.allowed([first, under(first, ALICE, BOB, lower)], BOB)
