"""Rules worth a second look: those that change no answer, and those that permit everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from chain.bundles import default
from chain.cli import main
from chain.policylint import lint
from tests.policy.folder import bundle, policy

ALL = '@id("all") permit (principal, action == Chain::Action::"read", resource) when { principal.risk != "high" };'
SHADOWED = """
@id("some") permit (principal, action == Chain::Action::"read", resource)
when { principal.risk != "high" && resource.target == "mail" };
"""
NEVER = """
@id("never") forbid (principal, action == Chain::Action::"read", resource)
when { principal.risk == "low" && principal.risk == "high" };
"""
OTHERS = (
    '@id("never-mail") forbid (principal, action == Chain::Action::"read", resource) when { resource.target == "m" };'
)


@pytest.mark.parametrize(("seeded", "name"), [(SHADOWED, "some"), (NEVER, "never")])
def test_a_rule_that_changes_no_answer_is_found(seeded: str, name: str) -> None:
    found = lint(policy(bundle(ALL + seeded)))
    assert [(one.rule, one.kind) for one in found] == [(name, "idle")]
    assert (found[0].file, found[0].line > 1) == ("rules.cedar", True)


def test_rules_that_each_matter_are_not() -> None:
    assert lint(policy(bundle(ALL + OTHERS))) == ()
    assert lint(policy(default())) == ()


def test_a_permit_of_everything_is_found() -> None:
    found = lint(policy(bundle('@id("open") permit (principal, action, resource);')))
    assert [(one.rule, one.kind) for one in found] == [("open", "unconditional")]


def test_the_command_says_so(tmp_path: Path) -> None:
    for name, text in bundle(ALL + NEVER).items():
        (tmp_path / name).write_text(text)
    ended = CliRunner().invoke(main, ["policy", "lint", str(tmp_path), "--json"])
    assert ended.exit_code == 1
    assert [one["rule"] for one in json.loads(ended.stdout)["remarks"]] == ["never"]
    (tmp_path / "rules.cedar").write_text(ALL)
    assert CliRunner().invoke(main, ["policy", "lint", str(tmp_path)]).exit_code == 0
