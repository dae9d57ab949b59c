"""What every request passes, by a stranger or by a caller.

The law of this file: who is not known learns nothing else, and of what it sent no byte is read. A role that the table
of methods does not name is refused before the form is asked for; an unexpected error is told to the log by its place,
and to nobody by its text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from inspect import isawaitable
from time import perf_counter_ns
from typing import Protocol, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chain.caller import Caller
from chain.errors import ChainError, InvalidRequestError, UnauthenticatedError
from chain.web.form import form
from chain.web.reply import refuse

REQUEST_ID = "X-Request-Id"
"""Names a call to client and operator."""

SCHEME = "bearer"
"""Of credentials; no scheme's name has a case (RFC 9110 s11.1)."""

Page: TypeAlias = Callable[[Request], Response | Awaitable[Response]]
Form: TypeAlias = Callable[[Caller, Mapping[str, str]], Awaitable[Response]]
Reading: TypeAlias = Callable[[Caller, Request], Awaitable[Response]]
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class Visitor(Protocol):
    """Somebody who is known, as long as the credential lasts."""

    @property
    def caller(self) -> Caller:
        """What it may do."""
        ...

    async def wait(self, event: Callable[[], Awaitable[object]]) -> None:
        """Wait for something, as long as the credential and the server last.

        Raises:
            UnauthenticatedError: the credential ended.
            UnreachableError: the server stops.
        """
        ...


Stay: TypeAlias = Callable[[Visitor, Request, Send], Awaitable[None]]


class Doorman(Protocol):
    """Knows who is calling, and whether there is room."""

    @property
    def clock(self) -> Callable[[], float]:
        """Gives seconds since the epoch."""
        ...

    @property
    def serving(self) -> bool:
        """Whether calls are answered."""
        ...

    def new_id(self) -> str:
        """Return a name for a call."""
        ...

    async def identify(self, authorization: str | None) -> Visitor:
        """Return whom an `Authorization` header speaks for.

        Raises:
            UnauthenticatedError: nobody who is known.
        """
        ...

    def place(self, caller: str, method: str, *, stays: bool = False) -> AbstractContextManager[None]:
        """Hold a place while a call of that RPC's kind is under way; one that stays is a stream.

        Raises:
            ResourceExhaustedError: there is none.
        """
        ...

    def note(self, method: str, request: str, caller: str, code: str, micros: int, refused: str) -> None:
        """Write the line of a call that ended; `refused` says why the caller is not known."""
        ...

    def failed(self, method: str, request: str, error: BaseException) -> None:
        """Write where an unexpected error arose."""
        ...

    def warn(self, event: str, said: str) -> None:
        """Write what an operator should know."""
        ...


class Guard:
    """Lets requests through to pages."""

    def __init__(self, doorman: Doorman) -> None:
        """Ask a doorman."""
        self._doorman = doorman

    def open(self, name: str, page: Page) -> Endpoint:
        """Return the endpoint of a page for everybody."""

        async def answer(request: Request) -> Response:
            try:
                _require_framed(request)
                made = page(request)
                return await made if isawaitable(made) else made
            except ChainError as error:
                return refuse(error)
            except Exception as error:  # noqa: BLE001 - the last resort: its text must not reach the client
                return self._failed(name, self._doorman.new_id(), error)

        return answer

    def asked(self, name: str, method: str, work: Form) -> Endpoint:
        """Return the endpoint of a form that only a caller may send whose role may call an RPC.

        Args:
            name: of the endpoint, for the log.
            method: the RPC; `chain.caller.ALLOWED` says who.
            work: takes the caller and the form.
        """

        async def formed(caller: Caller, request: Request) -> Response:
            return await work(caller, await form(request))

        return self.read(name, method, formed)

    def read(self, name: str, method: str, work: Reading) -> Endpoint:
        """Return the endpoint of what only a caller may read whose role may call an RPC; as `asked`, without a form."""

        async def answer(request: Request) -> Response:
            began, request_id = perf_counter_ns(), self._doorman.new_id()
            shown, who, refused = request.headers.getlist("authorization"), "", ""
            try:
                _require_framed(request)
                caller = (await self._identify(shown)).caller
                who = caller.name
                caller.require(method)
                with self._doorman.place(who, method):
                    response = await work(caller, request)
            except ChainError as error:
                response = refuse(error, shown=bool(shown))
                refused = _unknown(error)
            except Exception as error:  # noqa: BLE001 - the last resort: its text must not reach the client
                response = self._failed(name, request_id, error)
            response.headers[REQUEST_ID] = request_id
            self._note(name, request_id, who, response.status_code, began, refused)
            return response

        return answer

    def stay(self, name: str, method: str, work: Stay) -> Endpoint:
        """Return the endpoint of an answer that has no end, for a caller whose role may call an RPC.

        Args:
            name: of the endpoint, for the log.
            method: the RPC; `chain.caller.ALLOWED` says who.
            work: answers, and raises only before it has begun to.
        """

        async def run(request: Request, send: Send) -> None:
            began, request_id = perf_counter_ns(), self._doorman.new_id()
            shown, who, refused = request.headers.getlist("authorization"), "", ""
            response: Response | None = None
            try:
                _require_framed(request)
                visitor = await self._identify(shown)
                who = visitor.caller.name
                visitor.caller.require(method)
                with self._doorman.place(who, method, stays=True):
                    await work(visitor, request, send)
            except ChainError as error:
                response, refused = refuse(error, shown=bool(shown)), _unknown(error)
            except Exception as error:  # noqa: BLE001 - the last resort: its text must not reach the client
                response = self._failed(name, request_id, error)
            finally:
                self._note(name, request_id, who, 200 if response is None else response.status_code, began, refused)
            if response is not None:
                response.headers[REQUEST_ID] = request_id
                await response(request.scope, request.receive, send)

        async def answer(request: Request) -> Response:
            return _Staying(run, request)

        return answer

    def _note(self, name: str, request_id: str, who: str, status: int, began: int, refused: str) -> None:
        self._doorman.note(name, request_id, who, str(status), (perf_counter_ns() - began) // 1000, refused)

    async def _identify(self, shown: list[str]) -> Visitor:
        if len(shown) > 1:
            raise UnauthenticatedError("two credentials: only one may speak for a caller")
        if not shown:
            return await self._doorman.identify(None)
        scheme, _, secret = shown[0].partition(" ")
        return await self._doorman.identify(f"Bearer {secret}" if scheme.lower() == SCHEME else shown[0])

    def _failed(self, name: str, request_id: str, error: Exception) -> Response:
        self._doorman.failed(name, request_id, error)
        return refuse(ChainError("the service failed"))


def _require_framed(request: Request) -> None:
    """Return where a request says in one way only where it ends (RFC 9112 s6.1).

    Who stands before this server may have believed the other one, and would take what follows for somebody else's. The
    answer of an error ends the connection.

    Raises:
        InvalidRequestError: it says so in two ways.
    """
    if "transfer-encoding" in request.headers and "content-length" in request.headers:
        raise InvalidRequestError("a length and a transfer coding: only one may say where the request ends")


def _unknown(error: ChainError) -> str:
    """Return why a caller is not known, for the log; nothing of another error."""
    return error.detail if isinstance(error, UnauthenticatedError) else ""


class _Staying(Response):
    """An answer that is given as long as it lasts."""

    def __init__(self, run: Callable[[Request, Send], Awaitable[None]], request: Request) -> None:
        super().__init__()
        self._run, self._request = run, request

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await self._run(self._request, send)
