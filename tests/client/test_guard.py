"""`@guard` over an authority in the same process: what is allowed runs, and nothing else ever does."""

from __future__ import annotations

import enum
import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from chain.client import Local, Session, active, guard
from chain.errors import ConfigurationError
from chain.reason import Reason
from tests.client.banking import Bank, refused
from tests.support import World


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


class Named:
    """Receivers and arguments by every name."""

    @guard("bank.pay")
    def pay(this, amount: int, to: str = "bob") -> str:  # noqa: N805 - a receiver by another name
        return f"{type(this).__name__} {amount} {to}"

    @staticmethod
    @guard("bank.pay")
    def static(cls: object, amount: int, to: str = "bob") -> str:  # noqa: PLW0211 - an argument by a receiver's name
        return f"{cls} {amount} {to}"

    @staticmethod
    @guard("mail.read")
    def folder(self: object, size: int = 1) -> str:  # noqa: PLW0211 - as above
        return f"{self} {size}"

    @functools.lru_cache  # noqa: B019 - a decorator that binds in its own way
    @guard("bank.pay")
    def cached(self, amount: int, to: str = "bob") -> str:
        return f"{amount} {to}"


class Heir(Named):
    pass


def test_the_receiver_is_told_by_what_it_is_and_not_by_its_name(session: Session) -> None:
    with session:
        assert Named().pay(1) == "Named 1 bob"
        assert Heir().pay(1) == Named.pay(Heir(), 1) == Named.pay(this=Heir(), amount=1) == "Heir 1 bob"
        assert Named().cached(2) == "2 bob"
        assert Named.folder("inbox") == "inbox 1"  # checked: `mail.read` takes any argument
        refused(Reason.ARGUMENT_NOT_GRANTED, lambda: Named.static("unchecked", 1))
        refused(Reason.ARGUMENT_NOT_GRANTED, lambda: Heir.static("unchecked", 1))
        refused(Reason.ARGUMENT_NOT_GRANTED, lambda: Named.pay("unchecked", 1))  # type: ignore[arg-type]
        for own in (Named(), Named, Heir()):  # nothing that a static method takes is a receiver
            refused(Reason.REQUEST_INVALID, lambda own=own: Named.static(own, 1))
            refused(Reason.REQUEST_INVALID, lambda own=own: Named.folder(own))


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
    assert str(inspect.signature(Bank.pay)) == "(self, amount: 'int', to: 'str' = 'bob') -> 'str'"
    assert typing.get_type_hints(Bank.pay) == {"amount": int, "to": str, "return": str}
    assert typing.get_type_hints(weigh) == {"load": Load, "return": Load}  # found in this module, where it was written


class Load(dict[str, int]):
    pass


@guard("bank.pay")
def weigh(load: Load) -> Load:
    return load


@pytest.mark.parametrize("tool", [Bank.pay, Bank.pay_later, Bank.of_class, Bank.static, weigh])
def test_the_tool_itself_is_handed_to_nobody(tool: Any) -> None:
    assert not hasattr(tool, "__wrapped__")
    assert inspect.unwrap(tool) is tool
    assert not [value for value in vars(tool).values() if callable(value)]


def changing(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that changes an argument."""

    @functools.wraps(function)
    def changed(*args: Any, **more: Any) -> Any:
        return function(*args, **{**more, "amount": more["amount"] * 10})

    return changed


def test_what_a_decorator_above_the_guard_changes_is_what_is_checked(session: Session) -> None:
    ran = []

    class Shop:
        @changing
        @guard("bank.pay")
        def pay(self, amount: int, to: str = "bob") -> None:
            ran.append((amount, to))

        @classmethod
        @changing
        @guard("bank.pay")
        def of_class(cls, amount: int, to: str = "bob") -> None:
            ran.append((amount, to))

    with session:
        Shop().pay(amount=10)
        Shop.of_class(amount=10)
        refused(Reason.CONSTRAINT_VIOLATED, lambda: Shop().pay(amount=11))
        refused(Reason.CONSTRAINT_VIOLATED, lambda: Shop.of_class(amount=11))
    assert ran == [(100, "bob"), (100, "bob")]


def test_a_decorator_beneath_the_guard_is_refused() -> None:
    def pay(*, amount: int) -> None: ...

    with pytest.raises(ConfigurationError, match="innermost"):
        guard("bank.pay")(changing(pay))
    guard("bank.pay")(pay)


def _star(*amounts: int) -> None: ...


def _generator(amount: int) -> Any:
    yield amount


async def _async_generator(amount: int) -> Any:
    yield amount


@pytest.mark.parametrize("function", [_star, _generator, _async_generator, staticmethod(Bank.static), Bank().pay, Bank])
def test_what_cannot_be_guarded_is_refused_when_it_is_decorated(function: Any) -> None:
    with pytest.raises(ConfigurationError):
        guard("bank.pay")(function)
