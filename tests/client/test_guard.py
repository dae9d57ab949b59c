"""`@guard` over an authority in the same process: what is allowed runs, and nothing else ever does."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import inspect
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import pytest

from chain.caller import embedded
from chain.client import AsyncLocal, AsyncSession, Local, Session, active, guard
from chain.decision import Decision, Effect, Obligation
from chain.errors import ConfigurationError, DeniedError, UnreachableError
from chain.reason import Reason
from tests.support import ALICE, PEP, World, root, rule, seal

GENERIC = "the action is not authorized"
TOOLS = {
    "mail.read": {},
    "bank.pay": {"amount": rule("range", max=100), "to": rule("one_of", values=["bob", "carol"])},
    "list.pay": {"amounts": rule("subset", allowed=[1, 2, 3])},
}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def session(world: World) -> Session:
    return Session(
        signer=ALICE,
        tokens=[seal(root(tools=TOOLS))],
        audience=PEP,
        door=Local(world.authority, world.caller),
        clock=world.clock,
        entropy=world.entropy,
    )


@pytest.fixture
def asession(world: World, session: Session) -> AsyncSession:
    return AsyncSession(
        signer=ALICE,
        tokens=session.tokens,
        audience=PEP,
        door=AsyncLocal(world.authority, world.caller),
        clock=world.clock,
        entropy=world.entropy,
    )


class Bank:
    """Counts what ran."""

    def __init__(self) -> None:
        self.paid: list[tuple[Any, ...]] = []

    @guard("bank.pay")
    def pay(self, amount: int, to: str = "bob") -> str:
        """Pay somebody."""
        self.paid.append((amount, to))
        return f"{to} got {amount}"

    @guard("bank.pay")
    async def pay_later(self, amount: int, to: str = "bob") -> str:
        await asyncio.sleep(0)
        self.paid.append((amount, to))
        return f"{to} got {amount}"

    @classmethod
    @guard("bank.pay")
    def of_class(cls, amount: int, to: str = "bob") -> str:
        return f"{cls.__name__} {amount} {to}"

    @staticmethod
    @guard("bank.pay")
    def static(amount: int, to: str = "bob") -> int:
        return amount


def refused(reason: Reason, call: Callable[[], object]) -> DeniedError:
    with pytest.raises(DeniedError) as raised:
        call()
    assert raised.value.reason is reason, str(raised.value.decision)
    assert str(raised.value) == GENERIC
    assert raised.value.__cause__ is None
    return raised.value


def test_an_allowed_call_runs_and_one_that_is_not_does_not(session: Session) -> None:
    bank = Bank()
    with session:
        assert bank.pay(20) == "bob got 20"
        assert bank.pay(to="carol", amount=30) == "carol got 30"
        denial = refused(Reason.CONSTRAINT_VIOLATED, lambda: bank.pay(101))
        refused(Reason.CONSTRAINT_VIOLATED, lambda: bank.pay(20, "mallory"))
    assert bank.paid == [(20, "bob"), (30, "carol")]
    assert "`amount`" in str(denial.decision)
    assert denial.decision.id


def test_without_a_session_nothing_runs(session: Session) -> None:
    bank = Bank()
    refused(Reason.SESSION_MISSING, lambda: bank.pay(20))
    with session:
        bank.pay(20)
    refused(Reason.SESSION_MISSING, lambda: bank.pay(20))
    assert bank.paid == [(20, "bob")]
    assert active() is None


def test_class_and_static_methods(session: Session) -> None:
    with session:
        assert Bank.of_class(1) == "Bank 1 bob"
        assert Bank.static(1) == 1
        refused(Reason.CONSTRAINT_VIOLATED, lambda: Bank.of_class(101))
        refused(Reason.CONSTRAINT_VIOLATED, lambda: Bank.static(101))


def test_a_free_function_has_no_receiver_whatever_its_first_parameter_is_called(session: Session) -> None:
    ran = []

    @guard("bank.pay")
    def pay(self: object, amount: int, to: str) -> None:
        ran.append(self)

    with session:
        refused(Reason.ARGUMENT_NOT_GRANTED, lambda: pay(1, 2, "bob"))
    assert not ran


def test_defaults_are_checked(session: Session) -> None:
    ran = []

    @guard("bank.pay")
    def pay(amount: int = 1_000, to: str = "bob") -> None:
        ran.append(amount)

    with session:
        refused(Reason.CONSTRAINT_VIOLATED, pay)
        pay(10)
    assert ran == [10]


def test_keywords_are_checked_beside_the_others(session: Session) -> None:
    ran = []

    @guard("bank.pay")
    def pay(amount: int, **more: Any) -> None:
        ran.append((amount, more))

    with session:
        pay(10, to="bob")
        refused(Reason.ARGUMENT_NOT_GRANTED, lambda: pay(10, to="bob", note="x"))
        refused(Reason.ARGUMENT_MISSING, lambda: pay(10))
    assert ran == [(10, {"to": "bob"})]


def test_two_arguments_with_one_name_are_refused(session: Session) -> None:
    ran = []

    @guard("mail.read")
    def read(folder: str, /, **more: Any) -> None:
        ran.append((folder, more))

    with session:
        read("in", size=1)
        refused(Reason.REQUEST_INVALID, lambda: read("secret", folder="in"))
    assert ran == [("in", {"size": 1})]


def test_a_call_that_does_not_fit_the_function_is_pythons_own_error(session: Session) -> None:
    bank = Bank()
    with session, pytest.raises(TypeError, match="missing a required argument"):
        bank.pay()  # type: ignore[call-arg]
    assert not bank.paid


class Folder(str):
    """A string that could say one thing to the check and another to the tool."""

    __slots__ = ()


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    "value",
    [
        object(),
        b"in",
        {1: "in"},
        {"a": {2}},
        float("nan"),
        float("inf"),
        2**53,
        "\ud800",
        Folder("in"),
        Colour.RED,
        [[object()]],
    ],
)
def test_what_is_not_json_is_denied(session: Session, value: object) -> None:
    ran = []

    @guard("mail.read")
    def read(folder: Any) -> None:
        ran.append(folder)

    with session:
        denial = refused(Reason.REQUEST_INVALID, lambda: read(value))
        read(["in", 1, 1.5, None, True, {"a": {"b": "c"}}])
    assert len(ran) == 1
    assert "in" not in {finding.detail for finding in denial.decision.findings}


def test_what_nests_too_deeply_is_denied(session: Session) -> None:
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    ran = []

    @guard("mail.read")
    def read(folder: Any) -> None:
        ran.append(folder)

    with session:
        refused(Reason.REQUEST_INVALID, lambda: read(deep))
        read([[[]]])
    assert ran == [[[[]]]]


def test_a_number_keeps_its_type(session: Session) -> None:
    @guard("mail.read")
    def read(*, size: float, pair: tuple[int, ...]) -> tuple[object, ...]:
        return size, pair

    with session:
        size, pair = read(size=1.0, pair=(1, 2))
    assert isinstance(size, float)
    assert pair == (1, 2)


@dataclass
class Meddling:
    """A door beside which somebody changes the caller's list while the authority thinks."""

    inner: Local
    target: list[int]

    def audience(self) -> str:
        return self.inner.audience()

    def check(self, *asked: Any, **named: Any) -> Any:
        decision = self.inner.check(*asked)
        self.target.append(1_000)
        return decision

    delegate = revoke = check


