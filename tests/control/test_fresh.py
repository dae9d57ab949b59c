"""No stale allow: what was permitted a moment before is not, on the very next call, whatever it was that changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import NamedTuple

import pytest

from chain.bundles import default
from chain.control import Controls, Named
from chain.decision import Decision
from chain.order import Revoke
from chain.principal import Principal
from chain.request import Request
from chain.store.sqlite import SqliteStore
from tests.control.material import TRUSTED, agent, tell
from tests.support import ALICE, BOB, CAROL, ISSUER, PEP, ROOT_KEY, World, child, digest, root, seal

SCHEMA = {name: text for name, text in default().items() if name.endswith("schema")}
READS = SCHEMA | {
    "rules.cedar": """
@id("any") permit (principal, action, resource);
@id("risk") forbid (principal, action, resource) when { principal.risk == "high" || principal.assurance == "none" };
@id("domain") forbid (principal, action, resource) when { principal.trust_domain == "elsewhere.org" };
"""
}
CLOSED = SCHEMA | {"rules.cedar": '@id("none") forbid (principal, action, resource);'}
THREADS = 3


class Turn(NamedTuple):
    """Something that happens, and what undoes it where anything does."""

    happens: Callable[[World, list[str]], object]
    undone: Callable[[World], object] | None = None


def revoking(kind: str, name: str) -> Turn:
    order = Revoke(named=Named(kind, name))  # type: ignore[arg-type]
    return Turn(lambda world, _: world.authority.revoke(world.caller, order))


def stopping(scope: str, name: str, mode: str = "suspended") -> Turn:
    return Turn(
        lambda world, _: world.authority.steering.suspend(world.caller, scope, name, "because", mode),
        lambda world: world.authority.steering.resume(world.caller, scope, name, "over"),
    )


def enrolling(name: str, owner: str = "team") -> Callable[[World], object]:
    principal = Principal(id=name, owner=owner)
    return lambda world: world.authority.enrol(world.caller, CAROL.key, principal)


def signalling(kind: str, level: str, back: str) -> Turn:
    return Turn(
        lambda world, _: tell(world, kind, agent(3), level=level),  # type: ignore[arg-type]
        lambda world: tell(world, kind, agent(3), level=back),  # type: ignore[arg-type]
    )


TURNS = {
    "revoke the leaf": Turn(lambda world, tokens: world.authority.revoke(world.caller, Revoke(digest(tokens[2])))),
    "revoke the root": Turn(lambda world, tokens: world.authority.revoke(world.caller, Revoke(digest(tokens[0])))),
    "revoke a holder": revoking("holder", BOB.key.thumbprint),
    "revoke a principal": revoking("holder", agent(1)),
    "revoke a task": revoking("task", "t1"),
    "revoke a key": revoking("key", ROOT_KEY.key.thumbprint),
    "revoke a maker": revoking("key", ALICE.key.thumbprint),
    "revoke an issuer": revoking("issuer", ISSUER),
    "suspend the leaf's holder": stopping("agent", agent(3)),
    "suspend the root's holder": stopping("agent", agent(1)),
    "suspend a trust domain": stopping("trust_domain", "example.org"),
    "suspend a task": stopping("task", "t1"),
    "suspend a tool": stopping("tool", "bank.pay"),
    "suspend everything": stopping("everything", ""),
    "quarantine": stopping("agent", agent(2), "quarantined"),
    "risk": signalling("risk-level-change", "high", "low"),
    "assurance": signalling("assurance-level-change", "none", "nist-aal3"),
    "session revoked": Turn(lambda world, _: tell(world, "session-revoked", agent(2))),
    "credential revoked": Turn(
        lambda world, _: tell(world, "credential-change", ALICE.key.thumbprint, change="revoke")
    ),
    "enrolled elsewhere": Turn(
        lambda world, _: enrolling("spiffe://elsewhere.org/carol")(world), enrolling(agent(3))
    ),
    "another policy": Turn(
        lambda world, _: world.authority.policies.activate(world.caller, CLOSED),
        lambda world: world.authority.policies.activate(world.caller, READS),
    ),
}  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(store=SqliteStore(tmp_path / "ledger"), transmitters=[TRUSTED])
    world.authority.policies.activate(world.caller, READS)
    yield world
    world.authority.close()


def chain() -> list[str]:
    tokens = [seal(root(ALICE, limits={"classes": ["read", "act"]}, txn="t1"))]
    for by, to in ((ALICE, BOB), (BOB, CAROL)):
        tokens.append(seal(child(tokens[-1], to), by))
    return tokens


def asks(world: World, tokens: list[str], number: int, *, write: bool) -> Decision:
    """One call of Carol's, over her channel; a fresh id for what acts."""
    request = Request(
        tool="bank.pay" if write else "mail.read",
        arguments={"amount": 5} if write else {"folder": "in"},
        audience=PEP,
        holder=CAROL.key.thumbprint,
        request_id=f"request-{number:016d}",
    )
    return world.authority.check(world.caller, tokens, request)


@pytest.mark.parametrize("name", TURNS)
def test_no_allow_is_stale(world: World, name: str) -> None:
    """Calls go on in threads all the while; the one after each change is never allowed."""
    turn, tokens, stale, done = TURNS[name], chain(), 0, Event()

    def others(thread: int) -> int:
        count = 0
        while not done.is_set():
            count += asks(world, tokens, 10**6 * (thread + 1) + count, write=False).allowed
            world.authority.explain(world.caller, tokens, world.request(tokens, CAROL))
        return count

    with ThreadPoolExecutor(THREADS) as pool:
        running = [pool.submit(others, thread) for thread in range(THREADS)]
        try:
            for number in range(8):
                before = asks(world, tokens, 2 * number, write=True)
                assert before.allowed, str(before)
                turn.happens(world, tokens)
                stale += asks(world, tokens, 2 * number + 1, write=True).allowed
                if turn.undone is None:
                    break
                turn.undone(world)
        finally:
            done.set()
        assert all(future.result() >= 0 for future in running)  # none failed
    assert stale == 0


def test_a_reader_that_was_slow_leaves_nothing_old_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody explains a call and reads who Carol is; before that is remembered, she is enrolled elsewhere."""
    live, standing, turns = world.authority._desk.live, Controls.standing, [enrolling("spiffe://elsewhere.org/carol")]

    def slow(controls: Controls, *arguments: object) -> object:
        found = standing(controls, *arguments)  # type: ignore[arg-type]
        if turns:
            turns.pop()(world)
        return found

    monkeypatch.setattr(Controls, "standing", slow)
    live._parties = {}
    seen = live.party(CAROL.key.thumbprint).principal
    assert seen is not None
    assert seen.id == agent(3)
    now = live.party(CAROL.key.thumbprint).principal
    assert now is not None
    assert now.id == "spiffe://elsewhere.org/carol"
    assert not asks(world, chain(), 1, write=True).allowed
