"""`chain dev`: what makes a try on one machine easy, and is for development only."""

from __future__ import annotations

import re
import signal
import sys
import time
from pathlib import Path

import click

from chain.cli.group import Group
from chain.cli.output import json_option, print_json, seconds
from chain.errors import ConfigurationError
from chain.identity.devapi import DevWorkloadApi
from chain.identity.devca import DevAuthority
from chain.principal import parse_id

_DNS = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
_STOP = {signal.SIGTERM, signal.SIGINT}


@click.group(cls=Group)
def dev() -> None:
    """Try things on one machine. Nothing here is for production."""


@dev.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("names", metavar="ID...", nargs=-1, required=True)
@click.option("--trust-domain", required=True, metavar="NAME", help="The trust domain, as in `dev.test`.")
@click.option("--server", "servers", multiple=True, metavar="ID", help="An id whose SVID has the DNS names too.")
@click.option("--dns", multiple=True, default=("localhost",), show_default=True, help="DNS name of every --server.")
@click.option("--ttl", callback=seconds, default="1h", show_default=True, help="How long an X.509-SVID lives.")
@click.option("--nobody", is_flag=True, help="Open a socket without an identity as well: what a stranger is told.")
@json_option
def identity(
    directory: Path,
    names: tuple[str, ...],
    servers: tuple[str, ...],
    dns: tuple[str, ...],
    trust_domain: str,
    ttl: int,
    *,
    nobody: bool,
    as_json: bool,  # noqa: ARG001 - what it prints is JSON either way
) -> None:
    """Run a SPIFFE Workload API for development only: it attests nobody.

    Each ID (`spiffe://dev.test/agents/alice`, or `agents/alice`) gets a unix socket in DIR that only you may use.
    A workload that is given that socket has that identity: SPIFFE_ENDPOINT_SOCKET=unix:DIR/agents+alice/api.sock

    The authority's keys live in memory. SIGHUP lets the next ones sign, which were published before; those before
    stay trusted until the next SIGHUP. Clients of gRPC in Python verify a server by DNS name alone: name the server's
    id with --server.

    Once it serves, one JSON line on stdout names the sockets; it ends with SIGTERM or SIGINT.
    """
    try:
        authority = DevAuthority(trust_domain, time.time, ttl)
        ids = [_full(name, trust_domain) for name in (*names, *servers)]
        serving = dict.fromkeys(ids[len(names) :], dns)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    if bad := [one for one in dns if not _DNS.fullmatch(one)]:
        raise ConfigurationError(f"`{bad[0]}` is no DNS name")
    api = DevWorkloadApi(authority, [*dict.fromkeys(ids), *([None] if nobody else [])], serving)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_STOP, signal.SIGHUP})  # before any thread: all of them inherit it
    api.start(directory)
    try:
        sockets = {name: f"unix:{path}" for name, path in api.sockets.items()}
        print_json({"serving": "development only", "trust_domain": trust_domain, "sockets": sockets})
        sys.stdout.flush()
        click.echo("chain: identities for development only: whoever may open a socket has its identity", err=True)
        while signal.sigwait({*_STOP, signal.SIGHUP}) == signal.SIGHUP:
            api.rotate()
    finally:
        api.stop()


def _full(name: str, trust_domain: str) -> str:
    full = name if name.startswith("spiffe://") else f"spiffe://{trust_domain}/{name.strip('/')}"
    if parse_id(full)[0] != trust_domain:
        raise ValueError(f"`{full}` is not of the trust domain `{trust_domain}`")
    return full
