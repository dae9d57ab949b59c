"""The library and the service refuse the same questions, and answer the same otherwise.

The law of this file: whatever a program asks, both doors say the same of it, also where it is not well formed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import msgspec
import pytest

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
from chain.service.graph import GraphMethods
from chain.service.projector import Projector
from chain.wire import graph as wire
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


@pytest.mark.parametrize(("configured", "most"), [(64 << 20, 4 << 20), (4 << 20, 4 << 20), (65_536, 65_536)])
async def test_an_answer_is_one_that_every_client_takes_in(
    told: Told, monkeypatch: pytest.MonkeyPatch, configured: int, most: int
) -> None:
    """A client takes in four megabytes unless it is told otherwise, whatever the server was."""
    asked, page = Lineage(ORCHESTRATOR), Page(at=told.now)
    found = told.library.ask(embedded(), asked, page)
    rows = [found.rows[0] | {"narrowed": ["x" * 30_000]}] * 1_000
    monkeypatch.setattr(Projector, "ask", lambda *_: msgspec.structs.replace(found, rows=rows, total=len(rows)))
    settings = told.server._settings.model_copy(update={"max_message_bytes": configured})
    methods = GraphMethods(told.server._authority, settings, lambda: told.now)
    try:
        message = await methods.methods()["Lineage"](wire.asked_to(asked, page), SimpleNamespace(caller=embedded()))
    finally:
        methods.close()
    assert most - 70_000 < message.ByteSize() <= most
    assert message.answer.next_page_token
    assert message.rows
