"""Guarded tools that count what ran, what was granted of them, and how a refusal looks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from chain.client import guard
from chain.decision import Decision, Effect
from chain.errors import DeniedError
from chain.reason import Reason
from tests.support import rule

GENERIC = "the action is not authorized"
TOOLS = {
    "mail.read": {},
    "bank.pay": {"amount": rule("range", max=100), "to": rule("one_of", values=["bob", "carol"])},
    "list.pay": {"amounts": rule("subset", allowed=[1, 2, 3])},
}


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


ALLOW = Decision(effect=Effect.ALLOW, reason=Reason.ALLOWED)


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
