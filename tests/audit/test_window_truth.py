"""Whatever a window lets go of, what it tells of what it holds is what the whole record tells."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.errors import InvalidRequestError
from chain.given import Entry, Given
from chain.graph.forest import Forest
from chain.graph.review import ORPHANED, REUSE, review
from chain.history import History
from chain.report.turn import Turn, Turns
from chain.window import Window
from tests.book import Book

KEYS = [f"k{number}" for number in range(5)]
IDS = ["spiffe://a.test/x", "spiffe://a.test/x/y", "spiffe://b.test/z", "spiffe://b.test/w"]
NAMES = [*KEYS, *IDS]
TASKS = ["t0", "t1"]
STRIKES = {"holder": NAMES, "key": [*KEYS, "anchor"], "task": TASKS, "issuer": ["https://issuer.example", "no"]}
SCOPES = [("agent", name) for name in NAMES] + [("trust_domain", "a.test"), ("task", "t0"), ("everything", "*")]
TOOLS = ["bank.pay", "mail.read", "web.search"]
FLOODS = ["enrolled", "struck", "revoked", "stopped", "tool", "over", "asked"]

SIZE = 24, 8, 24
"""Of a window: delegations, calls, names."""

step = st.one_of(
    st.tuples(
        st.just("give"), st.integers(0, 9), st.integers(0, 3), st.sampled_from(KEYS), st.sampled_from(["", *IDS])
    ),
    st.tuples(st.just("enrol"), st.sampled_from(NAMES), st.sampled_from(IDS), st.sampled_from(["", "", *KEYS])),
    st.tuples(st.just("stop"), st.sampled_from(SCOPES), st.sampled_from([0, 0, 3, 20])),
    st.tuples(st.just("lift"), st.sampled_from(SCOPES)),
    st.tuples(st.just("strike"), st.sampled_from([(kind, name) for kind, names in STRIKES.items() for name in names])),
    st.tuples(st.just("revoke"), st.integers(0, 30)),
    st.tuples(st.just("call"), st.sampled_from(TOOLS)),
    st.tuples(st.just("flood"), st.sampled_from(FLOODS), st.integers(1, 15)),
)


class Story(Book):
    """A ledger of steps, one record each second."""

    def __init__(self, steps: Iterable[Any]) -> None:
        super().__init__()
        self._ends: list[int] = []
        for what, *how in steps:
            getattr(self, f"do_{what}")(*how)

    def say(self, kind: str, /, **body: Any) -> None:
        self.write(kind, len(self.entries), **body)

    def do_give(self, place: int, life: int, holder: str, bound: str) -> None:
        number, now = len(self._ends), 1000 + len(self.entries)
        above = None if not number or place > 6 else max(0, number - 1 - place)
        until = now + (2, 10, 40, 1000, 0)[life]
        self._ends.append(until if above is None else min(until, self._ends[above]))
        owner = {"owner": IDS[number % 4]} if number % 3 else {}
        body: dict[str, Any] = {
            "id": f"d{number}",
            "parent": None if above is None else f"d{above}",
            "holder": holder,
            "exp": self._ends[-1],
            "iat": now,
            "hop": 0 if above is None else 1,
            "issuer": "https://issuer.example",
            "signer": "anchor" if above is None else KEYS[above % 5],
            "facts": {"txn": TASKS[number % 2], "sub": "alice"} | owner,
            "grant": {"tools": {TOOLS[number % 3]: {}}},
            "caller": "agents",
        }
        self.say("issued" if above is None else "admitted", **body | ({"bound": bound} if bound else {}))

    def do_enrol(self, holder: str, name: str, under: str) -> None:
        who = {"id": name, "kind": "agent", "owner": "team"} | ({"under": under} if under else {})
        self.say("enrolled", holder=holder, principal=who, caller="ops")

    def do_stop(self, what: tuple[str, str], life: int) -> None:
        until = 1000 + len(self.entries) + life if life else 0
        self.say("suspended", scope=what[0], name=what[1], mode="suspended", until=until, cause="", author="ops")

    def do_lift(self, what: tuple[str, str]) -> None:
        self.say("lifted", scope=what[0], name=what[1], cause="", author="ops")

    def do_strike(self, what: tuple[str, str]) -> None:
        self.say("revoked", kind=what[0], name=what[1], cause="lost")

    def do_revoke(self, number: int) -> None:
        self.say("revoked", id=f"d{number}", cause="over")

    def do_call(self, tool: str, effect: str = "DENY") -> None:
        self.say("decided", id="c", effect=effect, reason="", tool=tool, target="", leaf="x", **{"class": "read"})

    def do_flood(self, sort: str, count: int) -> None:
        first = len(self.entries)
        for name in (f"n{first}-{number}" for number in range(count)):
            match sort:
                case "enrolled":
                    self.do_enrol(name, f"spiffe://c.test/{name}", "")
                case "struck":
                    self.do_strike(("holder", name))
                case "revoked":
                    self.say("revoked", id=name, cause="")
                case "stopped":
                    self.do_stop(("agent", "k0"), 0)
                    self.do_lift(("agent", "k0"))
                case "tool":
                    self.do_call(name, "ALLOW")
                case "over":
                    self.do_give(9, 4, "k9", "")
                case _:
                    self.say("approval_requested", id=name, tool="bank.pay", expires=10_000)


def followed(entries: list[Entry], window: Window) -> Window:
    """A window of all of it, read anew as often as it has to be."""
    for _ in range(20):
        for entry in entries:
            window.take(entry)
        if not window.lapsed:
            return window
        window = window.again()
    raise AssertionError("no window holds on to what it missed")


def of(history: History, one: Given, now: float) -> object:
    """All that is told of a delegation by itself."""
    names = [*one.names, *history.parties(one.holder)]
    lines = [[who.id for who in history.roster.line(name)] for name in one.names]
    tools = [history.tools.get(tool) for tool in one.granted]
    return one.entry, history.end(one, now), names, lines, history.called(one.holder), tools


def reviewed(history: History, now: float) -> list[dict[str, Any]]:
    rows = review(Forest(history, now))
    return [row for row in rows if row["finding"] in {ORPHANED, REUSE}]


def latest(turns: list[Turn], since: int) -> list[Turn]:
    """The turns from an instant on, the first of them how it stood then; none of what stood before is told."""
    return [turn for turn in turns if turn.time > since]


def seen(steps: Iterable[Any], size: tuple[int, int, int], *, over_time: bool = False) -> str:
    """Compares a window of a story with all of it, as things stand or also as they stood before; how it went."""
    entries = Story(steps).entries
    try:
        window = followed(entries, Window(*size))
    except InvalidRequestError:
        return "refused"
    whole = History(entries)
    last = entries[-1].seconds if entries else 0.0
    for now in (last, last + 5, last + 500):
        assert list(window.live(now)) == list(whole.live(now))
        for one in window.given.values():
            assert of(window, one, now) == of(whole, whole.given[one.id], now)
        assert reviewed(window, now) == reviewed(whole, now)
    since = window.gone.since
    mine, theirs = Turns(window, last, since), Turns(whole, last)
    for one in window.given.values() if over_time else ():
        found, full = mine.of(one), theirs.of(whole.given[one.id])
        assert latest(found, since) == latest(full, since)
        assert found[-1][1:] == full[-1][1:]
        assert all(turn.time >= since or turn.status in {"revoked", "expired"} for turn in found)
    return "told" if any(value for value in window.gone if value) else "whole"


def chance(seed: int) -> list[Any]:
    """A longer story of chance, in which much comes back."""
    dice = random.Random(seed)
    found: list[Any] = []
    for _ in range(dice.randrange(20, 90)):
        what = dice.choices([*DRAWN], [weight for weight, _ in DRAWN.values()])[0]
        found.append((what, *DRAWN[what][1](dice)))
    return found


DRAWN: dict[str, tuple[int, Callable[[random.Random], tuple[Any, ...]]]] = {
    "give": (40, lambda dice: (dice.randrange(10), dice.randrange(4), dice.choice(KEYS), dice.choice(["", *IDS]))),
    "enrol": (10, lambda dice: (dice.choice(NAMES), dice.choice(IDS), dice.choice(["", "", *KEYS]))),
    "stop": (8, lambda dice: (dice.choice(SCOPES), dice.choice([0, 0, 3, 20]))),
    "lift": (6, lambda dice: (dice.choice(SCOPES),)),
    "strike": (3, lambda dice: (dice.choice([(kind, name) for kind, names in STRIKES.items() for name in names]),)),
    "revoke": (5, lambda dice: (dice.randrange(40),)),
    "call": (8, lambda dice: (dice.choice(TOOLS),)),
    "flood": (20, lambda dice: (dice.choice(FLOODS), dice.randrange(1, 16))),
}


def test_in_stories_of_chance_it_tells_the_same_and_refuses_seldom() -> None:
    stories = [chance(seed) for seed in range(150)]
    went = Counter(seen(story, SIZE) for story in stories)
    went.update(seen(sorted(one, key=lambda step: step[0] != "enrol"), SIZE, over_time=True) for one in stories)
    assert went["told"] > 250, "in few stories was anything let go of"
    assert went["refused"] < 10


@settings(max_examples=100, deadline=None)
@given(st.lists(step, max_size=40))
def test_what_is_held_is_told_as_the_whole_record_tells_it(steps: list[Any]) -> None:
    seen(steps, SIZE)


@settings(max_examples=100, deadline=None)
@given(st.lists(step, max_size=40))
def test_how_it_stood_before_is_told_from_when_it_is_known(steps: list[Any]) -> None:
    """Who works under whom is told as it is known in the end, so it is said first."""
    seen(sorted(steps, key=lambda one: one[0] != "enrol"), SIZE, over_time=True)
