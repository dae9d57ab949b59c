"""Both clients against a server that lies, breaks off or keeps silent: nothing that it does becomes an allow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from chain import mint
from chain.base64url import b64encode
from chain.client import AsyncClient, AsyncSession, Client, Session, call, guard
from chain.decision import Decision, Effect
from chain.errors import (
    ChainError,
    ConflictError,
    DeniedError,
    ExcessError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    StoreError,
    UnauthenticatedError,
    UnreachableError,
)
from chain.order import Issue, Revoke
from chain.principal import Principal
from chain.reason import Reason
from chain.request import Request
from chain.v1 import authorization_pb2 as pb
from chain.v1 import decision_pb2, delegation_pb2, info_pb2, reason_pb2
from chain.view import Query
from chain.wire import status
from tests.client.fake import Answer, Fake
from tests.support import ALICE, BOB, PEP, root, seal

TOKEN = seal(root())
READ = Request(tool="mail.read", arguments={"folder": "in"})
ALLOW = decision_pb2.Decision(effect=decision_pb2.EFFECT_ALLOW, reason=reason_pb2.REASON_ALLOWED)
DENY = decision_pb2.Decision(effect=decision_pb2.EFFECT_DENY, reason=reason_pb2.REASON_REVOKED)
GRANT = mint.grant({"tools": {"mail.read": {}}})


def unknown(effect: int) -> decision_pb2.Decision:
    """A decision whose effect no reader of today knows."""
    made = decision_pb2.Decision()
    made.MergeFromString(b"\x08" + bytes([effect]) + b"\x10\x01")
    return made


class Tool:
    """Counts how often it ran."""

    def __init__(self) -> None:
        self.ran = 0

    @guard("mail.read")
    def read(self, folder: str) -> str:
        self.ran += 1
        return folder

    @guard("mail.read")
    async def aread(self, folder: str) -> str:
        self.ran += 1
        return folder


def guarded(target: str, *, asynchronous: bool, timeout: float = 10) -> tuple[Tool, BaseException | None]:
    """Call a guarded tool through a client; return it and what came of it."""
    tool = Tool()

    async def later() -> None:
        async with (
            AsyncClient(target, timeout=timeout) as client,
            AsyncSession(signer=ALICE, tokens=[TOKEN], audience=PEP, door=client),
        ):
            assert await tool.aread("in") == "in"

    try:
        if asynchronous:
            asyncio.run(later())
        else:
            with (
                Client(target, timeout=timeout) as client,
                Session(signer=ALICE, tokens=[TOKEN], audience=PEP, door=client),
            ):
                assert tool.read("in") == "in"
    except DeniedError as error:
        return tool, error
    return tool, None


def abort(code: grpc.StatusCode) -> Answer:
    return lambda _, context: context.abort(code, "no")


def broken(_message: bytes, _context: grpc.ServicerContext) -> bytes:
    raise RuntimeError


REFUSING: list[tuple[str, Answer | pb.CheckResponse | bytes]] = [
    ("denied", pb.CheckResponse(decision=DENY)),
    ("nothing", pb.CheckResponse()),
    ("empty bytes", b""),
    ("an empty decision", pb.CheckResponse(decision=decision_pb2.Decision())),
    ("unspecified, reason allowed", pb.CheckResponse(decision=unknown(0))),
    ("an effect from the future", pb.CheckResponse(decision=unknown(4))),
    ("approval required", pb.CheckResponse(decision=unknown(3))),
    ("garbage", b"\xff\xff\xff\xff"),
    (
        "an obligation nobody knows",
        pb.CheckResponse(
            decision=decision_pb2.Decision(
                effect=decision_pb2.EFFECT_ALLOW, obligations=[decision_pb2.Obligation(id="log")]
            )
        ),
    ),
    *((code.name, abort(code)) for code in grpc.StatusCode if code is not grpc.StatusCode.OK),
    ("an exception", broken),
]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("name", "answer"), REFUSING, ids=[name for name, _ in REFUSING])
def test_whatever_is_not_an_allow_runs_no_tool(name: str, answer: Any, *, asynchronous: bool) -> None:
    with Fake(answer) as server:
        tool, error = guarded(server.target, asynchronous=asynchronous)
        assert len(server.calls) == 1, "a question is sent once"
    assert isinstance(error, DeniedError), name
    assert str(error) == "the action is not authorized"
    assert tool.ran == 0


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_allow_runs_the_tool(*, asynchronous: bool) -> None:
    with Fake(pb.CheckResponse(decision=ALLOW)) as server:
        tool, error = guarded(server.target, asynchronous=asynchronous)
    assert error is None
    assert tool.ran == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_server_that_keeps_silent_runs_no_tool(*, asynchronous: bool) -> None:
    released = threading.Event()

    def silent(_message: bytes, _context: grpc.ServicerContext) -> pb.CheckResponse:
        released.wait(20)
        return pb.CheckResponse(decision=ALLOW)

    with Fake(silent) as server:
        tool, error = guarded(server.target, asynchronous=asynchronous, timeout=0.2)
        released.set()
    assert isinstance(error, DeniedError)
    assert error.reason is Reason.UNREACHABLE
    assert tool.ran == 0


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_server_that_is_not_there_runs_no_tool(*, asynchronous: bool) -> None:
    with Fake(b"") as server:
        gone = server.target
    tool, error = guarded(gone, asynchronous=asynchronous)
    assert isinstance(error, DeniedError)
    assert error.reason is Reason.UNREACHABLE
    assert tool.ran == 0


# -- errors, retries, keys --------------------------------------------------------------------------------------


def failing(error: ChainError) -> Answer:
    def answer(_message: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata(((status.DETAILS, status.details_of(error)),))
        context.abort(status.code_of(error), error.detail)

    return answer


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequestError("a bound"),
        NotFoundError("no such delegation"),
        ConflictError("another request"),
        UnauthenticatedError("who are you"),
        ForbiddenError("no role"),
        StoreError("the disk is full"),
        ExcessError(Reason.CONSTRAINT_WIDENED, 2, "tools.bank.pay.amount", "up to 100", "up to 5000", "`bank.pay`"),
    ],
)
def test_a_status_becomes_the_error_it_was(error: ChainError) -> None:
    with Fake(failing(error)) as server, Client(server.target) as client:
        with pytest.raises(type(error)) as raised:
            client.check([TOKEN], READ)
        assert len(server.calls) == 1
    assert (raised.value.reason, str(raised.value)) == (error.reason, str(error))
    if isinstance(error, ExcessError):
        found = raised.value
        assert isinstance(found, ExcessError)
        assert (found.field, found.parent, found.child, found.hop) == (
            error.field,
            error.parent,
            error.child,
            error.hop,
        )


WRITES: list[tuple[str, Callable[[Client], object], type[Any], Any]] = [
    (
        "Issue",
        lambda client: client.issue(Issue(holder=ALICE.key, grant=GRANT, lifetime=60)),
        delegation_pb2.IssueRequest,
        delegation_pb2.IssueResponse(token=b"t"),
    ),
    (
        "Delegate",
        lambda client: client.delegate([TOKEN], TOKEN, "proof"),
        delegation_pb2.DelegateRequest,
        delegation_pb2.DelegateResponse(delegation=delegation_pb2.Delegation(jti="x")),
    ),
    (
        "Revoke",
        lambda client: client.revoke(Revoke(bytes(32))),
        delegation_pb2.RevokeRequest,
        delegation_pb2.RevokeResponse(revocation=delegation_pb2.Revocation(fallen_count=1)),
    ),
    (
        "Enrol",
        lambda client: client.enrol(BOB.key, Principal(id="spiffe://example.org/b", owner="team")),
        delegation_pb2.EnrolRequest,
        delegation_pb2.EnrolResponse(thumbprint="x"),
    ),
]


@pytest.mark.parametrize(("method", "write", "kind", "reply"), WRITES, ids=[write[0] for write in WRITES])
def test_a_change_is_sent_again_under_its_own_key(
    method: str, write: Callable[[Client], object], kind: type[Any], reply: Any
) -> None:
    server: Fake

    def once(_message: bytes, context: grpc.ServicerContext) -> Any:
        if len(server.calls) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        return reply

    with Fake(once) as server, Client(server.target) as client:
        write(client)
        write(client)
    keys = [kind.FromString(message).idempotency_key for _, message in server.calls]
    assert [name for name, _ in server.calls] == [method] * 3
    assert keys[0] == keys[1] != keys[2]
    assert all(len(key) >= 16 for key in keys)
    assert server.calls[0] == server.calls[1], "the very same message"


async def test_an_asynchronous_change_is_sent_again_under_its_own_key() -> None:
    server: Fake

    def once(_message: bytes, context: grpc.ServicerContext) -> Message:
        if len(server.calls) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")
        return delegation_pb2.RevokeResponse(revocation=delegation_pb2.Revocation(fallen_count=1))

    with Fake(once) as server:
        async with AsyncClient(server.target) as client:
            assert (await client.revoke(Revoke(bytes(32)))).count == 1
    assert len(server.calls) == 2
    assert server.calls[0] == server.calls[1]


@pytest.mark.parametrize(("method", "write", "kind", "reply"), WRITES, ids=[write[0] for write in WRITES])
def test_a_change_is_given_up_in_the_end(
    method: str, write: Callable[[Client], object], kind: type[Any], reply: Any
) -> None:
    with (
        Fake(abort(grpc.StatusCode.UNAVAILABLE)) as server,
        Client(server.target) as client,
        pytest.raises(UnreachableError),
    ):
        write(client)
    assert [name for name, _ in server.calls] == [method] * 3


def test_a_change_that_was_refused_is_not_sent_again() -> None:
    with (
        Fake(abort(grpc.StatusCode.PERMISSION_DENIED)) as server,
        Client(server.target) as client,
        pytest.raises(ForbiddenError),
    ):
        client.revoke(Revoke(bytes(32)))
    assert len(server.calls) == 1


@pytest.mark.parametrize("outcome", [{}, {"denial": ALLOW}, {"denial": DENY}])
def test_a_change_that_was_not_made_is_never_taken_for_one(outcome: dict[str, Any]) -> None:
    with (
        Fake(delegation_pb2.DelegateResponse(**outcome)) as server,
        Client(server.target) as client,
        pytest.raises(DeniedError) as raised,
    ):
        client.delegate([TOKEN], TOKEN, "proof")
    assert not raised.value.decision.allowed
    with (
        Fake(delegation_pb2.RevokeResponse(**outcome)) as server,
        Client(server.target) as client,
        pytest.raises(DeniedError),
    ):
        client.revoke(Revoke(bytes(32)))


# -- batches and streams ----------------------------------------------------------------------------------------


def test_each_item_of_a_batch_is_a_decision_or_an_error() -> None:
    results = [
        pb.CheckResult(decision=ALLOW),
        pb.CheckResult(decision=DENY),
        pb.CheckResult(error=pb.CheckError(code=3, reason=reason_pb2.REASON_REQUEST_INVALID, message="bad")),
        pb.CheckResult(),
    ]
    with Fake(pb.BatchCheckResponse(results=results)) as server, Client(server.target) as client:
        answers = client.batch_check([([TOKEN], READ)] * 4)
        with pytest.raises(ChainError, match="not understood"):
            client.batch_check([([TOKEN], READ)] * 5)
        assert len(client.batch_check([([TOKEN], READ)] * 5, stop=Effect.DENY)) == 4
        with pytest.raises(ChainError, match="not understood"):
            client.batch_check([([TOKEN], READ)] * 3, stop=Effect.DENY)
    allowed = [isinstance(answer, Decision) and answer.allowed for answer in answers]
    assert allowed == [True, False, False, False]
    assert isinstance(answers[2], InvalidRequestError)


def test_a_chain_that_all_items_share_travels_once() -> None:
    with Fake(pb.BatchCheckResponse()) as server, Client(server.target) as client:
        client.batch_check([([TOKEN], READ), ([TOKEN], READ)], stop=Effect.DENY)
        client.batch_check([([TOKEN], READ), (bytes(32), READ)], stop=Effect.DENY)
    shared, apart = (pb.BatchCheckRequest.FromString(message) for _, message in server.calls)
    assert list(shared.chain.tokens) == [TOKEN.encode()]
    assert not any(item.HasField("chain") for item in shared.items)
    assert not apart.HasField("chain")
    assert [item.chain.digest for item in apart.items] == [b"", bytes(32)]


def streamed(decision: decision_pb2.Decision | None) -> Answer:
    def answer(message: bytes, _context: grpc.ServicerContext) -> pb.CheckStreamResponse:
        asked = pb.CheckStreamRequest.FromString(message)
        if asked.check.tool == "bad":
            error = pb.CheckError(code=3, reason=reason_pb2.REASON_REQUEST_INVALID, message="bad")
            return pb.CheckStreamResponse(correlation_id=asked.correlation_id, error=error)
        if asked.check.tool == "elsewhere":
            return pb.CheckStreamResponse(correlation_id=asked.correlation_id + 7, decision=ALLOW)
        return pb.CheckStreamResponse(correlation_id=asked.correlation_id, decision=decision)

    return answer


def test_a_stream_answers_each_question_for_itself() -> None:
    bad, elsewhere = (READ.model_copy(update={"tool": tool}) for tool in ("bad", "elsewhere"))
    with Fake(streamed(ALLOW)) as server, Client(server.target, timeout=10) as client:
        with client.check_stream() as stream:
            assert stream.check([TOKEN], READ).allowed
            with pytest.raises(InvalidRequestError):
                stream.check([TOKEN], bad)
            assert stream.check([TOKEN], READ).allowed
        with (
            Client(server.target, timeout=0.2) as hasty,
            hasty.check_stream() as other,
            pytest.raises(UnreachableError),
        ):
            other.check([TOKEN], elsewhere)
        with pytest.raises(UnreachableError):
            stream.check([TOKEN], READ)
    with Fake(streamed(None)) as server, Client(server.target) as client, client.check_stream() as stream:
        assert not stream.check([TOKEN], READ).allowed


async def test_an_asynchronous_stream_answers_each_question_for_itself() -> None:
    bad, elsewhere = (READ.model_copy(update={"tool": tool}) for tool in ("bad", "elsewhere"))
    with Fake(streamed(ALLOW)) as server:
        async with AsyncClient(server.target, timeout=10) as client, AsyncClient(server.target, timeout=0.2) as hasty:
            async with client.check_stream() as stream, hasty.check_stream() as other:
                asked = [stream.check([TOKEN], READ) for _ in range(20)]
                assert all(decision.allowed for decision in await asyncio.gather(*asked))
                with pytest.raises(InvalidRequestError):
                    await stream.check([TOKEN], bad)
                with pytest.raises(UnreachableError):
                    await other.check([TOKEN], elsewhere)
                assert (await stream.check([TOKEN], READ)).allowed
            with pytest.raises(UnreachableError):
                await stream.check([TOKEN], READ)


def test_a_stream_that_breaks_answers_nobody() -> None:
    with (
        Fake(abort(grpc.StatusCode.UNAUTHENTICATED)) as server,
        Client(server.target) as client,
        client.check_stream() as stream,
    ):
        for _ in range(2):
            with pytest.raises(UnauthenticatedError):
                stream.check([TOKEN], READ)


async def test_an_asynchronous_stream_that_breaks_answers_nobody() -> None:
    with Fake(abort(grpc.StatusCode.UNAUTHENTICATED)) as server:
        async with AsyncClient(server.target) as client, client.check_stream() as stream:
            for _ in range(2):
                with pytest.raises(UnauthenticatedError):
                    await stream.check([TOKEN], READ)


@pytest.mark.parametrize("reply", [b"\xff\xff\xff\xff", unknown(4)])
def test_a_stream_of_garbage_allows_nothing(reply: Any) -> None:
    with (
        Fake(reply) as server,
        Client(server.target, timeout=0.5) as client,
        client.check_stream() as stream,
        pytest.raises(ChainError),
    ):
        stream.check([TOKEN], READ)


async def test_an_asynchronous_stream_of_garbage_allows_nothing() -> None:
    with Fake(b"\xff\xff\xff\xff") as server:
        async with AsyncClient(server.target, timeout=0.5) as client, client.check_stream() as stream:
            with pytest.raises(ChainError):
                await stream.check([TOKEN], READ)


# -- what is sent -----------------------------------------------------------------------------------------------


def test_the_credential_goes_with_every_call() -> None:
    with (
        Fake(info_pb2.GetServerInfoResponse(authority="https://chain.example")) as server,
        Client(server.target, "s" * 32) as client,
    ):
        assert client.audience() == client.audience() == "https://chain.example"
    assert server.metadata["authorization"] == "Bearer " + "s" * 32
    assert len(server.calls) == 1, "the authority's name is asked once"


async def test_the_asynchronous_client_asks_the_authoritys_name_once() -> None:
    with Fake(info_pb2.GetServerInfoResponse(authority="https://chain.example")) as server:
        async with AsyncClient(server.target, "s" * 32) as client:
            assert await client.audience() == await client.audience() == "https://chain.example"
    assert server.metadata["authorization"] == "Bearer " + "s" * 32
    assert len(server.calls) == 1


def test_pages_are_followed_by_their_own_token() -> None:
    reply = delegation_pb2.ListDelegationsResponse(
        delegations=[delegation_pb2.Delegation(digest=bytes(32))], next_page_token="n", revision=7
    )
    with Fake(reply) as server, Client(server.target) as client:
        page = client.find(Query(holder="h"))
        client.find(Query(holder="h"), page.next)
    assert (page.revision, [found.id for found in page.delegations]) == (7, [b64encode(bytes(32))])
    sent = [delegation_pb2.ListDelegationsRequest.FromString(message) for _, message in server.calls]
    assert [message.page_token for message in sent] == ["", "n"]
    assert {message.holder for message in sent} == {"h"}


def test_a_closed_client_reaches_nobody() -> None:
    with Fake(pb.CheckResponse(decision=ALLOW)) as server:
        client = Client(server.target)
        assert client.check([TOKEN], READ).allowed
        client.close()
        with pytest.raises(UnreachableError):
            client.check([TOKEN], READ)


async def test_a_closed_asynchronous_client_reaches_nobody() -> None:
    with Fake(pb.CheckResponse(decision=ALLOW)) as server:
        client = AsyncClient(server.target)
        assert (await client.check([TOKEN], READ)).allowed
        await client.close()
        with pytest.raises(UnreachableError):
            await client.check([TOKEN], READ)


def test_a_deadline_holds_for_all_attempts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "PAUSES", (0.0, 1_000.0))
    with (
        Fake(abort(grpc.StatusCode.UNAVAILABLE)) as server,
        Client(server.target, timeout=10) as client,
        pytest.raises(UnreachableError),
    ):
        client.revoke(Revoke(bytes(32)))
    assert len(server.calls) == 2, "no time was left for a third"
