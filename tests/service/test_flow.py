"""The calls of a working day, over the wire."""

import os
import time

import grpc
import pytest

from chain import enrolment, mint, proof
from chain.base64url import b64encode
from chain.caller import Role
from chain.decision import Effect
from chain.errors import ConflictError, ExcessError
from chain.grant import Grant
from chain.order import Issue, Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.v1 import authorization_pb2 as pb
from chain.v1 import decision_pb2, delegation_pb2, info_pb2, info_pb2_grpc
from chain.view import Query
from chain.wire import convert
from chain.wire.status import error_from, item_error_from

from .conftest import AUTHORITY, GRANT, KEYS, PEP, Serve, World, ask, bearer, fingerprint, secret

NARROW = mint.grant({"tools": {"bank.pay": {"amount": {"constraint_type": "range", "max": 50}}}})
WIDE = mint.grant({"tools": {"bank.pay": {"amount": {"constraint_type": "range", "max": 5000}}}})


async def handed_on(world: World, root: str, grant: Grant = NARROW) -> tuple[str, delegation_pb2.DelegateResponse]:
    child = world.child(root, "alice", "bob", grant)
    made = world.proof("alice", root, proof.DELEGATE, {"child": mint.unverified(child).id}, AUTHORITY)
    return child, await world.stub("alice").Delegate(convert.delegate_to([root], child, made, os.urandom(8).hex()))


async def test_a_proven_call_is_allowed_and_another_is_denied(world: World) -> None:
    root = await world.root()
    point = world.stub("point")
    for folder, effect in (("in", Effect.ALLOW), ("trash", Effect.DENY)):
        arguments = {"folder": folder}
        made = world.proof("alice", root, "mail.read", arguments)
        reply = await point.Check(ask([root], arguments=arguments, proof=made))
        decision = convert.decision_from(reply.decision)
        assert decision.effect is effect
        assert decision.id
        assert decision.revision > 0
    assert decision.reason is Reason.CONSTRAINT_VIOLATED
    assert decision.hop == 0


async def test_the_channel_proves_only_on_the_agents_own_socket(world: World) -> None:
    root = await world.root()
    own = await world.stub("alice", socket=True).Check(ask([root], channel=True))
    assert convert.decision_from(own.decision).allowed
    silent = await world.stub("alice", socket=True).Check(ask([root]))
    assert convert.decision_from(silent.decision).reason is Reason.PROOF_MISSING
    for caller, socket in (("alice", False), ("point", True), ("bob", False)):
        other = await world.stub(caller, socket=socket).Check(ask([root], channel=True))
        assert convert.decision_from(other.decision).reason is Reason.PROOF_MISSING, caller


async def test_a_write_over_the_channel_is_good_once(world: World) -> None:
    root = await world.root()
    alice = world.stub("alice", socket=True)
    message = ask([root], "bank.pay", arguments={"amount": 5}, channel=True, request_id="r" * 16)
    assert convert.decision_from((await alice.Check(message)).decision).allowed
    assert convert.decision_from((await alice.Check(message)).decision).reason is Reason.REPLAY


async def test_a_proof_made_for_another_enforcement_point_is_denied(world: World) -> None:
    root = await world.root()
    relayed = world.proof("alice", root, "mail.read", {"folder": "in"}, "https://other.example")
    reply = await world.stub("point").Check(ask([root], proof=relayed))
    assert convert.decision_from(reply.decision).reason is Reason.PROOF_AUDIENCE_MISMATCH
    own = world.proof("alice", root, "mail.read", {"folder": "in"}, PEP)
    assert convert.decision_from((await world.stub("point").Check(ask([root], proof=own))).decision).allowed


async def test_delegate_then_check_by_digest_then_revoke(world: World) -> None:
    root = await world.root()
    child, reply = await handed_on(world, root)
    assert reply.delegation.subject == "dana"
    assert reply.delegation.depth == 1
    assert reply.delegation.principal == "spiffe://team.example/bob"
    digest = reply.delegation.digest
    point = world.stub("point")

    async def pay(tokens: list[str] | bytes) -> Reason:
        made = world.proof("bob", child, "bank.pay", {"amount": 20})
        answer = await point.Check(ask(tokens, "bank.pay", arguments={"amount": 20}, proof=made))
        return convert.decision_from(answer.decision).reason

    assert await pay([root, child]) is Reason.ALLOWED
    assert await pay(digest) is Reason.ALLOWED
    assert await pay(bytes(32)) is Reason.DIGEST_UNKNOWN
    operator = world.stub("operator")
    dry = await operator.Revoke(convert.revoke_to(Revoke(digest), None, None, None, dry_run=True))
    assert list(dry.revocation.fallen) == [digest]
    assert await pay([root, child]) is Reason.ALLOWED
    done = await operator.Revoke(convert.revoke_to(Revoke(digest, "end"), None, None, "k" * 8))
    assert done.revocation.fallen_count == 1
    assert await pay([root, child]) is Reason.REVOKED
    made = world.proof("alice", root, "mail.read", {"folder": "in"})
    assert convert.decision_from((await point.Check(ask([root], proof=made))).decision).allowed


