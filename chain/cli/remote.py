"""Which authority a command asks, and as whom: a service over gRPC, or a ledger at hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from chain.cli import interrupt, source
from chain.cli.options import bundled, on_the_line
from chain.errors import ConfigurationError

if TYPE_CHECKING:
    from chain.cli.kept import Kept
    from chain.client import Client

    Authority: TypeAlias = Client | Kept


@dataclass(frozen=True, slots=True)
class Where:
    """An authority, and a caller's credential for it.

    Attributes:
        server: `host:port` or `unix:PATH`.
        credential_file: holds the caller's bearer secret; a unix socket of one's own needs none.
        ca: PEM file of the certificates that the server's must be issued by; None takes the system's.
        timeout: seconds an answer may take.
        workload_api: where the caller's SVID comes from, for mutual TLS.
        server_name: DNS name in the server's certificate.
        trust_domain: the server's, with a Workload API; None for the caller's own.
        ledger: directory with a ``chain.toml`` and its ledger, instead of a server.
    """

    server: str | None
    credential_file: str | None
    ca: Path | None
    timeout: float
    workload_api: str | None
    server_name: str | None
    trust_domain: str | None
    ledger: Path | None

    @property
    def named(self) -> bool:
        """Whether an authority is to be asked; else the command works offline.

        Raises:
            ConfigurationError: two are named, or options for a service and none named.
        """
        if self.ledger is not None:
            if self.ca is not None or any(map(on_the_line, ("server", "credential_file", "workload_api"))):
                raise ConfigurationError("--ledger is used instead of a server; give one of them")
            return True
        if self.server is None and (self.ca is not None or any(map(on_the_line, ("credential_file", "workload_api")))):
            raise ConfigurationError("--credential-file, --workload-api and --ca need --server")
        return self.server is not None

    def connect(self) -> Authority:
        """Return the authority that is named, to be closed.

        Raises:
            ConfigurationError: none is named, or a file cannot be read.
        """
        if not self.named:
            raise ConfigurationError("this needs an authority: give --server or --ledger")
        if self.ledger is not None:
            from chain.cli.kept import Kept  # noqa: PLC0415 - see below

            return Kept(self.ledger)
        from chain.client import Client  # noqa: PLC0415 - loads gRPC, which offline commands do without

        secret = None if self.credential_file is None else source.secret(self.credential_file)
        roots = None if self.ca is None else source.data(str(self.ca))
        options: dict[str, Any] = {"timeout": self.timeout, "server_name": self.server_name}
        if self.workload_api is None:
            if self.trust_domain is not None:
                raise ConfigurationError("--trust-domain needs --workload-api, which knows its authorities")
            return Client(str(self.server), credential=secret, roots=roots, **options)
        if secret is not None:
            raise ConfigurationError("a caller has one credential: give --credential-file or --workload-api")
        from chain.identity.workloadapi import WorkloadSource  # noqa: PLC0415 - loads gRPC, too

        identity = WorkloadSource(self.workload_api, time.time)
        click.get_current_context().call_on_close(identity.close)
        return Client(str(self.server), roots=roots, identity=identity, trust_domain=self.trust_domain, **options)

    def closing(self, authority: Authority) -> AbstractContextManager[Callable[[], bool]]:
        """Let ^C close what was connected to, and tell whether it did; a ledger at hand is simply interrupted."""
        if self.ledger is not None:
            return nullcontext(bool)
        return interrupt.closing(authority.close)


where = bundled(
    "where",
    Where,
    click.option("--server", envvar="CHAIN_SERVER", metavar="TARGET", help="Ask this service: host:port or unix:PATH."),
    click.option(
        "--credential-file", envvar="CHAIN_CREDENTIAL_FILE", metavar="FILE", help="The caller's secret, mode 0600."
    ),
    click.option(
        "--workload-api",
        envvar="CHAIN_WORKLOAD_API",
        metavar="unix:PATH",
        help="Show the SVID that this SPIFFE Workload API gives.",
    ),
    click.option("--server-name", metavar="NAME", help="DNS name in the server's certificate, if not its host."),
    click.option("--trust-domain", metavar="NAME", help="The server's SPIFFE trust domain, if not the caller's own."),
    click.option("--ca", type=click.Path(path_type=Path), metavar="PEM", help="Trusted certificates of the server."),
    click.option(
        "--timeout",
        envvar="CHAIN_TIMEOUT",
        type=click.FloatRange(0.01, 60),
        default=5.0,
        show_default=True,
        help="Seconds to wait.",
    ),
    click.option(
        "--ledger",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Ask a ledger at hand, as `demo --keep` left it.",
    ),
)
