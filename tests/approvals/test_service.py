"""The same over gRPC, by the clients."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from msgspec.structs import replace

from chain import jcs, mint, proof
from chain.approval import Approval, word
from chain.base64url import b64encode
from chain.client import AsyncClient, Client
from chain.client.approvals import Approvals
from chain.decision import Decision, Effect
from chain.errors import ApprovalError, ChainError, DeniedError, ForbiddenError, InvalidRequestError, NotFoundError
from chain.key import KeySigner
from chain.reason import Reason
from chain.search import EVERY, MAX_FOUND, Found, Search
from chain.service.server import ChainServer
from chain.state import EMERGENCY_LIFETIME
from chain.store.sqlite import SqliteStore
from chain.v1 import approval_pb2 as pb
from chain.wire import convert
from chain.wire.status import code_of, details_of, error_of
from tests.approvals.office import ANN, ANY_HOP, BEN, BOB, CID, DAN, Office, honest, policy
from tests.approvals.served import client, paying, root_of, server_of
from tests.client.running import secret, serving
from tests.support import ALICE, HOME, MALLORY


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")  # short: a unix socket's path has 107 bytes


@pytest.fixture
def server(directory: Path) -> Iterator[ChainServer]:
    with serving(lambda: server_of(directory, SqliteStore(directory / "ledger"))) as served:
        yield served


class Parties:
    """A client for everybody."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.clients: dict[str, Client] = {}

    def __getattr__(self, name: str) -> Client:
        return self.clients.setdefault(name, client(self.address, name))

    def waits(self, tokens: list[str], amount: float = 5) -> Approval:
        decision = self.agent.check(tokens, paying(tokens, amount))
        assert (decision.effect, decision.reason) == (Effect.APPROVAL_REQUIRED, Reason.APPROVAL_REQUIRED)
        assert decision.awaits is not None
        asked = self.desk.approvals.get(decision.awaits.request_id)
        assert asked.binding == decision.awaits.binding == asked.action.binding()
        return asked

    def refused(self, reason: Reason, asked: Approval, key: KeySigner, said: str) -> None:
        before = self.desk.approvals.get(asked.id)
        with pytest.raises(ApprovalError) as raised:
            self.desk.approvals.resolve(said, key.key)
        assert raised.value.reason is reason
        assert self.desk.approvals.get(asked.id) == before


@pytest.fixture
def parties(server: ChainServer) -> Iterator[Parties]:
    made = Parties(server.address)
    yield made
    for one in made.clients.values():
        one.close()


def test_from_the_question_to_the_call(parties: Parties) -> None:
    tokens = [root_of(parties.issuer)]
    asked = parties.waits(tokens)
    desk, audience = parties.desk.approvals, parties.desk.audience()
    assert audience == HOME
    assert (asked.state, asked.action.tool, asked.action.arguments) == ("pending", "bank.pay", {"amount": 5})
    assert desk.approve(asked, ANN, audience).state == "pending"
    assert parties.waits(tokens).id == asked.id
    after = desk.approve(asked, BEN, audience)
    assert (after.state, [vote.verdict for vote in after.votes]) == ("approved", ["approve", "approve"])
    assert parties.agent.check(tokens, paying(tokens)).allowed
    assert desk.get(asked.id).state == "consumed"
    assert parties.waits(tokens).id != asked.id


def test_whose_word_does_not_count(parties: Parties) -> None:
    tokens = [root_of(parties.issuer)]
    asked = parties.waits(tokens)
    now = time.time()
    other = parties.waits(tokens, 6)
    for key in (ALICE, MALLORY):
        parties.refused(Reason.APPROVER_INELIGIBLE, asked, key, word(asked, key, HOME, "approve", now=now))
    for said in (
        word(asked, MALLORY, HOME, "approve", now=now),
        word(asked, ANN, "https://other.example", "approve", now=now),
        word(replace(asked, id=other.id), ANN, HOME, "approve", now=now),
        word(asked, ANN, HOME, "approve", now=now - 1000),
        "nothing",
    ):
        parties.refused(Reason.STATEMENT_INVALID, asked, ANN, said)
    parties.desk.approvals.approve(asked, ANN, HOME)
    parties.refused(Reason.APPROVER_INELIGIBLE, asked, ANN, word(asked, ANN, HOME, "approve", now=now))
    assert parties.desk.approvals.approve(asked, BEN, HOME).state == "approved"
    assert parties.agent.check(tokens, paying(tokens)).allowed


def test_a_refusal_is_final(parties: Parties) -> None:
    tokens = [root_of(parties.issuer)]
    asked = parties.waits(tokens)
    assert parties.desk.approvals.deny(asked, CID, HOME, "no such invoice").state == "denied"
    parties.refused(Reason.REQUEST_CLOSED, asked, ANN, word(asked, ANN, HOME, "approve", now=time.time()))
    decision = parties.agent.check(tokens, paying(tokens))
    assert (decision.effect, decision.reason) == (Effect.DENY, Reason.APPROVAL_DENIED)
    parties.waits(tokens, 6)


