"""The guide's blocks run as they stand, one after the other in one shell, and say what it shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|text)\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)

MARK = "-- block "
TRAP = """trap 'echo "exit $?: $BASH_COMMAND" >&2' ERR\n"""


def installed(folder: Path) -> None:
    """Make a folder look like the repository after the README's line."""
    tools = folder / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name, arguments in (("chain", "-m chain"), ("python", "")):
        launcher = tools / name
        launcher.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" {arguments} "$@"\n')
        launcher.chmod(0o755)
    (folder / "examples").symlink_to(ROOT / "examples")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.timeout(180)
def test_every_block_runs_and_says_what_the_guide_shows(tmp_path: Path) -> None:
    installed(tmp_path)
    script, shown = TRAP, []
    for number, (kind, text) in enumerate(BLOCKS):
        if kind == "sh":
            script += f"echo '{MARK}{number}'\n{text}"
        else:
            shown.append((number - 1, text.splitlines()))
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    environment.pop("BIN", None)
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    said = dict(re.findall(rf"^{MARK}(\d+)\n(.*?)(?=^{MARK}|\Z)", done.stdout, re.DOTALL | re.MULTILINE))
    assert len(said) == sum(kind == "sh" for kind, _ in BLOCKS) > 8, done.stdout
    for number, lines in shown:
        assert [line for line in said[str(number)].splitlines() if line in lines] == lines, said[str(number)]
    failed = re.findall(r"^exit (\d+): (.*)$", done.stdout, re.MULTILINE)
    assert [code for code, _ in failed] == ["1"] * GUIDE.count("# denied"), failed
    assert "Traceback" not in done.stdout
    assert "all 42 steps came out as told" in done.stdout
    assert "VERIFIED: every signature and every link holds." in done.stdout
