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


class Doorman(Protocol):
    """Knows who is calling, and whether there is room."""

    @property
    def serving(self) -> bool:
        """Whether calls are answered."""
        ...

    def new_id(self) -> str:
        """Return a name for a call."""
        ...

    async def identify(self, authorization: str | None) -> Caller:
        """Return whom an `Authorization` header speaks for.

        Raises:
            UnauthenticatedError: nobody who is known.
        """
        ...

    def place(self, caller: str, method: str) -> AbstractContextManager[None]:
        """Hold a place while a call of that RPC's kind is under way.

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
        """Return the endpoint of what only a caller may ask whose role may call an RPC.

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
                caller = await self._identify(shown)
                who = caller.name
                caller.require(method)
                with self._doorman.place(who, method):
                    response = await work(caller, request)
            except ChainError as error:
                response = refuse(error, shown=bool(shown))
                if isinstance(error, UnauthenticatedError):
                    refused = error.detail
            except Exception as error:  # noqa: BLE001 - the last resort: its text must not reach the client
                response = self._failed(name, request_id, error)
            response.headers[REQUEST_ID] = request_id
            micros = (perf_counter_ns() - began) // 1000
            self._doorman.note(name, request_id, who, str(response.status_code), micros, refused)
            return response

        return answer

    async def _identify(self, shown: list[str]) -> Caller:
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
