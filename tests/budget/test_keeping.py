"""What was spent is kept: over a restart, when memory forgets, in one group of commits; and only where its home is."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from decimal import Decimal, localcontext
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain import batch, budget, mint
from chain.judge import Judge, read
from chain.ledger import Store
from chain.order import Issue
from chain.reason import Reason
from chain.recent import Recent
from chain.row import Write
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from chain.supposed import Hypothesis
from tests.budget.counter import TOOLS, calls, euros, identity, metered, standing, under
from tests.support import ALICE, BOB, CAROL, HOME, ISSUER, NOW, PEP, ROOT_KEY, Json, World, child, jwk, root, seal, text

SEEDED = settings(derandomize=True, deadline=None, max_examples=60)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "ledger")
    yield made
    made.close()


@pytest.fixture
def world(store: Store) -> World:
    return World(store=store, catalogue=TOOLS)


def test_a_restart_keeps_what_was_spent(world: World) -> None:
    first = metered(euros("10", calls=5))
    tokens = [first, under(first, ALICE, BOB)]
    world.allowed(tokens, BOB, "bank.pay", {"amount": "9.9"})
    world.authority = world.open()
    world.denied(Reason.BUDGET_EXCEEDED, 0, [first], ALICE, "bank.pay", {"amount": "0.2"})
    world.allowed([first], ALICE, "bank.pay", {"amount": "0.1"})
    assert standing(world.store)[identity(first)] == (2, Decimal(10))


def test_a_reopened_ledger_keeps_what_was_spent(tmp_path: Path) -> None:
    world = World(store=SqliteStore(tmp_path / "ledger"))
    tokens = [metered(calls(2))]
    world.allowed(tokens, ALICE)
    world.authority.close()
    again = World(store=SqliteStore(tmp_path / "ledger"))
    again.nonces = world.nonces
    again.allowed(tokens, ALICE)
    again.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE)
    assert standing(again.store)[identity(tokens[0])] == (2, Decimal(0))
    again.authority.close()


def test_what_memory_forgot_is_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """More budgets than the memory holds, spent in turns: each goes on where it was."""
    purse = world.authority._desk.live.purse
    monkeypatch.setattr(purse, "_known", Recent(2))
    roots = [metered(calls(3), jti=f"root-{number}") for number in range(9)]
    for _ in range(3):
        for token in roots:
            world.allowed([token], ALICE)
    for token in roots:
        world.denied(Reason.BUDGET_EXCEEDED, 0, [token], ALICE)
    assert set(standing(world.store).values()) == {(3, Decimal(0))}
    assert len(purse._known._young) + len(purse._known._old) <= 4


class Held(SqliteStore):
    """Its writer waits to be let go, so that what comes meanwhile is one group in one transaction."""

    def hold(self) -> tuple[Future[int], threading.Event]:
        begun, leave = threading.Event(), threading.Event()

        class Waiting:
            durability = batch.Durability.SYNCED
            urgent = False

            def prepare(self, first: int) -> Write:
                begun.set()
                leave.wait(20)
                return Write([])

        future = self.commit(Waiting())
        assert begun.wait(20)
        return future, leave


def test_one_group_of_commits_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen batches in one transaction, with a memory of two: each must see what those before it took."""
    store = Held(tmp_path / "ledger")
    world = World(store=store)
    monkeypatch.setattr(world.authority._desk.live.purse, "_known", Recent(1))
    first = metered(euros("5"))
    tokens, others = [first, under(first, ALICE, BOB)], [[metered(calls(1), jti=f"other-{n}")] for n in range(4)]
    held, leave = store.hold()
    head, waiting = store.head, []
    for number in range(16):
        chain, by = (tokens, BOB) if number % 2 else (others[number // 2 % 4], ALICE)
        request = world.request(chain, by, "bank.pay", {"amount": 1})
        waiting.append(world.authority.begin_check(world.caller, [(chain, request)]))
    assert store.head == head  # nothing of it is down yet
    leave.set()
    held.result(20)
    answers = [future.result(20)[0] for future in waiting]
    assert [answer.allowed for answer in answers[1::2]] == [True] * 5 + [False] * 3
    assert [answer.allowed for answer in answers[::2]] == [True] * 4 + [False] * 4
    assert answers[-1].reason is Reason.BUDGET_EXCEEDED
    assert standing(store)[identity(first)] == (5, Decimal(5))
    world.denied(Reason.BUDGET_EXCEEDED, 0, tokens, BOB, "bank.pay", {"amount": 1})
    world.authority.close()


def test_one_batch_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.authority._desk.live.purse, "_known", Recent(1))
    roots = [[metered(calls(2), jti=f"root-{number}")] for number in range(5)]
    items = [(chain, world.request(chain, ALICE)) for _ in range(3) for chain in roots]
    answers = world.authority.begin_check(world.caller, items).result()
    assert [answer.allowed for answer in answers] == [True] * 10 + [False] * 5
    assert set(standing(world.store).values()) == {(2, Decimal(0))}


def test_a_batch_that_fails_midway_gives_back_what_it_took(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it was recorded, so nothing of it is spent; and nobody was told that he may."""
    tokens = [metered(calls(2))]
    world.allowed(tokens, ALICE)
    unspent = [metered(calls(1), jti="unspent")]
    items = [(chain, world.request(chain, ALICE)) for chain in (unspent, tokens)]
    with monkeypatch.context() as spoilt:
        real, made = batch.records.decided, iter((True, False))
        spoilt.setattr(batch.records, "decided", lambda *args: real(*args) if next(made) else {"no JSON": object()})
        answers = world.authority.begin_check(world.caller, items).result()
    assert [(answer.allowed, answer.reason) for answer in answers] == [(False, Reason.INTERNAL)] * 2
    assert standing(world.store) == {identity(tokens[0]): (1, Decimal(0))}
    world.allowed(unspent, ALICE)
    world.allowed(tokens, ALICE)
    world.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE)
    assert standing(world.store)[identity(tokens[0])] == (2, Decimal(0))


class LateReader(MemoryStore):
    """Answers one question with what stood before the answer was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = threading.Event(), threading.Event()
        self.late: threading.Thread | None = None

    def stands(self, kind: str, name: str) -> budget.StandingRow | None:
        row = super().stands(kind, name)
        if threading.current_thread() is self.late:
            self.asked.set()
            self.answer.wait(20)
        return row


def test_a_late_reader_brings_nothing_back() -> None:
    """Somebody explains while others spend: what he read before must not stand where they left off."""
    store = LateReader()
    world = World(store=store)
    tokens, other = [metered(calls(1))], [metered(calls(5), jti="other")]
    request = world.request(tokens, ALICE)
    store.late = threading.Thread(target=lambda: world.authority.explain(world.caller, tokens, request))
    store.late.start()
    assert store.asked.wait(20)
    world.allowed(tokens, ALICE)
    world.allowed(other, ALICE)  # the first spend is committed by now, and settles
    store.answer.set()
    store.late.join(20)
    world.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE)
    assert standing(store)[identity(tokens[0])] == (1, Decimal(0))


def test_to_suppose_costs_nothing(world: World) -> None:
    tokens = [metered(calls(1))]
    request = world.request(tokens, ALICE)
    for _ in range(3):
        simulation = world.authority.simulate(world.caller, tokens, request, Hypothesis())
        assert (simulation.now.allowed, simulation.then.allowed) == (True, True)
    assert standing(world.store) == {}
    world.allowed(tokens, ALICE)
    simulation = world.authority.simulate(world.caller, tokens, request, Hypothesis())
    assert simulation.then.reason is Reason.BUDGET_EXCEEDED


def test_a_budget_is_remembered_a_little_longer_than_its_delegation(world: World) -> None:
    """The clock may step back by a second behind a sweep."""
    tokens = [metered(calls(1), exp=NOW + 100)]
    world.allowed(tokens, ALICE)
    world.clock.now = NOW + 100.9
    world.allowed([metered(calls(1), jti="other")], ALICE)
    world.store.sweep(int(world.clock.now))
    world.clock.now = NOW + 99.95
    world.authority = world.open()
    world.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE)
    world.store.sweep(NOW + 102)
    assert identity(tokens[0]) not in {row.name for row in world.store.standing(budget.SPENT)}


