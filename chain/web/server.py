"""HTTP in the process and on the loop that gRPC is served by.

The law of this file: a port that cannot be had is an error and no exit; signals are the server's own; every limit is
stated. What uvicorn would say is not said: a stranger must not fill the log.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from math import ceil
from pathlib import Path

import uvicorn

from chain.authority import Authority
from chain.errors import ConfigurationError
from chain.web.app import application, table
from chain.web.connection import Connection
from chain.web.guard import Doorman
from chain.web.metrics import Metrics
from chain.web.published import Publishing
from chain.web.screen import Live, Screen
from chain.web.tokens import Tokens

MAX_HEAD = 16 * 1024
"""Bytes of a request's line and headers: a JWT-SVID fits, and a chain never travels there."""

KEEP_ALIVE = 5
"""Seconds that a connection may wait for its next request."""

HANDSHAKE = 5.0
"""Seconds for TLS."""

BACKLOG = 256
"""Connections that the kernel keeps for us."""


class WebServer:
    """Serves what is published, and what OAuth's tools ask, over HTTP/1.1.

    Attributes:
        address: host:port, once started.
        rows: what is served, and who may ask it.
    """

    def __init__(
        self,
        authority: Authority,
        publishing: Publishing,
        doorman: Doorman,
        where: tuple[str, int],
        pair: tuple[Path, Path] | None = None,
        screen: Screen | None = None,
    ) -> None:
        """Prepare to serve.

        Args:
            authority: answers.
            publishing: what is published.
            doorman: says who is calling.
            where: host and port; port 0 takes a free one.
            pair: certificate and private key for TLS.
            screen: the live page; None for none.

        Raises:
            ConfigurationError: two pages would lie at one path.
        """
        self.address = ""
        self._where = where
        self._tokens = Tokens(authority)
        self._serving: asyncio.Task[None] | None = None
        self._live = None if screen is None else Live(screen, authority, doorman.clock)
        self.rows = table(publishing, self._tokens, Metrics(authority), doorman, self._live)
        self._server = _Server(_config(application(self.rows), pair))

    async def start(self) -> None:
        """Listen and answer.

        Raises:
            ConfigurationError: the address is in use, or not ours.
        """
        listening = _listening(*self._where)
        host, port = listening.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        await self._server.open(listening)
        self._serving = asyncio.create_task(self._server.last(listening))

    async def stop(self, grace: float) -> None:
        """Take no more requests, let those under way end within `grace` seconds, and end the rest."""
        if self._serving is not None:
            self._server.config.timeout_graceful_shutdown = ceil(grace)
            self._server.should_exit = True
            await self._serving
        self._tokens.close()
        if self._live is not None:
            self._live.close()


class _Server(uvicorn.Server):
    """Leaves signals to the process, and bounds a handshake."""

    async def open(self, listening: socket.socket) -> None:
        """Take connections from a socket that listens already."""
        loop, config = asyncio.get_running_loop(), self.config
        config.load()
        self.lifespan = config.lifespan_class(config)

        def connection() -> Connection:
            return Connection(config=config, server_state=self.server_state, app_state={}, _loop=loop)

        handshake = None if config.ssl is None else HANDSHAKE
        made = loop.create_server(
            connection, sock=listening, backlog=BACKLOG, ssl=config.ssl, ssl_handshake_timeout=handshake
        )
        self.servers = [await made]
        self.started = True

    async def last(self, listening: socket.socket) -> None:
        """Go on until `should_exit`; then let what is under way end, and cut the rest."""
        await self.main_loop()
        await self.shutdown([listening])
        for connection in list(self.server_state.connections):
            connection.transport.abort()


def _config(app: Callable[..., object], pair: tuple[Path, Path] | None) -> uvicorn.Config:
    cert, key = pair or (None, None)
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        workers=1,
        log_config=None,
        log_level=logging.CRITICAL,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=MAX_HEAD,
        ssl_certfile=cert,
        ssl_keyfile=key,
    )


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError):  # the second of a name that no resolver is asked for
        raise ConfigurationError(f"`http_listen`: `{host}` is no address here") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just left, never one in use
        made.bind(where)
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise ConfigurationError(f"`http_listen`: `{host}:{port}` cannot be bound: it is in use or not ours") from None
    made.setblocking(False)  # noqa: FBT003 - its only argument
    return made
