"""The change that explain tells is made, and the answer flips: for every kind of denial, supposed and real."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from chain.applied import applied
from chain.client import Client
from chain.service.server import ChainServer
from tests.client.running import secret, serving, settings
from tests.explain.cases import ROWS, Row
from tests.explain.denied import written

OVER_A_SERVICE = tuple(row for row in ROWS if row.name not in ("no audience", "no request id"))
"""The point that asks has an audience, and no channel proves a holder to it."""


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_the_change_that_is_told_flips_the_answer(row: Row) -> None:
    denied = row.make()
    before = written(denied.world)
    explained = denied.world.authority.explain(denied.world.caller, denied.tokens, denied.request())
    assert written(denied.world) == before
    assert explained.decision.reason is row.reason, str(explained.decision)
    changes = explained.changes
    assert tuple(sorted(change.kind for change in changes)) == row.kinds, changes
    assert {change.field for change in changes} >= set(row.fields), changes
    situation = denied.situation
    assert not situation.permitted
    assert applied(changes, situation).permitted
    for left in changes:
        assert not applied((one for one in changes if one is not left), situation).permitted, left
    assert denied.ask().reason is row.reason
    if row.real:
        decision = denied.really(changes).ask()
        assert decision.allowed, str(decision)


@pytest.mark.parametrize("row", OVER_A_SERVICE, ids=[row.name for row in OVER_A_SERVICE])
def test_a_service_tells_the_same_change(row: Row, tmp_path: Path) -> None:
    denied = row.make()
    own = denied.world.authority.explain(denied.world.caller, denied.tokens, denied.request())
    server = serving(lambda: ChainServer(denied.world.authority, settings(tmp_path), log=io.StringIO()))
    with server as running, Client(running.address, secret("point"), timeout=20) as client:
        told = client.explain(denied.tokens, denied.request())
        again = client.explain(denied.tokens, denied.really(()).request())
    assert told.changes == own.changes == again.changes != ()
    assert applied(told.changes, denied.situation).permitted
    assert (told.decision.reason, told.decision.rules) == (own.decision.reason, own.decision.rules)
    assert [hop.rules for hop in told.hops] == [hop.rules for hop in own.hops]