def test_break_glass_and_review(parties: Parties) -> None:
    tokens = [root_of(parties.issuer)]
    asked = parties.waits(tokens)
    desk = parties.desk.approvals
    assert desk.emergency(asked, ANN, HOME, "the bank closes").state == "approved"
    assert parties.agent.check(tokens, paying(tokens)).allowed
    (open_,) = parties.auditor.approvals.find(in_review=True)
    assert (open_.id, open_.in_review, open_.votes[0].justification) == (asked.id, True, "the bank closes")
    parties.refused(Reason.APPROVER_INELIGIBLE, asked, ANN, word(asked, ANN, HOME, "sign_off", now=time.time()))
    after = desk.sign_off(asked, BEN, HOME, "was right")
    assert after.signed_off is not None
    assert desk.find(in_review=True) == []


def test_who_may_call(parties: Parties) -> None:
    tokens = [root_of(parties.issuer)]
    asked = parties.waits(tokens)
    assert parties.auditor.approvals.get(asked.id) == asked
    for name in ("agent", "issuer", "point"):
        with pytest.raises(ForbiddenError):
            getattr(parties, name).approvals.find()
    for name in ("auditor", "operator", "agent"):
        with pytest.raises(ForbiddenError):
            getattr(parties, name).approvals.approve(asked, ANN, HOME)
    with pytest.raises(ForbiddenError):
        parties.ann.approvals.approve(asked, BEN, HOME)
    with pytest.raises(NotFoundError):
        parties.ann.approvals.get("nothing")
    assert parties.ann.approvals.approve(asked, ANN, HOME).votes


def test_lists(parties: Parties) -> None:
    tokens = [root_of(parties.issuer)]
    first, second = parties.waits(tokens, 1), parties.waits(tokens, 2)
    desk = parties.desk.approvals
    desk.deny(second, ANN, HOME)
    found = desk.find()
    assert [one.id for one in found] == [second.id, first.id]
    assert [one.id for one in desk.find("pending")] == [first.id]
    assert desk.find("consumed") == []
    assert found[0].action.arguments == {}  # no list shows them
    with pytest.raises(ApprovalError):  # so that nobody approves from a list
        desk.approve(found[1], ANN, HOME)
    assert desk.approve(desk.get(first.id), ANN, HOME).votes


async def test_the_asynchronous_client_says_the_same(parties: Parties, server: ChainServer) -> None:
    tokens = [root_of(parties.issuer)]
    asked = parties.waits(tokens)
    async with AsyncClient(server.address, secret("desk"), timeout=20) as desk:
        assert await desk.approvals.get(asked.id) == asked
        assert [one.id for one in await desk.approvals.find("pending")] == [asked.id]
        assert (await desk.approvals.approve(asked, ANN, HOME)).state == "pending"
        assert (await desk.approvals.emergency(asked, BEN, HOME, "now")).state == "approved"
        assert (await desk.approvals.deny(asked, DAN, HOME)).state == "denied"
        assert (await desk.approvals.sign_off(asked, CID, HOME)).signed_off


def test_batch_and_stream(parties: Parties) -> None:
    tokens = [root_of(parties.issuer)]
    desk = parties.desk.approvals
    asked = parties.waits(tokens)
    desk.approve(asked, ANN, HOME)
    desk.approve(asked, BEN, HOME)
    answers = parties.agent.batch_check([(tokens, paying(tokens)) for _ in range(3)])
    assert [one.effect for one in answers if isinstance(one, Decision)] == [
        Effect.ALLOW, Effect.APPROVAL_REQUIRED, Effect.APPROVAL_REQUIRED,
    ]  # fmt: skip
    with parties.agent.check_stream() as stream:
        waiting = stream.check(tokens, paying(tokens))
        assert waiting.awaits is not None
        again = desk.get(waiting.awaits.request_id)
        desk.approve(again, ANN, HOME)
        desk.approve(again, BEN, HOME)
        assert stream.check(tokens, paying(tokens)).allowed
        assert stream.check(tokens, paying(tokens)).effect is Effect.APPROVAL_REQUIRED


def test_fifty_calls_and_one_approval(parties: Parties) -> None:
    tokens = [root_of(parties.issuer)]
    asked = parties.waits(tokens)
    parties.desk.approvals.approve(asked, ANN, HOME)
    parties.desk.approvals.approve(asked, BEN, HOME)
    agent = parties.agent
    requests = [paying(tokens) for _ in range(50)]
    with ThreadPoolExecutor(50) as pool:
        decisions = list(pool.map(lambda request: agent.check(tokens, request), requests))
    assert Counter(one.effect for one in decisions) == {Effect.ALLOW: 1, Effect.APPROVAL_REQUIRED: 49}


