"""Who the leaf's holder is: by key, certificate or SPIFFE id; by the channel, or by somebody who may vouch for it."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
from msgspec import UNSET

from chain import mint
from chain.base64url import b64encode
from chain.caller import Caller, Role
from chain.claims import Confirmation
from chain.client.door import Local
from chain.control import Named
from chain.decision import Decision
from chain.errors import ForbiddenError, NotFoundError
from chain.order import Issue, Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.view import Query
from tests.support import ALICE, BOB, CAROL, GATE, PEP, World, child, root, seal, signer

PLANNER = "spiffe://acme.test/agents/planner"
OTHER = "spiffe://acme.test/agents/other"
CERTIFICATE, FOREIGN = b64encode(bytes(32)), b64encode(bytes([1] * 32))
READS = {"classes": ["read", "act"]}
KEY = ALICE.key.thumbprint

ids = map("request-{:012}".format, count())


def asked(world: World, tokens: list[str], tool: str = "mail.read", **shown: str | None) -> Decision:
    """What the authority says of a call whose holder is shown like this; a write or act brings a single-use id."""
    arguments = {"folder": "in"} if tool == "mail.read" else {"amount": 5}
    request = Request(tool=tool, arguments=arguments, audience=PEP, request_id=next(ids), **shown)
    return world.authority.check(GATE, tokens, request)


def verdict(world: World, tokens: list[str], tool: str = "mail.read", **shown: str | None) -> Reason:
    return asked(world, tokens, tool, **shown).reason


def bound(**cnf: object) -> list[str]:
    return [seal(root(limits=READS, cnf=cnf))]


JWK = root()["cnf"]["jwk"]

CASES = [
    ("a SPIFFE id alone", {"spiffe": PLANNER}, {"spiffe": PLANNER}, {"spiffe": OTHER}),
    ("a certificate alone", {"x5t#S256": CERTIFICATE}, {"certificate": CERTIFICATE}, {"certificate": FOREIGN}),
    (
        "an id and a certificate",
        {"x5t#S256": CERTIFICATE, "spiffe": PLANNER},
        {"certificate": CERTIFICATE, "spiffe": PLANNER},
        {"certificate": CERTIFICATE, "spiffe": OTHER},
    ),
    (
        "a key and an id",
        {"jwk": JWK, "spiffe": PLANNER},
        {"holder": KEY, "spiffe": PLANNER},
        {"holder": KEY, "spiffe": OTHER},
    ),
    ("a key and an id, without the key", {"jwk": JWK, "spiffe": PLANNER}, None, {"spiffe": PLANNER}),
    (
        "a key and a certificate",
        {"jwk": JWK, "x5t#S256": CERTIFICATE},
        {"holder": KEY, "certificate": CERTIFICATE},
        {"holder": KEY},
    ),
    (
        "the certificate, and not the id",
        {"x5t#S256": CERTIFICATE, "spiffe": PLANNER},
        None,
        {"certificate": CERTIFICATE},
    ),
]


@pytest.mark.parametrize(("cnf", "holds", "fails"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_every_member_must_hold(
    world: World, cnf: dict[str, object], holds: dict[str, str] | None, fails: dict[str, str]
) -> None:
    tokens = bound(**cnf)
    assert verdict(world, tokens, **fails) is Reason.HOLDER_MISMATCH
    if holds is not None:
        assert verdict(world, tokens, **holds) is Reason.ALLOWED


def test_nothing_shown_is_a_missing_proof(world: World) -> None:
    assert verdict(world, bound(spiffe=PLANNER)) is Reason.HOLDER_MISMATCH
    assert verdict(world, [seal(root())]) is Reason.PROOF_MISSING


def test_a_key_is_proven_by_the_channel_of_the_id_that_it_is_enrolled_for(world: World) -> None:
    tokens = [seal(root())]
    mine = "spiffe://example.org/agent/1"
    assert verdict(world, tokens, spiffe=mine) is Reason.ALLOWED
    assert verdict(world, tokens, spiffe="spiffe://example.org/agent/2") is Reason.HOLDER_MISMATCH
    stranger = [seal(root(signer("stranger")))]
    assert verdict(world, stranger, spiffe=mine) is Reason.HOLDER_MISMATCH


def test_a_proof_and_a_channel_together(world: World) -> None:
    tokens = bound(jwk=JWK, spiffe=PLANNER)
    text = world.proof(tokens[0], ALICE)
    assert verdict(world, tokens, proof=text) is Reason.HOLDER_MISMATCH
    assert verdict(world, tokens, proof=world.proof(tokens[0], ALICE), spiffe=PLANNER) is Reason.ALLOWED
    assert verdict(world, tokens, proof=world.proof(tokens[0], BOB), spiffe=PLANNER) is Reason.HOLDER_MISMATCH


def test_a_proof_is_nothing_where_the_leaf_names_no_key(world: World) -> None:
    tokens = bound(spiffe=PLANNER)
    assert verdict(world, tokens, proof=world.proof(tokens[0], ALICE), spiffe=PLANNER) is Reason.HOLDER_MISMATCH


def test_over_a_channel_a_write_or_act_is_single_use(world: World) -> None:
    tokens = bound(spiffe=PLANNER)
    world.authority.enrol(GATE, None, Principal(id=PLANNER, owner="team"))
    once = Request(tool="bank.pay", arguments={"amount": 5}, audience=PEP, spiffe=PLANNER, request_id="r" * 16)
    assert world.authority.check(GATE, tokens, once).reason is Reason.ALLOWED
    assert world.authority.check(GATE, tokens, once).reason is Reason.REPLAY
    without = once.model_copy(update={"request_id": None})
    assert world.authority.check(GATE, tokens, without).reason is Reason.REQUEST_ID_MISSING


def test_an_id_that_nobody_enrolled_only_reads(world: World) -> None:
    tokens = bound(spiffe=PLANNER)
    assert verdict(world, tokens, spiffe=PLANNER) is Reason.ALLOWED
    assert verdict(world, tokens, "bank.pay", spiffe=PLANNER) is Reason.HOLDER_UNKNOWN
    world.authority.enrol(GATE, None, Principal(id=PLANNER, owner="team"))
    assert verdict(world, tokens, "bank.pay", spiffe=PLANNER) is Reason.ALLOWED


def test_an_id_is_known_too_by_a_key_that_is_enrolled_for_it(world: World) -> None:
    world.authority.enrol(GATE, signer("planner").key, Principal(id=PLANNER, owner="team"))
    assert verdict(world, bound(spiffe=PLANNER), "bank.pay", spiffe=PLANNER) is Reason.ALLOWED


@pytest.mark.parametrize(
    ("scope", "name"),
    [("agent", PLANNER), ("agent", "spiffe://acme.test/agents"), ("trust_domain", "acme.test")],
)
@pytest.mark.parametrize("enrolled", [False, True])
@pytest.mark.parametrize("cnf", [{"spiffe": PLANNER}, {"jwk": JWK, "spiffe": PLANNER}])
def test_who_stops_an_id_stops_what_is_bound_to_it(
    world: World, scope: str, name: str, enrolled: bool, cnf: dict[str, object]
) -> None:
    if enrolled:
        world.authority.enrol(GATE, None, Principal(id=PLANNER, owner="team"))
    tokens = bound(**cnf)
    assert verdict(world, tokens, holder=KEY, spiffe=PLANNER) is Reason.ALLOWED
    world.authority.steering.suspend(GATE, scope, name, "a test")
    decision = asked(world, tokens, holder=KEY, spiffe=PLANNER)
    assert [finding.reason for finding in decision.findings] == [Reason.SUSPENDED]
    world.authority.steering.resume(GATE, scope, name, "a test")
    assert verdict(world, tokens, holder=KEY, spiffe=PLANNER) is Reason.ALLOWED


def test_what_is_bound_to_an_id_is_revoked_by_it(world: World) -> None:
    tokens, other = bound(spiffe=PLANNER), bound(spiffe=OTHER)
    with pytest.raises(NotFoundError):
        world.authority.revoke(GATE, Revoke(named=Named("holder", PLANNER)))
    for held, name in ((tokens, PLANNER), (other, OTHER)):
        assert verdict(world, held, spiffe=name) is Reason.ALLOWED
    dry = world.authority.revoke(GATE, Revoke(named=Named("holder", PLANNER)), dry_run=True)
    assert (dry.count, verdict(world, tokens, spiffe=PLANNER)) == (1, Reason.ALLOWED)
    assert world.authority.revoke(GATE, Revoke(named=Named("holder", PLANNER))).count == 1
    assert verdict(world, tokens, spiffe=PLANNER) is Reason.REVOKED
    assert verdict(world, other, spiffe=OTHER) is Reason.ALLOWED


@pytest.mark.parametrize("revoked", [PLANNER, "spiffe://acme.test/agents", OTHER])
def test_who_revokes_an_id_ends_what_only_its_svids_prove(world: World, revoked: str) -> None:
    """A key is enrolled for the id, so that it is known; the tokens are bound to others: to the id beside a key, or to
    the key of an SVID, of which the channel alone says whose it is."""
    svid = signer("an hour's key")
    for key, name in ((CAROL, PLANNER), (BOB, OTHER), (signer("top"), "spiffe://acme.test/agents")):
        world.authority.enrol(GATE, key.key, Principal(id=name, owner="team"))
    tokens = (
        (bound(jwk=JWK, spiffe=PLANNER), {"holder": KEY, "spiffe": PLANNER}),
        ([seal(root(svid, limits=READS))], {"holder": svid.key.thumbprint, "spiffe": PLANNER}),
        ([seal(root(CAROL, limits=READS))], {"spiffe": PLANNER}),
    )
    for held, shown in tokens:
        assert verdict(world, held, **shown) is Reason.ALLOWED
    query = Query(holder=KEY)
    assert [one.status for one in world.authority.find(GATE, query).delegations] == ["active"]
    world.authority.revoke(GATE, Revoke(named=Named("holder", revoked)))
    left = Reason.ALLOWED if revoked == OTHER else Reason.REVOKED
    assert [verdict(world, held, **shown) for held, shown in tokens] == [left] * 3
    told = "active" if revoked == OTHER else "revoked"
    assert [one.status for one in world.authority.find(GATE, query).delegations] == [told]
    late = signer("late")  # a key that is enrolled afterwards is the id's, and nothing that was revoked
    world.authority.enrol(GATE, late.key, Principal(id=PLANNER, owner="team"))
    assert verdict(world, [seal(root(late, limits=READS))], spiffe=PLANNER) is Reason.ALLOWED


def test_who_stops_a_workload_stops_what_is_bound_to_its_svids_key(world: World) -> None:
    """Nobody enrolled that key: the channel alone says whose it is."""
    key = signer("an hour's key")
    tokens, shown = [seal(root(key, limits=READS))], {"holder": key.key.thumbprint, "spiffe": PLANNER}
    world.authority.enrol(GATE, None, Principal(id=PLANNER, owner="team"))
    for scope, name in (("agent", PLANNER), ("agent", "spiffe://acme.test/agents"), ("trust_domain", "acme.test")):
        assert verdict(world, tokens, **shown) is Reason.ALLOWED
        world.authority.steering.suspend(GATE, scope, name, "a test")
        assert [one.reason for one in asked(world, tokens, **shown).findings] == [Reason.SUSPENDED]
        other = shown | {"spiffe": "spiffe://else.test/agent"}
        assert verdict(world, tokens, **other) is Reason.ALLOWED  # the key's, as another domain's channel proves it
        world.authority.steering.resume(GATE, scope, name, "a test")
    assert verdict(world, tokens, proof=world.proof(tokens[0], key), spiffe=PLANNER) is Reason.ALLOWED
    world.authority.steering.suspend(GATE, "agent", PLANNER, "a test")
    assert verdict(world, tokens, proof=world.proof(tokens[0], key), spiffe=PLANNER) is Reason.SUSPENDED
    world.authority.steering.resume(GATE, "agent", PLANNER, "a test")
    world.authority.revoke(GATE, Revoke(named=Named("holder", PLANNER)))
    assert verdict(world, tokens, **shown) is Reason.REVOKED
    assert verdict(world, tokens, proof=world.proof(tokens[0], key), spiffe=PLANNER) is Reason.REVOKED


def test_a_root_is_issued_to_an_id_and_a_child_is_minted_for_one(world: World) -> None:
    order = Issue(
        holder=Confirmation(spiffe=PLANNER), grant=mint.grant({"tools": {"mail.read": {}}}), lifetime=60, owner="team"
    )
    made = world.authority.issue(GATE, order)
    assert made.holder == PLANNER
    assert verdict(world, [made.token], spiffe=PLANNER) is Reason.ALLOWED
    assert verdict(world, [made.token], spiffe=OTHER) is Reason.HOLDER_MISMATCH
    parent = seal(root())
    above = mint.unverified(parent)
    claims = mint.child_claims(
        above, above.grant, Confirmation(spiffe=PLANNER), jti="child", now=int(world.clock.now), lifetime=60
    )
    tokens = [parent, mint.derive(above, claims, ALICE)]
    assert verdict(world, tokens, spiffe=PLANNER) is Reason.ALLOWED
    assert mint.unverified(tokens[1]).names == (PLANNER,)


def test_a_holder_without_a_key_cannot_hand_on(world: World) -> None:
    tokens = bound(spiffe=PLANNER)
    below = child(seal(root(limits=READS)), BOB, par_hash=mint.unverified(tokens[0]).id)
    world.refused(Reason.DELEGATOR_MISMATCH, 1, [*tokens, seal(below, ALICE)])


AGENT = Caller("planner", frozenset({Role.AGENT}), audience=PEP, channel=True, spiffe=PLANNER)


def test_an_agent_sees_what_is_bound_to_its_id_and_what_its_keys_hold(world: World) -> None:
    own = signer("planner")
    world.authority.enrol(GATE, own.key, Principal(id=PLANNER, owner="team"))
    roots = {
        name: seal(root(key, jti=name, txn="t", limits=READS, **cnf))
        for name, key, cnf in (
            ("by id", ALICE, {"cnf": {"spiffe": PLANNER}}),
            ("by key", own, {}),
            ("another's", CAROL, {}),
        )
    }
    shown = {"by id": PLANNER, "by key": PLANNER, "another's": "spiffe://example.org/agent/3"}
    found = {}
    for name, text in roots.items():
        assert verdict(world, [text], spiffe=shown[name]) is Reason.ALLOWED
        found[name] = mint.unverified(text)
    page = world.authority.find(AGENT, Query())
    assert [one.jti for one in page.delegations] == ["by id", "by key"]
    first = world.authority.find(AGENT, Query(limit=1))
    rest = world.authority.find(AGENT, Query(limit=1, after=first.after))
    assert [one.jti for one in (*first.delegations, *rest.delegations)] == ["by id", "by key"]
    for name in ("by id", "by key"):
        assert world.authority.get(AGENT, found[name].digest).jti == name
    with pytest.raises(NotFoundError):
        world.authority.get(AGENT, found["another's"].digest)
    nobody = replace(AGENT, spiffe=None)
    assert world.authority.find(nobody, Query()).delegations == ()


def test_an_agent_enrols_workers_under_its_id(world: World) -> None:
    under = Principal(id=f"{PLANNER}/worker", owner="team", under=PLANNER)
    with pytest.raises(ForbiddenError):
        world.authority.enrol(AGENT, None, under)
    with pytest.raises(ForbiddenError, match="under its own id"):
        world.authority.enrol(AGENT, BOB.key, under)
    world.authority.enrol(GATE, None, Principal(id=PLANNER, owner="team"))
    assert world.authority.enrol(GATE, None, under).holder == under.id
    assert world.authority.principal(under.id) == under


VOUCHER = Caller("gateway", frozenset({Role.ENFORCEMENT_POINT}), audience=PEP, vouches=("spiffe://acme.test/agents/*",))


@pytest.mark.parametrize(
    ("caller", "name"),
    [
        (VOUCHER, "spiffe://acme.test/agents/a/b"),
        (VOUCHER, "spiffe://other.test/agents/planner"),
        (VOUCHER, "spiffe://acme.test/agents/.."),
        (replace(VOUCHER, vouches=()), PLANNER),
        (replace(VOUCHER, roles=frozenset({Role.AGENT, Role.OPERATOR})), PLANNER),
    ],
)
def test_a_word_is_taken_only_where_it_may_be_given(world: World, caller: Caller, name: str) -> None:
    tokens = bound(spiffe=name if "/.." not in name else PLANNER)
    asking = Request(tool="mail.read", arguments={"folder": "in"}, spiffe=name)
    with pytest.raises(ForbiddenError, match="may not vouch"):
        Local(world.authority, caller).check(tokens, asking)
    vouched = Request(tool="mail.read", arguments={"folder": "in"}, spiffe=PLANNER)
    assert Local(world.authority, VOUCHER).check(bound(spiffe=PLANNER), vouched).allowed
    assert Local(world.authority, VOUCHER).check(bound(spiffe=OTHER), vouched).reason is Reason.HOLDER_MISMATCH


def test_the_library_takes_the_facts_of_its_caller_and_no_others(world: World) -> None:
    asking = Request(tool="mail.read", arguments={"folder": "in"}, holder=PLANNER)
    tokens = bound(spiffe=PLANNER)
    assert Local(world.authority, AGENT).check(tokens, asking).allowed
    bearer = replace(AGENT, channel=False)
    assert Local(world.authority, bearer).check(tokens, asking).reason is Reason.HOLDER_MISMATCH
    asking = asking.model_copy(update={"holder": None, "proof": world.proof(tokens[0], ALICE)})
    assert Local(world.authority, AGENT).check(tokens, asking).reason is Reason.HOLDER_MISMATCH


def test_a_confirmation_says_what_its_holder_is_called() -> None:
    assert Confirmation(certificate=CERTIFICATE).name(None) == f"x5t#S256:{CERTIFICATE}"
    assert Confirmation(spiffe=PLANNER, certificate=CERTIFICATE).name(None) == PLANNER
    assert Confirmation(jwk=ALICE.key.jwk, spiffe=PLANNER).name(ALICE.key) == KEY
    assert Confirmation.of(ALICE.key) == Confirmation(jwk=ALICE.key.jwk, spiffe=UNSET)
