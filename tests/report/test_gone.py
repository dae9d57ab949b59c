"""What a window let go of, as the page says it: counted, and nothing that is shown is told wrongly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.browser import Page
from chain.given import Entry
from chain.report import data
from chain.window import Window
from tests.report.conftest import Open
from tests.report.ledgers import ORIGIN, START, Told, written

FLOOD = 100
NOW = START + 1_000


@pytest.fixture(scope="module")
def flooded() -> Told:
    """One delegation that stands, one that was revoked by name, and a flood of all else."""
    told = Told()
    told.enrol("k1", "spiffe://a.test/boss")
    told.enrol("k2", "spiffe://a.test/lost")
    told.give("root", None, "k1", 1)
    told.give("fell", None, "k2", 2)
    told.write("revoked", 3, kind="holder", name="k2", cause="lost", caller="ops")
    for number in range(FLOOD):
        told.enrol(f"w{number}", f"spiffe://a.test/worker-{number}")
        told.write("revoked", 4, kind="holder", name=f"w{number}", cause="over", caller="ops")
        told.write("suspended", 4 + number, scope="agent", name="k1", mode="suspended", cause="odd", author="ops")
        told.write("lifted", 4 + number + 0.5, scope="agent", name="k1", author="ops")
        told.write("policy_activated", 5, digest=f"p{number}", rules=["call.read"])
        told.write(f"unheard-{number}", 5)
        asked = {"id": f"a{number}", "tool": "bank.pay", "demands": [["policy:x", 1, []]], "expires": START + 900}
        told.write("approval_requested", 5, **asked, holder="k1")
        said = {"verdict": "approve", "state": "approved", "approver": "spiffe://a.test/ann"}
        told.write("approval_resolved", 6, id=f"a{number}", **said)
        told.call(f"c{number}", "root", 200, tool=f"tool-{number}")
    return told


def page(folder: Path, entries: Sequence[Entry], window: Window) -> Path:
    for entry in entries:
        window.take(entry)
    told = data(window, NOW, ORIGIN, gone=window.gone)
    return written(folder / "out.html", entries, told, proven=False)


def words(shown: Page, selector: str) -> str:
    text: str = shown.js(f"document.querySelector({json.dumps(selector)}).innerText")
    return text


def test_a_flood_is_counted_on_the_page_and_what_is_shown_is_true(opened: Open, flooded: Told, tmp_path: Path) -> None:
    window = Window(16, 16, 16)
    shown = opened(page(tmp_path, flooded.entries, window))
    gone, bar = window.gone, words(shown, "#view .bar")
    for text in (
        f"{gone.enrolled} enrolments, {gone.revocations} revocations, {gone.tools} tools that nothing here bears",
        f"{gone.stops} suspensions over before are counted and not shown; how things stood is told from 2023-11-14",
    ):
        assert text in bar
    drawn = shown.js("[...document.querySelectorAll('#graph .node')].map((one) => one.getAttribute('aria-label'))")
    assert [one.split(", ")[0] + one.split(", ")[2] for one in drawn] == ["bosslive", "lostrevoked"]
    assert f"{FLOOD} requests" in words(shown, "#card-approved")
    assert f"{len(window.asked)} approved of the {len(window.asked)} listed" in words(shown, "#card-approved")
    shown.click("#tab-approvals")
    assert words(shown, "#view").startswith(f"{gone.requests} other requests and what was said of them")
    shown.click("#tab-proof")
    assert f"{gone.policies} earlier: counted, not listed." in words(shown, "#view")
    assert f"and {gone.unknown} records of others." in words(shown, "#foot")
    assert gone.requests + len(window.asked) == gone.policies + len(window.policies) == FLOOD
    assert shown.complaints == []


def test_the_slider_begins_where_it_is_known_how_things_stood(opened: Open, flooded: Told, tmp_path: Path) -> None:
    window = Window(16, 16, 16)
    shown = opened(page(tmp_path, flooded.entries, window))
    shown.js("(() => { const one = document.getElementById('moment'); one.value = 0;"
             " one.dispatchEvent(new Event('input', {bubbles: true})); })()")  # fmt: skip
    since = shown.js(f"new Date({window.gone.since}).toISOString().slice(0, 19).replace('T', ' ')")
    assert f"as of {since}Z" in words(shown, "#instant")
    assert "2023-11-14 22:13:21Z" in words(shown, "#what"), "the record is older"


def test_of_what_fits_nothing_is_said_to_be_gone(opened: Open, flooded: Told, tmp_path: Path) -> None:
    shown = opened(page(tmp_path, flooded.entries[:12], Window(16, 16, 16)))
    seen = words(shown, "body")
    for tab in ("approvals", "proof", "graph"):
        shown.click(f"#tab-{tab}")
        seen += words(shown, "#view")
    assert "counted" not in seen
    assert "of others" not in seen
    assert "listed" not in words(shown, "#card-approved")
    shown.js("(() => { const one = document.getElementById('moment'); one.value = 0;"
             " one.dispatchEvent(new Event('input', {bubbles: true})); })()")  # fmt: skip
    assert "as of 2023-11-14 22:13:21Z" in words(shown, "#instant")
