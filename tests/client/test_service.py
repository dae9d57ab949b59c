"""Clients, sessions and the guard over a real server."""

from __future__ import annotations

import asyncio
import inspect
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from chain import mint
from chain.base64url import b64decode
from chain.client import AsyncClient, AsyncSession, Client, Session, guard
from chain.decision import Decision, Effect
from chain.errors import (
    ConflictError,
    DeniedError,
    ExcessError,
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
    UnreachableError,
)
from chain.order import Issue, Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.service.server import ChainServer
from chain.token import sign
from chain.view import Delegated, Query
from tests.client.running import running, secret
from tests.support import ALICE, BOB, CAROL, HOME, ISSUER, MALLORY, PEP, ROOT_KEY, rule

PATIENT = 30.0
GRANT = mint.grant({"tools": {"mail.read": {}, "bank.pay": {"amount": rule("range", max=100)}}})
FIFTY = mint.grant({"tools": {"bank.pay": {"amount": rule("range", max=50)}}})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainServer]:
    with running(tmp_path_factory.mktemp("server")) as started:
        yield started


def client_of(server: ChainServer, name: str) -> Client:
    return Client(server.address, secret(name), timeout=PATIENT)


@pytest.fixture
def root(server: ChainServer) -> Delegated:
    with client_of(server, "issuer") as issuer:
        return issuer.issue(Issue(holder=ALICE.key, grant=GRANT, lifetime=600))


@pytest.fixture
def agent(server: ChainServer) -> Iterator[Client]:
    with client_of(server, "agent") as client:
        yield client


@pytest.fixture
def session(root: Delegated, agent: Client) -> Session:
    return Session(signer=ALICE, tokens=[root.token], audience=PEP, door=agent)


class Bank:
    def __init__(self) -> None:
        self.paid: list[int] = []

    @guard("bank.pay")
    def pay(self, amount: int) -> None:
        self.paid.append(amount)

    @guard("bank.pay")
    async def pay_later(self, amount: int) -> None:
        self.paid.append(amount)


def test_guarded_tools_over_a_server(session: Session) -> None:
    bank = Bank()
    with session:
        bank.pay(20)
        with pytest.raises(DeniedError) as raised:
            bank.pay(101)
    assert bank.paid == [20]
    assert (raised.value.reason, raised.value.decision.hop) == (Reason.CONSTRAINT_VIOLATED, 0)
    assert raised.value.decision.id
    assert raised.value.decision.revision


async def test_guarded_tools_over_an_asynchronous_client(server: ChainServer, root: Delegated) -> None:
    bank = Bank()
    async with (
        AsyncClient(server.address, secret("agent"), timeout=PATIENT) as client,
        AsyncSession(signer=ALICE, tokens=[root.token], audience=PEP, door=client) as session,
    ):
        await asyncio.gather(*(bank.pay_later(amount) for amount in range(10)))
        with pytest.raises(DeniedError):
            await bank.pay_later(101)
        handed = await session.delegate(BOB.key, FIFTY)
        async with session.as_holder(BOB, handed.tokens):
            await bank.pay_later(50)
            with pytest.raises(DeniedError):
                await bank.pay_later(51)
        assert (await session.revoke(handed.delegation.id, "done")).count == 1
    assert sorted(bank.paid) == [*range(10), 50]


def test_handing_on_and_revoking(session: Session) -> None:
    handed = session.delegate(BOB.key, FIFTY)
    bob = session.as_holder(BOB, handed.tokens)
    beside = session.as_holder(CAROL, session.delegate(CAROL.key, FIFTY).tokens)
    assert bob.check("bank.pay", {"amount": 50}).allowed
    assert session.revoke(handed.delegation.id, dry_run=True).count == 1
    assert bob.check("bank.pay", {"amount": 50}).allowed
    fell = session.revoke(handed.delegation.id, "done")
    assert fell.fallen == (handed.delegation.id,)
    assert bob.check("bank.pay", {"amount": 50}).reason is Reason.REVOKED
    assert beside.check("bank.pay", {"amount": 50}).allowed
    with pytest.raises(NotFoundError):
        beside.revoke(session.leaf.id)


