"""What the tests of this folder share: names, a transmitter, and signed events."""

from __future__ import annotations

from itertools import count
from typing import Any

from chain import enrolment, signal
from chain.caller import Caller, Role
from chain.control import Suspension
from chain.errors import SignalError
from chain.key import KeySigner
from chain.principal import Principal
from chain.signal import Kind, Transmitter
from chain.signalling import Signalled
from tests.support import HOME, PEP, World, signer

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


def plain(told: Suspension) -> Suspension:
    """What stands, without what only its author is told."""
    return Suspension(**{field: getattr(told, field) for field in Suspension.__struct_fields__})


def enrols(world: World, above: KeySigner, key: KeySigner, name: str, owner: str = "team") -> str:
    """An agent enrols a worker under itself, by its channel and with the worker's agreement."""
    own = above.key.thumbprint
    caller = Caller("agent", frozenset({Role.AGENT}), PEP, own, channel=True)
    agreed = enrolment.make(key, name, own, audience=HOME, jti=f"enrol-{next(_NUMBERS)}", iat=int(world.clock.now))
    principal = Principal(id=name, owner=owner, under=own)
    return world.authority.enrol(caller, key.key, principal, proof_text=agreed).principal


def worker(world: World, key: KeySigner, name: str, under: str | None = None) -> None:
    world.authority.enrol(world.caller, key.key, Principal(id=name, owner="team", under=under))
