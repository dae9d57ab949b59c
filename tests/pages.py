"""Plays a page of docs/: every block as it stands, one after the other in one shell, beside what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MARK = "-- block "
TRAP = """trap 'echo "exit $?: $BASH_COMMAND" >&2' ERR\n"""


def play(name: str, folder: Path, *, more_than: int, seconds: int) -> str:
    """Run the blocks of a page in a folder that looks like the repository after the README's line.

    Every line that a block of text shows was said by the block before it; a command ends with 1 where the page says
    `# denied`, and with 0 elsewhere.

    Args:
        name: of the page.
        folder: an empty one.
        more_than: blocks that the page has at least, and one more.
        seconds: that it may take.
    """
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(sh|text)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    _install(folder)
    script, shown = TRAP, []
    for number, (kind, text) in enumerate(blocks):
        if kind == "sh":
            script += f"echo '{MARK}{number}'\n{text}"
        else:
            shown.append((number - 1, text.splitlines()))
    environment = {name: value for name, value in os.environ.items() if name != "BIN" and not name.startswith("CHAIN_")}
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\n{script}"],
        cwd=folder,
        env=environment | {"TMPDIR": str(folder), "CHAIN_TIMEOUT": "30"},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    said = dict(re.findall(rf"^{MARK}(\d+)\n(.*?)(?=^{MARK}|\Z)", done.stdout, re.DOTALL | re.MULTILINE))
    assert len(said) == sum(kind == "sh" for kind, _ in blocks) > more_than, done.stdout
    for number, lines in shown:
        assert [line for line in said[str(number)].splitlines() if line in lines] == lines, said[str(number)]
    failed = re.findall(r"^exit (\d+): (.*)$", done.stdout, re.MULTILINE)
    assert [code for code, _ in failed] == ["1"] * page.count("# denied"), done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def _install(folder: Path) -> None:
    tools = folder / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name, arguments in (("chain", "-m chain"), ("python", "")):
        launcher = tools / name
        launcher.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" {arguments} "$@"\n')
        launcher.chmod(0o755)
    (folder / "examples").symlink_to(ROOT / "examples")
