from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from chain.cli import demo as module
from chain.cli import main
from chain.cli.demo_story import STEPS, Outcome, Step, Story, Told
from tests.cli.conftest import command, run
from tests.demonstration import Played

TOLD = [
    ("alice", "ISSUED", "", None),
    ("orchestrator", "DELEGATED", "", None),
    ("orchestrator", "DELEGATED", "", None),
    ("researcher", "DELEGATED", "", None),
    ("reader", "ALLOW", "", None),
    ("payments", "DELEGATED", "", None),
    ("researcher", "ALLOW", "", None),
    ("clerk", "ALLOW", "", None),
    ("clerk", "DENY", "replay", 2),
    ("clerk", "DENY", "constraint_violated", 2),
    ("researcher", "DENY", "constraint_violated", 1),
    ("researcher", "DENY", "tool_not_granted", 1),
    ("clerk", "DENY", "purpose_mismatch", 0),
    ("payments", "REFUSED", "constraint_widened", 2),
    ("clerk", "DENY", "constraint_widened", 3),
    ("thief", "DENY", "holder_mismatch", 2),
    ("orchestrator", "REVOKED", "2 fell", None),
    ("clerk", "DENY", "revoked", 1),
    ("payments", "REFUSED", "revoked", 1),
    ("researcher", "ALLOW", "", None),
    ("reader", "DENY", "expired", 2),
    ("alice", "ISSUED", "", None),
    ("orchestrator", "DELEGATED", "", None),
    ("orchestrator", "DELEGATED", "", None),
    ("payments", "ALLOW", "", None),
    ("clerk", "DENY", "budget_exceeded", 0),
    ("clerk", "ALLOW", "", None),
    ("clerk", "APPROVAL_REQUIRED", "approval_required", None),
    ("ann", "APPROVED", "1 of 2", None),
    ("clerk", "APPROVAL_REQUIRED", "approval_required", None),
    ("ann", "REFUSED", "approver_ineligible", None),
    ("ben", "APPROVED", "2 of 2", None),
    ("clerk", "APPROVAL_REQUIRED", "approval_required", None),
    ("clerk", "ALLOW", "", None),
    ("operator", "SUSPENDED", "", None),
    ("clerk", "DENY", "suspended", 1),
    ("payments", "ALLOW", "", None),
    ("idp", "SIGNALLED", "risk is high", None),
    ("payments", "DENY", "policy_denied", None),
    ("operator", "ACTIVATED", "", None),
    ("researcher", "DENY", "policy_denied", None),
    ("researcher", "ALLOW", "", None),
]
"""The story as it is published; written down here once more, so that it cannot change unseen."""


def test_every_step_comes_out_as_published(demonstration: Played) -> None:
    steps = demonstration.report["steps"]
    assert [(step["who"], step["effect"], step["reason"], step["hop"]) for step in steps] == TOLD
    assert [step["step"] for step in steps] == list(range(1, len(TOLD) + 1))
    assert all(step["as_told"] and step["ms"] > 0 and step["detail"] for step in steps)
    assert demonstration.report["as_told"] is True
    assert demonstration.report["seconds"] < 60
    assert demonstration.report["kept"] == str(demonstration.folder)


def test_over_asking_names_field_parent_and_child(demonstration: Played) -> None:
    refused = [step for step in demonstration.report["steps"] if "field" in step]
    assert [(step["field"], step["parent"], step["child"]) for step in refused] == [
        ("tools.bank.pay.amount", "from 0 up to 100", "from 0 up to 5000")
    ]


def test_what_is_kept_is_its_owners_alone(demonstration: Played) -> None:
    for path in (demonstration.folder, *demonstration.folder.iterdir(), *(demonstration.folder / "keys").glob("*.key")):
        if path.suffix not in {".log", ".jwk"}:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_no_token_and_no_secret_is_in_the_servers_log(demonstration: Played) -> None:
    log = (demonstration.folder / "server.log").read_text()
    assert log.count("\n") > len(TOLD)
    secrets = [path.read_text().strip() for path in (demonstration.folder / "secrets").iterdir()]
    tokens = [token for path in (demonstration.folder / "chains").iterdir() for token in path.read_text().split()]
    assert len(secrets) >= 7
    assert len(tokens) >= 5
    assert not [text for text in (*secrets, *tokens) if text in log]


def test_a_directory_that_holds_something_is_refused(demonstration: Played) -> None:
    ended = run("demo", "--keep", demonstration.folder)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"chain: `{demonstration.folder}` is not empty (request_invalid)\n"


def test_text_fits_80_columns_and_has_no_colour_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEPS", STEPS[:3])
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 0, result.output
    assert "all 3 steps came out as told" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "\x1b" not in result.stdout


def test_a_step_that_comes_out_otherwise_is_shown_and_ends_in_1(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = STEPS[1]._replace(expected=Told("REFUSED", "tool_added", 1))
    monkeypatch.setattr(module, "STEPS", (STEPS[0], wrong))
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 1
    assert "NOT AS TOLD: REFUSED tool_added at hop 1 was to come of it" in result.stdout
    assert "1 of 2 steps did not come out as told" in result.stdout
    monkeypatch.setattr(module, "STEPS", STEPS[:2])
    assert CliRunner().invoke(main, ["demo"]).exit_code == 0


def test_a_server_that_dies_in_the_middle_is_no_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(story: Story) -> Outcome:
        server = story.stage._server
        assert server is not None
        server.kill()
        server.wait()
        return Outcome(Told("ALLOW"), 0.0)

    steps = (STEPS[0], Step("nobody", "kill the server", Told("ALLOW"), die), STEPS[1])
    monkeypatch.setattr(module, "STEPS", steps)
    result = CliRunner().invoke(main, ["demo", "--json"])
    report = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [step["effect"] for step in report["steps"]] == ["ISSUED", "ALLOW", "ERROR"]
    assert report["steps"][2]["reason"] == "unreachable"


def test_a_demonstration_that_is_ended_takes_its_server_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    with subprocess.Popen(command("demo", "--keep", folder), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("A server answers on ")
        process.terminate()
        process.stdout.read()
        assert process.wait(20) == 143
    assert '"stopped"' in (folder / "server.log").read_text()
