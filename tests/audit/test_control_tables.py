"""The tables of controls: whole, honest, and held to the tests that they name."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from chain.controls import MECHANISMS
from chain.framework import FRAMEWORKS, Item, Label
from chain.mechanismcall import OF_CALLS
from chain.mechanismrun import OF_OPERATION
from chain.reason import Reason
from chain.watch import KINDS

ROOT = Path(__file__).parents[2]
ITEMS = [item for framework in FRAMEWORKS.values() for item in framework.items]
TESTS = sorted({test for one in MECHANISMS.values() for test in one.tests})

NO_REFUSALS = {Reason.ALLOWED}
OF_NO_MECHANISM = {
    # what a caller sends that is no request, and how it asks: nothing that a framework speaks of
    *(Reason.CHAIN_EMPTY, Reason.TOKEN_TOO_LARGE, Reason.CHAIN_TOO_LARGE, Reason.CHAIN_TOO_DEEP),
    *(Reason.GRANT_TOO_LARGE, Reason.DIGEST_UNKNOWN, Reason.REVISION_UNKNOWN, Reason.REQUEST_INVALID),
    *(Reason.NOT_FOUND, Reason.CONFLICT, Reason.CURSOR_INVALID, Reason.CONSUMER_SLOW, Reason.SIGNER_UNAVAILABLE),
    *(Reason.KEY_RING_MISSING, Reason.KEY_RING_UNAVAILABLE, Reason.KEY_STATE_INVALID, Reason.SIGNING_KEY_MISSING),
}


def test_every_framework_is_whole() -> None:
    assert {name: len(one.items) for name, one in FRAMEWORKS.items()} == {
        "sp-800-207": 7,
        "owasp-asi": 10,
        "owasp-nhi": 10,
        "maestro": 7,
        "ai-rmf": 19,
    }
    for framework in FRAMEWORKS.values():
        assert len({item.id for item in framework.items}) == len(framework.items)


@cache
def collected(file: str) -> frozenset[str]:
    """The tests of a file, by name."""
    tree = ast.parse((ROOT / file).read_text())
    functions = (node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def test_every_mechanism_names_tests() -> None:
    assert len(MECHANISMS) == len(OF_CALLS) + len(OF_OPERATION) > 30
    assert len(TESTS) > 60
    assert all(one.tests for one in MECHANISMS.values())


@pytest.mark.parametrize("test", TESTS)
def test_every_test_that_is_named_is_there(test: str) -> None:
    file, name = test.split("::")
    assert file.rpartition("/")[2].startswith("test_")
    assert name in collected(file)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.id)
def test_an_item_rests_on_mechanisms_that_are_there_or_says_that_it_is_not_answered(item: Item) -> None:
    assert {*item.by, *item.also} <= MECHANISMS.keys()
    assert set(item.by).isdisjoint(item.also)
    assert bool(item.by) is (item.label is not Label.OUTSIDE)


def test_what_is_only_contained_says_what_it_is_not() -> None:
    contained = [item for item in ITEMS if item.label is Label.CONTAINED]
    assert len(contained) > 8
    assert all(item.limit for item in contained)


def test_every_mechanism_answers_something() -> None:
    assert {name for item in ITEMS for name in (*item.by, *item.also)} == MECHANISMS.keys()


def test_every_refusal_is_somebodys_work() -> None:
    claimed = {reason for one in MECHANISMS.values() for reason in one.reasons}
    assert claimed == set(Reason) - NO_REFUSALS - OF_NO_MECHANISM
    assert {kind for one in MECHANISMS.values() for kind in one.kinds} == KINDS - {"resumed"}


def test_what_can_be_switched_off_says_what_switches_it_on() -> None:
    assert all(bool(one.setting) is (one.on is not None) for one in MECHANISMS.values())
    assert sum(one.on is not None for one in MECHANISMS.values()) == 14
