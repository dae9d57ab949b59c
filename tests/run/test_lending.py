"""What a lent connection does not do for who borrows it. The lender may do everything; its twin stands beside each."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chain import mint, proof, token
from chain.caller import ALLOWED
from chain.caller import LENT as LENT_BY
from chain.claims import Confirmation
from chain.client import AsyncClient, Client, Session, step
from chain.client.call import methods
from chain.client.lending import FIELDS, LENT, _reader, require_lent
from chain.decision import Effect
from chain.errors import (
    ChainError,
    ConfigurationError,
    DeniedError,
    ExcessError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    UnreachableError,
)
from chain.key import KeySigner
from chain.order import Issue, Revoke
from chain.reason import Reason
from chain.request import Request
from chain.service.server import SERVICES
from chain.v1 import authorization_pb2, chain_pb2, control_pb2, delegation_pb2, watch_pb2
from chain.wire import change, convert
from chain.wire.status import error_from
from tests.client.fake import Fake
from tests.custody.served import SOLO, Served, secret
from tests.run.lender import Lent
from tests.support import ALICE, BOB, HOME, PEP, signer

GRANT = mint.grant({"tools": {"mail.read": {}, "bank.pay": {"amount": {"constraint_type": "range", "max": 100}}}})
LESS = mint.grant({"tools": {"bank.pay": {"amount": {"constraint_type": "range", "max": 10}}}})
MORE = mint.grant({"tools": {"bank.pay": {"amount": {"constraint_type": "range", "max": 5000}}}})
METHODS = {f"/{service.full_name}/{method.name}": method for service in SERVICES for method in service.methods}
REFUSED = grpc.StatusCode.PERMISSION_DENIED


def root(lent: Lent, holder: KeySigner) -> str:
    token = lent.lender.issue(Issue(holder=holder.key, grant=GRANT, lifetime=300, task="t1")).token
    assert token
    return token


def session(lent: Lent, holder: KeySigner, *tokens: str, client: Client | None = None, **more: Any) -> Session:
    return Session(signer=holder, tokens=tokens, audience=PEP, door=client or lent.borrower, **more)


@pytest.fixture(scope="module")
def alices(lent: Lent) -> str:
    return root(lent, ALICE)


@pytest.fixture(scope="module")
def bobs(lent: Lent) -> str:
    return root(lent, BOB)


def code(target: str, path: str, message: Message | bytes) -> grpc.StatusCode:
    """How a call ends; the first message that comes is enough."""
    with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        data = message if isinstance(message, bytes) else message.SerializeToString()
        call = channel.stream_stream(path)(iter([data]), timeout=20)
        with suppress(grpc.RpcError):
            for _ in call:
                call.cancel()
                return grpc.StatusCode.OK
        found: grpc.StatusCode = call.code()
        return found


def test_the_table_is_closed_and_every_other_method_is_refused(lent: Lent) -> None:
    refused = [path for path, method in METHODS.items() if method.name not in LENT]
    names = {method.name for method in METHODS.values()}
    assert LENT <= names <= ALLOWED.keys()
    assert len(names) == len(METHODS)  # a method is known by its name alone
    assert len(refused) == len(METHODS) - len(LENT) >= 19
    for path in refused:
        empty = GetMessageClass(METHODS[path].input_type)()
        assert code(lent.target, path, empty) is REFUSED, path
        assert code(lent.own, path, empty) is not REFUSED, path  # the lender may


@pytest.mark.parametrize(
    "path",
    [
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/chain.v1.AuthorizationService/Nothing",
        "/other.Service/Check",
        "/other.v1.AuthorizationService/Check",
    ],
)
def test_what_is_no_method_of_the_table_is_refused(lent: Lent, path: str) -> None:
    assert code(lent.target, path, b"") is REFUSED
    assert code(lent.target, "/chain.v1.ServerInfoService/GetServerInfo", b"") is grpc.StatusCode.OK


def asking(token: str, **more: Any) -> authorization_pb2.CheckRequest:
    """A question that leaves open who the holder is, or says so."""
    message = convert.check_to([token], Request(tool="mail.read", arguments={}, request_id=os.urandom(9).hex()))
    message.MergeFrom(authorization_pb2.CheckRequest(**more))
    return message


def chain(token: str) -> Any:
    return convert.chain_to([token])


def named(token: str) -> Any:
    return convert.chain_to(mint.unverified(token).digest)


def child(token: str) -> bytes:
    """What Alice would sign, for whoever the channel says she is."""
    session = Session(signer=ALICE, tokens=[token], audience=PEP, door=None)  # type: ignore[arg-type]
    return session.handing(BOB.key, LESS, HOME).subject.encode()


AS_THE_LENDER: dict[str, Callable[[str], tuple[str, Message]]] = {
    "its channel": lambda t: ("Check", asking(t, channel=True)),
    "its word": lambda t: ("Check", asking(t, vouched="spiffe://example.org/alice")),
    "its knowledge of the data": lambda t: ("Check", asking(t, classification="public")),
    "its channel, in a batch": lambda t: (
        "BatchCheck",
        authorization_pb2.BatchCheckRequest(items=[asking(t), asking(t, channel=True)]),
    ),
    "its channel, in a stream": lambda t: (
        "CheckStream",
        authorization_pb2.CheckStreamRequest(check=asking(t, channel=True)),
    ),
    "its channel, to hand on": lambda t: (
        "Delegate",
        delegation_pb2.DelegateRequest(parent=chain(t), child=child(t), channel=True, idempotency_key="k"),
    ),
    "its channel, to revoke": lambda t: (
        "Revoke",
        delegation_pb2.RevokeRequest(chain=chain(t), channel=True, dry_run=True),
    ),
    "its role, to revoke": lambda t: (
        "Revoke",
        delegation_pb2.RevokeRequest(target=mint.unverified(t).digest, dry_run=True),
    ),
    "its role, to revoke by name": lambda t: (
        "Revoke",
        delegation_pb2.RevokeRequest(
            named=delegation_pb2.RevocationName(kind=delegation_pb2.REVOCATION_KIND_TASK, name="t1"), dry_run=True
        ),
    ),
    "its role, to follow the ledger": lambda t: ("Watch", watch_pb2.WatchRequest(after=0)),
    "its role, to watch by a digest": lambda t: ("Watch", watch_pb2.WatchRequest(chain=named(t))),
}


@pytest.mark.parametrize("how", AS_THE_LENDER)
def test_who_borrows_is_never_answered_as_the_lender(lent: Lent, alices: str, how: str) -> None:
    name, message = AS_THE_LENDER[how](alices)
    (path,) = [path for path in METHODS if path.endswith(f"/{name}")]
    assert code(lent.target, path, message) is REFUSED
    assert code(lent.own, path, message) is grpc.StatusCode.OK


def test_the_lenders_channel_would_have_been_believed(lent: Lent, alices: str) -> None:
    """The twin of the refusals above: what they refuse is a real permission."""
    own = session(lent, ALICE, alices, client=lent.lender, channel=True)
    assert own.check("bank.pay", {"amount": 5}).allowed
    with pytest.raises(ForbiddenError, match="`channel` is not taken"):
        session(lent, ALICE, alices, channel=True).check("bank.pay", {"amount": 5})


def test_a_holder_that_proves_itself_is_answered(lent: Lent, bobs: str) -> None:
    bob = session(lent, BOB, bobs)
    assert bob.check("bank.pay", {"amount": 5}).allowed
    assert bob.check("bank.pay", {"amount": 500}).reason is Reason.CONSTRAINT_VIOLATED
    asked = [(bob.presented, bob.asking("bank.pay", {"amount": amount})) for amount in (5, 500)]
    effects = [getattr(one, "effect", one) for one in lent.borrower.batch_check(asked)]
    assert effects == [Effect.ALLOW, Effect.DENY]
    with lent.borrower.check_stream() as stream:
        for amount, allowed in ((6, True), (600, False)):
            assert stream.check(bob.presented, bob.asking("bank.pay", {"amount": amount})).allowed is allowed
    assert lent.borrower.revision() > 0
    assert lent.borrower.audience() == HOME


def test_a_stolen_chain_is_as_good_as_nothing(lent: Lent, alices: str) -> None:
    class Thief(Session):
        def __post_init__(self) -> None:
            """Hold what is another's."""

    made = Thief(signer=BOB, tokens=(alices,), audience=PEP, door=lent.borrower).check("mail.read", {})
    assert made.effect is Effect.DENY
    nobody = lent.borrower.check([alices], Request(tool="mail.read", arguments={}, audience=PEP))
    assert nobody.reason is Reason.PROOF_MISSING
    assert session(lent, ALICE, alices).check("mail.read", {}).allowed


