"""Reasons not to start. A server that would run with less safety than its owner thinks does not run.

The law of this file: every rule of a configuration stands here, each with its sentence; nothing is repaired and
nothing is warned about.
"""

from __future__ import annotations

import os
import ssl
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from chain.caller import ALLOWED, Role
from chain.errors import ConfigurationError
from chain.loopback import is_loopback
from chain.principal import require_pattern
from chain.service import wards
from chain.service.settings import ServeSettings
from chain.service.tables import CallerSettings, IdentitySettings, OidcSettings

ROOT = 0
"""Of this uid, files may be: who holds it can do everything anyway."""

MAX_SOCKET_PATH = 107
"""Bytes of a unix socket's path (sun_path, less its NUL)."""


def require_safe(settings: ServeSettings) -> None:
    """Return where nothing speaks against starting.

    Raises:
        ConfigurationError: with everything that does.
    """
    faults = [*_listening(settings), *_trust(settings), *_callers(settings), *wards.faults(settings), *_files(settings)]
    if faults:
        raise ConfigurationError("; ".join(faults))


def split_address(listen: str, name: str = "listen") -> tuple[str, int]:
    """Return host and port of ``host:port``; an IPv6 host stands in brackets.

    Args:
        listen: the address.
        name: of the setting that it comes from.

    Raises:
        ConfigurationError: it is not of that form.
    """
    host, colon, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or not (port.isascii() and port.isdecimal() and int(port) < 65536):
        raise ConfigurationError(f"`{name}` is host:port, and not `{listen}`")
    return bare, int(port)


def socket_path(settings: ServeSettings, name: str) -> Path:
    """Return where the socket of a caller lies: in a directory of the caller's own."""
    return (settings.sockets or Path()).absolute() / name / "chain.sock"


