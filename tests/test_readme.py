"""What the README shows runs as shown, and what it says of itself holds."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_block_of_python_runs_and_says_what_it_should() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    done = subprocess.run([sys.executable, "-c", blocks[0]], cwd=ROOT, capture_output=True, text=True, check=True)
    sent, refused = done.stdout.splitlines()
    assert sent == "sent 20"
    assert refused.startswith("DENY: hop 0: `bank.transfer` argument `amount`")


def test_every_link_to_a_file_leads_somewhere() -> None:
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/adr/*.md"), ROOT / "benchmarks/README.md"]
    links = [
        (page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    ]
    assert len(links) > 10
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


def test_the_reference_is_drawn_from_the_code() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, env={"PYTHONPATH": "."}, check=False
    )
    assert done.returncode == 0, "run `python docs/generate.py`"