def test_it_hands_on_and_takes_back_what_is_its_own(lent: Lent, alices: str, bobs: str) -> None:
    bob, carol = session(lent, BOB, bobs), signer("borrowing")
    handed = bob.delegate(carol.key, LESS)
    assert session(lent, carol, *handed.tokens).check("mail.read", {}).reason is Reason.TOOL_NOT_GRANTED
    with pytest.raises(ExcessError):  # the service's own word, with all that it says
        lent.borrower.delegate(bob.presented, *_too_wide(bob))
    for target in (mint.unverified(alices).id, mint.unverified(root(lent, carol)).id):
        with pytest.raises(NotFoundError):  # not beneath what is presented, whatever the lender may
            bob.revoke(target, "not mine")
    assert bob.revoke(handed.delegation.id, "done").count == 1
    assert session(lent, carol, *handed.tokens).check("bank.pay", {"amount": 5}).reason is Reason.REVOKED
    assert bob.check("bank.pay", {"amount": 5}).allowed


def _too_wide(bob: Session) -> tuple[str, str]:
    """A child that asks for more than Bob has, signed by him all the same, and his proof for it."""
    now = int(time.time())
    claims = mint.child_claims(bob.leaf, MORE, ALICE.key, jti="wide", now=now, lifetime=60)
    child = token.sign(claims, BOB)
    asked = {"child": mint.unverified(child).id}
    return child, proof.make(BOB, bob.leaf, proof.DELEGATE, asked, audience=HOME, jti="p", iat=now)


