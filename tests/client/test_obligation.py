"""What a door answers: an allow with every obligation kept lets a tool run, and nothing else does."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from chain.caller import embedded
from chain.client import AsyncLocal, AsyncSession, Local, Session
from chain.decision import Decision, Effect, Obligation
from chain.errors import DeniedError, UnreachableError
from chain.reason import Reason
from tests.client.banking import ALLOW, GENERIC, Answering, AsyncAnswering, Bank, refused
from tests.support import ALICE, PEP, World

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
