"""`chain watch --help` names every kind that there is."""

from __future__ import annotations

from click.testing import CliRunner

from chain.cli import main
from chain.watch import KINDS


def test_the_help_names_every_kind() -> None:
    text = CliRunner().invoke(main, ["watch", "--help"]).output
    assert [kind for kind in KINDS if kind not in text] == []
    assert len(KINDS) >= 15
