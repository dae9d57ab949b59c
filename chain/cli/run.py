"""`chain run`: a program with a session of its own, for as long as it runs.

The law of this file: the program gets a key that nobody else ever had, a chain for its task alone, and a socket to ask
on; and nothing of the launcher's. All of it ends with the program, however that ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
import msgspec
from msgspec import UnsetType
from pydantic import ValidationError

from chain import mint
from chain.cli import harden, options, passing, program, remote, source
from chain.cli.lease import Delegated, Given, Issued, Lease, Share, taken_back
from chain.cli.options import bundled, on_the_line
from chain.cli.output import json_option, moment, printable
from chain.cli.privatedir import private_directory
from chain.client import environment
from chain.client.session import Session
from chain.delegation import Delegation
from chain.errors import ConfigurationError, ForbiddenError
from chain.grant import Grant
from chain.identity import keyfile
from chain.principal import Principal

if TYPE_CHECKING:
    from chain.client import Client

_SCRUBBED = ("CHAIN_", "SPIFFE_ENDPOINT_SOCKET", "CREDENTIALS_DIRECTORY")
"""Beginnings of the variables that the program does not find: they say where the launcher's own credentials lie."""

CAUSE = "the program ended"
"""What the ledger says of the revocation."""


@dataclass(frozen=True, slots=True)
class Worker:
    """What the program is.

    Attributes:
        name: the SPIFFE id that its key is enrolled with.
        purpose: what its calls are for.
    """

    name: str | None
    purpose: str | None

    def principal(self, owner: str | None) -> Principal | None:
        """Return who its key is to be enrolled for, if anybody.

        Raises:
            ConfigurationError: nobody answers for it, or the id is none.
        """
        if self.name is None:
            return None
        if owner is None:
            raise ConfigurationError("--as names a principal for whom somebody answers: give --owner")
        try:
            return Principal(id=self.name, owner=owner)
        except ValidationError as error:
            raise ConfigurationError(f"--as: {error.errors(include_input=False)[0]['msg']}") from None

    def purposed(self, grant: Grant) -> Grant:
        """Return the grant, with the purpose where it names none."""
        if self.purpose is None or not isinstance(grant.limits.purposes, UnsetType):
            return grant
        return msgspec.structs.replace(grant, limits=msgspec.structs.replace(grant.limits, purposes=(self.purpose,)))

    def declared(self, leaf: Delegation) -> dict[str, str]:
        """Return the variable with the purpose that calls declare: the one that was named, or the only one granted."""
        granted = leaf.grant.limits.purposes
        only = granted[0] if not isinstance(granted, UnsetType) and len(granted) == 1 else None
        purpose = self.purpose or only
        return {} if purpose is None else {environment.PURPOSE: purpose}


@dataclass(frozen=True, slots=True)
class Own:
    """What the launcher itself holds, where it hands on of its own.

    Attributes:
        chain_file: its chain.
        key: its key.
        passphrase_file: opens a sealed key.
    """

    chain_file: str | None
    key: Path | None
    passphrase_file: Path | None

    def handed_on(self, extent: options.Extent, facts: options.RootFacts) -> bool:
        """Tell whether it hands on; a chain that only the environment names is left alone by who issues.

        Raises:
            ConfigurationError: the line says both, or half of it.
        """
        if self.chain_file is None or (facts.roots and not on_the_line("chain_file")):
            if on_the_line("key"):
                raise ConfigurationError("--key hands on of a chain: give --chain")
            return False
        if facts.roots or extent.audience:
            raise ConfigurationError(
                "--task, --sub, --instruction, --listed and --audience are a root's, not --chain's"
            )
        if self.key is None:
            raise ConfigurationError("a chain is handed on by its holder: give --key")
        return True

    def session(self, client: Client, audience: str) -> Session:
        """Return the launcher's own session."""
        signer = passing.signer(cast("Path", self.key), self.passphrase_file)
        return Session(signer=signer, tokens=source.tokens(str(self.chain_file)), audience=audience, door=client)


worker = bundled(
    "worker",
    Worker,
    click.option("--as", "name", metavar="ID", help="Enrol the program's key as this SPIFFE id; else it only reads."),
    click.option("--purpose", metavar="NAME", help="What its calls are for; the grant's too, where that names none."),
)

own = bundled(
    "own",
    Own,
    click.option("--chain", "chain_file", envvar=environment.CHAIN, metavar="FILE|-", help="Hand on of this chain."),
    click.option(
        "--key",
        type=click.Path(path_type=Path),
        envvar=environment.KEY,
        metavar="KEYFILE",
        help="With --chain: its holder's key file.",
    ),
    passing.passphrase_option,
)