@pytest.mark.parametrize("known", [True, False])
def test_who_names_anothers_chain_learns_nothing_of_what_it_grants(lent: Lent, alices: str, known: bool) -> None:
    """The lender has every role; whoever borrows is told what an agent is told, and no more."""
    digest = mint.unverified(alices).digest
    asked = Request(tool="bank.pay", arguments={"amount": 500}, audience=PEP)
    presented = (alices,) if known else digest
    told = {finding.detail for finding in lent.borrower.check(presented, asked).findings}
    seen = {finding.detail for finding in lent.lender.check(digest, asked).findings}
    assert any("up to 100" in detail for detail in seen)
    assert any("up to 100" in detail for detail in told) is known  # who has the token can read it


def test_who_says_that_it_lends_is_nobody_but_an_asker(lent: Lent, alices: str) -> None:
    """The service's own half: whatever a lender passes on, nothing of its own is taken for the borrower's."""
    made = Issue(holder=ALICE.key, grant=GRANT, lifetime=60, task="t1")
    issuing = lambda: change.issue_to(made, os.urandom(9).hex())  # noqa: E731
    attempts: list[tuple[str, Callable[[], Message]]] = [
        ("Issue", issuing),
        ("ListSuspensions", control_pb2.ListSuspensionsRequest),
        ("GetDelegation", lambda: delegation_pb2.GetDelegationRequest(digest=mint.unverified(alices).digest)),
        ("Check", lambda: asking(alices, vouched="spiffe://example.org/alice")),
        ("Check", lambda: asking(alices, classification="public")),
    ]
    with grpc.insecure_channel(lent.own, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        ask = methods(channel)

        def ended(name: str, message: Message, *metadata: tuple[str, str]) -> grpc.StatusCode:
            try:
                ask[name](message, timeout=20, metadata=metadata)
            except grpc.RpcError as error:
                found: grpc.StatusCode = error.code()  # type: ignore[attr-defined]
                return found
            return grpc.StatusCode.OK

        for name, message in attempts:
            assert ended(name, message()) is grpc.StatusCode.OK, name
        assert [ended(name, message(), (LENT_BY, "1")) for name, message in attempts] == [
            REFUSED,
            REFUSED,
            grpc.StatusCode.NOT_FOUND,
            REFUSED,
            grpc.StatusCode.INVALID_ARGUMENT,
        ]
        by_channel = [
            convert.decision_from(ask["Check"](asking(alices, channel=True), timeout=20, metadata=metadata).decision)
            for metadata in ((), ((LENT_BY, "1"),))
        ]
    assert [decision.reason for decision in by_channel] == [Reason.ALLOWED, Reason.PROOF_MISSING]


async def test_what_the_lenders_svid_proves_is_not_the_borrowers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A token that is bound to a key and to the lender's id: who stole the key must not find the id on the socket."""
    folder = tmp_path_factory.mktemp("b")
    served = Served(folder)
    await served.server.start()

    def asked() -> tuple[Reason, Reason]:
        with Client(served.server.address, secret("issuer"), timeout=20) as issuer:
            holder = Confirmation(jwk=BOB.key.jwk, spiffe=SOLO)
            made = issuer.issue(Issue(holder=holder, grant=GRANT, lifetime=60, task="t1")).token
        with (
            served.plainly_over_tls(SOLO) as solo,
            solo.lend(folder / "b.sock"),
            Client(f"unix:{folder}/b.sock", timeout=20) as borrower,
        ):
            both = [Session(signer=BOB, tokens=[made], audience=PEP, door=door) for door in (solo, borrower)]
            own, borrowed = (one.check("mail.read", {}).reason for one in both)
            return own, borrowed

    try:
        assert await asyncio.to_thread(asked) == (Reason.ALLOWED, Reason.HOLDER_MISMATCH)
    finally:
        await served.server.stop(0)


def test_a_watched_session_stops_over_it_too(lent: Lent) -> None:
    bobs = root(lent, BOB)
    with session(lent, BOB, bobs, watch=True) as bob:
        step()
        assert bob.require("mail.read", {}).allowed
        lent.lender.revoke(Revoke(mint.unverified(bobs).digest, "end"))
        with pytest.raises(DeniedError) as stopped:
            _walk_on()
    assert stopped.value.reason is Reason.REVOKED


def _walk_on() -> None:
    for _ in range(1000):
        step()
        time.sleep(0.01)


def test_what_this_table_does_not_know_is_taken_out() -> None:
    unknown = authorization_pb2.CheckRequest(tool="mail.read").SerializeToString() + b"\xfa\x3e\x01x"
    assert authorization_pb2.CheckRequest.FromString(unknown).SerializeToString() == unknown
    read = _reader(authorization_pb2.CheckRequest)
    assert read(unknown).SerializeToString() == authorization_pb2.CheckRequest(tool="mail.read").SerializeToString()
    with pytest.raises(InvalidRequestError):
        read(b"\xff")


SOME = {bytes: b"x", str: "x", int: 1, bool: True}


def test_whatever_is_not_in_the_table_may_not_be_set() -> None:
    """Field by field, each alone: one that is added to a message is refused until it stands in the table."""
    kinds = {GetMessageClass(method.input_type) for method in METHODS.values() if method.name in LENT}
    kinds |= {chain_pb2.Chain, chain_pb2.Intent}
    assert {kind.DESCRIPTOR.full_name for kind in kinds} == FIELDS.keys()
    refused, tried = set(), 0
    for kind in kinds:
        for field in kind.DESCRIPTOR.fields:
            message = kind()
            held = getattr(message, field.name)
            if isinstance(held, Message):
                held.SetInParent()
            elif type(held) in SOME:
                setattr(message, field.name, SOME[type(held)])
            else:
                text = SOME[bytes if field.type == field.TYPE_BYTES else str]
                held.extend([text if field.message_type is None else GetMessageClass(field.message_type)()])
            tried += 1
            try:
                require_lent(message)
            except ForbiddenError as error:
                if "is not taken" in error.detail:
                    refused.add((kind.DESCRIPTOR.name, field.name))
    assert refused == {
        ("CheckRequest", "channel"), ("CheckRequest", "vouched"), ("CheckRequest", "classification"),
        ("DelegateRequest", "channel"), ("DelegateRequest", "unsigned"),
        ("RevokeRequest", "channel"), ("RevokeRequest", "named"),
    }  # fmt: skip
    assert tried > 30


def test_garbage_is_an_error_of_who_sent_it(lent: Lent) -> None:
    path = "/chain.v1.AuthorizationService/Check"
    assert code(lent.target, path, b"\xff") is grpc.StatusCode.INVALID_ARGUMENT
    path = "/chain.v1.AuthorizationService/CheckStream"
    assert code(lent.target, path, b"\xff") is grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
def socket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s") / "s.sock"


def test_deadline_trailers_and_errors_pass_and_no_metadata_does(socket: Path) -> None:
    seen: list[float | None] = []

    def answer(_message: bytes, context: grpc.ServicerContext) -> bytes:
        seen.append(context.time_remaining())
        context.set_trailing_metadata((("x-request-id", "call-17"), ("x-bin", b"\x00\xff")))
        if len(seen) > 1:
            context.set_details("in words")
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "in words")
        return b""

    with (
        Fake(answer) as fake,
        Client(fake.target, "secret-of-the-lender") as lender,
        lender.lend(socket),
        grpc.insecure_channel(f"unix:{socket}") as channel,
    ):
        ask = methods(channel)["GetRevision"]
        mine = (("authorization", "Bearer of-the-borrower"), ("x-request-id", "mine"))
        _, call = ask.with_call(watch_pb2.GetRevisionRequest(), timeout=9, metadata=mine)
        trailers = dict(call.trailing_metadata())
        assert (trailers["x-request-id"], trailers["x-bin"]) == ("call-17", b"\x00\xff")
        assert fake.metadata["authorization"] == "Bearer secret-of-the-lender"
        assert "x-request-id" not in fake.metadata
        with pytest.raises(grpc.RpcError) as failed:
            ask(watch_pb2.GetRevisionRequest())
        told: Any = failed.value
        assert (told.code(), told.details()) == (grpc.StatusCode.OUT_OF_RANGE, "in words")
        assert dict(told.trailing_metadata())["x-request-id"] == "call-17"
    assert seen[0] is not None
    assert 0 < seen[0] < 60
    assert seen[1] is None or seen[1] > 3600


