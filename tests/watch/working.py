"""Tools that take long, and authorities whose chains can be made to die under them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chain import mint
from chain.authority import Authority
from chain.client import AsyncClient, AsyncLocal, AsyncSession, Client, Local, Session, astep, guard, step
from chain.control import Named, Strike
from chain.order import Issue, Revoke
from chain.principal import Principal
from tests.client.running import running, secret
from tests.support import ALICE, BOB, CAROL, GATE, PEP, World

PULSE = 0.1
GRANT = mint.grant({"tools": {"mail.read": {}}, "limits": {"classes": ["read"]}})
KEYS = {"alice": ALICE, "bob": BOB, "carol": CAROL}


class Work:
    """Tools that take long, and count their steps."""

    def __init__(self, bound: int = 3_000) -> None:
        self.steps = 0
        self.running = threading.Event()
        self._bound = bound

    @guard("mail.read")
    def long(self) -> str:
        for _ in range(self._bound):
            step()
            self._count()
            time.sleep(0.002)
        return "done"

    @guard("mail.read")
    async def along(self) -> str:
        for _ in range(self._bound):
            await astep()
            self._count()
            await asyncio.sleep(0.002)
        return "done"

    def _count(self) -> None:
        self.steps += 1
        if self.steps > 2:
            self.running.set()

    def when_running(self, act: Callable[[], object]) -> threading.Thread:
        """Do something in a thread once some steps were taken."""

        def wait() -> None:
            self.running.wait(20)
            act()

        thread = threading.Thread(target=wait)
        thread.start()
        return thread


@dataclass
class Place:
    """An authority, in this process or behind a server, with a chain of Alice's and two beneath it.

    Attributes:
        door, adoor: ways to it, for threads and (made inside the loop) for asyncio.
        tokens: each holder's chain.
    """

    authority: Authority
    door: Any
    adoor: Callable[[], Any]
    tokens: dict[str, list[str]] = field(default_factory=dict)

    def session(self, name: str = "bob", *, watch: bool = True, **more: Any) -> Session:
        known: Any = {"signer": KEYS[name], "tokens": self.tokens[name], "audience": PEP, "door": self.door}
        return Session(**(known | {"watch": watch, "pulse": PULSE} | more))

    def asession(self, door: Any, name: str = "bob", *, watch: bool = True) -> AsyncSession:
        return AsyncSession(
            signer=KEYS[name], tokens=self.tokens[name], audience=PEP, door=door, watch=watch, pulse=PULSE
        )

    def revoke(self, name: str) -> None:
        self.authority.revoke(GATE, Revoke(mint.unverified(self.tokens[name][-1]).digest, "stolen"))

    def revoke_named(self, kind: Strike, name: str) -> None:
        self.authority.revoke(GATE, Revoke(cause="stolen", named=Named(kind, name)))

    def suspend(self, scope: str, name: str = "") -> None:
        self.authority.steering.suspend(GATE, scope, name, "incident")

    def resume(self, scope: str, name: str = "") -> None:
        self.authority.steering.resume(GATE, scope, name, "over")

    def issue(self, lifetime: int = 600) -> None:
        order = Issue(holder=ALICE.key, grant=GRANT, lifetime=lifetime, max_depth=4, task="t1")
        root = self.authority.issue(GATE, order)
        self.tokens["alice"] = [root.token]
        alice = Session(signer=ALICE, tokens=[root.token], audience=PEP, door=Local(self.authority, GATE))
        for name in ("bob", "carol"):
            self.tokens[name] = list(alice.delegate(KEYS[name].key, GRANT, lifetime).tokens)


@contextmanager
def local() -> Iterator[Place]:
    """In this process."""
    authority = World(clock=time.time, enrolled=()).authority  # type: ignore[arg-type]
    for number, key in enumerate(KEYS.values()):
        authority.enrol(GATE, key.key, Principal(id=f"spiffe://example.org/{number}", owner="team"))
    place = Place(authority, Local(authority, GATE), lambda: AsyncLocal(authority, GATE))
    place.issue()
    yield place


@contextmanager
def served(directory: Path, through: Callable[[str], str] = lambda address: address) -> Iterator[Place]:
    """Behind a server, which is reached `through` something."""
    with running(directory) as server:
        address = through(server.address)
        with Client(address, secret("point"), timeout=5) as client:
            place = Place(server._authority, client, lambda: AsyncClient(address, secret("point"), timeout=5))
            place.issue()
            yield place
