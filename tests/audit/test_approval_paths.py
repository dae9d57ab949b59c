"""Approval paths, as documented from a bundle."""

from __future__ import annotations

import json
from pathlib import Path

from chain import bundles
from chain.bundle import SCHEMA, load
from chain.policypaths import cell, markdown, paths
from tests.audit.conftest import Run

HOSTILE = """@id("x.gate")
@description("a | b <img onerror=alert(1)>
# c")
@approval("3")
forbid (principal, action == Chain::Action::"act", resource)
when { resource.target == "```" };
"""


def test_the_shipping_bundle_documents_itself(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    assert run("policy", "init", folder).exit_code == 0
    told = json.loads(run("policy", "approvals", folder, "--json").stdout)
    assert told["gates"][0]["id"] == "approval.critical"
    assert {rule["id"] for rule in told["approvers"]} == {"approver.human", "approver.own-behalf"}
    text = run("policy", "approvals", folder, "--md").stdout
    assert "| `approval.critical` | 2 | act |" in text
    assert "// " not in text.splitlines()[0]
    assert "2 people, to act (approval.critical)" in run("policy", "approvals", folder).stdout


def test_the_active_bundle_is_documented(run: Run, kept: Path) -> None:
    assert "approval.money" in run("policy", "approvals", "--md", "--ledger", kept).stdout


def test_an_authors_words_stay_in_their_cell_and_a_rules_text_in_its_block() -> None:
    files = {SCHEMA: bundles.default()[SCHEMA], "x.cedar": HOSTILE}
    lines = list(markdown(paths(load(files))))
    (row,) = [line for line in lines if line.startswith("| `x.gate`")]
    assert row == r"| `x.gate` | 3 | act | a \| b \<img onerror=alert(1)\> # c |"
    assert lines.count("````") == 2, "a fence longer than any in the rule"


def test_a_bundle_that_asks_nobody_says_so() -> None:
    files = {SCHEMA: bundles.default()[SCHEMA], "x.cedar": '@id("x")\npermit (principal, action, resource);\n'}
    assert list(markdown(paths(load(files))))[-1] == "No rule of this policy asks people."
    assert cell("plain") == "plain"
