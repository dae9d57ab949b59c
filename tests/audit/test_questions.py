"""Each question, asked as a user would, of the ledger that the demonstration leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from chain.cli import main
from tests.audit.conftest import Ask

CLERK = "spiffe://demo.example/clerk"


def test_who_did_it(ask: Ask) -> None:
    (paid,) = ask("who", "--tool", "bank.pay", "--effect", "ALLOW")
    assert (paid["principal"], paid["on"], paid["at"]) == (CLERK, "bank", "gate")
    assert len(paid["key"]) == 43
    assert ask("who", "--decision", paid["decision"]) == [paid]
    assert paid in ask("who", "--agent", "spiffe://demo.example/*")
    assert paid in ask("who", "--agent", paid["key"])
    assert paid not in ask("who", "--agent", "spiffe://demo.example/researcher")


def test_what_was_only_kept_as_a_digest_is_proven_by_who_has_it(ask: Ask) -> None:
    (paid,) = ask("who", "--tool", "bank.pay", "--effect", "ALLOW")
    assert paid in ask("who", "--arguments", ' {"amount": 12} ')
    assert paid not in ask("who", "--arguments", '{"amount": 13}')


def test_on_whose_behalf(ask: Ask) -> None:
    rows = ask("for-whom", "--tool", "bank.pay", "--effect", "ALLOW")
    assert [(row["for"], row["owner"], row["task"]) for row in rows] == [("alice", "travel-team", "lisbon")]
    assert rows[0]["root"] > 0


def test_through_which_hops_and_what_each_narrowed(ask: Ask) -> None:
    (paid,) = ask("who", "--tool", "bank.pay", "--effect", "ALLOW")
    hops = ask("path", paid["decision"])
    assert [hop["holder"].rpartition("/")[2] for hop in hops] == ["orchestrator", "payments", "clerk"]
    assert hops[0]["narrowed"] == []
    assert {"without `mail.read`", "without `web.search`", "classes: `act`, `read` → `act`"} < set(hops[1]["narrowed"])
    assert hops[2]["narrowed"] == ["`bank.pay` argument `amount`: from 0 up to 100 → from 0 up to 20"]
    assert ask("path", hops[2]["id"]) == ask("path", hops[2]["id"][:10]) == hops


def test_under_which_policy_and_rules(ask: Ask) -> None:
    rows = ask("rule", "--tool", "bank.pay", "--effect", "ALLOW")
    assert [(row["reason"], row["rules"], row["activated"]) for row in rows] == [("allowed", ["call.act"], 1)]
    assert len(rows[0]["policy"]) > 40


def test_who_approved_exactly_what_and_whether_it_was_used(ask: Ask) -> None:
    rows = ask("approvals")
    said = [(row["who"].rpartition("/")[2], row["said"], row["amount"]) for row in rows]
    assert said == [("ann", "approve", "90 EUR"), ("ben", "approve", "90 EUR"), ("", "used", "90 EUR")]
    assert len({row["binding"] for row in rows}) == 1
    (used,) = ask("who", "--decision", rows[-1]["decision"])
    assert used["effect"] == "ALLOW"
    assert ask("approvals", "--decision", used["decision"]) == rows
    assert ask("approvals", "--tool", "web.search") == []


def test_what_could_still_be_done_and_what_could_before(ask: Ask) -> None:
    before = ask("who", "--tool", "bank.pay", "--effect", "ALLOW")[0]["time"]
    rows = ask("could", CLERK, "--at", str(before))
    assert [(row["tool"], row["arguments"]) for row in rows] == [("bank.pay", {"amount": "from 0 up to 20"})]
    assert ask("could", CLERK) == [], "what it had was revoked with all above it"
    assert ask("could", "spiffe://demo.example/orchestrator", "--tool", "web.search")
    assert ask("could", "spiffe://demo.example/people/ann") == [], "she holds nothing"


def test_what_was_tried_and_refused(ask: Ask) -> None:
    rows = ask("attempts")
    reasons = {row["reason"] for row in rows}
    assert {"replay", "constraint_violated", "tool_not_granted", "holder_mismatch", "constraint_widened"} <= reasons
    widened = next(row for row in rows if row["tried"] == "Delegate")
    assert widened["detail"].startswith("tools.bank.pay.amount: asked from 0 up to 5000, granted")
    assert {row["principal"] for row in ask("attempts", "--agent", CLERK)} == {CLERK}
    assert not any(row["tried"] == "Delegate" for row in ask("attempts", "--tool", "bank.pay"))


def test_every_row_names_the_record_that_shows_it(ask: Ask) -> None:
    asked = 0
    for words in (("who",), ("for-whom",), ("rule",), ("approvals",), ("attempts",), ("could", "spiffe://**")):
        rows = ask(*words) if words[0] != "could" else ask("could", "spiffe://demo.example/**")
        assert rows
        assert all(row["record"] > 0 for row in rows)
        asked += len(rows)
    assert asked > 40


def test_nothing_is_known_before_anything_happened(ask: Ask) -> None:
    for question in ("who", "for-whom", "rule", "approvals", "attempts"):
        assert ask(question, "--at", "1970-01-02") == []
        assert ask(question)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["path", "nothing-like-this"], 1),
        (["path", "x"], 1),
        (["path", "-an-id-that-begins-with-a-dash"], 1),
        (["could", "spiffe://demo.example/clerc"], 1),
        (["could", "-an-id-that-begins-with-a-dash"], 1),
        (["prove", "-an-id-that-begins-with-a-dash", "--out", "one"], 1),
        (["who", "--at", "yesterday"], 2),
        (["who", "--arguments", "{"], 2),
        (["who", "--key", "x+00000000+y"], 2),
        (["who", "--export", "/nowhere"], 2),
    ],
)
def test_bad_input_is_told(words: list[str], code: int, kept: Path) -> None:
    result = CliRunner().invoke(main, ["audit", *words, "--ledger", str(kept)])
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(("chain: ", "Usage"))


def test_as_text_it_is_a_table(kept: Path) -> None:
    result = CliRunner().invoke(main, ["audit", "who", "--ledger", str(kept), "--effect", "ALLOW"])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split() == ["record", "time", "principal", "did", "on", "effect"]
    hops = CliRunner().invoke(main, ["audit", "path", "--ledger", str(kept), "nope"])
    assert hops.exit_code == 1


def test_no_token_and_no_argument_stands_in_a_record(kept: Path) -> None:
    from chain.cli.kept import Kept  # noqa: PLC0415

    with Kept(kept) as authority, authority.watch(0) as news:
        bodies = [told.body for told in news]
    chains = [line.encode() for file in (kept / "chains").iterdir() for line in file.read_text().splitlines()]
    assert len(chains) > 5
    assert len(bodies) > 30
    for body in bodies:
        assert not any(token in body or token.rpartition(b".")[2] in body for token in chains)
        assert b'"arguments":{' not in body.replace(b'"arguments":{}', b"")
    assert json.loads(bodies[-1])
