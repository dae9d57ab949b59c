"""The live page: what everybody may load, because it holds nothing, and what only overseers are told.

The law of this file: the page is one file that runs nothing but its own script and asks nobody but this server; a
credential stands in a header, and never in an address, a cookie or the page. All of it is read-only.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from chain.authority import Authority
from chain.caller import Caller
from chain.errors import NotFoundError
from chain.web.events import Events, revision_of
from chain.web.guard import Page
from chain.web.mirror import Mirror, Telling
from chain.web.reply import reply

HTML = "text/html; charset=utf-8"

PAGE, DATA, RECORD, EVENTS = "/ui", "/ui/data", "/ui/record", "/ui/events"

OVERSEES = "ListCheckpoints"
"""The RPC whose roles may look: auditors and operators, who are told the whole record."""

PROVES = "ProveRecord"
"""The one whose roles may ask for a record."""


class Screen(NamedTuple):
    """What is shown.

    Attributes:
        page: HTML, without any fact.
        policy: its Content-Security-Policy, as a header says it.
        telling: returns what the page is told.
    """

    page: str
    policy: str
    telling: Telling


class Live:
    """The live page and what feeds it."""

    def __init__(self, screen: Screen, authority: Authority, clock: Callable[[], float]) -> None:
        """Show an authority's record; `clock` gives seconds since the epoch."""
        self.page: Page = _page(screen)
        self._authority = authority
        self._threads = ThreadPoolExecutor(1, "ui-record")
        self._mirror = Mirror(authority, screen.telling, clock)
        self.events = Events(authority, clock)

    def close(self) -> None:
        """Let the threads end."""
        self._mirror.close()
        self.events.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def record(self, caller: Caller, request: Request) -> Response:
        """Tell one record in its exact text, with the proof that it stands in the log where somebody signs for it.

        Raises:
            InvalidRequestError: no revision is named.
            NotFoundError: there is no such record.
            StoreError: the ledger cannot be read.
        """
        revision = revision_of(request.query_params.multi_items(), "revision")
        told = await asyncio.get_running_loop().run_in_executor(self._threads, self._record, caller, revision)
        return reply(200, msgspec.json.encode(told))

    def _record(self, caller: Caller, revision: int) -> dict[str, object]:
        key = self._authority.audit.key
        if key is not None:
            proven = self._authority.audit.prove(caller, revision)
            path = b64encode(b"".join(proven.proof.path)).decode()
            note = bytes(proven.proof.note).decode()
            return {"record": proven.record.decode(), "note": note, "key": str(key), "path": path}
        lines, _ = self._authority.watch.lines(revision - 1, 1)
        if revision < 1 or not lines:
            raise NotFoundError("no such record")
        return {"record": msgspec.json.encode(lines[0]).decode()}

    async def data(self, _caller: Caller, request: Request) -> Response:
        """Tell the record as it stands.

        Raises:
            InvalidRequestError: it is more than a page can show.
            StoreError: the ledger cannot be read.
            UnreachableError: it is being read for the first time.
        """
        tag, body = await self._mirror.document()
        quoted = f'"{tag}"'
        if request.headers.get("if-none-match") == quoted:
            return reply(304, headers={"ETag": quoted})
        return reply(200, body, headers={"ETag": quoted})


def _page(screen: Screen) -> Page:
    body = screen.page.encode()
    headers = {"Content-Security-Policy": screen.policy}
    return lambda _request: reply(200, body, HTML, headers=headers)
