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


def anchors(page: Path) -> set[str]:
    """The names by which GitHub lets others point at a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_to_a_file_leads_somewhere() -> None:
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/adr/*.md"), ROOT / "benchmarks/README.md"]
    found = [
        (page, *link)
        for page in pages
        for link in re.findall(r"\]\(([^)#:]*)#?([^):]*)\)", page.read_text(encoding="utf-8"))
    ]
    lost = []
    for page, file, anchor in found:
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append((page.name, f"{file}#{anchor}"))
    assert lost == []
    assert len(found) > 50
    assert sum(bool(anchor) for _, _, anchor in found) > 10


def test_every_decision_stands_in_the_index() -> None:
    index = (ROOT / "docs/adr/README.md").read_text(encoding="utf-8")
    files = sorted(page.name for page in ROOT.glob("docs/adr/0*.md"))
    assert re.findall(r"\]\((0[^)]*)\)", index) == files
    assert [int(name[:4]) for name in files] == list(range(1, len(files) + 1))


def test_the_reference_is_drawn_from_the_code() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, env={"PYTHONPATH": "."}, check=False
    )
    assert done.returncode == 0, "run `python docs/generate.py`"
