"""The page for operators runs as it stands, and says what it shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|text)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
MARK = "-- block "
TRAP = """trap 'echo "exit $?: $BASH_COMMAND" >&2' ERR\n"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.timeout(400)
def test_every_block_runs_and_says_what_the_page_shows(tmp_path: Path) -> None:
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    launcher = tools / "chain"
    launcher.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m chain "$@"\n')
    launcher.chmod(0o755)
    script, shown = TRAP, []
    for number, (kind, text) in enumerate(BLOCKS):
        if kind == "sh":
            script += f"echo '{MARK}{number}'\n{text}"
        else:
            shown.append((number - 1, text.splitlines()))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHAIN_")}
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"],
        cwd=tmp_path,
        env=environment | {"TMPDIR": str(tmp_path), "CHAIN_TIMEOUT": "30"},
        capture_output=True,
        text=True,
        check=False,
        timeout=390,
    )
    said = dict(re.findall(rf"^{MARK}(\d+)\n(.*?)(?=^{MARK}|\Z)", done.stdout, re.DOTALL | re.MULTILINE))
    assert len(said) == sum(kind == "sh" for kind, _ in BLOCKS) > 6, done.stdout
    for number, lines in shown:
        assert [line for line in said[str(number)].splitlines() if line in lines] == lines, said[str(number)]
    failed = re.findall(r"^exit (\d+): (.*)$", done.stdout, re.MULTILINE)
    assert [code for code, _ in failed] == ["1"] * PAGE.count("# denied"), done.stdout
    assert "Traceback" not in done.stdout
