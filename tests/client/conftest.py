"""An authority in the same process, and a session of each kind on it."""

from __future__ import annotations

import pytest

from chain.client import AsyncLocal, AsyncSession, Local, Session
from tests.client.banking import TOOLS
from tests.support import ALICE, PEP, World, root, seal


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def session(world: World) -> Session:
    return Session(
        signer=ALICE,
        tokens=[seal(root(tools=TOOLS))],
        audience=PEP,
        door=Local(world.authority, world.caller),
        clock=world.clock,
        entropy=world.entropy,
    )


@pytest.fixture
def asession(world: World, session: Session) -> AsyncSession:
    return AsyncSession(
        signer=ALICE,
        tokens=session.tokens,
        audience=PEP,
        door=AsyncLocal(world.authority, world.caller),
        clock=world.clock,
        entropy=world.entropy,
    )
