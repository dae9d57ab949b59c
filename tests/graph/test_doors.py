"""The library and the service refuse the same questions, and answer the same otherwise.

The law of this file: whatever a program asks, both doors say the same of it, also where it is not well formed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from chain.caller import embedded
from chain.errors import ChainError, InvalidRequestError
from chain.inquiry import (
    MAX_KEPT,
    Answer,
    Asked,
    Chokepoints,
    ExportGraph,
    LeastCut,
    Lineage,
    Page,
    ReviewAccess,
    WhatCan,
    WhoCan,
    Work,
)
from tests.graph.served import ORCHESTRATOR, RESEARCHER, Told, every


def outcome(ask: Callable[[], Answer]) -> object:
    """Return what came of it: rows with their types, or the error."""
    try:
        found = ask()
    except ChainError as error:
        return type(error), error.detail
    return repr([sorted(row.items()) for row in found.rows]), found.total


def test_what_one_door_refuses_the_other_does(told: Told) -> None:
    whole = Page(at=told.now, limit=1_000)
    bad: tuple[tuple[Asked, Page], ...] = (
        (WhoCan("bank.pay"), Page(at=0.0)),
        (ExportGraph(), Page(at=0.0004)),
        (WhoCan(""), whole),
        (WhoCan("bank.pay", ""), whole),
        (WhatCan(RESEARCHER, ""), whole),
        (Chokepoints(""), whole),
        (ExportGraph(""), whole),
        (Lineage(""), whole),
        (WhatCan("\ud800"), whole),
        (WhoCan("bank.pay"), Page(token="\ud800")),
        (LeastCut(Work(RESEARCHER, "web.search"), (Work("", "x"),)), whole),
        (ExportGraph(limit=0), whole),
        (ExportGraph(limit=-1), whole),
        (ReviewAccess(idle=-1), whole),
        (ReviewAccess(times=float("nan")), whole),
        (WhoCan("bank.pay", arguments={"amount": 2**60}), whole),
    )
    good: tuple[tuple[Asked, Page], ...] = (
        (WhoCan("bank.pay"), Page(at=0.001)),
        (WhoCan("bank.pay"), Page(at=told.now, limit=10**30)),
        (WhatCan(RESEARCHER, "a\0b"), whole),
        (ExportGraph(limit=10**30), whole),
        (LeastCut(Work(RESEARCHER, "web.search"), (Work(ORCHESTRATOR, "web.search"),) * MAX_KEPT), whole),
        *((one, whole) for one in every(told).values()),
    )
    with told.client() as client:
        for number, (one, page) in enumerate((*bad, *good)):
            here = outcome(partial(told.library.ask, embedded(), one, page))
            there = outcome(partial(client.graph.ask, one, page))
            assert here == there, one
            assert (isinstance(here, tuple) and here[0] is InvalidRequestError) is (number < len(bad)), one
