"""Many at once: one approval lets exactly one call through."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from chain.decision import Decision, Effect
from chain.store.sqlite import SqliteStore
from tests.approvals.office import ANN, BEN, CAROL, CID, DAN, Office, honest, leaf_again
from tests.support import NOW

CALLS = 50


def test_fifty_calls_and_one_approval(tmp_path: Path) -> None:
    office = Office(store=SqliteStore(tmp_path))
    tokens = honest()
    fresh = leaf_again(tokens, exp=NOW + 60)
    office.both(office.waits(tokens))
    asked = [(one, office.request(one, CAROL, "bank.pay")) for one in (tokens, fresh) for _ in range(CALLS // 2)]
    start = Barrier(CALLS)

    def call(number: int) -> Decision:
        start.wait()
        return office.authority.check(office.caller, *asked[number])

    with ThreadPoolExecutor(CALLS) as pool:
        decisions = list(pool.map(call, range(CALLS)))
    assert Counter(one.effect for one in decisions) == {Effect.ALLOW: 1, Effect.APPROVAL_REQUIRED: CALLS - 1}
    assert len({one.awaits.request_id for one in decisions if one.awaits is not None}) == 1
    assert len(office.records(0, "approval_consumed")) == 1
    office.authority.close()


def test_people_who_speak_at_once(tmp_path: Path) -> None:
    """Each counts once, and a refusal among them is final whatever else was said."""
    office = Office(store=SqliteStore(tmp_path))
    tokens = honest()
    for refused, amount in ((False, 1), (True, 2)):
        asked = office.waits(tokens, CAROL, "bank.pay", {"amount": amount})
        words = [(office.statement(asked, one), one) for one in (ANN, BEN, CID)]
        if refused:
            words.append((office.statement(asked, DAN, "deny"), DAN))
        start = Barrier(len(words))

        def speak(number: int, words: list = words, start: Barrier = start) -> str:  # type: ignore[type-arg]
            text, key = words[number]
            start.wait()
            try:
                return office.authority.approvals.resolve(office.caller, text, key.key).state
            except Exception as error:  # noqa: BLE001 - what came after the refusal
                return type(error).__name__

        with ThreadPoolExecutor(len(words)) as pool:
            said = list(pool.map(speak, range(len(words))))
        after = office.authority.approvals.get(office.caller, asked.id)
        assert after.state == ("denied" if refused else "approved"), said
        assert len({vote.approver for vote in after.votes}) == len(after.votes)
    office.authority.close()
