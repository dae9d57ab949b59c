"""The guide's blocks run as they stand, one after the other in one shell, and say what it shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.pages import play


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.timeout(180)
def test_every_block_runs_and_says_what_the_guide_shows(tmp_path: Path) -> None:
    said = play("guide.md", tmp_path, more_than=8, seconds=170)
    assert "all 42 steps came out as told" in said
    assert "VERIFIED: every signature and every link holds." in said
