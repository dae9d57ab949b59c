"""A word handed in twice under one idempotency key: taken once, answered alike, and no argument is kept for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chain.errors import ConflictError, NotFoundError
from chain.store.sqlite import SqliteStore
from tests.approvals.office import ANN, BEN, CAROL, CID, Office, honest
from tests.support import root

SECRET = "patient 4711 has been told"


@pytest.fixture
def kept(tmp_path: Path) -> Office:
    return Office(store=SqliteStore(tmp_path))


def test_a_reply_keeps_no_arguments_and_is_the_same_again(kept: Office) -> None:
    tokens = honest(first=root(tools={"bank.pay": {}}))
    asked = kept.waits(tokens, CAROL, "bank.pay", {"note": SECRET})
    resolve = kept.authority.approvals.resolve
    text = kept.statement(asked, ANN)
    first = resolve(kept.caller, text, ANN.key, "once")
    assert first.action.arguments == {"note": SECRET}
    assert first.action.binding() == first.binding
    (row,) = [row for row in [kept.store.reply(kept.caller.name, "ResolveApproval", "once")] if row is not None]
    assert first.id.encode() in row.reply
    assert SECRET.encode() not in row.reply
    kept.says(asked, BEN)  # what comes later changes no reply
    assert resolve(kept.caller, text, ANN.key, "once") == first
    kept.restart()
    again = kept.authority.approvals.resolve(kept.caller, text, ANN.key, "once")
    assert again == first
    assert len(kept.records(0, "approval_resolved")) == 2
    with pytest.raises(ConflictError):
        kept.authority.approvals.resolve(kept.caller, kept.statement(asked, CID), CID.key, "once")
    kept.authority.close()


def test_the_arguments_are_forgotten_with_the_request(kept: Office) -> None:
    asked = kept.waits(honest())
    text = kept.statement(asked, ANN)
    resolve = kept.authority.approvals.resolve
    resolve(kept.caller, text, ANN.key, "once")
    approvals = kept.authority._desk.live.approvals
    approvals.sweep(asked.expires + 86400)
    assert approvals.get(asked.id) is None
    with pytest.raises(NotFoundError, match="forgotten"):
        resolve(kept.caller, text, ANN.key, "once")
    kept.authority.close()
