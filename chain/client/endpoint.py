"""Where the service is, and how it is spoken to safely.

The law of this file: an ALLOW is worth as much as the certainty of who gave it. What is not on this machine is spoken
to over TLS or not at all, and so a bearer credential never leaves the machine in the clear. A server is known by the
authorities of one trust domain, its own, never by those of all that are trusted (X509-SVID s5).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import grpc

from chain.caller import LENT
from chain.errors import ChainError, ConfigurationError, UnreachableError
from chain.loopback import is_loopback
from chain.principal import is_trust_domain, parse_id

Credential: TypeAlias = str | Callable[[], str]
"""A bearer secret; or who gives the one to send now, asked for every call: it keeps a token until that one's end, and
never waits for a network."""

_UNIX = re.compile(r"unix:(?://)?(?P<path>[^/].*|/[^/].*)")
_TCP = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")
_CREDENTIAL = re.compile(r"[\x21-\x7e]{1,8192}")
_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*")

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.enable_retries", 0),  # a Check that was sent twice is not asked twice
    ("grpc.service_config_disable_resolution", 1),  # nor does a DNS record decide about that
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),  # gRPC's own two minutes would deny long after a server's restart
)


class Svid(Protocol):
    """An X.509-SVID of one's own."""

    @property
    def id(self) -> str:
        """The SPIFFE id."""
        ...

    @property
    def chain(self) -> bytes:
        """PEM, the leaf first, then its intermediates."""
        ...

    @property
    def key(self) -> bytes:
        """PEM, the private key."""
        ...


class Bundle(Protocol):
    """The authorities of one trust domain."""

    @property
    def pem(self) -> bytes:
        """PEM, their certificates; empty where none is trusted."""
        ...


class Material(Protocol):
    """What an identity is made of at one moment."""

    @property
    def svid(self) -> Svid | None:
        """One's own; None where there is none now."""
        ...

    @property
    def bundles(self) -> Mapping[str, Bundle]:
        """Trust domain -> its bundle."""
        ...

    @property
    def version(self) -> int:
        """Grows with every change: what was made of another version is made anew."""
        ...