def require_pair(cert: Path, key: Path) -> None:
    """Return where a certificate and a private key belong together; gRPC would start and then fail every handshake.

    Raises:
        ConfigurationError: they do not, or one of them cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key, password=b"")  # never asks at a terminal
    except (ssl.SSLError, OSError):
        raise ConfigurationError(f"`{cert}` and `{key}` are no certificate with its private key") from None


def _listening(settings: ServeSettings) -> Iterator[str]:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        missing = "key" if settings.tls_key is None else "certificate"
        yield f"TLS needs a certificate and its key, and the {missing} is missing"
    yield from _mutual(settings)
    yield from _people(settings)
    if settings.http_listen:
        yield from _address(settings, settings.http_listen, "http_listen")
    elif settings.ui:
        yield "`ui` is served at `http_listen`, and that names no address"
    if not settings.listen:
        if not settings.mtls_listen and not any(caller.socket for caller in settings.callers):
            yield "nothing to listen on: no address, and no caller has a socket"
        return
    yield from _address(settings, settings.listen, "listen")


def _address(settings: ServeSettings, listen: str, name: str) -> Iterator[str]:
    """Yield what is wrong with an address at which bearer credentials are taken."""
    try:
        host, _ = split_address(listen, name)
    except ConfigurationError as error:
        yield error.detail
        return
    if settings.tls_cert is None and not is_loopback(host):
        yield f"`{host}` is not a loopback address, and without TLS secrets would cross the network in the clear"


def _mutual(settings: ServeSettings) -> Iterator[str]:
    """Yield what is wrong with the listener for workloads, and with who is known by a SPIFFE id."""
    named = Counter(caller.spiffe for caller in settings.callers if caller.spiffe is not None)
    for pattern, times in named.items():
        if times > 1:
            yield f"`{pattern}` stands for {times} callers"
        yield from _pattern(pattern)
    bearers = settings.listen or settings.http_listen
    if settings.identity is not None and settings.identity.jwt_audience and not bearers:
        yield "`identity.jwt_audience` is for `listen` and `http_listen`, and neither names an address"
    if not settings.mtls_listen:
        tokens = bearers and settings.identity is not None and settings.identity.jwt_audience
        told = settings.identity
        people_alone = told is not None and told.oidc and told == IdentitySettings(oidc=told.oidc)
        if (named or (told is not None and not people_alone)) and not tokens:
            yield "SPIFFE ids come by `mtls_listen`, or by tokens for `identity.jwt_audience`, and neither is named"
        return
    if settings.identity is None:
        yield "`mtls_listen` needs `identity`: where the server's own SVID comes from"
    if not named:
        yield "`mtls_listen` lets nobody in: no caller has a `spiffe` id"
    try:
        split_address(settings.mtls_listen, "mtls_listen")
    except ConfigurationError as error:
        yield error.detail


def _people(settings: ServeSettings) -> Iterator[str]:
    """Yield what is wrong with the OpenID providers, and with who is known by their tokens."""
    providers = () if settings.identity is None else settings.identity.oidc
    described = [caller.oidc for caller in settings.callers if caller.oidc is not None]
    known = Counter(provider.issuer for provider in providers)
    yield from (f"the issuer `{issuer}` stands {times} times" for issuer, times in known.items() if times > 1)
    yield from (f"no `identity.oidc` is the issuer `{one.issuer}`" for one in described if one.issuer not in known)
    for number, one in enumerate(described):
        if one in described[:number]:
            yield f"two callers are the same person, or the same people, of `{one.issuer}`"
    if not providers:
        return
    if not settings.listen and not settings.http_listen:
        yield "`identity.oidc` is for `listen` and `http_listen`, and neither names an address"
    if not described:
        yield "`identity.oidc` lets nobody in: no caller has `oidc`"
    for provider in providers:
        yield from _provider(provider)


def _provider(provider: OidcSettings) -> Iterator[str]:
    if provider.jwks_uri is not None and provider.jwks_file is not None:
        yield f"the keys of `{provider.issuer}` come from `jwks_uri` or from `jwks_file`, not from both"
    if provider.jwks_file is not None and provider.ca is not None:
        yield f"`ca` of `{provider.issuer}` has no use: its keys come from a file"
    if provider.max_stale < provider.max_age:
        yield f"the keys of `{provider.issuer}` would go stale between two readings: `max_stale` is below `max_age`"


def _person(caller: CallerSettings) -> Iterator[str]:
    if caller.oidc is None:
        return
    if stated := _REGISTERED & caller.oidc.claims.keys():
        yield f"caller `{caller.name}`: `{min(stated)}` says nothing of who somebody is; a person is named by `subject`"
    if caller.oidc.subject is None and not caller.oidc.claims:
        yield f"caller `{caller.name}` stands for everybody of `{caller.oidc.issuer}`: name a `subject` or `claims`"
    for role in sorted(caller.roles & _NO_PERSON.keys()):
        yield f"caller `{caller.name}` is known by a token of a person, and {_NO_PERSON[role]}"


_REGISTERED = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "email_verified"})
"""Claims that no line describes people by (RFC 7519 s4.1); `email` counts only where it is verified, anyway."""

_NO_PERSON = {
    Role.AGENT: "an agent holds a key, which a person's token cannot prove: give the agent a key or an SVID",
    Role.ENFORCEMENT_POINT: "an enforcement point is a program, which has an SVID, a socket or a secret of its own",
}
"""Roles that no person has."""


def _pattern(pattern: str) -> Iterator[str]:
    try:
        require_pattern(pattern)
    except ValueError as error:
        yield f"`{pattern}`: {error}"


def _trust(settings: ServeSettings) -> Iterator[str]:
    if not settings.anchors and not set(_ways(settings)) - {"issuer_key"}:
        yield "no trust anchor: every chain would be refused"
    for number, anchor in enumerate(settings.anchors):
        if (anchor.jwk is None) == (anchor.jwk_file is None):
            yield f"anchor {number} needs `jwk` or `jwk_file`"
        if anchor.certifies and anchor.iss is None:
            yield f"anchor {number} certifies keys and names no `iss` that they may speak for"
    for number, agent in enumerate(settings.agents):
        if (agent.jwk is not None) + (agent.jwk_file is not None) + agent.svid + agent.custody != 1:
            yield f"agent {number} needs one of `jwk`, `jwk_file`, `svid` and `custody`"
    yield from _signals(settings)
    yield from _issuer(settings)
    if len(set(settings.labels)) != len(settings.labels):
        yield "a label stands twice"
    if settings.default_lifetime > settings.max_lifetime:
        yield "`default_lifetime` is above `max_lifetime`"


def _ways(settings: ServeSettings) -> list[str]:
    """Return the settings by which the issuer's key is held; all but `issuer_key` are trusted without an anchor."""
    names = ("issuer_key", "key_ring", "issuer_pkcs11", "issuer_vault")
    return [name for name in names if getattr(settings, name) is not None]


def _issuer(settings: ServeSettings) -> Iterator[str]:
    held = _ways(settings)
    if (settings.issuer is None) == bool(held):
        yield "`issuer` and `issuer_key` go together, or `issuer` and `key_ring`, `issuer_pkcs11` or `issuer_vault`"
    if len(held) > 1:
        named = " and ".join(f"`{name}`" for name in held)
        yield f"{named} are {len(held)} ways to hold the issuer's key; give one of them"
    if settings.passphrase_file is not None and not (settings.issuer_key or settings.key_ring or settings.custody):
        yield "`passphrase_file` is given, and there is no key that it could open"
    hsm = settings.issuer_pkcs11
    if hsm is not None and hsm.key_label is None and hsm.key_id is None:
        yield "`issuer_pkcs11` names no key: it needs `key_label` or `key_id`"


