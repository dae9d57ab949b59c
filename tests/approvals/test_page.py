"""The page for approvers: its commands run as they stand, one after the other in one shell, and say what it shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "approvals.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|text)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
TRAP = """trap 'echo "exit $?: $BASH_COMMAND"' ERR\ntrap 'kill $! && wait' EXIT\n"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_every_command_runs_and_says_what_the_page_shows(tmp_path: Path) -> None:
    tools, work = tmp_path / "bin", tmp_path / "work"
    tools.mkdir()
    work.mkdir(mode=0o700)
    launcher = tools / "chain"
    launcher.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m chain "$@"\n')
    launcher.chmod(0o755)
    script = TRAP + "".join(text for kind, text in BLOCKS if kind == "sh")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHAIN_")}
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"],
        cwd=work,
        env=environment | {"PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    said = done.stdout.splitlines()
    for kind, text in BLOCKS:
        if kind == "text":
            assert set(text.splitlines()) <= set(said), done.stdout
    failed = re.findall(r"^exit (\d+): ", done.stdout, re.MULTILINE)
    assert failed == ["1"] * PAGE.count("# denied"), done.stdout
    told = [
        line for line in said if line in ("approved", "denied", "consumed, signed off") or line.startswith("pending: ")
    ]
    pending = 'pending: 1 person more ("policy:approval.critical")'
    assert told == [pending, "approved", "denied", "approved", "consumed, signed off"], done.stdout
    assert sum('"effect":"ALLOW"' in line for line in said) == 2
    assert "approval_denied" in done.stdout
    assert "the bank closes at five" in done.stdout
    assert "Traceback" not in done.stdout