class Identity(Protocol):
    """Where one's identity comes from, e.g. the SPIFFE Workload API. Usable from many threads."""

    def current(self) -> Material:
        """Return what is valid now, without waiting for anything."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server's address, how it is known, and what is shown to it.

    Attributes:
        address: as gRPC takes it.
        secured: whether it is spoken to over TLS.
        roots: PEM certificates that the server's must chain to; None for the system's, or those of the identity.
        identity: who shows its SVID, and knows the authorities of trust domains.
        trust_domain: the server's; None for the own SVID's.
        server_name: DNS name in the server's certificate; None for the address's own.
        credential: gives the bearer credential of a call, if there is one; what it gives is looked at.
        lent: whether somebody else asks over it, which every call says (`chain.caller.LENT`).
    """

    address: str
    secured: bool
    roots: bytes | None = None
    identity: Identity | None = None
    trust_domain: str | None = None
    server_name: str | None = None
    credential: Callable[[], object] | None = None
    lent: bool = False

    @property
    def options(self) -> list[tuple[str, int | str]]:
        """What the channel is opened with."""
        options = [*_OPTIONS]
        if not self.secured:
            options.append(("grpc.enable_http_proxy", 0))  # `http_proxy` would carry it off this machine
        if self.identity is not None:
            options.append(("grpc.use_local_subchannel_pool", 1))  # a new SVID never goes over an old connection
        if self.server_name is not None:
            options.append(("grpc.ssl_target_name_override", self.server_name))
        return options

    def tls(self, material: Material | None) -> grpc.ChannelCredentials | None:
        """Return the transport's credentials; None for this machine without TLS.

        Args:
            material: what the identity is made of now, where there is one.

        Raises:
            UnreachableError: there is no SVID now, or nobody vouches for the server's trust domain.
        """
        if material is None:
            return grpc.ssl_channel_credentials(self.roots) if self.secured else None
        svid = material.svid
        if svid is None and self.credential is None:
            raise UnreachableError("no SVID to show: the source of identities has none now")
        domain = self.trust_domain or (None if svid is None else parse_id(svid.id)[0])
        if domain is None:
            raise UnreachableError("the server's trust domain is not known: there is no SVID now, and none was named")
        bundle = material.bundles.get(domain)
        roots = b"" if bundle is None else bundle.pem
        if not roots:
            raise UnreachableError(f"trust domain `{domain}` is not trusted: no X.509 authority of it is known")
        if svid is None:
            return grpc.ssl_channel_credentials(roots)
        return grpc.ssl_channel_credentials(roots, svid.key, svid.chain)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what is sent with a call, now.

        Raises:
            UnreachableError: whoever gives the credential failed, or gave something that cannot be sent.
        """
        said = ((LENT, "1"),) if self.lent else ()
        if self.credential is None:
            return said
        try:
            credential = self.credential()
        except ChainError:
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's code; its text may hold the secret
            raise UnreachableError(f"no credential: its source failed with {type(error).__name__}") from None
        if not isinstance(credential, str) or not _CREDENTIAL.fullmatch(credential):
            raise UnreachableError("no credential: its source gave something that cannot be sent")
        return (("authorization", f"Bearer {credential}"), *said)

    def __repr__(self) -> str:
        return f"Endpoint({self.address})"


def endpoint(
    target: str,
    credential: Credential | None = None,
    roots: bytes | None = None,
    *,
    identity: Identity | None = None,
    server_name: str | None = None,
    trust_domain: str | None = None,
) -> Endpoint:
    """Return where and how a service is reached.

    Args:
        target: `host:port`, `[v6]:port` or `unix:PATH`.
        credential: the caller's secret, or who gives it; None where the socket or the SVID is the credential.
        roots: PEM certificates that the server's must chain to; None takes the system's for another machine, and
            no TLS at all for this one.
        identity: shows its SVID (mutual TLS) and knows the server by its trust domain's bundle, instead of `roots`.
        server_name: DNS name in the server's certificate, where that is not the host of `target`.
        trust_domain: the server's, with `identity`; None for the own SVID's.

    Raises:
        ConfigurationError: a target of another form, a credential that cannot be sent, or what does not go together.
    """
    if identity is not None and roots is not None:
        raise ConfigurationError("an identity knows whom to trust: give no roots beside it")
    if trust_domain is not None and (identity is None or not is_trust_domain(trust_domain)):
        raise ConfigurationError("a trust domain is a lower-case name, and is for an identity that knows its bundle")
    if server_name is not None and not _NAME.fullmatch(server_name):
        raise ConfigurationError(
            f"`{server_name}` is no DNS name: a client knows a server by one in its certificate, not by its SPIFFE id"
        )
    give = _giver(credential)
    if target.startswith("unix:"):
        if roots is not None or identity is not None or server_name is not None:
            raise ConfigurationError("a socket of this machine is not spoken to over TLS")
        return Endpoint(address=f"unix:{_path(target)}", secured=False, credential=give)
    found = _TCP.fullmatch(target)
    if found is None or not 0 < int(found["port"]) < 2**16:
        raise ConfigurationError(f"`{target}` is not host:port, [v6]:port or unix:PATH")
    secured = not is_loopback(found["v6"] or found["host"]) or roots is not None or identity is not None
    if server_name is not None and not secured:
        raise ConfigurationError("this machine is spoken to without TLS: a server's name needs roots or an identity")
    return Endpoint(
        address=target,
        secured=secured,
        roots=roots,
        identity=identity,
        trust_domain=trust_domain,
        server_name=server_name,
        credential=give,
    )


def _giver(credential: Credential | None) -> Callable[[], object] | None:
    if credential is None or callable(credential):
        return credential
    if not _CREDENTIAL.fullmatch(credential):
        raise ConfigurationError("a credential is 1 to 8192 printable ASCII characters without a space")
    return lambda: credential


def _path(target: str) -> str:
    found = _UNIX.fullmatch(target)
    if found is None:
        raise ConfigurationError(f"`{target}` is not unix:PATH")
    return found["path"]