def test_a_root_and_a_hop_that_wait(parties: Parties) -> None:
    gate = '@id("hop.gated") @approval("1")\nforbid (principal, action == Chain::Action::"delegate", resource);'
    tokens = [root_of(parties.issuer)]
    parties.operator.policies.activate(policy(hops=ANY_HOP + gate))
    desk = parties.desk.approvals

    def approved(error: pytest.ExceptionInfo[DeniedError]) -> None:
        decision = error.value.decision
        assert (decision.effect, decision.awaits is not None) == (Effect.APPROVAL_REQUIRED, True)
        assert decision.awaits is not None
        assert desk.approve(desk.get(decision.awaits.request_id), ANN, HOME).state == "approved"

    with pytest.raises(DeniedError) as raised:
        root_of(parties.issuer)
    approved(raised)
    fresh = root_of(parties.issuer)
    above = mint.unverified(fresh)
    claims = mint.child_claims(above, above.grant, BOB.key, jti="c1", now=int(time.time()), lifetime=60)
    made = mint.derive(above, claims, ALICE)

    def hand() -> str:
        arguments = {"child": mint.unverified(made).id}
        said = proof.make(
            ALICE, above, proof.DELEGATE, arguments, audience=HOME, jti=b64encode(os.urandom(9)), iat=int(time.time())
        )
        return parties.agent.delegate([fresh], made, said).id

    with pytest.raises(DeniedError) as raised:
        hand()
    approved(raised)
    assert hand() == mint.unverified(made).id
    decision = parties.agent.check(tokens, paying(tokens))  # this root was made before anybody asked for people
    assert (decision.effect, decision.reason, decision.hop) == (Effect.DENY, Reason.HOP_UNAPPROVED, 0)
    assert parties.agent.check([fresh], paying([fresh])).effect is Effect.APPROVAL_REQUIRED


class Lying:
    """A server that shows one action and names another."""

    def __init__(self, shown: pb.Approval) -> None:
        self.shown = shown
        self.handed: list[object] = []

    def run(self, call: Any) -> Any:
        self.handed.append(call.method)
        return call.answer(pb.GetApprovalResponse(approval=self.shown))


def test_a_server_that_lies_is_not_believed() -> None:
    office = Office()
    asked = office.waits(honest())
    cheap = replace(asked.action, arguments={"amount": 1})
    message = convert.approval_to(asked)
    honestly = Lying(message)
    assert Approvals(honestly.run).get(asked.id) == replace(asked, root_ends=0, opened=0)
    message = convert.approval_to(asked)
    message.action_json = jcs.dumps(msgspec.to_builtins(cheap))
    lying = Lying(message)
    with pytest.raises(ChainError, match="not understood"):
        Approvals(lying.run).get(asked.id)
    with pytest.raises(ApprovalError):
        Approvals(lying.run).approve(replace(asked, action=cheap), ANN, HOME)
    assert lying.handed == ["GetApproval"]  # nothing was signed and sent


def test_messages_both_ways() -> None:
    office = Office()
    asked = office.waits(honest())
    office.says(asked, ANN, emergency=True, justification="now")
    office.clock.now += EMERGENCY_LIFETIME
    asked = office.says(asked, CID, "sign_off")
    for one in (asked, replace(asked, state="denied"), replace(asked, votes=asked.votes[:1])):
        message = convert.approval_to(one)
        assert convert.approval_from(message) == replace(one, root_ends=0, opened=0)
        assert message.HasField("signed_off") is (one.signed_off is not None)
    for search in (EVERY, Search("expired", in_review=True, page="7.any.all", limit=3)):
        assert convert.search_from(convert.search_to(search)) == search
    assert convert.search_from(pb.ListApprovalsRequest()) == EVERY
    for found in (Found((replace(asked, root_ends=0, opened=0),) * 3, "7.any.all"), Found(())):
        back = convert.found_from(convert.found_to(found, EVERY))
        bare = [replace(one, action=replace(one.action, arguments={})) for one in found.approvals]
        assert back == Found(tuple(bare), found.next)
    with pytest.raises(ValueError, match="not the last"):
        convert.found_from(pb.ListApprovalsResponse(next_page_token="7.any.all"))


def test_a_page_of_large_requests_is_cut_and_says_where_it_goes_on() -> None:
    huge = [replace(Office().waits(honest()), task="x" * 1_000_000, opened=9 - place) for place in range(4)]
    cut = convert.found_to(Found(tuple(huge)), EVERY)
    assert (len(cut.approvals), cut.next_page_token) == (2, EVERY.cursor(huge[1]))
    alone = replace(huge[0], task="x" * 3_000_000)
    assert len(convert.found_to(Found((alone, alone)), EVERY).approvals) == 1  # it goes on, however large one is


