"""The service's walk-through, as a reader would run it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_walkthrough_tells_its_story(tmp_path: Path) -> None:
    launcher = tmp_path / "bin" / "chain"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m chain "$@"\n')
    launcher.chmod(0o755)
    folder = tmp_path / "work"
    folder.mkdir(mode=0o700)
    done = subprocess.run(
        ["bash", ROOT / "examples/service/walkthrough.sh", folder],
        env={**os.environ, "BIN": str(launcher.parent)},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    told = [line for line in done.stdout.splitlines() if line.startswith(("ALLOW", "DENY", "VERIFIED", "2 fell"))]
    assert told == [
        "ALLOW",
        "DENY: constraint_violated at hop 1",
        "VERIFIED: every signature and every link holds.",
        "2 fell",
        "DENY: revoked at hop 0",
    ]
