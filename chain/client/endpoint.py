"""Where the service is, and how it is spoken to safely.

The law of this file: an ALLOW is worth as much as the certainty of who gave it. What is not on this machine is spoken
to over TLS or not at all, and so a bearer credential never leaves the machine in the clear.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

import grpc

from chain.errors import ConfigurationError

_UNIX = re.compile(r"unix:(?://)?(?P<path>[^/].*|/[^/].*)")
_TCP = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")
_CREDENTIAL = re.compile(r"[\x21-\x7e]{1,4096}")

_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.enable_retries", 0),  # a Check that was sent twice is not asked twice
    ("grpc.service_config_disable_resolution", 1),  # nor does a DNS record decide about that
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),  # gRPC's own two minutes would deny long after a server's restart
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's address and what is shown to it.

    Attributes:
        address: as gRPC takes it.
        tls: credentials of the transport; None for this machine without TLS.
        metadata: sent with every call; holds the bearer credential.
    """

    address: str
    tls: grpc.ChannelCredentials | None
    metadata: tuple[tuple[str, str], ...]

    @property
    def options(self) -> list[tuple[str, int]]:
        """What the channel is opened with."""
        proxied = () if self.tls else (("grpc.enable_http_proxy", 0),)  # `http_proxy` would carry it off this machine
        return [*_OPTIONS, *proxied]

    def __repr__(self) -> str:
        return f"Endpoint({self.address})"


def endpoint(target: str, credential: str | None = None, roots: bytes | None = None) -> Endpoint:
    """Return where and how a service is reached.

    Args:
        target: `host:port`, `[v6]:port` or `unix:PATH`.
        credential: the caller's secret; None where the socket itself is the credential.
        roots: PEM certificates that the server's must chain to; None takes the system's for another machine, and
            no TLS at all for this one.

    Raises:
        ConfigurationError: a target of another form, or a credential that cannot be sent.
    """
    if credential is not None and not _CREDENTIAL.fullmatch(credential):
        raise ConfigurationError("a credential is 1 to 4096 printable ASCII characters without a space")
    metadata = () if credential is None else (("authorization", f"Bearer {credential}"),)
    if target.startswith("unix:"):
        return Endpoint(f"unix:{_path(target, roots)}", None, metadata)
    found = _TCP.fullmatch(target)
    if found is None or not 0 < int(found["port"]) < 2**16:
        raise ConfigurationError(f"`{target}` is not host:port, [v6]:port or unix:PATH")
    local = _loopback(found["v6"] or found["host"])
    tls = None if local and roots is None else grpc.ssl_channel_credentials(roots)
    return Endpoint(target, tls, metadata)


def _path(target: str, roots: bytes | None) -> str:
    found = _UNIX.fullmatch(target)
    if found is None:
        raise ConfigurationError(f"`{target}` is not unix:PATH")
    if roots is not None:
        raise ConfigurationError("a socket of this machine is not spoken to over TLS")
    return found["path"]


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"  # RFC 6761 s6.3
