"""One browser for all tests of the page; skipped where none is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.browser import Browser, Page, browser, program

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def real() -> Iterator[Browser]:
    if program() is None:
        pytest.skip("no chromium on PATH")
    with browser() as made:
        yield made


@pytest.fixture
def opened(real: Browser) -> Iterator[Open]:
    """Opens a page, and sees at the end that it complained of nothing and asked nobody for anything."""
    pages: list[Page] = []

    def open_(file: Path, **look: bool | int) -> Page:
        page = Page(real, **look)  # type: ignore[arg-type]
        pages.append(page)
        page.open(file)
        page.until("performance.getEntriesByName('drawn').length")
        return page

    yield open_
    for page in pages:
        assert page.complaints == []
        assert page.asked == []
        page.close()
