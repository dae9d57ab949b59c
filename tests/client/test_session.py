"""Sessions over an authority in the same process: what is asked, handed on and revoked."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from chain import mint, proof
from chain.caller import Caller, Role
from chain.claims import Intent
from chain.client import AsyncLocal, AsyncSession, Local, Session
from chain.errors import (
    DeniedError,
    ExcessError,
    InvalidRequestError,
    InvalidTokenError,
    NotFoundError,
)
from chain.grant import Grant
from chain.reason import Reason
from tests.support import (
    ALICE,
    BOB,
    CAROL,
    FOLDERS,
    HOME,
    PEP,
    TOOLS,
    UP_TO_100,
    World,
    root,
    rule,
    seal,
)


@pytest.fixture
def world() -> World:
    return World()


def session_of(world: World, token: str, **changed: Any) -> Session:
    return Session(
        **{
            "signer": ALICE,
            "tokens": [token],
            "audience": PEP,
            "door": Local(world.authority, world.caller),
            "clock": world.clock,
            "entropy": world.entropy,
            **changed,
        }
    )


def paying(maximum: int) -> Grant:
    return mint.grant({"tools": {"bank.pay": {"amount": rule("range", max=maximum)}}})


def test_a_check_answers_and_require_raises(world: World) -> None:
    session = session_of(world, seal(root()))
    assert session.check("bank.pay", {"amount": 5}).allowed
    assert session.require("bank.pay", {"amount": 5}).allowed
    assert session.check("bank.pay", {"amount": 500}).reason is Reason.CONSTRAINT_VIOLATED
    with pytest.raises(DeniedError):
        session.require("bank.pay", {"amount": 500})


def test_every_check_brings_a_proof_of_its_own(world: World) -> None:
    session = session_of(world, seal(root()))
    first, second = session.asking("mail.read", {"folder": "in"}), session.asking("mail.read", {"folder": "in"})
    assert first.proof
    assert first.proof != second.proof
    door = Local(world.authority, world.caller)
    assert door.check(session.presented, first).allowed
    assert door.check(session.presented, first).reason is Reason.REPLAY
    assert door.check(session.presented, second).allowed


def test_a_proof_for_another_enforcement_point_is_refused(world: World) -> None:
    session = session_of(world, seal(root()), audience="https://other.example")
    assert session.check("mail.read", {"folder": "in"}).reason is Reason.PROOF_AUDIENCE_MISMATCH
    assert replace(session, audience=PEP).check("mail.read", {"folder": "in"}).allowed


def test_what_a_request_says_of_its_audience_and_holder_counts_for_nothing(world: World) -> None:
    session = session_of(world, seal(root()))
    door = Local(world.authority, world.caller)
    lying = session.asking("mail.read", {"folder": "in"}).model_copy(
        update={"proof": None, "holder": ALICE.key.thumbprint}
    )
    assert door.check(session.presented, lying).reason is Reason.PROOF_MISSING
    elsewhere = session.asking("mail.read", {"folder": "in"}).model_copy(update={"audience": "https://other.example"})
    assert door.check(session.presented, elsewhere).allowed


def test_the_statements_are_bound_to_the_proof(world: World) -> None:
    token = seal(root(limits={"purposes": ["office"]}, intent={"digest": "abc", "alg": "sha-256", "salt": "s"}))
    session = session_of(world, token, purpose="office.mail", intent="abc", labels=("tainted",))
    asked = session.asking("mail.read", {"folder": "in"})
    door = Local(world.authority, world.caller)
    changed = asked.model_copy(update={"purpose": "office.other"})
    assert door.check([token], changed).reason is Reason.PROOF_CONTEXT_MISMATCH
    assert session.check("mail.read", {"folder": "in"}).allowed
    assert replace(session, purpose=None).check("mail.read", {"folder": "in"}).reason is Reason.PURPOSE_MISSING
    assert replace(session, intent=None).check("mail.read", {"folder": "in"}).reason is Reason.INTENT_MISSING
    assert Intent(digest="abc", alg="sha-256", salt="s").digest == session.intent


def test_a_channel_takes_the_place_of_the_proof(world: World) -> None:
    token = seal(root())
    agent = Caller("alice", frozenset({Role.AGENT}), PEP, ALICE.key.thumbprint, channel=True)
    session = session_of(world, token, channel=True, door=Local(world.authority, agent))
    asked = session.asking("bank.pay", {"amount": 5})
    assert asked.proof is None
    assert asked.request_id
    assert session.check("bank.pay", {"amount": 5}).allowed
    child = session.delegate(BOB.key, paying(50))
    assert session.revoke(child.delegation.id).count == 1
    other = replace(agent, holder=BOB.key.thumbprint)
    stolen = replace(session, door=Local(world.authority, other))
    assert stolen.check("bank.pay", {"amount": 5}).reason is Reason.HOLDER_MISMATCH


def test_a_chain_may_be_presented_by_its_digest(world: World) -> None:
    whole = session_of(world, seal(root()))
    short = replace(whole, by_digest=True)
    assert short.check("mail.read", {"folder": "in"}).reason is Reason.DIGEST_UNKNOWN
    assert whole.check("mail.read", {"folder": "in"}).allowed
    assert short.check("mail.read", {"folder": "in"}).allowed
    assert short.delegate(BOB.key, paying(5)).delegation.hop == 1


def test_a_child_is_clamped_registered_and_narrower(world: World) -> None:
    session = session_of(world, seal(root()))
    handed = session.delegate(BOB.key, paying(50), lifetime=1_000_000)
    assert handed.delegation.exp == session.leaf.exp
    assert handed.tokens[0] == session.tokens[0]
    bob = session.as_holder(BOB, handed.tokens)
    assert bob.check("bank.pay", {"amount": 50}).allowed
    assert bob.check("bank.pay", {"amount": 51}).reason is Reason.CONSTRAINT_VIOLATED
    assert bob.check("mail.read", {"folder": "in"}).reason is Reason.TOOL_NOT_GRANTED


def test_excess_is_refused_before_anything_is_sent(world: World) -> None:
    session = session_of(world, seal(root()))
    before = world.authority.revision
    with pytest.raises(ExcessError) as raised:
        session.delegate(BOB.key, paying(101))
    assert (raised.value.field, raised.value.hop) == ("tools.bank.pay.amount", 1)
    assert world.authority.revision == before
    session.delegate(BOB.key, paying(100))
    assert world.authority.revision > before


def test_a_child_may_end_the_line(world: World) -> None:
    session = session_of(world, seal(root()))
    last = session.as_holder(BOB, session.delegate(BOB.key, paying(50), max_depth=1).tokens)
    with pytest.raises(ExcessError, match="depth_exceeded"):
        last.delegate(CAROL.key, paying(50))
    middle = session.as_holder(BOB, session.delegate(BOB.key, paying(50), max_depth=2).tokens)
    assert middle.delegate(CAROL.key, paying(50)).delegation.hop == 2


def test_a_revocation_fells_what_is_beneath_and_nothing_beside(world: World) -> None:
    session = session_of(world, seal(root()))
    left, right = (session.delegate(key, paying(50)) for key in (BOB.key, CAROL.key))
    would = session.revoke(left.delegation.id, dry_run=True)
    assert (would.count, would.revision) == (1, 0)
    assert session.as_holder(BOB, left.tokens).check("bank.pay", {"amount": 5}).allowed
    assert session.revoke(left.delegation.id, "done").fallen == (left.delegation.id,)
    assert session.as_holder(BOB, left.tokens).check("bank.pay", {"amount": 5}).reason is Reason.REVOKED
    assert session.as_holder(CAROL, right.tokens).check("bank.pay", {"amount": 5}).allowed
    assert session.revoke().fallen[0] == session.leaf.id
    assert session.check("bank.pay", {"amount": 5}).reason is Reason.REVOKED


def test_one_revokes_nothing_that_is_not_beneath(world: World) -> None:
    agent = Caller("agent", frozenset({Role.AGENT}), PEP)
    session = session_of(world, seal(root()), door=Local(world.authority, agent))
    left, right = (session.delegate(key, paying(50)) for key in (BOB.key, CAROL.key))
    bob = session.as_holder(BOB, left.tokens)
    for target in (right.delegation.id, session.leaf.id):
        with pytest.raises(NotFoundError):
            bob.revoke(target)
    with pytest.raises(InvalidRequestError):
        bob.revoke("no id!")
    assert bob.revoke().count == 1


async def test_the_asynchronous_twin(world: World) -> None:
    session = AsyncSession(
        signer=ALICE,
        tokens=[seal(root())],
        audience=PEP,
        door=AsyncLocal(world.authority, world.caller),
        clock=world.clock,
        entropy=world.entropy,
    )
    assert (await session.check("bank.pay", {"amount": 5})).allowed
    handed = await session.delegate(BOB.key, paying(50))
    bob = session.as_holder(BOB, handed.tokens)
    assert (await bob.require("bank.pay", {"amount": 5})).allowed
    with pytest.raises(ExcessError):
        await bob.delegate(CAROL.key, paying(51))
    assert (await session.revoke(handed.delegation.id)).count == 1
    assert (await bob.check("bank.pay", {"amount": 5})).reason is Reason.REVOKED


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"tokens": []}, InvalidRequestError),
        ({"tokens": "eyJ"}, InvalidRequestError),
        ({"tokens": ["eyJ"]}, InvalidTokenError),
        ({"signer": BOB}, InvalidRequestError),
    ],
)
def test_what_could_never_be_allowed_is_no_session(
    world: World, changed: dict[str, Any], error: type[Exception]
) -> None:
    session_of(world, seal(root()))
    with pytest.raises(error):
        session_of(world, seal(root()), **changed)


def test_a_list_of_tokens_that_changes_later_changes_nothing(world: World) -> None:
    tokens = [seal(root())]
    session = session_of(world, tokens[0], tokens=tokens)
    tokens.append("garbage")
    assert session.check("mail.read", {"folder": "in"}).allowed


def test_the_authority_may_be_pinned(world: World) -> None:
    session = session_of(world, seal(root()), authority="https://other.example")
    with pytest.raises(DeniedError) as raised:
        session.delegate(BOB.key, paying(5))
    assert raised.value.reason is Reason.PROOF_AUDIENCE_MISMATCH
    replace(session, authority=HOME).delegate(BOB.key, paying(5))


def test_reserved_proofs_name_what_they_are_for(world: World) -> None:
    session = session_of(world, seal(root()))
    ordered = session.handing(BOB.key, paying(5), HOME)
    assert ordered.proof
    claims = proof.read(ordered.proof, ALICE.key)
    assert (claims.aat_tool, claims.aat_aud) == (proof.DELEGATE, HOME)
    revoking = session.revoking(None, HOME)
    assert revoking.proof
    assert proof.read(revoking.proof, ALICE.key).aat_tool == proof.REVOKE
    assert ordered.key != revoking.key


def test_the_library_sessions_and_the_guard_load_no_grpc() -> None:
    code = (
        "import sys, chain, chain.client.session, chain.client.guard\n"
        "assert not {'grpc', 'networkx', 'apsw'} & set(sys.modules)\n"
        "from chain.client import AsyncClient, Client\n"
        "assert 'grpc' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_builders_grants_are_what_these_tests_think() -> None:
    assert TOOLS == {"mail.read": {"folder": FOLDERS}, "bank.pay": {"amount": UP_TO_100}}
