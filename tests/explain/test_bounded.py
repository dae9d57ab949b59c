"""A search does no more than it may, however deep the chain and however many things stand against the call."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import pytest

from chain import counterfactual, simulate, trial
from chain.applied import applied
from chain.bundles import default
from chain.case import Verdict
from chain.explain import Change
from chain.key import KeySigner
from chain.reason import Reason
from chain.seeking import MAX_STEPS, cost, fields
from chain.trial import WORK, Trials
from tests.explain.cases import ACT, HOP
from tests.explain.denied import Denied, ruled
from tests.support import ALICE, NOW, ROOT_KEY, Json, World, child, root, rule, seal, signer

TEN = {f"a{place}": rule("one_of", values=["x", "y"]) for place in range(10)}
"""Arguments of one tool; `z` is none of what they may be."""


@cache
def workers() -> tuple[KeySigner, ...]:
    return tuple(signer(f"worker-{place}") for place in range(64))


def deep(depth: int, tool: str = "bank.pay", arguments: Json | None = None, **rules: str) -> Denied:
    """A call of somebody at the end of a long chain, under the default policy or under some rules."""
    held = workers()[:depth]
    world = World(enrolled=(ROOT_KEY, ALICE, *held))
    if rules:
        ruled(world, **rules)
    else:
        world.authority.policies.activate(world.caller, default())
    tokens = [seal(root(tools={"mail.read": TEN}, holder=held[0], del_max_depth=64, exp=NOW + 90_000))]
    for above, below in pairwise(held):
        tokens.append(seal(child(tokens[-1], below), above))
    return Denied(world, tokens, held[-1], tool=tool, arguments=arguments or {"amount": 3})


def wrong(depth: int, **rules: str) -> Denied:
    """Ten arguments of a tool that every hop grants, none of them permitted."""
    return deep(depth, "mail.read", dict.fromkeys(TEN, "z"), **rules)


def helps(denied: Denied, changes: tuple[Change, ...]) -> None:
    situation = denied.situation
    assert applied(changes, situation).permitted
    for left in changes:
        assert not applied((one for one in changes if one is not left), situation).permitted, left


@pytest.mark.parametrize("depth", [1, 8, 40])
def test_a_tool_that_no_hop_grants_is_found_at_any_depth(depth: int) -> None:
    denied = deep(depth)
    explained = denied.world.authority.explain(denied.world.caller, denied.tokens, denied.request())
    assert explained.decision.reason is Reason.TOOL_NOT_GRANTED
    changes = explained.changes
    assert {f"hops.{hop}.tools.bank.pay" for hop in range(depth)} < {change.field for change in changes}
    assert [len(one) for one in fields(changes)] == [depth, depth, 1]  # the tool, shorter lives, an approval
    helps(denied, changes)


@pytest.mark.parametrize("depth", [1, 8, 40])
def test_ten_wrong_arguments_are_put_right_at_any_depth(depth: int) -> None:
    denied = wrong(depth)
    changes = denied.changes()
    assert {change.field for change in changes} >= {f"arguments.{name}" for name in TEN}
    helps(denied, changes)


def test_a_field_of_every_hop_is_one_step() -> None:
    steps = tuple(Change("grant", f"hops.{hop}.exp", "1", "2", "") for hop in range(64))
    assert cost(steps[:1]) < cost(steps) < cost((*steps[:1], Change("request", "purpose", "", '"a"', "")))
    assert len(steps) > MAX_STEPS > len(fields(steps)) == 1


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What every decision of a search cost: hops, times what each is asked."""
    costs: list[int] = []
    ask: Callable[..., Verdict] = simulate.ask

    def counted(chain: Any, request: Any, *more: Any) -> Verdict:
        costs.append(len(chain) * (1 + len(request.arguments)))
        return ask(chain, request, *more)

    monkeypatch.setattr("chain.simulate.ask", counted)
    monkeypatch.setattr("chain.applied.ask", counted)
    return costs


NEVER = {"never": f"forbid ({HOP});", "nor": f"forbid ({ACT});"}


@pytest.mark.parametrize("depth", [3, 64])
@pytest.mark.parametrize("make", [wrong, deep])
def test_the_work_of_a_search_is_counted(make: Callable[..., Denied], depth: int, asked: list[int]) -> None:
    """Nothing helps here that an agent may be told: the whole of the work is done, and no more."""
    denied = make(depth, **NEVER)
    assert counterfactual.smallest(denied.situation, lambda change: change.kind == "request") == ()
    assert 0 < sum(asked) <= WORK


def test_who_has_too_little_work_left_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    denied = deep(3)
    situation = denied.situation
    changes = counterfactual.smallest(situation)
    assert changes
    trials = Trials(situation)
    assert counterfactual.least(changes, trials) == changes
    more = (*changes, Change("request", "purpose", "", '"a"', "declare a purpose"))
    assert counterfactual.least(more, trials) == changes
    assert counterfactual.least(more, Trials(situation, trials.hops)) == ()
    monkeypatch.setattr(trial, "WORK", trials.hops)
    assert counterfactual.smallest(situation) == ()


def test_a_trial_that_cannot_be_paid_for_tells_nothing() -> None:
    denied = deep(8)
    situation = denied.situation
    trials = Trials(situation, 10_000)
    assert trials.flips(()) is False
    assert trials.flips(counterfactual.smallest(situation)) is True
    trials.left = trials.hops
    assert trials.flips(()) is None
    assert (trials.left, trials.pay(1)) == (0, False)