async def test_an_agent_revokes_beneath_its_own_chain_only(world: World) -> None:
    root = await world.root()
    child, reply = await handed_on(world, root)
    digest = reply.delegation.digest
    made = world.proof("bob", child, proof.REVOKE, {"target": mint.unverified(root).id}, AUTHORITY)
    upward = convert.revoke_to(Revoke(mint.unverified(root).digest), [root, child], made, "up")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.stub("bob").Revoke(upward)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    unproven = await world.stub("alice").Revoke(convert.revoke_to(Revoke(digest), [root], None, "no proof"))
    assert unproven.WhichOneof("outcome") == "denial"
    made = world.proof("alice", root, proof.REVOKE, {"target": b64encode(digest)}, AUTHORITY)
    done = await world.stub("alice").Revoke(convert.revoke_to(Revoke(digest), [root], made, "down"))
    assert done.WhichOneof("outcome") == "revocation"


async def test_a_child_that_asks_for_more_is_an_error_with_the_field(world: World) -> None:
    root = await world.root()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await handed_on(world, root, WIDE)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    error = error_from(caught.value)
    assert isinstance(error, ExcessError)
    assert (error.reason, error.hop, error.field) == (Reason.CONSTRAINT_WIDENED, 1, "tools.bank.pay.amount")
    assert "5000" in error.child
    assert "100" in error.parent
    _, reply = await handed_on(world, root)
    assert reply.WhichOneof("outcome") == "delegation"


async def test_delegate_without_proof_is_a_denial_and_no_error(world: World) -> None:
    root = await world.root()
    child = world.child(root, "alice", "bob", NARROW)
    denied = await world.stub("alice").Delegate(convert.delegate_to([root], child, None, "k1"))
    assert denied.WhichOneof("outcome") == "denial"
    assert denied.denial.effect == decision_pb2.EFFECT_DENY
    silent = await world.stub("alice", socket=True).Delegate(convert.delegate_to([root], child, None, "k0"))
    assert convert.decision_from(silent.denial).reason is Reason.PROOF_MISSING  # it asked for no channel
    spoken = await world.stub("alice", socket=True).Delegate(
        convert.delegate_to([root], child, None, "k2", channel=True)
    )
    assert spoken.WhichOneof("outcome") == "delegation"
    assert spoken.revision >= spoken.delegation.revision


async def test_a_forged_child_is_a_denial_at_its_hop(world: World) -> None:
    root = await world.root()
    forged = world.child(root, "carol", "bob", NARROW)
    reply = await world.stub("point").Check(ask([root, forged], "bank.pay", arguments={"amount": 1}))
    decision = convert.decision_from(reply.decision)
    assert (decision.reason, decision.hop) == (Reason.SIGNATURE_INVALID, 1)


@pytest.mark.parametrize("junk", [b"", b"a.b.c", b"\xff\xfe\x00", b"." * 100, b"x" * 70_000])
async def test_junk_for_a_token_is_denied_and_no_error(world: World, junk: bytes) -> None:
    message = pb.CheckRequest(tool="mail.read")
    message.chain.tokens.append(junk)
    decision = convert.decision_from((await world.stub("point").Check(message)).decision)
    assert decision.effect is Effect.DENY
    assert decision.reason in {Reason.TOKEN_MALFORMED, Reason.TOKEN_TOO_LARGE}


@pytest.mark.parametrize("junk", [b"\xff", b"[]", b'{"a":1,"a":2}', b'{"a":NaN}', b"{", b'{"a":1e999}'])
async def test_arguments_that_are_no_strict_json_object_are_an_error(world: World, junk: bytes) -> None:
    root = await world.root()
    message = ask([root], channel=True)
    message.arguments_json = junk
    alice = world.stub("alice", socket=True)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await alice.Check(message)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    message.arguments_json = b'{"folder":"in"}'
    assert convert.decision_from((await alice.Check(message)).decision).allowed


