"""The page in a real browser, with real clicks and keys."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.browser import Browser, Page
from benchmarks.page import entries, made
from chain.given import Entry
from chain.history import History
from chain.report import data, log
from chain.report import page as page_of
from tests.report.conftest import Open
from tests.report.ledgers import KEY, ORIGIN, Told, checkpoint, element, lines, written
from tests.report.test_page import HOSTILE


@pytest.fixture(scope="module")
def told() -> Told:
    """Two trees: one with three hops in which something was refused and revoked, and one by itself."""
    told = Told()
    for key, name in (("k1", "boss"), ("k2", "worker"), ("k3", "helper"), ("k4", "loner")):
        told.enrol(key, f"spiffe://a.test/{name}")
    told.give("root", None, "k1", 1, grant={"tools": {"bank.pay": {}, "mail.read": {}, "web.search": {}}})
    told.give("leaf", "root", "k2", 2)
    told.give("last", "leaf", "k3", 3, grant={"tools": {"bank.pay": {}}})
    told.give("side", "root", "k4", 4, grant={"tools": {"web.search": {}}})
    told.give("other", None, "k4", 5, facts={"txn": "t2"})
    told.call("c1", "last", 6)
    told.call("c2", "last", 7, reason="tool_not_granted", tool="web.search", findings=[["tool_not_granted", 2, "no"]])
    told.call("c3", "leaf", 8, reason="approval_required", effect="APPROVAL_REQUIRED", awaits="a1")
    asked = {"id": "a1", "binding": "b", "tool": "bank.pay", "demands": [["policy:x", 1, []]], "expires": 1_700_009_999}
    told.write("approval_requested", 8, **asked, holder="k2", amount="90 EUR", task="t1")
    told.write("approval_resolved", 9, id="a1", verdict="approve", state="approved", approver="spiffe://a.test/ann")
    told.write("revoked", 10, id="side", cause="not needed", caller="ops")
    told.write("suspended", 11, scope="task", name="t2", mode="suspended", cause="odd", until=0, author="ops")
    return told


@pytest.fixture(scope="module")
def file(told: Told, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("page") / "out.html", told.entries, told.told())


def node(name: str, told: Told) -> str:
    """Selects a delegation in the graph."""
    names = [row[0] for row in told.told()["nodes"]["rows"]]
    return f'[data-node="{names.index(name)}"]'


def words(page: Page, selector: str) -> str:
    text: str = page.js(f"document.querySelector({json.dumps(selector)}).innerText")
    return text


def drawn(page: Page) -> list[str]:
    """Names of the delegations that are drawn, with how they stand."""
    found: list[str] = page.js(
        "[...document.querySelectorAll('#graph .node')].map((one) => one.querySelector('.name').textContent + ' '"
        " + ['live', 'suspended', 'revoked', 'expired'].find((name) => one.classList.contains(name)))"
    )
    return found


def move(page: Page, place: str) -> None:
    """Moves the slider."""
    page.js(f"(() => {{ const one = document.getElementById('moment'); one.value = {place};"
            " one.dispatchEvent(new Event('input', {bubbles: true})); })()")  # fmt: skip


def test_the_first_minute(opened: Open, file: Path) -> None:
    page = opened(file)
    page.until("document.querySelector('#card-proof').dataset.state === 'intact'")
    assert "ledger by hand · 16 records" in words(page, "#what")
    assert "Intact" in words(page, "#card-proof")
    assert "3 delegations" in words(page, "#card-live")
    assert "1 suspended · 1 revoked" in words(page, "#card-live")
    assert "1 ask" in words(page, "#card-refused")
    assert "by ann" in words(page, "#card-approved")
    assert drawn(page) == ["boss live", "worker live", "helper live", "loner revoked", "loner suspended"]
    stubs = page.js("[...document.querySelectorAll('.stub')].map((one) => one.textContent)")
    assert stubs == ["asked people once", "web.search: tool_not_granted"]


def test_a_click_shows_all_of_a_delegation(opened: Open, file: Path, told: Told) -> None:
    page = opened(file)
    page.click(node("last", told))
    panel = words(page, "#panel")
    for part in (
        *("helper", "without mail.read", "without web.search", "bank.pay allowed", "refused: tool_not_granted"),
        *("1 delegation of 1 agent", "chain audit path last --ledger 'a b'", "chain revoke last --dry-run"),
    ):
        assert part in panel, part
    assert page.js("document.querySelectorAll('#graph .node.marked').length") == 3
    page.click(node("leaf", told))
    assert "waited for people" in words(page, "#panel")
    assert "ann said approve" in words(page, "#panel")
    assert "2 delegations of 2 agents" in words(page, "#panel")
    page.click(node("side", told))
    assert "not needed" in words(page, "#panel")
    assert "Nothing: it does not stand any more" in words(page, "#panel")
    assert "chain revoke" not in words(page, "#panel")


def test_the_path_between_two(opened: Open, file: Path, told: Told) -> None:
    page = opened(file)
    page.click(node("last", told))
    page.click("#panel .actions button:nth-child(2)")
    page.click(node("side", told))
    steps = page.js("[...document.querySelectorAll('.route li')].map((one) => one.innerText.trim())")
    assert steps == ["helper hop 2", "↑ worker hop 1", "↑ boss hop 0", "↓ loner hop 1"]
    page.click(node("other", told))
    assert "There is none" in words(page, "#panel")


def test_search_and_filters(opened: Open, file: Path) -> None:
    page = opened(file)
    page.click("#query")
    page.type("helper")
    page.until("document.querySelectorAll('#graph .node').length === 3")  # and the two above it
    assert page.js("document.querySelectorAll('#graph .node.context').length") == 2
    page.click("#reset")
    page.until("document.querySelectorAll('#graph .node').length === 5")
    page.click("#task")
    page.type("t2")
    page.until("document.querySelectorAll('#graph .node').length === 1")
    page.click("#reset")
    page.click('#statuses input[value="live"]')
    assert [one for one in drawn(page) if "live" not in one] == ["loner revoked", "loner suspended"]
    page.click("#reset")
    page.click("#since")
    page.type("2023-11-14 22:13:24")
    page.until("document.querySelectorAll('#graph .node:not(.context)').length === 2")
    page.click("#until")
    page.type("nonsense")
    page.until("document.querySelector('#until').getAttribute('aria-invalid') === 'true'")
    page.click("#reset")
    page.click("#agent")
    page.type("loner")
    page.until("document.querySelectorAll('#graph .node:not(.context)').length === 2")
    page.click("#tab-calls")
    assert page.js("document.querySelectorAll('#table-calls tbody tr').length") == 0


def test_only_its_lineage(opened: Open, file: Path, told: Told) -> None:
    page = opened(file)
    page.click(node("leaf", told))
    page.click("#panel .actions button")
    assert drawn(page) == ["boss live", "worker live", "helper live"]
    page.click(".chip")
    assert len(drawn(page)) == 5


def test_the_slider_shows_the_record_as_it_was(opened: Open, file: Path, told: Told) -> None:
    page = opened(file)
    assert page.js("document.getElementById('moment').max") == str(
        len({entry.time for entry in told.entries if entry.kind != "enrolled"})  # and the report's own instant,
    )  # less two that share one
    move(page, "3")
    assert drawn(page) == ["boss live", "worker live", "helper live", "loner live"]
    assert "as of 2023-11-14 22:13:24Z" in words(page, "#instant")
    assert "Stands then" in words(page, "#card-live")
    assert "0 asks" in words(page, "#card-refused")
    move(page, "0")
    assert drawn(page) == ["boss live"]
    move(page, "7")
    page.click("#play")
    page.until("document.getElementById('moment').value === document.getElementById('moment').max")
    assert "as of the report" in words(page, "#instant")


def test_by_keyboard_alone(opened: Open, file: Path) -> None:
    page = opened(file)
    focus = "document.activeElement.getAttribute('aria-label') || document.activeElement.id"
    page.js("document.querySelector('[data-node][tabindex=\"0\"]').focus()")
    assert page.js(focus).startswith("boss, hop 0, live")
    page.key("ArrowRight")
    assert page.js(focus).startswith("worker, hop 1")
    page.key("ArrowDown")
    page.key("Enter")
    assert page.js("document.activeElement.getAttribute('aria-selected')") == "true"
    assert words(page, "#panel h2") == "helper"
    assert page.js("document.getElementById('live').textContent").startswith("helper, hop 2, live")
    page.key("ArrowLeft")
    assert page.js(focus).startswith("worker")
    page.key("End")
    assert page.js(focus).startswith("loner, hop 0, suspended")
    assert page.js("document.querySelectorAll('#graph [tabindex=\"0\"]').length") == 1  # one stop for Tab
    page.js("document.getElementById('tab-graph').focus()")
    page.key("ArrowRight")
    assert page.js(focus) == "tab-delegations"
    assert page.js("document.querySelectorAll('#table-delegations tbody tr').length") == 5


def test_the_tables_tell_the_same(opened: Open, file: Path) -> None:
    page = opened(file)
    page.click("#tab-delegations")
    page.click("#table-delegations th:nth-child(3) button")
    assert (
        page.js("document.querySelector('#table-delegations th:nth-child(3)').getAttribute('aria-sort')") == "ascending"
    )
    first = page.js(
        "[...document.querySelectorAll('#table-delegations tbody tr')].map((one) => one.cells[2].innerText)"
    )
    assert first == ["boss", "helper", "loner", "loner", "worker"]
    page.click("#card-refused")
    assert page.js("document.querySelectorAll('#table-calls tbody tr').length") == 1
    page.click("#table-calls tbody tr td button")
    assert '"reason": "tool_not_granted"' in words(page, "#record")
    assert "verified by this browser" in words(page, "#record")
    page.key("Escape")
    page.click("#tab-approvals")
    assert "ann said approve" in words(page, "#view")
    page.click("#tab-findings")
    assert "task t2 is suspended: odd" in words(page, "#view")


def test_dark_light_and_print(opened: Open, file: Path) -> None:
    page = opened(file, dark=True)
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.js(ground)
    page.click("#theme")
    assert page.js(ground) != dark
    page.ask("Emulation.setEmulatedMedia", media="print")
    assert page.js("getComputedStyle(document.getElementById('filters')).display") == "none"
    assert page.js("getComputedStyle(document.getElementById('summary')).display") == "grid"


def test_a_strangers_names_are_text(opened: Open, tmp_path: Path) -> None:
    told = Told()
    hostile = [name for name in HOSTILE if "\ud800" not in name]
    for place, name in enumerate(hostile):
        told.enrol(f"k{place}", name)
        told.give(f"d{place}", None, f"k{place}", place + 1, facts={"txn": name, "sub": name})
        told.call(f"c{place}", f"d{place}", place + 1, reason="revoked", findings=[["revoked", 0, name]])
        told.write("suspended", 20, scope="task", name=name, mode="suspended", cause=name, until=0, author=name)
    page = opened(written(tmp_path / "out.html", told.entries, told.told()))
    before = page.js("document.querySelectorAll('img, iframe, script, a[href]').length")
    for place, _ in enumerate(hostile):
        page.click(f'[data-node="{place}"]')
    for tab in ("delegations", "calls", "approvals", "findings", "proof", "graph"):
        page.click(f"#tab-{tab}")
    assert page.js("document.querySelectorAll('img, iframe, script, a[href]').length") == before
    assert page.js("document.querySelectorAll('[onclick], [onerror], [onload]').length") == 0
    seen = page.js("document.querySelector('#graph').textContent")
    assert "<img src=x onerror=a" in seen
    assert "\\u{202e}gnp.exe" in seen
    assert "\\u{0}esc\\u{1b}" in seen
    assert "\u202e" not in page.js("document.body.innerText")
    page.js("window.URL.createObjectURL = (blob) => { window.kept = blob; return 'blob:none'; }")
    page.js("HTMLAnchorElement.prototype.click = () => {}")
    page.click("#save-svg")
    svg = page.js("window.kept.text()")
    parsed = f"new DOMParser().parseFromString({json.dumps(svg)}, 'image/svg+xml')"
    assert page.js(f"{parsed}.querySelectorAll('parsererror, script, img').length") == 0
    assert page.js(f"{parsed}.querySelectorAll('rect').length") > len(hostile)
    page.click("#save-json")
    assert len(json.loads(page.js("window.kept.text()"))["holders"]) == len(hostile)


def tampered(file: Path, out: Path, old: bytes, new: bytes) -> Path:
    """The page with a record changed."""
    text = file.read_text()
    packed = element(text, "records")
    lines = zlib.decompress(base64.b64decode(packed))
    assert lines.count(old) == 1
    out.write_text(text.replace(packed, base64.b64encode(zlib.compress(lines.replace(old, new))).decode()))
    return out


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ((b'"cause":"not needed"', b'"cause":"NOT needed"'), "among the records 1 to 16 one is not what was signed"),
        ((b'"reason":"tool_not_granted"', b'"reason":"allowed_not_really"'), "record 11 says something else"),
        ((b'{"revision":7,', b'{"revision":8,'), "record 7 is missing"),
    ],
)
def test_a_record_that_was_changed_is_found(
    opened: Open, file: Path, tmp_path: Path, change: tuple[bytes, bytes], found: str
) -> None:
    page = opened(tampered(file, tmp_path / "bad.html", *change))
    page.until("document.querySelector('#card-proof').dataset.state === 'broken'")
    page.click("#tab-proof")
    assert found in words(page, "#view")


def _says_allowed(told: dict[str, Any]) -> None:
    next(row for row in told["events"]["rows"] if row[13] == "c2")[4] = "ALLOW"


def _drops_a_call(told: dict[str, Any]) -> None:
    told["events"]["rows"] = [row for row in told["events"]["rows"] if row[13] != "c2"]


def _hides_a_revocation(told: dict[str, Any]) -> None:
    side = next(row for row in told["nodes"]["rows"] if row[0] == "side")
    side[-1] = side[-1][:1]


def _moves_a_delegation(told: dict[str, Any]) -> None:
    next(row for row in told["nodes"]["rows"] if row[0] == "last")[1] = 0


@pytest.mark.parametrize(
    ("change", "record"),
    [(_says_allowed, 11), (_drops_a_call, 11), (_hides_a_revocation, 15), (_moves_a_delegation, 7)],
)
def test_what_the_page_says_otherwise_than_its_record_is_found(
    opened: Open, file: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], record: int
) -> None:
    text = file.read_text()
    told = element(text, "data")
    changed = json.loads(told)
    change(changed)
    bad = tmp_path / "bad.html"
    bad.write_text(text.replace(told, json.dumps(changed)))
    page = opened(bad)
    page.until("document.querySelector('#card-proof').dataset.state === 'broken'")
    page.click("#tab-proof")
    assert f"record {record} says something else than this page" in words(page, "#view")


def test_a_signature_of_somebody_else_is_found(opened: Open, file: Path, tmp_path: Path) -> None:
    text = file.read_text()
    told = element(text, "log")
    log: dict[str, Any] = json.loads(told)
    text_, _, line = log["note"].rpartition("\n\n")
    signature = bytearray(base64.b64decode(line.split(" ")[2]))
    signature[-1] ^= 1
    log["note"] = f"{text_}\n\n— {KEY.name} {base64.b64encode(signature).decode()}\n"
    bad = tmp_path / "bad.html"
    bad.write_text(text.replace(told, json.dumps(log)))
    page = opened(bad)
    page.until("document.querySelector('#card-proof').dataset.state === 'broken'")
    page.click("#tab-proof")
    assert "does not bear the log's signature" in words(page, "#view")


def test_records_that_are_there_as_hashes_are_proven_with_the_rest(opened: Open, told: Told, tmp_path: Path) -> None:
    earlier = data(History(told.entries, 1_700_000_005), 1_700_000_005, ORIGIN)
    held: list[Entry] = told.entries[: earlier["revision"]]
    page = opened(written(tmp_path / "out.html", [*held], earlier))
    page.until("document.querySelector('#card-proof').dataset.state === 'intact'")
    part = told.told(task="t2")
    page = opened(written(tmp_path / "part.html", told.entries, part))
    page.until("document.querySelector('#card-proof').dataset.state === 'intact'")
    page.click("#tab-proof")
    assert "3 records" in words(page, "#view dl")  # by hash alone: the calls of the other task
    assert re.search(r"Every one of the 13 records", words(page, "#view"))


def test_records_behind_the_checkpoint_are_told_of(opened: Open, told: Told, tmp_path: Path) -> None:
    note, leaves = checkpoint(told.entries[:9])
    proof = log(note, KEY, leaves, set(range(1, 17)))
    out = tmp_path / "out.html"
    out.write_text(page_of(told.told(), lines(told.entries), proof))
    page = opened(out)
    page.until("document.querySelector('#card-proof').dataset.state === 'intact'")
    page.click("#tab-proof")
    assert "Every one of the 9 records" in words(page, "#view")
    assert "7 later records" in words(page, "#view")
    page.click("#tab-calls")
    page.click("#table-calls tbody tr:first-child td button")
    assert "Not proven here" in words(page, "#record")


def test_nothing_runs_that_got_into_the_file(real: Browser, file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    markup = "<script>window.ran = 1</script><img src=none onerror='window.ran = 2'><link rel=stylesheet href='http://x.test/'>"
    bad.write_text(file.read_text().replace('<footer id="foot">', markup + '<footer id="foot">'))
    page = Page(real)
    page.open(bad)
    page.until("document.querySelector('#card-proof').dataset.state === 'intact'")  # the page's own script ran
    assert page.js("window.ran") is None
    assert page.asked == []
    assert sum("Content Security Policy" in one for one in page.complaints) >= 3
    page.close()


def test_without_a_checkpoint_nothing_is_said_to_be_proven(opened: Open, told: Told, tmp_path: Path) -> None:
    page = opened(written(tmp_path / "out.html", told.entries, told.told(), proven=False))
    assert "Not checked" in words(page, "#card-proof")
    page.click("#tab-proof")
    assert "nothing in it is proven" in words(page, "#view")


def test_an_empty_record(opened: Open, tmp_path: Path) -> None:
    page = opened(written(tmp_path / "out.html", [], Told().told(), proven=False))
    assert "No delegation" in words(page, "#view")
    page.click("#tab-calls")
    page.click("#tab-delegations")


@pytest.mark.parametrize("size", [200, 2_000, 20_000])
def test_a_large_record_is_looked_at(opened: Open, tmp_path: Path, size: int) -> None:
    file = tmp_path / "out.html"
    file.write_text(made(size))
    page = opened(file)
    whole = "#graph" if size <= 500 else "#overview"
    assert f"{size:,} delegations" in words(page, "#view .bar")
    assert page.js(f"document.querySelectorAll('{whole}').length") == 1
    if size > 500:
        corner = "const one = document.querySelector('#overview').getBoundingClientRect(); return [one.x, one.y]"
        x, y = page.js(f"(() => {{ {corner}; }})()")
        page.press(x + 20, y + 46)
    else:
        page.click("[data-node]")
    page.click("#panel .actions button")
    assert page.js("document.querySelectorAll('#graph .node').length") >= 1
    page.click("#tab-delegations")
    assert page.js("document.querySelectorAll('tbody tr').length") <= 100


def test_the_ledger_of_the_benchmark_is_of_its_size() -> None:
    assert sum(entry.kind in {"issued", "delegated"} for entry in entries(200)) == 200