def test_what_was_checked_is_what_runs(session: Session, world: World) -> None:
    amounts = [1, 2]
    meddling = replace(session, door=Meddling(Local(world.authority, world.caller), amounts))
    ran = []

    @guard("list.pay")
    def pay(amounts: list[int]) -> None:
        ran.append(amounts)

    with meddling:
        pay(amounts)
        assert amounts == [1, 2, 1_000]
        refused(Reason.CONSTRAINT_VIOLATED, lambda: pay(amounts))
    assert ran == [[1, 2]]


def test_a_tool_that_changes_its_default_changes_only_its_own(session: Session) -> None:
    @guard("list.pay")
    def pay(amounts: list[int] = [1]) -> list[int]:  # noqa: B006 - that is the trap
        amounts.append(1_000)
        return amounts

    with session:
        assert pay() == [1, 1_000]
        assert pay() == [1, 1_000]


def test_the_guard_shows_the_tool_as_it_is() -> None:
    assert Bank.pay.__name__ == "pay"
    assert Bank.pay.__doc__ == "Pay somebody."
    assert list(inspect.signature(Bank.pay).parameters) == ["self", "amount", "to"]
    assert inspect.iscoroutinefunction(Bank.pay_later)
    assert not inspect.iscoroutinefunction(Bank.pay)


def _star(*amounts: int) -> None: ...


def _generator(amount: int) -> Any:
    yield amount


async def _async_generator(amount: int) -> Any:
    yield amount


@pytest.mark.parametrize("function", [_star, _generator, _async_generator, staticmethod(Bank.static), Bank().pay, Bank])
def test_what_cannot_be_guarded_is_refused_when_it_is_decorated(function: Any) -> None:
    with pytest.raises(ConfigurationError):
        guard("bank.pay")(function)


# -- obligations and broken doors -----------------------------------------------------------------------------