def test_a_child_that_asks_for_more_is_refused_with_both_values(session: Session, agent: Client) -> None:
    """The local check is gone around: the server refuses by itself, and the client names the same error."""
    bob = session.as_holder(BOB, session.delegate(BOB.key, FIFTY).tokens)
    claims = mint.child_claims(bob.leaf, GRANT, CAROL.key, jti="greedy", now=bob.leaf.iat, lifetime=60)
    child = sign(claims, BOB)
    shown = bob._shown("chain:delegate", {"child": mint.unverified(child).id}, HOME)
    with pytest.raises(ExcessError) as raised:
        agent.delegate(bob.presented, child, shown)
    assert raised.value.hop == 2
    assert raised.value.field.startswith("tools")
    modest = bob.handing(CAROL.key, FIFTY, HOME)
    assert agent.delegate(modest.presented, modest.subject, modest.proof).hop == 2


def test_a_channel_takes_the_place_of_the_proof(server: ChainServer, root: Delegated) -> None:
    with Client(f"unix:{server.sockets['alice']}", timeout=PATIENT) as own:
        session = Session(signer=ALICE, tokens=[root.token], audience=PEP, door=own, channel=True)
        assert session.check("bank.pay", {"amount": 5}).allowed
        handed = session.delegate(BOB.key, FIFTY)
        stolen = session.as_holder(BOB, handed.tokens)
        assert stolen.check("bank.pay", {"amount": 5}).reason is Reason.HOLDER_MISMATCH
        assert session.revoke(handed.delegation.id).count == 1
    with client_of(server, "agent") as bearer:
        assert replace(session, door=bearer).check("bank.pay", {"amount": 5}).reason is Reason.PROOF_MISSING


def test_digests_revisions_and_explanations(session: Session, agent: Client) -> None:
    assert session.check("mail.read", {"folder": "in"}).allowed
    short = replace(session, by_digest=True)
    decision = short.check("mail.read", {"folder": "in"})
    assert decision.allowed
    fresh = session.asking("mail.read", {"folder": "in"})
    assert agent.check(session.presented, fresh, at_least=decision.revision).allowed
    later = session.asking("mail.read", {"folder": "in"})
    assert agent.check(session.presented, later, at_least=2**40).reason is Reason.REVISION_UNKNOWN
    bob = session.as_holder(BOB, session.delegate(BOB.key, FIFTY).tokens)
    explained = agent.explain(bob.presented, bob.asking("bank.pay", {"amount": 60}))
    assert explained.decision.reason is Reason.CONSTRAINT_VIOLATED
    assert [hop.hop for hop in explained.hops] == [0, 1]
    assert [lost.field for lost in explained.hops[1].lost]


def test_batches(session: Session, agent: Client) -> None:
    asked = [(session.presented, session.asking("bank.pay", {"amount": amount})) for amount in (5, 500, 6)]
    answers = agent.batch_check(asked)
    assert [isinstance(answer, Decision) and answer.allowed for answer in answers] == [True, False, True]
    again = agent.batch_check(asked)
    assert {answer.reason for answer in again} >= {Reason.REPLAY}
    assert not any(isinstance(answer, Decision) and answer.allowed for answer in again)
    fresh = [(session.presented, session.asking("bank.pay", {"amount": amount})) for amount in (500, 5)]
    assert len(agent.batch_check(fresh, stop=Effect.DENY)) == 1


