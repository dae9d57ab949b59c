"""What the tests of this folder share: names, a transmitter, and signed events."""

from __future__ import annotations

from itertools import count
from typing import Any

from chain import signal
from chain.errors import SignalError
from chain.key import KeySigner
from chain.principal import Principal
from chain.signal import Kind, Transmitter
from chain.signalling import Signalled
from tests.support import HOME, World, signer

IDP = "https://idp.example"
IDP_KEY = signer("idp")
TRUSTED = Transmitter(IDP, (IDP_KEY.key,))

_NUMBERS = count(1)


def agent(place: int) -> str:
    """Ids as `World` enrols them: 0 the issuer's key, 1 Alice, 2 Bob, 3 Carol."""
    return f"spiffe://example.org/agent/{place}"


def event(world: World, kind: Kind, subject: Any, by: KeySigner = IDP_KEY, **changed: Any) -> str:
    """A signed event with a fresh jti."""
    made: dict[str, Any] = {
        "issuer": IDP,
        "audience": HOME,
        "jti": f"event-{next(_NUMBERS)}",
        "now": int(world.clock.now),
    }
    return signal.make(by, event=kind, subject=subject, **(made | changed))


def tell(world: World, kind: Kind, subject: Any, **changed: Any) -> Signalled:
    return world.authority.steering.signal(world.caller, event(world, kind, subject, **changed))


def refused(world: World, text: str) -> str:
    """Hand an event in, see it refused and nothing written, and return the code."""
    before = world.store.head
    try:
        world.authority.steering.signal(world.caller, text)
    except SignalError as error:
        assert world.store.head == before
        return error.code
    raise AssertionError("it was taken")


def worker(world: World, key: KeySigner, name: str, under: str | None = None) -> None:
    world.authority.enrol(world.caller, key.key, Principal(id=name, owner="team", under=under))
