"""Which service a command asks, and as whom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chain.cli import source
from chain.cli.options import bundled
from chain.errors import ConfigurationError

if TYPE_CHECKING:  # loads gRPC, which offline commands do without
    from chain.client import Client


@dataclass(frozen=True, slots=True)
class Where:
    """A service and a caller's credential for it.

    Attributes:
        server: `host:port` or `unix:PATH`; None works offline.
        credential_file: holds the caller's bearer secret; a unix socket of one's own needs none.
        ca: PEM file of the certificates that the server's must be issued by; None takes the system's.
        timeout: seconds an answer may take.
    """

    server: str | None
    credential_file: str | None
    ca: Path | None
    timeout: float

    @property
    def remote(self) -> bool:
        """Whether a service is to be asked.

        Raises:
            ConfigurationError: options for a service, and none named.
        """
        if self.server is None and (self.credential_file is not None or self.ca is not None):
            raise ConfigurationError("--credential-file and --ca need --server")
        return self.server is not None

    def client(self) -> Client:
        """Return a client of the service, to be closed.

        Raises:
            ConfigurationError: no service is named, or a file cannot be read.
        """
        from chain.client import Client  # noqa: PLC0415 - offline commands do without gRPC

        if self.server is None:
            raise ConfigurationError("this needs a service: give --server")
        secret = None if self.credential_file is None else source.secret(self.credential_file)
        roots = None if self.ca is None else source.text(str(self.ca)).encode()
        return Client(self.server, credential=secret, roots=roots, timeout=self.timeout)


where = bundled(
    "where",
    Where,
    click.option("--server", envvar="CHAIN_SERVER", metavar="TARGET", help="Ask this service: host:port or unix:PATH."),
    click.option(
        "--credential-file", envvar="CHAIN_CREDENTIAL_FILE", metavar="FILE", help="The caller's secret, mode 0600."
    ),
    click.option("--ca", type=click.Path(path_type=Path), metavar="PEM", help="Trusted certificates of the server."),
    click.option("--timeout", type=click.FloatRange(0.01, 60), default=5.0, show_default=True, help="Seconds to wait."),
)