def test_who_borrows_and_goes_ends_the_call_and_so_does_who_lends(socket: Path) -> None:
    came, gone = threading.Semaphore(0), threading.Semaphore(0)

    def answer(_message: bytes, context: grpc.ServicerContext) -> bytes:
        ended = threading.Event()
        context.add_callback(ended.set)
        came.release()
        assert ended.wait(20)
        gone.release()
        return b""

    with Fake(answer) as fake, Client(fake.target) as lender:
        with lender.lend(socket), grpc.insecure_channel(f"unix:{socket}") as channel:
            ask = methods(channel)
            call = ask["GetRevision"].future(watch_pb2.GetRevisionRequest())
            stream = ask["CheckStream"](iter([authorization_pb2.CheckStreamRequest()]))
            for _ in range(2):
                assert came.acquire(timeout=20)
            call.cancel()
            assert gone.acquire(timeout=20)
            stream.cancel()
            assert gone.acquire(timeout=20)
            last = ask["GetRevision"].future(watch_pb2.GetRevisionRequest())
            assert came.acquire(timeout=20)
        assert gone.acquire(timeout=20)
        assert isinstance(error_from(last.exception()), UnreachableError)
    assert not socket.exists()


def test_nobody_behind_it_is_no_answer(socket: Path) -> None:
    with (
        Client("127.0.0.1:1", timeout=1) as lender,
        lender.lend(socket),
        Client(f"unix:{socket}", timeout=5) as borrower,
    ):
        with pytest.raises(UnreachableError):
            borrower.revision()
        with pytest.raises(ChainError), borrower.check_stream() as stream:
            stream.check([], Request(tool="mail.read", arguments={}))


def test_a_socket_that_cannot_be_bound_says_so(socket: Path) -> None:
    with Client("127.0.0.1:1") as lender:
        with pytest.raises(ConfigurationError, match="cannot be bound"), lender.lend(socket / "x" / "y"):
            pytest.fail("it was lent")
        with lender.lend(socket):
            assert socket.stat().st_mode & 0o077 == 0


async def test_the_asynchronous_client_lends_as_well(lent: Lent, bobs: str, socket: Path) -> None:
    async with AsyncClient(lent.own) as lender, AsyncClient(f"unix:{socket}") as borrower:
        with lender.lend(socket):
            assert await borrower.revision() > 0
            with pytest.raises(ForbiddenError):
                await borrower.issue(Issue(holder=BOB.key, grant=GRANT))
