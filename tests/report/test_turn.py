"""How each delegation stood at any instant: what the slider shows is what the ledger says of that instant."""

from __future__ import annotations

from collections import Counter

import pytest

from chain.history import History
from chain.report.turn import Turn, Turns
from tests.report.ledgers import START, Told, restless


def standing(turns: list[Turn], now: float) -> str:
    return next((turn.status for turn in reversed(turns) if turn.time <= now * 1000), "not made")


@pytest.mark.parametrize("seed", range(4))
def test_at_every_instant_it_is_what_the_records_up_to_it_say(seed: int) -> None:
    told = restless(220, seed)
    last = told.entries[-1].seconds + 100
    whole = History(told.entries, last)
    turns = Turns(whole, last)
    known = {one.id: turns.of(one) for one in whole.given.values()}
    seen: Counter[str] = Counter()
    for number in range(0, 320, 5):
        now = START + number
        then = History(told.entries, now)
        for one in whole.given.values():
            expected = "not made"
            if (before := then.given.get(one.id)) is not None:
                end = then.end(before, now)
                expected = "live" if end is None else end.reason
            assert standing(known[one.id], now) == expected, (one.id, number)
            seen[expected] += 1
    assert min(seen[status] for status in ("not made", "live", "expired", "revoked", "suspended")) > 5


def test_a_turn_names_its_record_its_cause_and_what_it_befell() -> None:
    told = Told()
    told.enrol("k1", "spiffe://a.test/one")
    told.give("root", None, "k1", 1)
    told.give("child", "root", "k2", 2)
    told.write("suspended", 3, scope="agent", name="spiffe://a.test/one", mode="suspended", cause="odd", until=0)
    told.write("lifted", 4, scope="agent", name="spiffe://a.test/one", author="ops")
    told.write("revoked", 5, id="root", cause="done", caller="ops")
    history = History(told.entries, START + 9)
    turns = Turns(history, START + 9).of(history.given["child"])
    assert [turn._replace(time=turn.time // 1000 - START) for turn in turns] == [
        Turn(2, "live", 0, "", ""),
        Turn(3, "suspended", 4, "agent spiffe://a.test/one: odd", ""),
        Turn(4, "live", 0, "", ""),
        Turn(5, "revoked", 6, "done", "root"),
    ]


def test_what_is_yet_to_come_is_no_turn() -> None:
    told = Told()
    told.give("root", None, "k1", 1, life=10)
    history = History(told.entries, START + 5)
    assert [turn.status for turn in Turns(history, START + 5).of(history.given["root"])] == ["live"]
    assert [turn.status for turn in Turns(history, START + 11).of(history.given["root"])] == ["live", "expired"]
