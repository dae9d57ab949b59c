"""What ships with the package, and what is said of it."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from chain.bundle import SCHEMA, load
from chain.bundles import default

PROJECT = Path(__file__).parent.parent.parent
PAGE = (PROJECT / "docs" / "policy.md").read_text()


def test_a_wheel_contains_the_bundle(tmp_path: Path) -> None:
    wheel = pytest.importorskip("hatchling.builders.wheel", reason="builds a wheel, where the builder is installed")
    (path,) = wheel.WheelBuilder(str(PROJECT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(path).namelist()
    assert {f"chain/bundles/default/{name}" for name in default()} <= set(names)


def test_no_file_of_the_bundle_is_one_that_a_build_leaves_out() -> None:
    """The builder leaves out what version control ignores, by its name here."""
    ignored = (PROJECT / ".gitignore").read_text().split()
    endings = tuple(pattern.removeprefix("*") for pattern in ignored if pattern.startswith("*."))
    assert not [name for name in default() if name.endswith(endings)]


def test_the_page_tells_every_rule_and_every_attribute() -> None:
    assert [name for name in load(default()).rules if f"`{name}`" not in PAGE] == []
    body = re.sub(r"//[^\n]*", "", default()[SCHEMA])
    declared = set(re.findall(r"(\w+)\??: (?:String|Long|Bool|decimal|Set<\w+>|Principal|Delegation)", body))
    words = set(re.findall(r"\w+", PAGE))
    assert declared - words == set()
