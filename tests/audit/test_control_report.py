"""The report: what is on, what is off, what the record shows, and what people have to do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chain.cli.controls import _markdown, _text
from chain.cli.output import printable
from chain.configuration import Configuration
from chain.controls import MECHANISMS, Report, State, report
from chain.framework import FRAMEWORKS, Label
from chain.given import Entry
from chain.history import History
from tests.audit.conftest import Run

FULL = Configuration(
    policy="digest",
    gates=1,
    profile="sound",
    kept=True,
    mutual_tls=True,
    calls=600,
    denials=5,
    delegations=100,
    outstanding=1000,
    lifetime=900,
    must_name=("owner", "purposes", "task"),
    transmitters=1,
    checkpoints=True,
    witnessed=True,
)

OFF: dict[str, dict[str, Any]] = {
    "attenuation": {"profile": "aat-01"},
    "workload identity": {"mutual_tls": False},
    "trust domains": {"mutual_tls": False},
    "short life": {"lifetime": 3601},
    "accountable roots": {"must_name": ("owner", "task")},
    "classes": {"shadow": ("class",)},
    "policy": {"policy": ""},
    "approval": {"gates": 0},
    "circuit breaker": {"denials": 0},
    "rate limits": {"outstanding": 0},
    "signals": {"transmitters": 0},
    "record": {"kept": False},
    "tamper evidence": {"checkpoints": False},
    "witness": {"witnessed": False},
}


def of(told: Configuration | None, *entries: Entry, now: float = 100.0) -> Report:
    return report(History(entries), told, now)


def test_where_all_is_on_there_is_no_gap() -> None:
    found = of(FULL)
    assert len(found.rows) == 53
    assert found.gaps == ()
    assert {one.state for one in found.shown} == {State.ON}
    assert not any(row.weaker for row in found.rows)


def test_everything_that_can_be_switched_off_is_tried() -> None:
    assert OFF.keys() == {name for name, one in MECHANISMS.items() if one.on is not None}


@pytest.mark.parametrize("name", OFF)
def test_a_control_that_is_switched_off_turns_its_rows_into_gaps(name: str) -> None:
    found = of(replace(FULL, **OFF[name]))
    rests = {row.item.id for row in found.rows if name in row.item.by}
    gaps = {row.item.id for row in found.gaps if name in row.off}
    assert gaps == rests
    assert {row.item.id for row in found.rows if name in row.weaker} == {
        row.item.id for row in found.rows if name in row.item.also
    }
    assert rests | {row.item.id for row in found.rows if row.weaker}, "it is somebody's loss"


@pytest.mark.parametrize(("kind", "name"), [("policy", "policy"), ("class", "classes")])
def test_what_is_in_shadow_is_off(kind: str, name: str) -> None:
    found = of(replace(FULL, shadow=(kind,)))
    assert {row.off for row in found.gaps} == {(name,)}


def test_what_nobody_tells_is_unknown_and_never_taken_for_on() -> None:
    found = of(None)
    unknown = {row.item.id for row in found.rows if row.state is State.UNKNOWN}
    switched = {row.item.id for row in found.rows if any(MECHANISMS[name].on for name in row.item.by)}
    assert unknown == switched
    assert len(unknown) > 20
    assert found.gaps == ()


def test_a_refusal_is_evidence_of_what_it_is_the_work_of() -> None:
    calls = [
        Entry(number, "decided", number * 1000, {"effect": effect, "reason": reason, "id": str(number)})
        for number, (effect, reason) in enumerate(
            [("ALLOW", "allowed"), ("DENY", "replay"), ("DENY", "budget_exceeded"), ("DENY", "replay")], 1
        )
    ]
    found = of(FULL, *calls, Entry(5, "refused", 5000, {"method": "Delegate", "reason": "tool_added"}))
    shown = {one.mechanism.name: one.evidence for one in found.shown}
    assert (shown["possession"].refused, shown["possession"].last) == (2, calls[3])
    assert (shown["budgets"].refused, shown["budgets"].last) == (1, calls[2])
    assert shown["attenuation"].refused == 1
    assert shown["every call"].records == 4
    assert (shown["suspension"].refused, shown["suspension"].last) == (0, None)
    rows = {row.item.id: row.evidence for row in found.rows}
    assert (rows["ASI03"].refused, rows["ASI03"].last and rows["ASI03"].last.revision) == (3, 5)


def broken(*words: dict[str, Any]) -> list[Entry]:
    """An approval that was asked for, and what people said."""
    asked = Entry(1, "approval_requested", 1000, {"id": "r1", "tool": "bank.pay"})
    said = [Entry(2 + n, "approval_resolved", 2000 + n, {"id": "r1", **word}) for n, word in enumerate(words)]
    return [asked, *said]


GLASS = {"verdict": "approve", "emergency": True, "approver": "spiffe://a.test/ann", "justification": "flood"}


def test_an_emergency_waits_until_somebody_else_signs_it_off() -> None:
    (one,) = of(FULL, *broken(GLASS)).findings
    assert (one.what, one.record) == ("review", 2)
    assert "flood" in one.detail
    assert of(FULL, *broken(GLASS, {"verdict": "sign_off"})).findings == ()
    (again,) = of(FULL, *broken(GLASS, {"verdict": "sign_off"}, GLASS)).findings
    assert again.record == 4, "a review covers what there was"
    assert of(FULL, *broken({"verdict": "approve"})).findings == ()


def root(name: str = "d1", **facts: str) -> Entry:
    body = {"id": name, "holder": "k1", "issuer": "https://i.test", "signer": "k0", "hop": 0, "iat": 0, "exp": 1000}
    return Entry(1, "issued", 1000, body | {"facts": facts})


KNOWN = Entry(2, "enrolled", 1000, {"holder": "k1", "principal": {"id": "spiffe://a.test/bot", "owner": "team"}})


def test_what_stands_and_nobody_answers_for_is_found() -> None:
    assert of(FULL, root(owner="team"), KNOWN).findings == ()
    assert [one.what for one in of(FULL, root(), KNOWN).findings] == ["owner"]
    assert [one.what for one in of(FULL, root(owner="team")).findings] == ["owner"]
    assert of(FULL, root(), now=2000).findings == (), "it has ended"
    (once,) = of(FULL, root(owner="team"), root("d2", owner="team"), root("d3", owner="team")).findings
    assert once.detail == "nobody answers for `k1`, the holder of d1 and of 2 more"


def test_a_review_that_is_overdue_is_found_until_another_day_is_named() -> None:
    def enrolled(number: int, day: str | None, holder: str = "k1") -> Entry:
        who = {"id": "spiffe://a.test/bot", "owner": "team", "review": day}
        return Entry(number, "enrolled", 1000, {"holder": holder, "principal": who})

    noon = 20_000 * 86_400 + 43_200.0  # of 2024-10-04
    for day in (None, "2024-10-04", "2030-01-01"):
        assert of(FULL, enrolled(1, day), now=noon).findings == ()
    (one,) = of(FULL, enrolled(1, "2024-10-03"), enrolled(2, "2024-10-03", "k2"), now=noon).findings
    assert (one.what, one.record) == ("review", 1)
    assert one.detail == "`spiffe://a.test/bot` was to be reviewed by 2024-10-03; `team` answers for it"
    assert of(FULL, enrolled(1, "2024-10-03"), enrolled(2, "2025-10-03"), now=noon).findings == ()
    gone = Entry(2, "revoked", 2000, {"kind": "holder", "name": "k1", "cause": "left"})
    assert of(FULL, enrolled(1, "2024-10-03"), gone, now=noon).findings == ()
    assert len(of(FULL, enrolled(1, "2024-10-03"), now=1e300).findings) == 1


def test_the_demonstration_has_no_gap_and_its_rows_show_evidence(run: Run, kept: Path) -> None:
    result = run("controls", "report", "--ledger", kept, "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    rows = {row["id"]: row for row in told["rows"]}
    assert len(rows) == 53
    assert rows["ASI03"]["evidence"]["last"]["reason"] == "holder_mismatch"
    assert rows["ASI08"]["weaker"] == ["circuit breaker", "rate limits"]
    assert {row["label"] for row in rows.values()} == {label.value for label in Label}
    assert all(row["tests"] for row in rows.values() if row["label"] != Label.OUTSIDE)
    assert [gate["people"] for gate in told["approval_paths"]["gates"]] == [2, 1, 1, 1, 1]
    for form in ((), ("--md",)):
        text = run("controls", "report", "--ledger", kept, *form)
        assert text.exit_code == 0
        assert "Rogue Agents" in text.stdout
        assert "53 items up to record" in text.stdout
    assert "tests/attacks/test_widening.py::test_constraint_widened" in text.stdout
    assert "approval.critical" in text.stdout


def test_one_framework_is_reported_alone(run: Run, kept: Path) -> None:
    result = run("controls", "report", "--ledger", kept, "--framework", "maestro", "--json")
    assert {row["framework"] for row in json.loads(result.stdout)["rows"]} == {"maestro"}


def test_shadow_in_the_configuration_is_a_gap_and_ends_with_1(run: Run, copied: Path) -> None:
    config = copied / "chain.toml"
    config.write_text('shadow = ["policy"]\n' + config.read_text())
    result = run("controls", "report", "--ledger", copied)
    assert result.exit_code == 1
    assert "off: policy" in result.stdout
    assert "shadow without `policy`" in result.stdout


def test_without_a_policy_its_rows_and_those_of_people_are_gaps(run: Run, copied: Path) -> None:
    assert run("policy", "activate", "--none", "--ledger", copied).exit_code == 0
    result = run("controls", "report", "--ledger", copied, "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert {tuple(row["off"]) for row in told["rows"] if row["state"] == "gap"} == {("policy",), ("approval",)}
    assert told["approval_paths"] is None
    assert run("policy", "approvals", "--ledger", copied).exit_code == 1


def test_what_people_have_to_do_ends_with_1_and_cannot_steer_who_reads_it() -> None:
    words = "\x1b[2J| <b>*x*</b>"
    found = of(FULL, *broken(GLASS | {"justification": words}))
    assert found.gaps == ()
    for lines in (_text(found), _markdown(found, None)):
        text = "\n".join(map(printable, lines))
        assert "nobody signed off" in text
        assert "\x1b" not in text
    assert r"\| \<b\>\*x\*\</b\>" in text
    assert "No policy is active." in text


def test_text_and_markdown_and_json_are_one_at_a_time(run: Run, kept: Path) -> None:
    for command in (("controls", "report"), ("policy", "approvals")):
        assert run(*command, "--md", "--json", "--ledger", kept).exit_code == 2
        assert run(*command, "--md", "--ledger", kept).exit_code == 0


def test_frameworks_are_named_as_the_help_says(run: Run) -> None:
    result = run("controls", "report", "--help")
    assert all(name in result.stdout for name in FRAMEWORKS)
    assert run("controls", "report", "--framework", "iso").exit_code == 2


def test_an_export_shows_evidence_and_does_not_say_how_it_is_configured(run: Run, kept: Path, tmp_path: Path) -> None:
    file = tmp_path / "export"
    assert run("audit", "export", file, "--ledger", kept).exit_code == 0
    result = run("controls", "report", "--export", file, "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["configured"], told["gaps"], told["approval_paths"]) == (0, False, 0, None)
    rows = {row["id"]: row for row in told["rows"]}
    assert (rows["ASI03"]["state"], rows["ASI08"]["state"], rows["NHI4"]["state"]) == ("unknown", "unknown", "on")
    assert rows["ASI03"]["evidence"]["refused"] > 0
    assert "an export does not say" in run("controls", "report", "--export", file).stdout
