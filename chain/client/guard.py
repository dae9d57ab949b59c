"""`@guard`: a tool that runs only where the active session is allowed to call it, now, with these arguments.

The law of this file: what is checked is what runs. The arguments are copied first; the copy is checked, and the tool
gets the copy, so that nobody who still holds a list or a dict can change what was allowed. No session, no answer, an
obligation that nothing keeps, any error at all: the tool does not run. The tool itself is handed to nobody.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import Awaitable, Callable
from inspect import BoundArguments, Parameter, Signature
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, cast

from chain.client.session import AsyncSession, Session, active, refusal
from chain.errors import ConfigurationError, DeniedError
from chain.jcs import MAX_NESTING, Json
from chain.reason import Reason

P = ParamSpec("P")
R = TypeVar("R")

_NAMED = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def guard(tool: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that lets a function or coroutine function run only where the call is allowed.

    The arguments that are checked are the function's own, by name: defaults are filled in, members of ``**kwargs``
    stand beside the others, and the receiver of a method is left out, whatever its parameter is called: an object of
    the class that the function was written in, or the class itself, and not of a static method. They have to be plain
    JSON values; what else a tool needs belongs in its object.

    The guard stands innermost. What the decorators above it change is what is checked; one beneath it could change the
    arguments after the check, or run the tool twice, and is refused where it shows itself (`functools.wraps`). What is
    returned has the tool's name, signature and annotations, and no ``__wrapped__``: frameworks unwrap.

    Args:
        tool: its name, as grants and the catalogue spell it.

    Raises:
        ConfigurationError: at decoration: not a function, a decorated one, a generator, or one that takes ``*args``.
        DeniedError: at the call: not allowed. Its text is safe to show to a model; `decision` is for operators.
        TypeError: at the call: the arguments do not fit the function, as without the guard.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if not inspect.isfunction(function):
            raise ConfigurationError(f"`{tool}`: guard a function; @guard stands beneath @staticmethod and the like")
        if hasattr(function, "__wrapped__"):
            raise ConfigurationError(f"`{tool}`: @guard stands innermost, beneath every other decorator")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(f"`{tool}`: a generator's body runs later than it is checked")
        binder = _Binder(tool, function)
        if inspect.iscoroutinefunction(function):
            return cast("Callable[P, R]", _asynchronous(tool, function, binder))
        return _synchronous(tool, function, binder)

    return decorate


def _synchronous(tool: str, function: Callable[P, R], binder: _Binder) -> Callable[P, R]:
    def run(args: tuple[object, ...], kwargs: dict[str, object]) -> R:
        bound, arguments = binder.bind(args, kwargs)
        session = active()
        if isinstance(session, AsyncSession):
            raise _no_session("an asynchronous session cannot let a synchronous tool through")
        if session is None:
            raise _no_session("no session is active")
        session.require(tool, arguments)
        _still(session)
        return function(*bound.args, **bound.kwargs)

    def guarded(*args: object, **kwargs: object) -> R:
        return run(args, kwargs)

    return _shown_as(function, guarded)


def _asynchronous(tool: str, function: Callable[P, Awaitable[R]], binder: _Binder) -> Callable[P, Awaitable[R]]:
    async def run(args: tuple[object, ...], kwargs: dict[str, object]) -> R:
        bound, arguments = binder.bind(args, kwargs)
        session = active()
        if isinstance(session, AsyncSession):
            await session.require(tool, arguments)
        elif isinstance(session, Session):
            await asyncio.to_thread(session.require, tool, arguments)  # its door may block
        else:
            raise _no_session("no session is active")
        _still(session)
        return await function(*bound.args, **bound.kwargs)

    async def guarded(*args: object, **kwargs: object) -> R:
        return await run(args, kwargs)

    return _shown_as(function, guarded)


def _still(session: Session | AsyncSession) -> None:
    """Refuse to run under a session that ended while the answer was awaited."""
    if active() is not session:
        raise _no_session("the session ended before the tool ran")


def _shown_as(function: Callable[P, R], guarded: Callable[..., R]) -> Callable[P, R]:
    """Return `guarded` with the tool's own face, and no way from it to the tool.

    It gets the tool's globals as well, which its body does not read: whoever resolves annotations that are text (a
    framework that makes a schema of them) looks there once there is no `__wrapped__` to follow.
    """
    inner, outer = cast("FunctionType", function), cast("FunctionType", guarded)
    shown: Any = FunctionType(outer.__code__, inner.__globals__, inner.__name__, None, outer.__closure__)
    functools.update_wrapper(shown, inner)
    del shown.__wrapped__
    shown.__signature__ = inspect.signature(inner)
    return cast("Callable[P, R]", shown)


class _Binder:
    """Turns a call into the arguments that are checked, and into the same call with copies."""

    def __init__(self, tool: str, function: Callable[..., object]) -> None:
        self._tool = tool
        self._signature: Signature = inspect.signature(function)
        parameters = list(self._signature.parameters.values())
        kinds = {parameter.kind: parameter.name for parameter in parameters}
        if Parameter.VAR_POSITIONAL in kinds:
            raise ConfigurationError(f"`{tool}`: an argument of `*{kinds[Parameter.VAR_POSITIONAL]}` has no name")
        self._keywords = kinds.get(Parameter.VAR_KEYWORD)
        self._first = parameters[0].name if parameters and parameters[0].kind in _NAMED else None
        self._name = function.__name__
        self._home = (function.__module__, function.__qualname__.rpartition(".")[0])

    def bind(self, args: tuple[object, ...], kwargs: dict[str, object]) -> tuple[BoundArguments, dict[str, Json]]:
        """Return the call to make and the arguments to check: the very same values.

        Raises:
            TypeError: the call does not fit the function, as Python says it.
            DeniedError: a value is not plain JSON, or two arguments have one name.
        """
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        receiver = self._first if self._first is not None and self._receives(bound.arguments[self._first]) else None
        try:
            for name, value in bound.arguments.items():
                if name != receiver:
                    bound.arguments[name] = copied(value)
        except ValueError as error:
            raise self._invalid(str(error)) from None
        arguments = {name: value for name, value in bound.arguments.items() if name != receiver}
        more = arguments.pop(self._keywords, {}) if self._keywords else {}
        if more.keys() & arguments.keys():  # a positional-only parameter, and a keyword spelt like it
            raise self._invalid("two arguments have one name")
        return bound, {**arguments, **more}

    def _receives(self, value: object) -> bool:
        """Tell whether a method was called on this value: an object of the function's own class, or that class.

        Its type tells, and not the way that the call came: a decorator above the guard calls it as a plain function.
        """
        for kind in (type(value), value):
            for home in inspect.getmro(kind) if isinstance(kind, type) else ():
                if (home.__module__, home.__qualname__) == self._home:
                    return not isinstance(vars(home).get(self._name), staticmethod)
        return False

    def _invalid(self, detail: str) -> DeniedError:
        return refusal(Reason.REQUEST_INVALID, f"`{self._tool}`: {detail}", time.time())


def copied(value: Json, depth: int = MAX_NESTING) -> Json:
    """Return a deep copy of a plain JSON value; a number keeps its type and a tuple stays one.

    Raises:
        ValueError: a value of any other type, a subclass included, or one that nests too deeply.
    """
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if depth == 0:
        raise ValueError(f"a value nested deeper than {MAX_NESTING}")
    if kind is list or kind is tuple:
        return kind(copied(item, depth - 1) for item in value)
    if kind is dict:
        return {copied(name, 0): copied(item, depth - 1) for name, item in value.items()}
    raise ValueError(f"a {kind.__name__} is not a JSON value")


def _no_session(detail: str) -> DeniedError:
    return refusal(Reason.SESSION_MISSING, detail, time.time())
