"""The file itself: what it may load and run, and that a stranger's words are text in it."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from zlib import decompress

import pytest

import chain.report
from chain.report.document import LIVE, SCRIPTS, STYLES, embedded, live_page, live_policy, policy
from tests.report.ledgers import Told, element, written

FOLDER = Path(chain.report.__file__).parent

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>&lt;",
    "[[script]]",
    "a\u2028b\u2029c",
    "\u202egnp.exe",
    "tab\tnul\x00esc\x1b[31m",
    "\ud800",
    "' onclick='alert(1)",
    "javascript:alert(1)",
    "__proto__",
    "é" + "\u0301" * 200,
]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    told = Told()
    for place, name in enumerate(HOSTILE):
        told.enrol(f"k{place}", name)
        told.give(f"d{place}", None, f"k{place}", place + 1, facts={"txn": name, "sub": name})
        told.call(f"c{place}", f"d{place}", place + 1, reason="revoked", findings=[["revoked", 0, name]])
    return written(tmp_path_factory.mktemp("page") / "out.html", _encodable(told), told.told()).read_text()


def _encodable(told: Told) -> list:  # type: ignore[type-arg]
    """Without the lone surrogate, which no record can hold."""
    return [entry for entry in told.entries if "\\ud800" not in json.dumps(entry.body)]


def test_the_policy_lets_only_its_own_script_and_style_run(text: str) -> None:
    named = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert named is not None
    assert named[1] == policy()
    assert named[1].startswith("default-src 'none'; ")
    assert "unsafe" not in named[1]
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert script is not None
    assert style is not None
    for part in (script[1], style[1]):
        assert f"'sha256-{b64encode(sha256(part.encode()).digest()).decode()}'" in named[1]


def test_a_strangers_words_end_no_element_and_begin_none(text: str) -> None:
    assert text.count("<script") == 4
    assert text.count("</script") == 4
    data = element(text, "data")
    assert not set("<>&\u2028\u2029") & set(data)
    assert data.isascii()
    names = [one["name"] for one in json.loads(data)["holders"]]
    assert names == HOSTILE


def test_it_names_nothing_to_load(text: str) -> None:
    own = re.sub(r'<script type="[a-z/-]+" id="\w+">.*?</script>', "", text, flags=re.DOTALL)
    assert not re.findall(
        r"""(?:src|href)=(?!"#main")|url\(|@import|\bfetch\(|XMLHttpRequest|WebSocket|import\(""", own
    )
    assert set(re.findall(r"https?://[^\s\"'`]+", own)) == {"http://www.w3.org/2000/svg"}  # the name of a language


@pytest.mark.parametrize("file", [f"{name}.js" for name in (*SCRIPTS, LIVE)])
def test_no_part_of_the_script_makes_markup_of_text(file: str) -> None:
    source = (FOLDER / file).read_text()
    banned = (
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|new Function|DOMParser|srcdoc|createContextual"
    )
    assert not re.findall(banned, source)
    assert len(source.splitlines()) <= 350


def test_every_part_is_used() -> None:
    there = {path.name for path in FOLDER.iterdir() if path.suffix in {".js", ".css", ".html"}}
    scripts, styles = (*SCRIPTS, LIVE), (*STYLES, LIVE)
    assert there == {*(f"{name}.js" for name in scripts), *(f"{name}.css" for name in styles), "page.html"}


def test_the_live_page_is_the_same_and_asks_its_own_server_alone() -> None:
    live = live_page()
    asked = re.findall(r"\bfetch\(([^,)]*)", live)
    assert asked == ["path"]
    assert set(re.findall(r"""\bask\(["`]([^"`$?]*)""", live)) == {"ui/data", "ui/events", "ui/record"}
    kept = r"localStorage|sessionStorage|indexedDB|document\.cookie|history\.|postMessage|EventSource|sendBeacon"
    assert not re.findall(kept, live)
    assert f'content="{live_policy()}"' in live
    assert "unsafe" not in live_policy()
    assert [element(live, name) for name in ("data", "log", "records")] == ["null", "null", ""]


def test_the_records_are_there_in_their_exact_bytes(text: str) -> None:
    lines = decompress(b64decode(element(text, "records"))).split(b"\n")
    assert [json.loads(line)["revision"] for line in lines[:3]] == [1, 2, 3]


def test_embedded_json_is_json_again() -> None:
    value = {"a": "<&>\u2028\U0001f600", "b": [1, None, True]}
    assert json.loads(embedded(value)) == value


def test_no_part_of_the_script_is_dead() -> None:
    source = "\n".join((FOLDER / f"{name}.js").read_text() for name in SCRIPTS)
    names = re.findall(r"^(?:async )?(?:function|const|let) (\w+)", source, re.MULTILINE)
    assert len(names) > 100
    assert [name for name in names if len(re.findall(rf"\b{name}\b", source)) < 2] == []