@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@worker
@options.extent
@options.root_facts
@own
@remote.where
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    command: tuple[str, ...],
    worker: Worker,
    extent: options.Extent,
    facts: options.RootFacts,
    own: Own,
    where: remote.Where,
    *,
    as_json: bool,  # noqa: ARG001 - an error is JSON then; what the program prints is its own
) -> None:
    """Run COMMAND with a session of its own: a fresh key, a chain for its task, and a socket to the service.

    \b
    chain run --server HOST:PORT --credential-file orchestrator.secret --as spiffe://dev.test/agents/worker \\
      --task t1 --owner team --purpose mail --grant '{"tools":{"mail.read":{}}}' -- python agent.py

    As an issuer it is issued a root; --as takes an operator. With --chain and --key it is handed a part of what you
    hold, and --as names an id beneath your own. In COMMAND `chain.client.inherited()` is its session, and `chain check`
    needs nothing but the call: CHAIN_SERVER, CHAIN_KEY, CHAIN_CHAIN, CHAIN_AUDIENCE and CHAIN_PURPOSE say the rest.

    When COMMAND ends, what it held is revoked, with all that it handed on. Signals are passed on to it. The exit code
    is COMMAND's, 128 + N where signal N ended it, 127 or 126 where it cannot be run. Nothing is renewed: a program that
    goes on after its chain's end is denied. With --ledger there needs to be no server: it serves that ledger meanwhile.
    """  # noqa: D301 - click reads \b as a mark, not Python
    path = program.find(command)
    if not where.named:
        raise ConfigurationError("a program asks an authority: give --server or --ledger")
    handed_on, principal = own.handed_on(extent, facts), worker.principal(facts.owner)
    grant = worker.purposed(extent.given)
    harden.keep_memory()
    held = program.hold_signals()
    private = keyfile.generate()
    signer = private.signer()
    with private_directory() as directory, _connected(where) as client:
        audience = _audience(client)
        lease: Lease
        if handed_on:
            share = Share(grant, extent.seconds, extent.max_depth, principal)
            lease = Delegated(client, own.session(client, audience), share, signer)
        else:
            lease = Issued(client, facts.order(grant, extent, signer.key), signer.key, principal)
        key, chain, socket = directory / "key.jwk", directory / "session.chain", directory / "chain.sock"
        keyfile.save(key, private)
        with _given(lease) as given, client.lend(socket):
            source.write_new(chain, "\n".join(given.tokens) + "\n")
            left = {environment.SERVER: f"unix:{socket}", environment.KEY: str(key), environment.CHAIN: str(chain)}
            left |= {environment.AUDIENCE: audience} | worker.declared(mint.unverified(given.tokens[-1]))
            code = program.run(path, command, _scrubbed(os.environ) | left, held)
    ctx.exit(code)


@contextmanager
def _connected(where: remote.Where) -> Iterator[Client]:
    """Connect to the service; to one of its own, on a ledger at hand."""
    if where.ledger is None:
        with where.connect() as connected:
            yield cast("Client", connected)
        return
    from chain.cli.athand import served  # noqa: PLC0415 - loads gRPC, as `where.connect` does

    with served(where.ledger, where.timeout) as client:
        yield client


@contextmanager
def _given(lease: Lease) -> Iterator[Given]:
    """Give, and take back whatever happens; where that cannot be done, say so: the program's exit code stays."""
    given = lease.give()
    try:
        yield given
    finally:
        error = taken_back(lease, given, CAUSE)
        if error is not None:
            ends = f"it ends by itself at {moment(given.until)}"
            click.echo(f"chain: delegation {given.id} is NOT revoked, {ends}: {printable(str(error))}", err=True)


def _audience(client: Client) -> str:
    """Return what the program's proofs are to be made for.

    Raises:
        ConfigurationError: the program could not ask over this connection.
    """
    audience = client.info().audience
    if not audience:
        raise ConfigurationError("the service knows no `audience` of this caller, and proofs are made for one")
    try:
        client.batch_check([])  # asks nothing, and is answered to whoever may ask
    except ForbiddenError as error:
        raise ConfigurationError(f"the program asks over this connection, and {error.detail}") from None
    return audience


def _scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what names the launcher's credentials."""
    return {name: value for name, value in environ.items() if not name.upper().startswith(_SCRUBBED)}
