"""`chain serve`: the gRPC service, composed of settings, a key file, a store and an authority."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from chain.cli.output import print_json
from chain.errors import ChainError
from chain.identity import keyfile
from chain.service.compose import compose
from chain.service.server import ChainServer
from chain.service.settings import load
from chain.store.memory import MemoryStore
from chain.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from chain.ledger import Store
    from chain.service.settings import ServeSettings


@click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def serve(arguments: tuple[str, ...]) -> None:
    """Run the gRPC service until SIGTERM or SIGINT; then let the calls in flight end.

    Once it answers, one JSON line on stdout says where; the log goes to stderr. What is unsafe is refused before
    anything is opened, with exit code 2.
    """
    settings = load(arguments)
    server = _composed(settings)

    def ready(running: ChainServer) -> None:
        print_json({"serving": running.address, "sockets": {name: str(path) for name, path in running.sockets.items()}})
        sys.stdout.flush()

    _run(server.run(ready=ready))


def _composed(settings: ServeSettings) -> ChainServer:
    signer = None if settings.issuer_key is None else keyfile.load(settings.issuer_key)
    store = _store(settings)
    try:
        authority = compose(settings, store, signer=signer)
    except ChainError:
        store.close()
        raise
    return ChainServer(authority, settings)


def _store(settings: ServeSettings) -> Store:
    if settings.ledger == "memory":
        return MemoryStore()
    return SqliteStore(settings.ledger, all_synced=settings.all_synced)


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where it is installed: half as much CPU a call."""
    if find_spec("uvloop") is None:
        asyncio.run(main)
        return
    import uvloop  # noqa: PLC0415 - not on every platform

    uvloop.run(main)
