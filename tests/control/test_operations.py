"""The page for operators runs as it stands, and says what it shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.pages import play


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.timeout(400)
def test_every_block_runs_and_says_what_the_page_shows(tmp_path: Path) -> None:
    play("operations.md", tmp_path, more_than=6, seconds=390)