def test_a_stream_from_many_threads(session: Session, agent: Client) -> None:
    answers: list[tuple[int, bool]] = []
    with agent.check_stream() as stream:

        def ask(amount: int) -> None:
            decision = stream.check(session.presented, session.asking("bank.pay", {"amount": amount}))
            answers.append((amount, decision.allowed))

        threads = [threading.Thread(target=ask, args=(amount,)) for amount in range(90, 110)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(answers) == [(amount, amount <= 100) for amount in range(90, 110)]


async def test_an_asynchronous_stream(server: ChainServer, session: Session) -> None:
    async with AsyncClient(server.address, secret("agent"), timeout=PATIENT) as client, client.check_stream() as stream:
        asked = [session.asking("bank.pay", {"amount": amount}) for amount in (5, 500)]
        answers = await asyncio.gather(*(stream.check(session.presented, request) for request in asked))
    assert [answer.allowed for answer in answers] == [True, False]


def test_reading_and_listing(server: ChainServer, session: Session, root: Delegated) -> None:
    handed = session.delegate(BOB.key, FIFTY)
    with client_of(server, "operator") as operator:
        found = operator.get(b64decode(handed.delegation.id.encode()))
        assert (found.id, found.parent, found.token) == (handed.delegation.id, root.id, "")
        page = operator.find(Query(limit=1))
        pages = [*page.delegations]
        while page.next:
            page = operator.find(Query(limit=1), page.next)
            pages += page.delegations
        assert {root.id, handed.delegation.id} <= {one.id for one in pages}
        with pytest.raises(NotFoundError):
            operator.get(bytes(32))


def test_enrolling(server: ChainServer) -> None:
    worker = Principal(id="spiffe://example.org/late", owner="team")
    with client_of(server, "operator") as operator, client_of(server, "issuer") as issuer:
        assert operator.enrol(MALLORY.key, worker).holder == MALLORY.key.thumbprint
        with pytest.raises(ForbiddenError):
            issuer.enrol(MALLORY.key, worker)


def test_a_key_gives_the_first_reply_again_and_serves_no_other_change(server: ChainServer, root: Delegated) -> None:
    order = Issue(holder=ALICE.key, grant=GRANT, lifetime=600)
    with client_of(server, "issuer") as issuer:
        first = issuer.issue(order, "one-key")
        assert issuer.issue(order, "one-key").id == first.id
        assert issuer.issue(order).id != first.id
        with pytest.raises(ConflictError):
            issuer.issue(Issue(holder=BOB.key, grant=GRANT, lifetime=600), "one-key")
        assert issuer.revoke(Revoke(b64decode(root.id.encode())), key="two").count >= 1


def test_a_delegation_that_is_sent_again_is_made_once(session: Session, agent: Client) -> None:
    ordered = session.handing(BOB.key, FIFTY, HOME)
    first = agent.delegate(ordered.presented, ordered.subject, ordered.proof, ordered.key)
    assert agent.delegate(ordered.presented, ordered.subject, ordered.proof, ordered.key) == first
    with pytest.raises(DeniedError) as raised:
        agent.delegate(ordered.presented, ordered.subject, ordered.proof)
    assert raised.value.reason is Reason.REPLAY


async def test_the_asynchronous_client_is_the_other_with_await(server: ChainServer) -> None:
    public = [name for name in vars(Client) if not name.startswith("_")]
    assert public == [name for name in vars(AsyncClient) if not name.startswith("_")]
    for name in {*public} - {"check_stream"}:
        parameters, twins = (inspect.signature(getattr(kind, name)).parameters for kind in (Client, AsyncClient))
        assert list(parameters.values()) == list(twins.values())
    address = server.address
    async with (
        AsyncClient(address, secret("issuer"), timeout=PATIENT) as issuer,
        AsyncClient(address, secret("operator"), timeout=PATIENT) as operator,
        AsyncClient(address, secret("agent"), timeout=PATIENT) as agent,
    ):
        root = await issuer.issue(Issue(holder=ALICE.key, grant=GRANT, lifetime=600))
        session = AsyncSession(signer=ALICE, tokens=[root.token], audience=PEP, door=agent)
        asked = [(session.presented, session.asking("bank.pay", {"amount": amount})) for amount in (5, 500)]
        answers = await agent.batch_check(asked)
        assert [isinstance(answer, Decision) and answer.allowed for answer in answers] == [True, False]
        explained = await agent.explain(session.presented, session.asking("bank.pay", {"amount": 500}))
        assert explained.decision.reason is Reason.CONSTRAINT_VIOLATED
        digest = b64decode(root.id.encode())
        assert (await operator.get(digest)).id == root.id
        assert root.id in {one.id for one in (await operator.find(Query(holder=ALICE.key.thumbprint))).delegations}
        worker = Principal(id="spiffe://example.org/later", owner="team")
        assert (await operator.enrol(MALLORY.key, worker)).principal == worker.id
        assert (await operator.revoke(Revoke(digest))).count == 1


def test_who_may_not_ask(server: ChainServer, session: Session) -> None:
    with client_of(server, "operator") as operator, pytest.raises(ForbiddenError):
        replace(session, door=operator).check("mail.read", {"folder": "in"})
    with client_of(server, "nobody") as nobody, pytest.raises(UnauthenticatedError):
        nobody.info()
    with client_of(server, "point") as point:
        assert point.info().audience == PEP
        assert replace(session, door=point).check("mail.read", {"folder": "in"}).allowed


def test_what_the_server_says_of_itself(agent: Client) -> None:
    info = agent.info()
    assert (info.authority, info.audience, info.issuer) == (HOME, PEP, ISSUER)
    assert info.trust_anchors == (ROOT_KEY.key.thumbprint,)
    assert agent.audience() == HOME


# -- a process that is killed -----------------------------------------------------------------------------------


class Process:
    """A server in a process of its own."""

    def __init__(self, directory: Path, *mode: str) -> None:
        command = [sys.executable, "-m", "tests.client.running", str(directory), *mode]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        self.address = self.line()

    def line(self) -> str:
        assert self.process.stdout is not None
        said = self.process.stdout.readline().strip()
        if not said:
            self.kill()
            pytest.fail("the server did not start")
        return said

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def issued(address: str) -> str:
    with Client(address, secret("issuer"), timeout=PATIENT) as issuer:
        return issuer.issue(Issue(holder=ALICE.key, grant=GRANT, lifetime=600)).token


def test_a_server_killed_before_it_answers_runs_no_tool(tmp_path: Path) -> None:
    bank, outcome = Bank(), []
    process = Process(tmp_path, "hang")
    token = _root_signed_here()

    def call(client: Client) -> None:
        with Session(signer=ALICE, tokens=[token], audience=PEP, door=client):
            try:
                bank.pay(20)
            except DeniedError as error:
                outcome.append(error.reason)

    with Client(process.address, secret("agent"), timeout=PATIENT) as client:
        thread = threading.Thread(target=call, args=(client,))
        thread.start()
        assert process.line() == "committing"
        process.kill()
        thread.join()
    assert outcome == [Reason.UNREACHABLE]
    assert bank.paid == []


def test_a_server_that_lives_answers_and_one_that_was_killed_does_not(tmp_path: Path) -> None:
    bank = Bank()
    process = Process(tmp_path)
    with (
        Client(process.address, secret("agent"), timeout=PATIENT) as client,
        Session(signer=ALICE, tokens=[issued(process.address)], audience=PEP, door=client) as session,
    ):
        bank.pay(20)
        process.kill()
        with pytest.raises(DeniedError) as raised:
            bank.pay(21)
        with pytest.raises(UnreachableError):
            session.delegate(BOB.key, FIFTY)
    assert raised.value.reason is Reason.UNREACHABLE
    assert bank.paid == [20]


def _root_signed_here() -> str:
    claims = mint.root_claims(GRANT, ALICE.key, issuer=ISSUER, jti="here", now=int(time.time()), lifetime=600)
    return sign(claims, ROOT_KEY)
