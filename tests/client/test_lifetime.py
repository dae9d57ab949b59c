"""Where a session is active: in which tasks and threads, and until when."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chain.client import AsyncSession, Session, active
from chain.errors import DeniedError
from chain.reason import Reason
from tests.client.banking import ALLOW, AsyncAnswering, Bank, refused
from tests.support import World, root, seal


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


async def test_a_task_loses_its_session_where_the_with_ends_that_it_was_started_in(
    session: Session, asession: AsyncSession
) -> None:
    bank, ended = Bank(), asyncio.Event()

    async def later(amount: int) -> str:
        await ended.wait()
        return await bank.pay_later(amount)

    async def with_its_own(amount: int) -> str:
        await ended.wait()
        async with asession:
            return await bank.pay_later(amount)

    async with asession:
        async with replace(asession):
            outlives = asyncio.create_task(later(1))
        with session:
            outlives_too = asyncio.create_task(later(2))
            enters = asyncio.create_task(with_its_own(3))
        around = asyncio.create_task(later(4))
        ended.set()
        for task in (outlives, outlives_too):  # the session around them is open still, and was never meant for them
            with pytest.raises(DeniedError) as raised:
                await task
            assert raised.value.reason is Reason.SESSION_MISSING
        assert [await enters, await around] == ["bob got 3", "bob got 4"]
    async with asession:  # entered again
        assert await bank.pay_later(5) == "bob got 5"
    assert [amount for amount, _ in bank.paid] == [3, 4, 5]


async def test_a_task_keeps_what_it_entered_itself_when_the_same_session_ends_around_it(
    asession: AsyncSession,
) -> None:
    bank, entered, ended = Bank(), asyncio.Event(), asyncio.Event()

    async def work() -> str:
        async with asession:
            entered.set()
            await ended.wait()
            paid = await bank.pay_later(20)
        with pytest.raises(DeniedError):
            await bank.pay_later(30)
        return paid

    async with asession:
        task = asyncio.create_task(work())
        await entered.wait()
    ended.set()
    assert await task == "bob got 20"
    assert len(bank.paid) == 1


async def test_a_session_that_ends_while_the_answer_is_awaited_runs_nothing(asession: AsyncSession) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    class Slow(AsyncAnswering):
        async def check(self, *args: Any, **named: Any) -> Any:
            asked.set()
            await answered.wait()
            return self.answer

    bank = Bank()
    async with replace(asession, door=Slow(ALLOW)):
        late, in_time = (asyncio.create_task(bank.pay_later(amount)) for amount in (20, 30))
        await asked.wait()
        answered.set()
        await in_time
        asked.clear()
        answered.clear()
        last = asyncio.create_task(bank.pay_later(40))
        await asked.wait()
    answered.set()
    with pytest.raises(DeniedError) as raised:
        await last
    assert raised.value.reason is Reason.SESSION_MISSING
    await late
    assert sorted(amount for amount, _ in bank.paid) == [20, 30]


async def test_a_session_left_in_another_context_has_ended_in_its_own(asession: AsyncSession) -> None:
    bank = Bank()
    await asession.__aenter__()
    inside = asyncio.create_task(bank.pay_later(20))
    assert await inside == "bob got 20"
    await contextvars.Context().run(asyncio.ensure_future, asession.__aexit__())
    with pytest.raises(DeniedError) as raised:
        await bank.pay_later(20)
    assert raised.value.reason is Reason.SESSION_MISSING
    assert active() is None
    async with asession:
        await bank.pay_later(20)
    assert len(bank.paid) == 2


def test_a_thread_loses_its_session_where_the_with_ends(session: Session) -> None:
    bank = Bank()
    with session:
        context = contextvars.copy_context()
        assert context.run(bank.pay, 20) == "bob got 20"
    refused(Reason.SESSION_MISSING, lambda: context.run(bank.pay, 20))
    with session:  # the same session, but not the `with` that the thread was started in
        refused(Reason.SESSION_MISSING, lambda: context.run(bank.pay, 20))
        assert bank.pay(30) == "bob got 30"
    assert bank.paid == [(20, "bob"), (30, "bob")]


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