def test_a_program_that_rounds_does_not_round_budgets(world: World) -> None:
    tokens = [metered(euros("100000.000000001"))]
    with localcontext(prec=3):
        world.allowed(tokens, ALICE, "bank.pay", {"amount": 99999})
        world.allowed(tokens, ALICE, "bank.pay", {"amount": "1.000000001"})
        world.denied(Reason.BUDGET_EXCEEDED, 0, tokens, ALICE, "bank.pay", {"amount": "0.000000001"})
    assert standing(world.store)[identity(tokens[0])] == (2, Decimal("100000.000000001"))


# -- home ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("home", [None, "https://other.example", HOME + "/", HOME.upper()])
def test_a_budget_of_another_home_is_not_spent_here(world: World, home: str | None) -> None:
    foreign = [metered(calls(5), home=home)]
    world.denied(Reason.STATE_UNAVAILABLE, 0, foreign, ALICE)
    late = seal(root(ALICE, {"mail.read": {}}, home=home) if home else root(ALICE, {"mail.read": {}}))
    limited = seal(child(late, BOB, limits={"budget": calls(5)}), ALICE)
    world.denied(Reason.STATE_UNAVAILABLE, 1, [late, limited], BOB)
    assert standing(world.store) == {}
    world.allowed([late], ALICE)
    world.allowed([metered(calls(5))], ALICE)


