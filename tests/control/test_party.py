"""An agent and its workers are one party: what ends one ends the others, and no number of them is out of reach."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chain.bundles import default
from chain.caller import Caller, Role
from chain.control import Named
from chain.errors import DeniedError, ForbiddenError, InvalidRequestError, ResourceExhaustedError
from chain.key import KeySigner
from chain.order import Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.records import MAX_LISTED
from chain.roster import MAX_UNDER, Roster
from chain.signal import Transmitter
from chain.signalling import MAX_TOLD
from chain.state import Settings
from tests.control.material import IDP, IDP_KEY, TRUSTED, agent, enrols, event, refused, tell, worker
from tests.support import ALICE, BOB, CAROL, NOW, World, child, honest, root, seal, signer

OPERATOR = Caller("op", frozenset({Role.OPERATOR}))
ELSEWHERE = "spiffe://elsewhere.org/helper"
MINE, INNER, BENEATH, OUTER, SECOND = map(signer, ("mine", "inner", "beneath", "outer", "second"))
ALIKE = signer("alike")
UNDER_BOB = (MINE, INNER, OUTER)
PARTY = (BOB, SECOND, BENEATH, *UNDER_BOB)


@pytest.fixture
def world() -> World:
    """Bob with two keys; workers by enrolment, of workers, by their id alone, and in another trust domain."""
    world = World(transmitters=[TRUSTED])
    worker(world, SECOND, agent(2))
    enrols(world, BOB, MINE, f"{agent(2)}/w")
    enrols(world, MINE, INNER, f"{agent(2)}/w/inner")
    worker(world, BENEATH, f"{agent(2)}/beneath")
    worker(world, OUTER, ELSEWHERE, under=BOB.key.thumbprint)
    worker(world, ALIKE, f"{agent(2)}0")
    return world


def dead(world: World) -> set[KeySigner]:
    """Whose own roots are revoked, of all there are."""
    found = set()
    for key in (ALICE, CAROL, ALIKE, *PARTY):
        decision = world.ask([seal(root(key))], key)
        if not decision.allowed:
            assert (decision.reason, decision.hop) == (Reason.REVOKED, 0), str(decision)
            found.add(key)
    return found


def by_name(world: World, name: str) -> None:
    """Revoke, after a dry run that tells the same."""
    order = Revoke(named=Named("holder", name))
    dry = world.authority.revoke(OPERATOR, order, dry_run=True)
    done = world.authority.revoke(OPERATOR, order)
    assert (dry.fallen, dry.count) == (done.fallen, done.count)


def by_session(world: World, name: str) -> None:
    tell(world, "session-revoked", name)


def by_credential(world: World, name: str) -> None:
    tell(world, "credential-change", name, change="revoke")


WAYS = [by_name, by_session, by_credential]


@pytest.mark.parametrize("way", WAYS)
def test_all_who_work_under_a_principal_fall_with_it(world: World, way: Any) -> None:
    handed = [*honest(1)]
    handed.append(seal(child(handed[0], MINE), ALICE))
    world.allowed(handed, MINE, "bank.pay")
    assert dead(world) == set()
    way(world, agent(2))
    assert dead(world) == set(PARTY)
    world.denied(Reason.REVOKED, 1, handed, MINE, "bank.pay")
    world.authority = world.open()
    assert dead(world) == set(PARTY)


@pytest.mark.parametrize("way", WAYS)
def test_a_thumbprint_is_that_key_and_what_it_enrolled(world: World, way: Any) -> None:
    way(world, BOB.key.thumbprint)
    assert dead(world) == {BOB, *UNDER_BOB}
    way(world, BENEATH.key.thumbprint)
    assert dead(world) == {BOB, BENEATH, *UNDER_BOB}


@pytest.mark.parametrize("way", WAYS)
def test_a_workers_end_is_not_its_agents(world: World, way: Any) -> None:
    way(world, f"{agent(2)}/w")
    assert dead(world) == {MINE, INNER}


def test_what_is_counted_is_what_fell(world: World) -> None:
    for key in (ALICE, *PARTY):
        world.allowed([seal(root(key))], key)
    assert world.authority.revoke(OPERATOR, Revoke(named=Named("holder", agent(2)))).count == len(PARTY)
    (body,) = [json.loads(data)["body"] for data, _ in world.store.records(kind="revoked")]
    names = [name for name in body["names"] if not name.startswith("spiffe://")]
    assert names == sorted(key.key.thumbprint for key in PARTY)
    ids = {world.authority.principal(name).id for name in names}
    assert body["names"] == sorted({*names, *ids})  # an SVID proves an id, with a key that nobody enrolled


@pytest.mark.parametrize("way", WAYS)
def test_nobody_of_it_enrols_anybody(world: World, way: Any) -> None:
    late = signer("late")
    assert enrols(world, INNER, signer("before"), f"{agent(2)}/w/inner/before")
    way(world, BOB.key.thumbprint)
    for above, name in ((BOB, f"{agent(2)}/x"), (MINE, f"{agent(2)}/w/x"), (INNER, f"{agent(2)}/w/inner/x")):
        with pytest.raises(DeniedError) as raised:
            enrols(world, above, late, name)
        assert raised.value.decision.reason is Reason.REVOKED
    assert enrols(world, SECOND, late, f"{agent(2)}/x")  # another key of the same principal, which was not revoked


def test_one_who_was_put_under_a_revoked_key_enrols_nobody(world: World) -> None:
    """Also where an operator did that afterwards."""
    by_name(world, BOB.key.thumbprint)
    late, later = signer("late"), signer("later")
    worker(world, late, f"{agent(2)}/late", under=BOB.key.thumbprint)
    with pytest.raises(DeniedError) as raised:
        enrols(world, late, later, f"{agent(2)}/late/x")
    assert raised.value.decision.reason is Reason.REVOKED
    worker(world, late, f"{agent(2)}/late")
    assert enrols(world, late, later, f"{agent(2)}/late/x")


def test_a_transmitter_speaks_of_its_own_and_their_workers_fall_with_them() -> None:
    mine = frozenset({"example.org"})
    world = World(transmitters=[Transmitter(IDP, (IDP_KEY.key,), trust_domains=mine)])
    worker(world, OUTER, ELSEWHERE, under=BOB.key.thumbprint)
    assert refused(world, event(world, "session-revoked", ELSEWHERE)) == "access_denied"
    world.allowed([seal(root(OUTER))], OUTER)
    assert tell(world, "session-revoked", agent(2)).principals == (agent(2),)
    world.denied(Reason.REVOKED, 0, [seal(root(OUTER))], OUTER)


@pytest.mark.parametrize("key", [BOB, MINE, OUTER])
def test_a_suspended_key_stops_what_it_enrolled(world: World, key: KeySigner) -> None:
    world.authority.steering.suspend(OPERATOR, "agent", key.key.thumbprint, "because")
    stopped = {one for one in PARTY if not world.ask([seal(root(one))], one).allowed}
    assert stopped == {BOB: {BOB, *UNDER_BOB}, MINE: {MINE, INNER}, OUTER: {OUTER}}[key]


def crowd(world: World, count: int) -> list[KeySigner]:
    """An operator enrols that many workers of Bob."""
    keys = [signer(f"crowd {number}") for number in range(count)]
    for number, key in enumerate(keys):
        worker(world, key, f"{agent(2)}/c{number:04}", under=BOB.key.thumbprint)
    return keys


def test_however_many_somebody_answers_for_all_are_told() -> None:
    """What narrows is never refused for its size; what names them is short all the same."""
    world = World(transmitters=[TRUSTED])
    world.authority.policies.activate(world.caller, default())
    keys = crowd(world, MAX_TOLD + 1)
    told = tell(world, "risk-level-change", {"format": "opaque", "id": "team"}, level="high", jti="risk")
    assert (len(told.principals), told.count, told.late) == (MAX_TOLD, MAX_TOLD + 5, False)
    again = tell(world, "risk-level-change", {"format": "opaque", "id": "team"}, level="high", jti="risk")
    assert (again.principals, again.count, again.repeated) == (told.principals, told.count, True)
    for key in (ALICE, BOB, keys[0], keys[-1]):
        world.denied(Reason.POLICY_DENIED, None, [seal(root(key))], key)
    assert tell(world, "session-revoked", agent(2)).principals == (agent(2),)
    for key in (BOB, keys[0], keys[-1]):
        assert Reason.REVOKED in {one.reason for one in world.ask([seal(root(key))], key).findings}
    bodies = [json.loads(data)["body"] for data, _ in world.store.records(kind="signalled")]
    assert (len(bodies[0]["principals"]), bodies[0]["principals_count"]) == (MAX_LISTED, MAX_TOLD + 5)
    assert (len(bodies[1]["keys"]), bodies[1]["keys_count"]) == (MAX_LISTED, 2 * (MAX_TOLD + 2))  # each with its id


def test_an_agent_has_so_many_workers_and_no_more() -> None:
    """Those of its workers, too, whatever the key that enrolled them; those that were revoked make room."""
    world = World(settings=Settings(max_workers=3))
    worker(world, SECOND, agent(2))
    enrols(world, BOB, MINE, f"{agent(2)}/w")
    enrols(world, MINE, INNER, f"{agent(2)}/w/inner")
    enrols(world, SECOND, BENEATH, f"{agent(2)}/beneath")
    for above, name in ((BOB, "x"), (SECOND, "x"), (INNER, "w/inner/x")):
        with pytest.raises(ResourceExhaustedError):
            enrols(world, above, OUTER, f"{agent(2)}/{name}")
    assert enrols(world, ALICE, OUTER, f"{agent(1)}/x")  # of another agent
    worker(world, signer("by an operator"), f"{agent(2)}/more", under=BOB.key.thumbprint)
    world.authority = world.open()
    with pytest.raises(ResourceExhaustedError):
        enrols(world, BOB, ALIKE, f"{agent(2)}/x")
    by_name(world, MINE.key.thumbprint)  # with its own worker
    assert enrols(world, BOB, ALIKE, f"{agent(2)}/x")
    with pytest.raises(ResourceExhaustedError):
        enrols(world, BOB, signer("one more"), f"{agent(2)}/y")


def test_the_number_of_workers_is_bounded_where_nobody_sets_it() -> None:
    world = World()
    crowd(world, 255)
    assert enrols(world, BOB, MINE, f"{agent(2)}/last")
    with pytest.raises(ResourceExhaustedError, match="256"):
        enrols(world, BOB, INNER, f"{agent(2)}/more")


def test_a_key_that_may_not_be_enrolled_learns_nothing_of_the_number() -> None:
    world = World(settings=Settings(max_workers=0))
    with pytest.raises(ForbiddenError):
        enrols(world, BOB, MINE, f"{agent(1)}/w")
    with pytest.raises(ResourceExhaustedError):
        enrols(world, BOB, MINE, f"{agent(2)}/w")


def test_workers_go_as_deep_as_every_call_walks_up() -> None:
    world = World()
    above, name = BOB, agent(2)
    for depth in range(MAX_UNDER - 1):
        key = signer(f"depth {depth}")
        name = f"{name}/d"
        enrols(world, above, key, name)
        above = key
    with pytest.raises(InvalidRequestError, match="at most 7 steps"):
        enrols(world, above, OUTER, f"{name}/d")
    with pytest.raises(InvalidRequestError, match="at most 7 steps"):
        worker(world, OUTER, ELSEWHERE, under=above.key.thumbprint)
    world.allowed([seal(root(above))], above)
    world.authority.steering.suspend(OPERATOR, "agent", BOB.key.thumbprint, "because")
    world.denied(Reason.SUSPENDED, 0, [seal(root(above))], above)


def test_nobody_works_under_itself(world: World) -> None:
    for above in (BOB, MINE, INNER):
        with pytest.raises(InvalidRequestError, match="under itself"):
            worker(world, BOB, agent(2), under=above.key.thumbprint)
    worker(world, BOB, agent(2), under=ALICE.key.thumbprint)


def test_a_key_that_is_enrolled_anew_works_for_its_new_agent() -> None:
    roster = Roster()
    for key, name, under in (("a", "a", None), ("b", "b", None), ("w", "a/w", "a"), ("w", "b/w", "b")):
        roster.enrol(key, Principal(id=f"spiffe://example.org/{name}", owner="team", under=under))
        assert roster.head(key) == f"spiffe://example.org/{name[0]}"
    assert roster.with_workers(["a"]) == {"a"}
    assert roster.with_workers(["b"]) == {"b", "w"}
    assert roster.beneath({"spiffe://example.org/a"}) == {"a"}
    assert roster.beneath({"spiffe://example.org"}) == {"a", "b", "w"}
    assert (roster.head("w"), roster.head("nobody")) == ("spiffe://example.org/b", "nobody")
    assert (roster.colleagues("w"), roster.colleagues("a"), roster.colleagues("nobody")) == ({"w"}, set(), set())


def records(world: World) -> list[dict[str, Any]]:
    return [json.loads(data)["body"] for data, _ in world.store.records(kind="signalled")]


def test_a_record_says_where_an_event_changed_nothing_and_why(world: World) -> None:
    late: dict[str, Any] = {"now": NOW - 60}
    assert not tell(world, "risk-level-change", agent(1), level="medium").late
    assert tell(world, "risk-level-change", agent(1), level="low", jti="late", **late).late
    again = tell(world, "risk-level-change", agent(1), level="low", jti="late", **late)
    assert (again.late, again.repeated) == (True, True)
    assert not tell(world, "risk-level-change", agent(1), level="high", **late).late  # what is worse counts
    assert not tell(world, "risk-level-change", {"format": "opaque", "id": "team"}, level="low", **late).late
    assert not tell(world, "assurance-level-change", agent(1), level="nist-aal2").late
    assert tell(world, "assurance-level-change", agent(1), level="nist-aal1", **late).late
    assert not tell(world, "session-revoked", agent(1), **late).late
    bodies = records(world)
    unchanged = [body.get("unchanged", []) for body in bodies]
    assert unchanged == [[], [agent(1)], [], [agent(1)], [], [agent(1)], []]
    for body in bodies:
        assert ("why_unchanged" in body) is bool(body.get("unchanged"))
    assert bodies[1]["why_unchanged"] == "a newer event was taken before"
    assert len(bodies[3]["principals"]) > 1


def test_what_ended_keeps_nobody_from_enrolling(world: World) -> None:
    told = world.authority.steering.suspend(OPERATOR, "everything", "*", "a break", lifetime=60)
    world.clock.now = told.until - 1
    with pytest.raises(DeniedError) as raised:
        enrols(world, BOB, signer("late"), f"{agent(2)}/late")
    assert raised.value.decision.reason is Reason.SUSPENDED
    world.clock.now = told.until
    assert enrols(world, BOB, signer("late"), f"{agent(2)}/late")
