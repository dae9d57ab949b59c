"""What the page is told: whole, and counted where it is not."""

from __future__ import annotations

from typing import Any

import pytest

from chain.errors import InvalidRequestError
from chain.graph import review
from chain.graph.forest import Forest
from chain.history import History
from chain.note import NoteError, NoteKey
from chain.report import log, reviewed, shown
from chain.report.content import EVENT, NODE
from tests.report.ledgers import KEY, START, Told, checkpoint


def rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


@pytest.fixture
def told() -> Told:
    told = Told()
    told.enrol("k1", "spiffe://a.test/one")
    told.give("root", None, "k1", 1)
    told.give("leaf", "root", "k2", 2, grant={"tools": {"bank.pay": {}}})
    told.give("other", None, "k3", 3, facts={"txn": "t2"})
    told.call("c1", "leaf", 4)
    told.call("c2", "leaf", 5, reason="revoked", findings=[["revoked", 1, "revoked"]])
    told.call("c3", "other", 6)
    told.call("c4", "", 7, reason="signature_invalid")
    told.write("refused", 8, method="Delegate", target="x", leaf="leaf", holder="k2", reason="tool_added", hop=2,
               field="tools.web", asked="`web`", granted="`bank.pay`", caller="agents")  # fmt: skip
    return told


def test_every_delegation_and_every_ask_is_there_with_its_record(told: Told) -> None:
    found = told.told()
    nodes, events = rows(found["nodes"]), rows(found["events"])
    assert found["nodes"]["columns"] == NODE
    assert found["events"]["columns"] == EVENT
    assert [(one["id"], one["parent"], one["record"], one["calls"]) for one in nodes] == [
        ("root", -1, 2, 0),
        ("leaf", 0, 3, 1),
        ("other", -1, 4, 1),
    ]
    assert [found["losses"][one["narrowed"]] for one in nodes] == [(), ("without `mail.read`",), ()]
    assert [(one["record"], one["effect"], one["node"], one["reason"]) for one in events] == [
        (5, "ALLOW", 1, "allowed"),
        (6, "DENY", 1, "revoked"),
        (7, "ALLOW", 2, "allowed"),
        (8, "DENY", -1, "signature_invalid"),
        (9, "REFUSED", 1, "tool_added"),
    ]
    assert events[-1]["detail"] == "tools.web: asked `web`, granted `bank.pay`"
    assert found["origin"]["options"] == "--ledger 'a b'"


def test_of_one_task_only_what_belongs_to_it(told: Told) -> None:
    found = told.told(task="t2")
    assert [one["id"] for one in rows(found["nodes"])] == ["other"]
    assert [one["record"] for one in rows(found["events"])] == [7]


def test_earlier_allowed_calls_are_counted_and_refusals_always_listed(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chain.report.content.MAX_ALLOWED", 1)
    found = told.told()
    assert found["unlisted"] == 1
    assert [one["record"] for one in rows(found["events"])] == [6, 7, 8, 9]
    assert rows(found["nodes"])[1]["calls"] == 1  # counted where it was made
    assert [entry.revision for entry in shown(found, told.entries)] == [1, 2, 3, 4, 6, 7, 8, 9]


def test_more_than_a_page_holds_is_refused_with_what_to_ask_instead(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chain.report.content.MAX_DELEGATIONS", 2)
    with pytest.raises(InvalidRequestError, match="--task"):
        told.told()
    assert len(told.told(task="t1")["nodes"]["rows"]) == 2


def test_findings_are_facts_with_their_records(told: Told) -> None:
    told.write("suspended", 9, scope="task", name="t2", mode="suspended", cause="odd", until=0, author="ops")
    told.call("c5", "leaf", 10, reason="policy_denied")
    found = {(one["kind"], one["record"], one["node"]) for one in told.told()["findings"]}
    assert {("stopped", 10, -1), ("refused often", 11, 1), ("used after its end", 6, 1), ("nobody's", 3, 1)} <= found
    assert not any(kind == "unused" for kind, _, _ in found)
    told.give("idle", None, "k1", 11)
    assert ("unused", 12, 3) in {(one["kind"], one["record"], one["node"]) for one in told.told()["findings"]}


def test_an_access_review_takes_the_place_of_what_is_known_without_it(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.give("idle", None, "k1", 11, life=900_000)
    before = told.told(now=2_000)
    rows = review.review(Forest(History(told.entries, START + 2_000), START + 2_000))
    after = reviewed(before, rows)
    assert {"unused", "nobody's"} <= {one["kind"] for one in before["findings"]}
    assert not {"unused", "nobody's"} & {one["kind"] for one in after["findings"]}
    assert ("NHI5 unused", 10, 3) in {(one["kind"], one["record"], one["node"]) for one in after["findings"]}
    assert {one["kind"] for one in after["findings"]} >= {"used after its end", "NHI1 orphaned", "NHI7 overlong"}
    assert after["more_findings"] == 0
    monkeypatch.setattr("chain.report.content.MAX_FINDINGS", 2)
    assert reviewed(before, rows)["more_findings"] == len(after["findings"]) - 2
    assert {one["node"] for one in reviewed(told.told(now=2_000, task="t2"), rows)["findings"]} <= {0}


def test_approvals_tell_who_spoke_and_where_it_was_used(told: Told) -> None:
    asked = {"id": "a1", "binding": "b", "tool": "bank.pay", "demands": [["policy:x", 1, []]], "expires": START + 99}
    told.write("approval_requested", 10, **asked, holder="k2", amount="90 EUR", task="t1")
    spoken = {
        "id": "a1",
        "verdict": "approve",
        "state": "approved",
        "approver": "spiffe://a.test/ann",
        "emergency": True,
    }
    told.write("approval_resolved", 11, **spoken, justification="flood")
    told.write("approval_consumed", 12, id="a1", binding="b")
    (one,) = told.told()["approvals"]
    assert (one["state"], one["demands"], [word["who"] for word in one["words"]]) == (
        "approved",
        ["1 by policy:x"],
        ["spiffe://a.test/ann"],
    )
    assert [use["record"] for use in one["uses"]] == [12]
    assert "emergency" in {finding["kind"] for finding in told.told()["findings"]}
    assert told.told(task="t2")["approvals"] == []


def test_a_log_is_of_its_own_key_and_tells_the_hashes_of_what_is_not_held(told: Told) -> None:
    note, leaves = checkpoint(told.entries)
    found = log(note, KEY, leaves, {1, 2, 3})
    assert found["others"]["records"] == [4, 5, 6, 7, 8, 9]
    assert log(note, KEY, leaves, set(range(1, 10)))["others"]["records"] == []
    with pytest.raises(NoteError):
        log(note, NoteKey("another.example", KEY.key), leaves, {1})