def _signals(settings: ServeSettings) -> Iterator[str]:
    allowed: dict[str, object] = {}
    for number, signal in enumerate(settings.signals):
        if (signal.jwk is None) == (signal.jwk_file is None):
            yield f"signal {number} needs `jwk` or `jwk_file`"
        if allowed.setdefault(signal.iss, (signal.may, signal.trust_domains)) != (signal.may, signal.trust_domains):
            yield f"two keys of the transmitter `{signal.iss}` may signal different things"
    if settings.signals and not any(Role.OPERATOR in caller.roles for caller in settings.callers):
        yield "signals are taken from operators, and no caller is one"


def _callers(settings: ServeSettings) -> Iterator[str]:
    if not settings.callers:
        yield "no caller: nobody could call"
    for name, count in Counter(caller.name for caller in settings.callers).items():
        if count > 1:
            yield f"the name `{name}` stands {count} times among the callers"
    secrets = Counter(credential.sha256 for caller in settings.callers for credential in caller.credentials)
    if any(count > 1 for count in secrets.values()):
        yield "two credentials are the same"
    for caller in settings.callers:
        yield from _caller(caller)
    if settings.max_calls_per_caller >= settings.max_concurrent_rpcs > 1 and len(settings.callers) > 1:
        yield "`max_calls_per_caller` is not below `max_concurrent_rpcs`: one caller could take every place"
    if settings.sockets is None and any(caller.socket for caller in settings.callers):
        yield "a caller has a socket, and `sockets` names no directory"


def _caller(caller: CallerSettings) -> Iterator[str]:
    name = caller.name
    if not caller.credentials and not caller.socket and caller.spiffe is None and caller.oidc is None:
        yield f"caller `{name}` has neither a credential, a socket, a SPIFFE id nor `oidc`"
    if caller.audience is None and not ALLOWED["Check"].isdisjoint(caller.roles):
        yield f"caller `{name}` may check and has no audience: a proof made for another would be taken from it"
    keys = [key for key in (caller.jwk, caller.jwk_file, caller.thumbprint) if key is not None]
    if len(keys) > 1:
        yield f"caller `{name}` has more than one of `jwk`, `jwk_file` and `thumbprint`"
    if keys and caller.roles.isdisjoint({Role.AGENT, Role.APPROVER}):
        yield f"caller `{name}` has a key of its own and is no agent and no approver"
    if caller.vouches and Role.ENFORCEMENT_POINT not in caller.roles:
        yield f"caller `{name}` vouches for others and is no enforcement point"
    for pattern in caller.vouches:
        yield from _pattern(pattern)
    if keys and caller.of_many:
        yield f"caller `{name}` has one key and stands for many"
    yield from _person(caller)
    if caller.uid is not None and not caller.socket:
        yield f"caller `{name}` has a `uid` and no socket that could be given to it"
    if caller.socket and Role.AGENT in caller.roles and not keys and not caller.custody:
        yield f"caller `{name}` is an agent on a socket of its own, and has no key for the socket to prove"


def _files(settings: ServeSettings) -> Iterator[str]:
    for key in (settings.tls_key, settings.issuer_key):
        if key is not None:
            yield from _private(key, "key file")
    if settings.passphrase_file is not None:
        yield from _private(settings.passphrase_file, "passphrase file")
    if settings.custody is not None and settings.custody.exists():
        yield from _private(settings.custody, "custody directory")
    if settings.issuer_pkcs11 is not None:
        yield from _private(settings.issuer_pkcs11.pin_file, "PIN file")
    if settings.issuer_vault is not None:
        yield from _private(settings.issuer_vault.token_file, "Vault token file")
    for plain in (settings.tls_cert, settings.catalogue):
        if plain is not None and not plain.is_file():
            yield f"no file `{plain}`"
    if settings.sockets is not None and any(caller.socket for caller in settings.callers):
        yield from _socket_directory(settings)


def _socket_directory(settings: ServeSettings) -> Iterator[str]:
    directory = settings.sockets or Path()
    callers = [caller for caller in settings.callers if caller.socket]
    if directory.exists():
        if not directory.is_dir():
            yield f"`{directory}` is no directory"
            return
        passing = 0o011 if any(caller.uid is not None for caller in callers) else 0  # others may go through, no more
        yield from _private(directory, "socket directory", passing)
        if passing and not directory.stat().st_mode & 0o001:
            yield f"socket directory `{directory}` lets no other uid through to its socket: its mode must be 0711"
    for caller in callers:
        path = socket_path(settings, caller.name)
        if len(bytes(path)) > MAX_SOCKET_PATH:
            yield f"the path `{path}` is longer than {MAX_SOCKET_PATH} bytes"


def _private(path: Path, what: str, passing: int = 0) -> Iterator[str]:
    try:
        found = path.stat()
    except OSError as error:
        yield f"{what} `{path}`: {error.strerror}"
        return
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077 & ~passing:
        yield f"{what} `{path}` is open to others: its mode is {mode:04o}"
    if found.st_uid not in {os.geteuid(), ROOT}:
        yield f"{what} `{path}` belongs to somebody else: uid {found.st_uid}"