async def test_only_an_enforcement_point_states_a_classification(world: World) -> None:
    root = await world.root()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.stub("alice", socket=True).Check(ask([root], channel=True, classification="public"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    made = world.proof("alice", root, "mail.read", {"folder": "in"})
    allowed = await world.stub("point").Check(ask([root], classification="public", proof=made))
    assert convert.decision_from(allowed.decision).allowed


async def test_one_key_is_one_change(world: World) -> None:
    order = Issue(holder=KEYS["alice"].key, grant=GRANT, lifetime=60)
    issuer = world.stub("issuer")
    first = await issuer.Issue(convert.issue_to(order, "same"))
    assert await issuer.Issue(convert.issue_to(order, "same")) == first
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await issuer.Issue(convert.issue_to(Issue(holder=KEYS["bob"].key, grant=GRANT, lifetime=60), "same"))
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert isinstance(error_from(caught.value), ConflictError)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await issuer.Issue(convert.issue_to(order, ""))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_revision_from_the_future_is_denied_at_once(world: World) -> None:
    root = await world.root()
    alice = world.stub("alice", socket=True)
    future = await alice.Check(ask([root], channel=True, at_least=10_000))
    assert convert.decision_from(future.decision).reason is Reason.REVISION_UNKNOWN
    known = await alice.Check(ask([root], channel=True, at_least=1))
    assert convert.decision_from(known.decision).allowed
    message = ask([root], channel=True)
    message.fully_consistent = True
    assert convert.decision_from((await alice.Check(message)).decision).allowed


def batch(root: str, semantic: int = 0) -> pb.BatchCheckRequest:
    good, bad = ask(None, channel=True), ask(None, channel=True, arguments={"folder": "trash"})
    broken, future = ask(None, channel=True), ask(None, channel=True, at_least=10_000)
    broken.arguments_json = b"["
    return pb.BatchCheckRequest(
        items=[good, bad, broken, future, good], semantic=semantic, chain=convert.chain_to([root])
    )


@pytest.mark.parametrize(("semantic", "expected"), [(0, "ADEDA"), (1, "ADEDA"), (2, "AD"), (3, "A")])
async def test_a_batch_answers_each_item_for_itself(world: World, semantic: int, expected: str) -> None:
    reply = await world.stub("alice", socket=True).BatchCheck(batch(await world.root(), semantic))
    told = ""
    for result in reply.results:
        if result.WhichOneof("outcome") == "error":
            assert item_error_from(result.error).reason is Reason.REQUEST_INVALID
            told += "E"
        else:
            told += convert.decision_from(result.decision).effect.value[0]
    assert told == expected


async def test_one_nonce_twice_in_a_batch_is_good_once(world: World) -> None:
    root = await world.root()
    pay = ask([root], "bank.pay", arguments={"amount": 5}, channel=True, request_id="r" * 16)
    reply = await world.stub("alice", socket=True).BatchCheck(pb.BatchCheckRequest(items=[pay, pay]))
    reasons = [convert.decision_from(result.decision).reason for result in reply.results]
    assert reasons == [Reason.ALLOWED, Reason.REPLAY]


async def test_explain_lays_every_hop_open_and_uses_nothing_up(world: World) -> None:
    root = await world.root()
    child, _ = await handed_on(world, root)
    made = world.proof("bob", child, "bank.pay", {"amount": 20})
    message = ask([root, child], "bank.pay", arguments={"amount": 20}, proof=made)
    for caller in ("point", "bob", "auditor"):
        told = convert.explanation_from(await world.stub(caller).Explain(pb.ExplainRequest(check=message)))
        assert [hop.hop for hop in told.hops] == [0, 1]
        assert told.hops[1].lost
        assert told.hops[1].jti == mint.unverified(child).claims.jti
    assert convert.decision_from((await world.stub("point").Check(message)).decision).allowed


async def test_lists_come_in_pages_and_without_tokens(world: World) -> None:
    root = await world.root()
    for _ in range(3):
        await handed_on(world, root)
    auditor = world.stub("auditor")
    query = Query(down=mint.unverified(root).digest, limit=2)
    first = await auditor.ListDelegations(convert.query_to(query))
    second = await auditor.ListDelegations(convert.query_to(query, first.next_page_token))
    assert [len(first.delegations), len(second.delegations)] == [2, 1]
    assert not second.next_page_token
    assert b"eyJ" not in first.SerializeToString()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await auditor.ListDelegations(convert.query_to(Query(limit=2), first.next_page_token))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    up = await world.stub("bob").ListDelegations(convert.query_to(Query(up=second.delegations[0].digest)))
    assert [item.depth for item in up.delegations] == [0]
    one = await auditor.GetDelegation(delegation_pb2.GetDelegationRequest(digest=up.delegations[0].digest))
    assert b"bank.pay" in one.delegation.grant_json


async def test_info_tells_each_caller_its_audience(world: World) -> None:
    told = convert.info_from(await world.stub("point").GetServerInfo(info_pb2.GetServerInfoRequest()))
    assert (told.audience, told.authority, told.issuer) == (PEP, AUTHORITY, "https://issuer.example")
    told = convert.info_from(await world.stub("auditor").GetServerInfo(info_pb2.GetServerInfoRequest()))
    assert told.audience == ""


async def test_info_tells_auditors_and_operators_alone_how_it_is_configured(serve: Serve) -> None:
    people = [
        {"name": role.value, "roles": [role.value], "credentials": [fingerprint(role.value)], "audience": PEP}
        for role in Role
    ]
    world = await serve(callers=people, sockets=None, shadow=["class"], pace={"calls": 7}, policy="default")
    told = {}
    for role in Role:
        stub = info_pb2_grpc.ServerInfoServiceStub(world.channel())
        reply = await stub.GetServerInfo(info_pb2.GetServerInfoRequest(), metadata=bearer(role.value), timeout=20)
        assert secret(role.value).encode() not in reply.SerializeToString()
        told[role] = convert.info_from(reply).configuration
    assert {role for role, one in told.items() if one is not None} == {Role.AUDITOR, Role.OPERATOR}
    found = told[Role.AUDITOR]
    assert found is not None
    assert (found.shadow, found.calls, found.profile, found.mutual_tls) == (("class",), 7, "sound", False)


async def test_a_child_may_name_its_parents_chain_by_digest(world: World) -> None:
    root = await world.root()
    child, first = await handed_on(world, root)
    grandchild = world.child(child, "bob", "alice", NARROW, 100)
    made = world.proof("bob", child, proof.DELEGATE, {"child": mint.unverified(grandchild).id}, AUTHORITY)
    reply = await world.stub("bob").Delegate(
        convert.delegate_to(bytes(first.delegation.digest), grandchild, made, "by digest")
    )
    assert (reply.delegation.depth, reply.delegation.subject) == (2, "dana")
    unknown = await world.stub("bob").Delegate(convert.delegate_to(bytes(32), grandchild, made, "by another"))
    assert convert.decision_from(unknown.denial).reason is Reason.DIGEST_UNKNOWN


async def test_a_worker_is_enrolled_under_its_own_agent_only(world: World) -> None:
    above = Principal(id="spiffe://team.example/alice", owner="team")
    own = Principal(id=f"{above.id}/worker", owner="team", under=KEYS["alice"].key.thumbprint)
    foreign = own.model_copy(update={"owner": "others"})
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.stub("alice").Enrol(convert.enrol_to(KEYS["carol"].key, foreign, "e1"))
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.stub("alice").Enrol(convert.enrol_to(KEYS["carol"].key, own, "e2"))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION  # Carol's key has not agreed
    facts = {"audience": AUTHORITY, "jti": "fresh", "iat": int(time.time())}
    agreed = enrolment.make(KEYS["carol"], own.id, KEYS["alice"].key.thumbprint, **facts)
    reply = await world.stub("alice").Enrol(convert.enrol_to(KEYS["carol"].key, own, "e2", agreed))
    assert convert.enrolled_from(reply, own).holder == KEYS["carol"].key.thumbprint


async def test_a_batch_has_its_bounds(world: World) -> None:
    alice, item = world.stub("alice", socket=True), ask([], channel=True)
    for bad in (pb.BatchCheckRequest(items=[item] * 1001), pb.BatchCheckRequest(items=[item], semantic=9)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await alice.BatchCheck(bad)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert len((await alice.BatchCheck(pb.BatchCheckRequest(items=[item] * 1000))).results) == 1000
    broken = ask([], channel=True)
    broken.arguments_json = b"["
    stopped = await alice.BatchCheck(pb.BatchCheckRequest(items=[broken, item], semantic=2))
    assert len(stopped.results) == 1  # an error counts as a denial