async def test_pages_over_the_service(parties: Parties, server: ChainServer) -> None:
    tokens = [root_of(parties.issuer)]
    names = [parties.waits(tokens, amount).id for amount in range(1, 6)][::-1]
    seen, search = [], Search("pending", limit=2)
    while True:
        page = parties.desk.approvals.page(search)
        seen.append([one.id for one in page.approvals])
        if not page.next:
            break
        search = search._replace(page=page.next)
    assert seen == [names[:2], names[2:4], names[4:]]
    async with AsyncClient(server.address, secret("desk"), timeout=20) as desk:
        assert await desk.approvals.page(search) == page
    for wrong in (search._replace(state="denied"), search._replace(page="x"), search._replace(limit=MAX_FOUND + 1)):
        with pytest.raises(InvalidRequestError):
            parties.desk.approvals.page(wrong)


async def test_a_client_finds_what_is_on_later_pages(
    parties: Parties, server: ChainServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = [root_of(parties.issuer)]
    names = [parties.waits(tokens, amount).id for amount in range(1, 6)][::-1]
    monkeypatch.setattr("chain.wire.approval.MAX_BYTES", 1)
    assert len(parties.desk.approvals.page().approvals) == 1
    assert [one.id for one in parties.desk.approvals.find("pending")] == names
    async with AsyncClient(server.address, secret("desk"), timeout=20) as desk:
        assert [one.id for one in await desk.approvals.find()] == names


def test_an_approver_watches_what_waits_for_people(parties: Parties) -> None:
    tokens = [root_of(parties.issuer)]
    asked = parties.waits(tokens)
    parties.desk.approvals.approve(asked, ANN, HOME)
    parties.desk.approvals.approve(asked, BEN, HOME)
    assert parties.agent.check(tokens, paying(tokens)).allowed
    told = list(parties.ann.watch(0, until_now=True))
    assert [one.kind for one in told] == [
        "approval_requested", "approval_resolved", "approval_resolved", "approval_consumed",
    ]  # fmt: skip
    assert {one.members["id"] for one in told} == {asked.id}
    assert told[0].members.keys() == {"id", "binding", "expires"}
    assert [one.kind for one in parties.ann.watch(0, ["approval_requested"], until_now=True)] == ["approval_requested"]
    for kinds in (["decided"], ["approval_requested", "revoked"]):
        with pytest.raises(ForbiddenError):
            list(parties.ann.watch(0, kinds, until_now=True))
    with pytest.raises(ForbiddenError):
        parties.ann.standing(tokens)


def _damage(message: pb.Approval, name: str) -> None:
    match name:
        case "no state":
            message.state = pb.APPROVAL_STATE_UNSPECIFIED
        case "an unknown state":
            message.state = 99  # type: ignore[assignment]
        case "no action":
            message.action_json = b""
        case "a member less":
            message.action_json = message.action_json.replace(b'"target":"",', b"")
        case "a member more":
            message.action_json = message.action_json.replace(b'"target"', b'"targe":"","target"')
        case "a member twice":
            message.action_json = message.action_json.replace(b'"target"', b'"target":"x","target"')
        case "not canonical":
            message.action_json = b" " + message.action_json
        case "an unknown verdict":
            message.votes.add(verdict="maybe")


@pytest.mark.parametrize(
    "name",
    [
        "no state", "an unknown state", "no action", "a member less", "a member more", "a member twice",
        "not canonical", "an unknown verdict",
    ],
)  # fmt: skip
def test_a_damaged_message_is_not_understood(name: str) -> None:
    office = Office()
    message = convert.approval_to(office.waits(honest()))
    assert convert.approval_from(message).state == "pending"
    _damage(message, name)
    with pytest.raises(ValueError, match=r".+"):
        convert.approval_from(message)


def test_an_unknown_filter_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        convert.search_from(pb.ListApprovalsRequest(state=99))  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError):
        convert.resolve_from(pb.ResolveApprovalRequest(statement=b"x", jwk_json=b"{}"))


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.STATEMENT_INVALID, grpc.StatusCode.INVALID_ARGUMENT),
        (Reason.APPROVER_INELIGIBLE, grpc.StatusCode.FAILED_PRECONDITION),
        (Reason.REQUEST_CLOSED, grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
def test_an_error_comes_back_as_it_was(reason: Reason, code: grpc.StatusCode) -> None:
    error = ApprovalError("no", reason)
    assert code_of(error) is code
    back = error_of(code, error.detail, details_of(error))
    assert (type(back), back.reason, back.detail) == (ApprovalError, reason, "no")
