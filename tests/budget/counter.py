"""Two counters at which a budget is spent: the library's, and a real server's over gRPC. Every test stands at both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from chain.authority import Authority
from chain.base64url import b64decode
from chain.budget import SPENT
from chain.client import Client
from chain.decision import Decision, Effect
from chain.key import Signer
from chain.ledger import Store, decode
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore
from chain.supposed import Hypothesis
from tests.scenarios.service import service
from tests.support import ALICE, HOLDERS, HOME, PEP, Clock, Json, World, child, digest, root, seal

OPEN: Json = {"mail.read": {}, "mail.send": {}, "bank.pay": {}, "bank.wire": {}, "bank.quote": {}}
TOOLS: Json = {
    "mail.read": "read",
    "mail.send": "write",
    "bank.pay": "act",
    "bank.wire": {"class": "act", "amount": {"argument": "sum", "currency_argument": "unit"}},
    "bank.move": {"class": "act", "amount": {"argument": "amount", "currency": "EUR"}},
    "bank.quote": {"class": "read", "amount": {"argument": "amount", "currency": "EUR"}},
}


def money(value: str, argument: str = "amount", currency: str = "EUR") -> Json:
    return {"value": value, "currency": currency, "argument": argument}


def calls(number: int) -> Json:
    return {"calls": number}


def euros(value: str, **more: Any) -> Json:
    return {"amount": money(value), **more}


def metered(budget: Json, holder: Signer = ALICE, **changed: Any) -> str:
    """A root with a budget that is kept at home."""
    return seal(root(holder, OPEN | {"bank.move": {}}, {"budget": budget}, **({"home": HOME} | changed)))


def under(parent: str, by: Signer, to: Signer, budget: Json | None = None, **changed: Any) -> str:
    """A child with its parent's budget, or a lower one of its own."""
    return seal(child(parent, to, limits=None if budget is None else {"budget": budget}, **changed), by)


class Counter:
    """Where calls are asked for.

    Attributes:
        store: the ledger behind it.
        maker: makes requests with fresh proofs; its own authority is nobody's.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        authority: Authority | None = None,
        client: Client | None = None,
        operator: Client | None = None,
    ) -> None:
        """`authority` answers, or a service: its enforcement point's `client`, and its `operator`."""
        self.store = store
        self.maker = World(clock=clock, enrolled=(), catalogue=TOOLS)
        self._authority = authority
        self._client = client
        self._operator = operator

    def request(self, tokens: Sequence[str], by: Signer, *args: Any, **facts: Any) -> Request:
        return self.maker.request(tokens, by, *args, **facts)

    def send(self, tokens: Sequence[str], request: Request) -> Decision:
        if self._client is not None:
            return self._client.check(tokens, request)
        assert self._authority is not None
        return self._authority.check(self.maker.caller, tokens, request)

    def batch(self, items: Sequence[tuple[Sequence[str], Request]]) -> list[Decision]:
        if self._client is not None:
            answers = self._client.batch_check(items)
            return [answer for answer in answers if isinstance(answer, Decision)]
        assert self._authority is not None
        return self._authority.begin_check(self.maker.caller, items).result()

    def stream(self, items: Sequence[tuple[Sequence[str], Request]]) -> list[Decision]:
        """One after the other; over gRPC on one stream."""
        if self._client is None:
            return [self.send(*item) for item in items]
        with self._client.check_stream() as opened:
            return [opened.check(*item) for item in items]

    def explain(self, tokens: Sequence[str], request: Request) -> Decision:
        if self._client is not None:
            return self._client.explain(tokens, request).decision
        assert self._authority is not None
        return self._authority.explain(self.maker.caller, tokens, request).decision

    def simulate(self, tokens: Sequence[str], request: Request) -> Decision:
        """As things stand: what would be decided, by an auditor's or operator's asking."""
        if self._operator is not None:
            return self._operator.simulate(tokens, request, Hypothesis()).then
        assert self._authority is not None
        return self._authority.simulate(self.maker.caller, tokens, request, Hypothesis()).then

    def ask(self, tokens: Sequence[str], by: Signer, *args: Any, **facts: Any) -> Decision:
        return self.send(tokens, self.request(tokens, by, *args, **facts))

    def allowed(self, tokens: Sequence[str], by: Signer, *args: Any, **facts: Any) -> Decision:
        decision = self.ask(tokens, by, *args, **facts)
        assert decision.effect is Effect.ALLOW, str(decision)
        return decision

    def denied(
        self, reason: Reason, hop: int | None, tokens: Sequence[str], by: Signer, *args: Any, **facts: Any
    ) -> Decision:
        decision = self.ask(tokens, by, *args, **facts)
        assert (decision.effect, decision.reason, decision.hop) == (Effect.DENY, reason, hop), str(decision)
        return decision

    def spent(self, token: str) -> tuple[int, Decimal]:
        """What stands in the store, once the ledger's own sum has been seen to be the same."""
        return standing(self.store)[identity(token)]


def identity(token: str) -> str:
    return digest(token).hex()


def standing(store: Store) -> dict[str, tuple[int, Decimal]]:
    """What was used up of every budget: what stands, which is exactly the sum of the ledger's `decided` records."""
    kept = {row.name: msgspec.json.decode(row.body, type=tuple[int, str, str]) for row in store.standing(SPENT)}
    stands = {name: (number, Decimal(amount)) for name, (number, amount, _) in kept.items()}
    assert stands == ledger(store)
    return stands


def ledger(store: Store) -> dict[str, tuple[int, Decimal]]:
    """The same, by adding up the ledger."""
    summed: dict[str, tuple[int, Decimal]] = {}
    start = 1
    while records := store.records(start, 1000):
        for data, _ in records:
            record = decode(data)
            start = record.revision + 1
            for name, amount, _ in json.loads(data)["body"].get("spent", ()) if record.kind == "decided" else ():
                key = b64decode(name.encode()).hex()
                number, total = summed.get(key, (0, Decimal(0)))
                summed[key] = (number + 1, total + Decimal(amount))
    return summed


WAYS = ("library-memory", "library-sqlite", "service-memory", "service-sqlite")


@contextmanager
def opened(way: str, directory: Path) -> Iterator[Counter]:
    """A counter of that kind, with everybody enrolled."""
    door, kept = way.split("-")
    store: Store = MemoryStore() if kept == "memory" else SqliteStore(directory / "ledger")
    clock = Clock()
    people = {key: Principal(id=f"spiffe://example.org/agent/{n}", owner="team") for n, key in enumerate(HOLDERS)}
    if door == "library":
        with closing(store):
            world = World(store=store, clock=clock, catalogue=TOOLS)
            yield Counter(store, clock, world.authority)
        return
    with service(directory, store, clock, TOOLS) as served:
        for key, principal in people.items():
            served.enrol(key.key, principal)
        yield Counter(store, clock, client=served.points[PEP], operator=served.operator)
