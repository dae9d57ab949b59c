"""The live page in a real browser: what happens is seen without a reload, and who reads is not disturbed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from benchmarks.browser import Browser, Page, browser, program
from chain.auditing import Proven
from chain.caller import Caller
from chain.client import Client
from chain.key import KeySigner
from chain.notary import Notary
from chain.request import Request

from .conftest import Host
from .hosted import KEYS, Hosted, free_port, secret
from .test_ui import HOSTILE

Opened = Callable[[Hosted], Page]
LINK = "document.getElementById('link').dataset.state"


@pytest.fixture(scope="module")
def real() -> Iterator[Browser]:
    if program() is None:
        pytest.skip("no chromium on PATH")
    with browser() as made:
        yield made


@pytest.fixture
def opened(real: Browser) -> Iterator[Opened]:
    """Opens the page of a server, and sees at the end that it asked nobody else and no secret was in an address."""
    pages: list[tuple[Page, str]] = []

    def open_(web: Hosted) -> Page:
        page = Page(real, width=1300, height=800)
        pages.append((page, web.url))
        page.open(f"{web.url}/ui")
        return page

    yield open_
    for page, url in pages:
        assert page.asked
        assert all(one.startswith(f"{url}/ui") for one in page.asked)
        assert not any("sss" in one for one in page.asked)
        page.close()


def sign_in(page: Page, who: str) -> None:
    page.click("#secret")
    page.type(secret(who))
    page.key("Enter")


def words(page: Page, selector: str) -> str:
    text: str = page.js(f"document.querySelector({json.dumps(selector)}).textContent")
    return text


def refuse(web: Hosted, leaf: str) -> None:
    """Let an enforcement point ask for what was never granted."""
    with Client(web.server.address, secret("enforcement_point"), timeout=30) as client:
        asked = Request(tool="bank.pay", purpose="work", holder=KEYS["alice"].key.thumbprint)
        assert not client.check([leaf], asked).allowed


def test_a_refusal_is_seen_when_it_happens(host: Host, opened: Opened) -> None:
    web = host(ui=True, notary=Notary("ui.example", KeySigner.from_seed(b"n" * 32)))
    leaf = web.root(sub=HOSTILE, task=HOSTILE)
    page = opened(web)
    sign_in(page, "auditor")
    page.until("performance.getEntriesByName('drawn').length")
    page.until(f"{LINK} === 'live'")
    page.js("window.stayed = true")
    page.click('[data-node="0"]')
    page.click("#query")
    page.type("mail")
    page.until("document.querySelector('#graph .node.selected') && document.activeElement.id === 'query'")
    assert page.js("document.querySelectorAll('#graph .stub').length") == 0
    refuse(web, leaf)
    page.until("document.querySelectorAll('#graph .stub').length === 1")
    assert "bank.pay" in words(page, "#graph .stub")
    assert "1 ask" in words(page, "#card-refused")
    assert page.js("window.stayed"), "nothing was loaded anew"
    assert page.js("[document.getElementById('query').value, document.activeElement.id]") == ["mail", "query"]
    assert page.js("document.querySelectorAll('#graph .node.selected').length") == 1
    page.until("document.getElementById('live').textContent.includes('1 refused')")
    assert page.js("document.querySelectorAll('img').length") == 0
    assert HOSTILE in words(page, "#panel")
    page.click("#panel .events .link")
    page.until("document.getElementById('record').open")
    assert "verified by this browser" in words(page, "#record")
    assert '"kind": "decided"' in words(page, "#record pre")
    assert page.complaints == []


def test_a_record_that_is_not_what_was_signed_is_said_to_be(
    host: Host, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = host(ui=True, notary=Notary("ui.example", KeySigner.from_seed(b"n" * 32)))
    for _ in range(5):
        web.root()
    prove = web.authority.audit.prove

    def forged(caller: Caller, revision: int) -> Proven:
        proven = prove(caller, revision)
        return proven if revision != 4 else replace(proven, record=proven.record.replace(b"dana", b"eve"))

    monkeypatch.setattr(web.authority.audit, "prove", forged)
    page = opened(web)
    sign_in(page, "operator")
    page.until("performance.getEntriesByName('drawn').length")
    seen = []
    for place in range(5):
        page.click(f'[data-node="{place}"]')
        page.click("#panel .chain .link")
        page.until(f"document.querySelector('#record[open] h2')?.innerText === 'Record {place + 1}'")
        seen.append(words(page, "#record .muted")[:6])
        page.js("document.getElementById('record').close()")
    assert seen == ["Stands", "Stands", "Stands", "NOT wh", "Stands"], "whichever its place in the tree"
    assert page.complaints == []


def test_who_may_not_look_is_told_so(host: Host, opened: Opened) -> None:
    web = host(ui=True)
    page = opened(web)
    assert page.js("getComputedStyle(document.getElementById('main')).display") == "none"
    sign_in(page, "stranger")
    page.until("document.getElementById('link').innerText.includes('not known here')")
    sign_in(page, "issuer")
    page.until("document.getElementById('link').innerText.includes('may not see the record')")
    assert page.js("document.getElementById('secret').value") == ""
    sign_in(page, "auditor")
    page.until(f"{LINK} === 'live'")
    assert "No delegation in this record" in words(page, "#view")


def test_a_server_that_is_gone_is_said_to_be_and_another_ledger_is_not_taken_for_the_same(
    host: Host, opened: Opened
) -> None:
    where = f"127.0.0.1:{free_port()}"
    web = host(ui=True, http_listen=where)
    for _ in range(3):
        web.root()
    page = opened(web)
    sign_in(page, "auditor")
    page.until(f"{LINK} === 'live'")
    web.run(web.server.stop(0))
    page.until(f"{LINK} === 'lost'")
    assert "trying again" in words(page, "#link")
    assert page.js("document.querySelectorAll('#graph .node').length") == 3, "what was seen stays"
    again = host(ui=True, http_listen=where)
    again.root()
    page.until(f"{LINK} === 'over'")
    assert "not the one that is shown here" in words(page, "#link")