@dataclass
class Answering:
    """A door that gives the same answer whatever it is asked."""

    answer: object

    def audience(self) -> str:
        return "https://chain.example"

    def check(self, *asked: Any, **named: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    delegate = revoke = check


@dataclass
class AsyncAnswering:
    """The same for asyncio."""

    answer: object

    async def audience(self) -> str:
        return "https://chain.example"

    async def check(self, *asked: Any, **named: Any) -> Any:
        await asyncio.sleep(0)
        return Answering(self.answer).check(*asked)

    delegate = revoke = check


ALLOW = Decision(effect=Effect.ALLOW, reason=Reason.ALLOWED)
LOG = Obligation(id="log", parameters={"level": "full"})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (UnreachableError("no answer"), Reason.UNREACHABLE),
        (TimeoutError(), Reason.INTERNAL),
        (RuntimeError("a token: eyJ"), Reason.INTERNAL),
        (None, Reason.INTERNAL),
        (True, Reason.INTERNAL),
        ("ALLOW", Reason.INTERNAL),
        (Decision(effect=Effect.DENY, reason=Reason.REVOKED), Reason.REVOKED),
        (Decision(effect=Effect.APPROVAL_REQUIRED, reason=Reason.STATE_UNAVAILABLE), Reason.STATE_UNAVAILABLE),
        (Decision(effect=Effect.DENY, reason=Reason.ALLOWED), Reason.ALLOWED),
        (ALLOW.model_copy(update={"obligations": (LOG,)}), Reason.OBLIGATION_UNKNOWN),
    ],
)
def test_whatever_is_not_an_allow_is_a_denial(
    session: Session, asession: AsyncSession, answer: object, reason: Reason
) -> None:
    bank = Bank()
    with replace(session, door=Answering(answer)):
        denial = refused(reason, lambda: bank.pay(20))
    assert "eyJ" not in str(denial.decision)

    async def later() -> None:
        async with replace(asession, door=AsyncAnswering(answer)):
            await bank.pay_later(20)

    refused(reason, lambda: asyncio.run(later()))
    assert not bank.paid


def test_an_allow_from_the_same_door_runs(session: Session, asession: AsyncSession) -> None:
    bank = Bank()
    with replace(session, door=Answering(ALLOW)):
        bank.pay(20)

    async def later() -> None:
        async with replace(asession, door=AsyncAnswering(ALLOW)):
            await bank.pay_later(20)

    asyncio.run(later())
    assert len(bank.paid) == 2


def _raise(_obligation: Obligation) -> bool:
    raise RuntimeError


@pytest.mark.parametrize(
    ("keep", "runs"),
    [(lambda _: True, True), (lambda _: None, False), (lambda _: 1, False), (_raise, False)],
)
def test_a_tool_runs_once_every_obligation_is_kept(session: Session, keep: Any, *, runs: bool) -> None:
    bank, door = Bank(), Answering(ALLOW.model_copy(update={"obligations": (LOG,)}))
    with replace(session, door=door, keepers={"log": keep}):
        if runs:
            bank.pay(20)
        else:
            with pytest.raises(DeniedError, match=GENERIC):
                bank.pay(20)
    assert len(bank.paid) == runs


def test_no_obligation_is_begun_where_another_is_unknown(session: Session) -> None:
    both = (LOG, Obligation(id="unheard-of"))
    bank, kept = Bank(), []
    door = Answering(ALLOW.model_copy(update={"obligations": both}))

    def keep(obligation: Obligation) -> bool:
        kept.append(obligation)
        return True

    with replace(session, door=door, keepers={"log": keep}):
        refused(Reason.OBLIGATION_UNKNOWN, lambda: bank.pay(20))
    assert not kept
    assert not bank.paid


async def test_an_asynchronous_keeper_is_awaited(asession: AsyncSession) -> None:
    async def keep(obligation: Obligation) -> bool:
        await asyncio.sleep(0)
        return obligation.parameters == {"level": "full"}

    bank = Bank()
    door = AsyncAnswering(ALLOW.model_copy(update={"obligations": (LOG,)}))
    async with replace(asession, door=door, keepers={"log": keep}):
        assert await bank.pay_later(20) == "bob got 20"
    other = AsyncAnswering(ALLOW.model_copy(update={"obligations": (Obligation(id="log"),)}))
    async with replace(asession, door=other, keepers={"log": keep}):
        with pytest.raises(DeniedError, match=GENERIC):
            await bank.pay_later(20)
    assert len(bank.paid) == 1


# -- asyncio, tasks and threads -------------------------------------------------------------------------------


