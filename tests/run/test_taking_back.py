"""Who may take back what: an agent the keys that it enrolled, and whoever presents a chain what hangs from that."""

from __future__ import annotations

import pytest

from chain import enrolment, mint
from chain.caller import Caller, Role
from chain.control import Named
from chain.errors import ForbiddenError, InvalidRequestError, NotFoundError, ResourceExhaustedError
from chain.key import KeySigner
from chain.order import Issue, Revoke
from chain.principal import Principal
from chain.state import Settings
from tests.support import ALICE, BOB, CAROL, GATE, PEP, World, digest, seal, signer
from tests.support import root as payload

AGENT = frozenset({Role.AGENT})
ALICES = Caller("alice", AGENT, PEP, ALICE.key.thumbprint)
BOBS = Caller("bob", AGENT, PEP, BOB.key.thumbprint)
ONE, TWO, THREE = map(signer, ("one", "two", "three"))


def enrol(world: World, worker: KeySigner, name: str, caller: Caller = ALICES, above: KeySigner = ALICE) -> None:
    under = above.key.thumbprint
    now = int(world.clock.now)
    agreed = enrolment.make(worker, name, under, audience=world.authority.audience, jti=name, iat=now)
    world.authority.enrol(caller, worker.key, Principal(id=name, owner="team", under=under), None, agreed)


def strike(world: World, caller: Caller, name: str, kind: str = "holder", *, dry_run: bool = False) -> int:
    order = Revoke(b"", "done", Named(kind, name))  # type: ignore[arg-type]
    return world.authority.revoke(caller, order, dry_run=dry_run).count


@pytest.fixture
def world() -> World:
    made = World(enrolled=(ALICE, BOB, CAROL), settings=Settings(max_workers=2))
    enrol(made, ONE, "spiffe://example.org/agent/0/one")
    return made


def test_an_agent_takes_back_what_its_worker_holds(world: World) -> None:
    tokens = [seal(payload(ONE))]
    world.allowed(tokens, ONE)
    assert strike(world, ALICES, ONE.key.thumbprint, dry_run=True) == 1
    world.allowed(tokens, ONE)
    assert strike(world, ALICES, ONE.key.thumbprint) == 1
    assert not world.ask(tokens, ONE).allowed


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("caller", "name", "kind"),
    [
        (BOBS, ONE.key.thumbprint, "holder"),  # another's worker
        (ALICES, BOB.key.thumbprint, "holder"),  # another agent
        (ALICES, ALICE.key.thumbprint, "holder"),  # itself
        (ALICES, THREE.key.thumbprint, "holder"),  # nobody's key
        (ALICES, "spiffe://example.org/agent/0/one", "holder"),  # an id may mean keys of others
        (ALICES, "t1", "task"),
        (ALICES, ONE.key.thumbprint, "key"),
        (ALICES, "https://issuer.example", "issuer"),
        (Caller("stranger", AGENT, PEP), ONE.key.thumbprint, "holder"),
    ],
)
def test_an_agent_takes_back_nothing_else_by_name(
    world: World, caller: Caller, name: str, kind: str, dry_run: bool
) -> None:
    with pytest.raises(ForbiddenError, match="by name revokes"):
        strike(world, caller, name, kind, dry_run=dry_run)
    assert strike(world, ALICES, ONE.key.thumbprint, dry_run=dry_run) == 0


def test_a_workers_worker_is_taken_back_from_above(world: World) -> None:
    enrol(world, TWO, "spiffe://example.org/agent/0/one/two", Caller("one", AGENT, PEP, ONE.key.thumbprint), ONE)
    tokens = [seal(payload(TWO))]
    world.allowed(tokens, TWO)
    strike(world, ALICES, TWO.key.thumbprint)
    assert not world.ask(tokens, TWO).allowed


def test_a_worker_that_was_taken_back_makes_room_for_another(world: World) -> None:
    enrol(world, TWO, "spiffe://example.org/agent/0/two")
    with pytest.raises(ResourceExhaustedError):
        enrol(world, THREE, "spiffe://example.org/agent/0/three")
    strike(world, ALICES, ONE.key.thumbprint)
    enrol(world, THREE, "spiffe://example.org/agent/0/three")


def test_where_a_chain_is_presented_no_role_helps(world: World) -> None:
    """Somebody may ask through an issuer or operator (`Client.lend`): what is shown counts."""
    own, other = (world.authority.issue(GATE, Issue(holder=key.key, grant=GRANT)).token for key in (ALICE, BOB))
    assert own is not None
    assert other is not None
    with pytest.raises(NotFoundError):
        world.authority.revoke(GATE, Revoke(digest(other)), [own], dry_run=True)
    assert world.authority.revoke(GATE, Revoke(digest(other)), dry_run=True).count == 1
    with pytest.raises(Exception, match="not authorized"):
        world.authority.revoke(GATE, Revoke(digest(own)), [own], dry_run=True)
    proof = world.proof(own, ALICE, "chain:revoke", {"target": mint.unverified(own).id}, world.authority.audience)
    assert world.authority.revoke(GATE, Revoke(digest(own)), [own], proof, dry_run=True).count == 1


def test_a_name_that_cannot_be_one_is_told_before(world: World) -> None:
    with pytest.raises(InvalidRequestError):
        strike(world, ALICES, "x" * 5000)


GRANT = mint.grant({"tools": {"mail.read": {}}})
