"""The auditor's page plays as it stands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.pages import play


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.timeout(120)
def test_page(tmp_path: Path) -> None:
    play("audit.md", tmp_path, more_than=1, seconds=110)