async def test_asynchronous_tools(asession: AsyncSession) -> None:
    bank = Bank()
    async with asession:
        assert await bank.pay_later(20) == "bob got 20"
        with pytest.raises(DeniedError):
            await bank.pay_later(101)
    with pytest.raises(DeniedError):
        await bank.pay_later(20)
    assert bank.paid == [(20, "bob")]


async def test_a_synchronous_session_serves_asynchronous_tools(session: Session) -> None:
    bank = Bank()
    with session:
        assert await bank.pay_later(20) == "bob got 20"
        with pytest.raises(DeniedError):
            await bank.pay_later(101)
    assert bank.paid == [(20, "bob")]


async def test_an_asynchronous_session_does_not_let_synchronous_tools_through(
    session: Session, asession: AsyncSession
) -> None:
    bank = Bank()
    async with asession:
        refused(Reason.SESSION_MISSING, lambda: bank.pay(20))
        with session:
            bank.pay(20)
    assert bank.paid == [(20, "bob")]


async def test_a_coroutine_is_checked_when_it_runs_and_not_when_it_is_made(asession: AsyncSession) -> None:
    bank = Bank()
    async with asession:
        made = bank.pay_later(20)
    with pytest.raises(DeniedError):
        await made
    made = bank.pay_later(20)
    async with asession:
        await made
    assert len(bank.paid) == 1


async def test_every_task_has_its_own_session(world: World, asession: AsyncSession) -> None:
    bank, both = Bank(), asyncio.Barrier(2)
    mallory = replace(asession, tokens=[seal(root(tools={"mail.read": {}}, jti="other"))])

    async def work(session: AsyncSession, amount: int) -> str:
        async with session:
            await both.wait()
            return await bank.pay_later(amount)

    outcomes = await asyncio.gather(work(asession, 20), work(mallory, 30), return_exceptions=True)
    assert outcomes[0] == "bob got 20"
    assert isinstance(outcomes[1], DeniedError)
    assert bank.paid == [(20, "bob")]
    assert active() is None


async def test_a_task_inherits_the_session_it_was_made_in(asession: AsyncSession) -> None:
    bank = Bank()
    async with asession:
        inside = asyncio.create_task(bank.pay_later(20))
        await inside
    outside = asyncio.create_task(bank.pay_later(20))
    with pytest.raises(DeniedError):
        await outside
    assert len(bank.paid) == 1


async def test_a_cancelled_check_runs_nothing(asession: AsyncSession) -> None:
    class Hanging(AsyncAnswering):
        async def check(self, *asked: Any, **named: Any) -> Any:
            await asyncio.Event().wait()

    bank = Bank()
    async with replace(asession, door=Hanging(ALLOW)):
        task = asyncio.create_task(bank.pay_later(20))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not bank.paid


def test_a_thread_has_no_session_unless_it_is_given_one(session: Session) -> None:
    bank, errors = Bank(), []

    def work() -> None:
        try:
            bank.pay(20)
        except DeniedError as error:
            errors.append(error.reason)

    def run(target: Callable[[], object]) -> None:
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()

    with session:
        fresh = contextvars.Context()
        run(lambda: fresh.run(work))
        context = contextvars.copy_context()
        run(lambda: context.run(work))
    assert errors == [Reason.SESSION_MISSING]
    assert bank.paid == [(20, "bob")]


def test_sessions_nest_and_leave_in_any_order(session: Session) -> None:
    inner = replace(session)

    def generate() -> Any:
        with session:
            yield active()

    with session:
        assert active() is session
        with inner:
            assert active() is inner
            with session:
                assert active() is session
            assert active() is inner
        assert active() is session
    generator = generate()
    assert next(generator) is session
    with inner:
        generator.close()
        assert active() is inner
    assert active() is None


def test_the_session_tells_nobody_its_tokens(session: Session, asession: AsyncSession) -> None:
    for shown in (repr(session), str(session), repr(asession)):
        assert session.tokens[0] not in shown
        assert session.leaf.id in shown


def test_an_authority_that_does_not_answer_in_time(world: World, session: Session) -> None:
    class Slow:
        audience = "https://chain.example"

        def begin_check(self, *asked: Any) -> Future[list[Decision]]:
            return Future()

    bank = Bank()
    slow: Any = Slow()
    with replace(session, door=Local(slow, embedded(PEP), timeout=0.05)):
        refused(Reason.UNREACHABLE, lambda: bank.pay(20))

    async def later() -> None:
        door = AsyncLocal(slow, embedded(PEP), timeout=0.05)
        async with AsyncSession(signer=ALICE, tokens=session.tokens, audience=PEP, door=door):
            await bank.pay_later(20)

    refused(Reason.UNREACHABLE, lambda: asyncio.run(later()))
    with session:
        bank.pay(20)
    assert len(bank.paid) == 1
