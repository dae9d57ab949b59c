"""The mirror by itself: what a window let go of and would have to tell of is read anew."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import msgspec
import pytest

from chain.errors import InvalidRequestError
from chain.web import mirror
from chain.web.mirror import Mirror
from chain.window import Window
from tests.book import Book


class Line(NamedTuple):
    revision: int
    kind: str
    time: int
    body: bytes


class Ledger(Book):
    """Stands for an authority, and for what watches it."""

    def __init__(self) -> None:
        super().__init__()
        self.readings = 0

    @property
    def watch(self) -> Ledger:
        return self

    @property
    def synced(self) -> int:
        return len(self.entries)

    def lines(self, after: int, count: int) -> tuple[list[Line], int]:
        self.readings += after == 0
        part = self.entries[after : after + count]
        return [Line(*one[:3], msgspec.json.encode(one.body)) for one in part], after + len(part)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A ledger with a name that was revoked long ago."""
    monkeypatch.setattr(mirror, "Window", partial(Window, 8, 16, 16))
    ledger = Ledger()
    for number in range(100):
        ledger.write("revoked", kind="holder", name=f"n{number}", cause="lost")
    return ledger


@pytest.fixture
def shown(ledger: Ledger) -> Iterator[Mirror]:
    """What follows it; it tells which delegations stand."""

    def telling(window: Window, now: float) -> dict[str, Any]:
        assert not window.lapsed
        return {"at": now, "made": now, "live": list(window.live(now))}

    made = Mirror(ledger, telling, lambda: 2_000.0)  # type: ignore[arg-type]
    yield made
    made.close()


def told(shown: Mirror) -> list[str]:
    shown._until = 0
    live: list[str] = msgspec.json.decode(asyncio.run(shown.document()).body)["live"]
    return live


def test_what_was_let_go_of_is_not_told_wrongly_when_it_comes_back(ledger: Ledger, shown: Mirror) -> None:
    ledger.give("stands", None, "k")
    assert told(shown) == ["stands"]
    assert ledger.readings == 1
    ledger.give("falls", None, "n0")
    ledger.give("more", None, "k")
    assert told(shown) == ["stands", "more"]
    assert ledger.readings == 2, "of the whole ledger once more"
    ledger.give("again", None, "n0")
    ledger.give("last", None, "k")
    assert told(shown) == ["stands", "more", "last"]
    assert ledger.readings == 2


def test_what_comes_back_is_followed_no_further_than_it_fits(ledger: Ledger, shown: Mirror) -> None:
    for number in range(8):
        ledger.give(f"d{number}", None, f"n{number}", facts={"txn": f"t{number}"})
    assert told(shown) == []
    for number in range(8, 16):
        ledger.enrol(f"n{number - 8}", "spiffe://a.test/x", under=f"n{number}")
    for _ in range(2):
        with pytest.raises(InvalidRequestError, match="told of again"):
            told(shown)


def test_what_comes_back_again_and_again_is_not_followed_for_ever(
    ledger: Ledger, shown: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.give("falls", None, "n0")
    monkeypatch.setattr(mirror, "READINGS", 1)
    with pytest.raises(InvalidRequestError, match="again and again"):
        told(shown)
    assert told(shown) == [], "what was missed is known by the next time"
