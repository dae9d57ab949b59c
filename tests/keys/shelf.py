"""A key ring in memory, which may be copied, restored and broken; and worlds that sign with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chain.caller import Caller, Role
from chain.errors import ConfigurationError
from chain.key import KeySigner, PublicKey
from chain.keyring import Ring
from chain.mint import grant
from chain.order import Issue
from chain.token import Rules, Verifier
from tests.support import ALICE, TOOLS, World, ec_signer, signer

OPERATOR = Caller("operator", frozenset({Role.OPERATOR}))
AUDITOR = Caller("auditor", frozenset({Role.AUDITOR}))
ISSUING = Caller("issuer", frozenset({Role.ISSUER}))


class Shelf:
    """A ring (`chain.keyring.KeyRing`) whose keys never lie on a disk.

    Attributes:
        saved: the index, as a restart finds it.
        signers: what a restart can sign with.
        broken: what fails: `save`, `make`, `signer`.
        log: what was done, in order.
        count: of the keys that were made.
    """

    def __init__(self) -> None:
        self.saved = Ring()
        self.signers: dict[str, KeySigner] = {}
        self.broken: set[str] = set()
        self.log: list[str] = []
        self.count = 0

    def load(self) -> Ring:
        return self.saved

    def save(self, ring: Ring) -> None:
        self._do("save")
        self.saved = ring

    def make(self, algorithm: str) -> PublicKey:
        self._do("make")
        self.count += 1
        name = f"issuer's key {self.count}"
        made = ec_signer(name) if algorithm == "ES256" else signer(name)
        self.signers[made.key.thumbprint] = made
        return made.key

    def signer(self, name: str) -> KeySigner | None:
        self._do("signer")
        return self.signers.get(name)

    def close(self) -> None:
        self.log.append("close")

    def _do(self, what: str) -> None:
        self.log.append(what)
        if what in self.broken:
            raise ConfigurationError(f"the disk refuses to {what}")


def ringed(shelf: Shelf, **given: Any) -> World:
    """A world whose authority signs with a ring and trusts nothing beside it."""
    return World(verifier=Verifier((), Rules()), signer=None, ring=shelf, **given)


def reopened(world: World, **resume: Any) -> World:
    """The same after a restart."""
    world.verifier = Verifier((), Rules())
    world.authority = world.open(**resume)
    return world


def root_of(world: World, holder: KeySigner = ALICE, **order: Any) -> str:
    made = Issue(holder=holder.key, grant=grant({"tools": TOOLS}), lifetime=600, **order)
    return world.authority.issue(ISSUING, made).token


def states(world: World) -> dict[str, str]:
    return {held.key.thumbprint: held.state for held in world.authority.keys.listed(AUDITOR).keys}


def recorded(world: World, kinds: Iterable[str] = ("key_changed",)) -> list[tuple[str, dict[str, Any]]]:
    page = world.authority.watch.records(OPERATOR, 0, kinds)
    return [(one.kind, one.members) for one in page.records]


def active(world: World, algorithm: str = "EdDSA") -> str:
    """Make a key and let it sign."""
    keys = world.authority.keys
    name = keys.add(OPERATOR, algorithm).key.key.thumbprint
    keys.activate(OPERATOR, name)
    return name
