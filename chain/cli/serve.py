"""`chain serve`: the gRPC service, and what stands beside it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Coroutine
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

import click

from chain.cli import harden
from chain.cli.composition import authority, overruled
from chain.cli.http import beside
from chain.cli.identities import people_of, source_of
from chain.cli.output import json_option, print_json
from chain.identity.material import Source
from chain.identity.renewal import Renewal
from chain.identity.tls import Channels
from chain.service.calllog import CallLog
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings, load


@click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@json_option
def serve(arguments: tuple[str, ...], *, as_json: bool) -> None:  # noqa: ARG001 - what it prints is JSON either way
    """Run the gRPC service until SIGTERM or SIGINT; then let the calls in flight end.

    Once it answers, one JSON line on stdout says where; the log goes to stderr. What is unsafe is refused before
    anything is answered, with exit code 2.
    """
    harden.keep_memory()
    settings = load(arguments)
    log = CallLog(sys.stderr, time.time, settings.log_level)
    held = authority(settings)
    with ExitStack() as opened:
        opened.callback(held.close)  # the server closes it too, last of all; twice is once
        configured = overruled(settings, held)

        def report(said: str) -> None:
            log.event("identity", "warning", said=said)

        source = source_of(settings.identity, report)
        if source is not None:
            opened.callback(source.close)
        workloads = None if source is None else _workloads(settings, source)
        people = people_of(settings.identity, report)
        if people is not None:
            opened.callback(people.close)
        for said in held.keys.found:
            log.event("key ring", "warning", said=said)
        if settings.issuer_pkcs11 is not None or settings.issuer_vault is not None:

            def certified(said: str, failed: bool) -> None:  # noqa: FBT001 - as the thread calls it
                log.event("issuer key", "warning" if failed else "info", said=said)

            opened.callback(Renewal(held.keys.renew, certified).close)
        if configured is not None:  # the ledger's own word counts; an operator changes it with `chain policy activate`
            log.event("policy of the ledger kept", "warning", active=held.policies.digest, configured=configured)
        server = ChainServer(held, settings, workloads=workloads, people=people, beside=beside(settings, held))
        _run(server.run(ready=_announce))


def _workloads(settings: ServeSettings, source: Source) -> Channels:
    audiences = () if settings.identity is None else settings.identity.jwt_audience
    return Channels(source, time.time, audiences, mutual=bool(settings.mtls_listen))


def _announce(running: ChainServer) -> None:
    sockets = {name: str(path) for name, path in running.sockets.items()}
    mtls = {"mtls": running.mtls_address} if running.mtls_address else {}
    http = {"http": running.http_address} if running.http_address else {}
    print_json({"serving": running.address, **mtls, **http, "sockets": sockets})
    sys.stdout.flush()


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where it is installed; it halves what a call costs the loop."""
    if find_spec("uvloop") is None:
        asyncio.run(main)
        return
    import uvloop  # noqa: PLC0415 - not on every platform

    uvloop.run(main)