def test_what_is_issued_here_is_at_home_here(world: World) -> None:
    grant = mint.grant({"tools": {"mail.read": {}}, "limits": {"budget": calls(1)}})
    token = world.authority.issue(world.caller, Issue(holder=ALICE.key, grant=grant, lifetime=60)).token
    world.allowed([token], ALICE)
    world.denied(Reason.BUDGET_EXCEEDED, 0, [token], ALICE)


def test_offline_nobody_keeps_a_budget(world: World) -> None:
    """`chain verify` sees no ledger: what it cannot count it does not allow."""

    def judged(token: str) -> tuple[bool, Reason]:
        question = {
            "tokens": [token],
            "trust_anchors": [{"jwk": jwk(ROOT_KEY), "iss": ISSUER}],
            "tool": "mail.read",
            "args": {"folder": "in"},
            "proof": world.proof(token, ALICE),
            "audience": PEP,
            "now": NOW,
        }
        decision = Judge(lambda: NOW).decide(read(text(question)))
        return decision.allowed, decision.reason

    assert judged(metered(calls(5))) == (False, Reason.STATE_UNAVAILABLE)
    assert judged(seal(root(home=HOME))) == (True, Reason.ALLOWED)


# -- the model ----------------------------------------------------------------------------------------------


class Model:
    """Budgets as one would keep them on paper, in whole units of the ninth decimal."""

    def __init__(self, parents: list[int | None], ceilings: list[tuple[int | None, int | None]]) -> None:
        self.parents = parents
        self.ceilings = ceilings
        self.calls = [0] * len(parents)
        self.units = [0] * len(parents)

    def path(self, place: int) -> list[int]:
        upper = self.parents[place]
        return [*([] if upper is None else self.path(upper)), place]

    def spend(self, place: int, units: int) -> bool:
        path = self.path(place)
        for hop in path:
            most_calls, most_units = self.ceilings[hop]
            if most_calls is not None and self.calls[hop] + 1 > most_calls:
                return False
            if most_units is not None and self.units[hop] + units > most_units:
                return False
        for hop in path:
            self.calls[hop] += 1
            self.units[hop] += units if self.ceilings[hop][1] is not None else 0
        return True


SIZES = st.integers(0, 10**15).map(lambda size: size if size % 3 else size * 10**9 % (10**20))


@SEEDED
@given(seed=st.integers(0, 2**32), first=SIZES, steps=st.integers(1, 40))
def test_whatever_is_spent_the_paper_agrees(seed: int, first: int, steps: int) -> None:
    """A tree of budgets, spent in any order, with restarts and a memory that forgets, against the model."""
    chance = random.Random(seed)
    ceilings: list[tuple[int | None, int | None]] = [(chance.choice([None, 3, 8]), first)]
    parents: list[int | None] = [None]
    tokens, keys = [metered(_budget(*ceilings[0]))], [ALICE]
    for _ in range(chance.randrange(6)):
        upper = chance.randrange(len(tokens))
        most_calls, most_units = ceilings[upper]
        below = (
            most_calls if most_calls is None else chance.randint(0, most_calls),
            most_units if most_units is None else chance.randint(0, most_units),
        )
        key = chance.choice([ALICE, BOB, CAROL])
        claims = {"limits": {"budget": _budget(*below)}, "jti": f"{seed}-{len(tokens)}"}
        tokens.append(seal(child(tokens[upper], key, **claims), keys[upper]))
        keys.append(key)
        parents.append(upper)
        ceilings.append(below)
    model, world = Model(parents, ceilings), World()
    for _ in range(steps):
        if chance.random() < 0.2:
            world.authority = world.open()
        world.authority._desk.live.purse._known = Recent(chance.choice([1, 2, 100]))
        place = chance.randrange(len(tokens))
        units = chance.choice([0, 1, chance.randint(0, first), first // 3, first // 7 + 1])
        chain = [tokens[hop] for hop in model.path(place)]
        answer = world.ask(chain, keys[place], "bank.pay", {"amount": _text(units)})
        assert answer.allowed is model.spend(place, units), str(answer)
        assert answer.allowed or answer.reason is Reason.BUDGET_EXCEEDED
    stands = standing(world.store)
    for place, token in enumerate(tokens):
        assert stands.get(identity(token), (0, Decimal(0))) == (model.calls[place], Decimal(_text(model.units[place])))


def _budget(most_calls: int | None, most_units: int | None) -> Json:
    made: Json = {} if most_calls is None else calls(most_calls)
    return made if most_units is None else euros(_text(most_units), **made)


def _text(units: int) -> str:
    return f"{units // 10**9}.{units % 10**9:09d}"
