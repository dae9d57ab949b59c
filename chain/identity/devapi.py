"""A development SPIFFE Workload API: one unix socket for each identity, each in a directory of its own.

The law of this file: the socket is the identity (gRPC tells Python no peer's uid), so only its owner may enter its
directory. Who sends no `workload.spiffe.io: true` is refused: a request forged through some proxy would lack it
(Workload API s3). A socket that somebody answers on is never taken over.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import grpc
from cryptography.hazmat.primitives.serialization import Encoding

from chain.errors import ConfigurationError
from chain.identity.devca import DevAuthority, Leaf
from chain.identity.stubs import HEADER, stubs
from chain.principal import parse_id

STREAMS = 64
"""Threads a socket, one for each stream that a workload follows; they are made when they are needed."""

PROBE = 0.5
"""Seconds to find out whether somebody answers on a socket that lies in the way."""

NOBODY = "+nobody"
"""Directory of a socket that has no identity; no path of an id has a plus sign."""

MAX_PATH = 107
"""Bytes of a unix socket's path on Linux, without the zero at its end."""


class _Servicer:
    """The Workload API as one identity sees it; or nobody, who is denied."""

    def __init__(
        self,
        authority: DevAuthority,
        name: str | None,
        dns: Sequence[str],
        changed: threading.Condition,
        pb: Any,  # noqa: ANN401 - generated
    ) -> None:
        self._authority, self._name, self._dns, self._changed, self._pb = authority, name, dns, changed, pb

    def FetchX509SVID(self, _request: object, context: Any) -> Iterator[Any]:  # noqa: ANN401, N802 - gRPC's own
        name = self._admit(context)
        for _ in self._moments(context, self._authority.ttl / 2):
            yield self._svid(self._authority.leaf(name, self._dns))

    def FetchX509Bundles(self, _request: object, context: Any) -> Iterator[Any]:  # noqa: ANN401, N802
        self._admit(context)
        for _ in self._moments(context, None):
            yield self._pb.X509BundlesResponse(bundles={self._domain: self._bundle()})

    def FetchJWTBundles(self, _request: object, context: Any) -> Iterator[Any]:  # noqa: ANN401, N802
        self._admit(context)
        for _ in self._moments(context, None):
            keys = json.dumps({"keys": [dict(key) for key in self._authority.jwt_keys]}).encode()
            yield self._pb.JWTBundlesResponse(bundles={self._domain: keys})

    def FetchJWTSVID(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802
        name = self._admit(context)
        if not request.audience:
            _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "a JWT-SVID needs an audience")
        if request.spiffe_id not in ("", name):
            _refuse(context, grpc.StatusCode.PERMISSION_DENIED, "no such identity for this workload")
        token = self._authority.token(name, request.audience)
        return self._pb.JWTSVIDResponse(svids=[self._pb.JWTSVID(spiffe_id=name, svid=token)])

    def ValidateJWTSVID(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802
        self._admit(context)
        try:
            claims = self._authority.claims(request.svid, request.audience)
        except ValueError as error:
            _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = self._pb.ValidateJWTSVIDResponse(spiffe_id=claims["sub"])
        response.claims.update(claims)
        return response

    @property
    def _domain(self) -> str:
        return f"spiffe://{self._authority.trust_domain}"

    def _bundle(self) -> bytes:
        return b"".join(one.public_bytes(Encoding.DER) for one in self._authority.authorities)

    def _svid(self, leaf: Leaf) -> Any:  # noqa: ANN401 - generated
        svid = self._pb.X509SVID(
            spiffe_id=leaf.id, x509_svid=leaf.certificate, x509_svid_key=leaf.key, bundle=self._bundle()
        )
        return self._pb.X509SVIDResponse(svids=[svid])

    def _admit(self, context: Any) -> str:  # noqa: ANN401
        if HEADER not in tuple(context.invocation_metadata()):
            _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "the security header `workload.spiffe.io` is missing")
        if self._name is None:
            _refuse(context, grpc.StatusCode.PERMISSION_DENIED, "no identity issued")
        return self._name

    def _moments(self, context: Any, every: float | None) -> Iterator[None]:  # noqa: ANN401
        """Yield now, after each rotation, and each time that `every` seconds are over, until the workload leaves."""
        context.add_callback(self._wake)
        while context.is_active():
            seen = self._authority.authorities
            yield
            with self._changed:
                self._changed.wait_for(lambda: self._over(context, seen), every)  # noqa: B023 - called before the next

    def _over(self, context: Any, seen: Sequence[object]) -> bool:  # noqa: ANN401
        return not context.is_active() or self._authority.authorities != seen

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _refuse(context: Any, code: grpc.StatusCode, why: str) -> NoReturn:  # noqa: ANN401
    context.abort(code, why)
    raise AssertionError  # not reached: abort raises


class DevWorkloadApi:
    """Serves a development trust domain from a directory."""

    def __init__(self, authority: DevAuthority, names: Sequence[str | None], dns: Mapping[str, Sequence[str]]) -> None:
        """Prepare to serve.

        Args:
            authority: makes the SVIDs.
            names: SPIFFE ids of the authority's trust domain; None for a socket that has none.
            dns: id -> DNS names of its X.509-SVIDs.

        Raises:
            ConfigurationError: the extra `spiffe` is not installed.
        """
        self._pb, self._rpc = stubs()
        self._authority, self._dns = authority, dns
        self._names = names
        self._changed = threading.Condition()
        self._servers: list[grpc.Server] = []
        self._made: list[Path] = []
        self.sockets: dict[str, Path] = {}

    def start(self, directory: Path) -> None:
        """Open the sockets: `DIR/<path, a plus sign for each slash>/api.sock`.

        Raises:
            ConfigurationError: the directory is open to others, or a socket is in use or cannot be made.
        """
        try:
            _private(directory, self._made)
            for name in self._names:
                folder = NOBODY if name is None else parse_id(name)[1][1:].replace("/", "+")
                self._open(directory / folder, name)
        except OSError as error:
            self.stop()
            raise ConfigurationError(f"`{directory}`: {error.strerror or error}") from None
        except ConfigurationError:
            self.stop()
            raise

    def rotate(self) -> None:
        """Sign with new keys, and send every workload a new SVID and bundle."""
        self._authority.rotate()
        with self._changed:
            self._changed.notify_all()

    def stop(self) -> None:
        """Answer nobody any more; remove the sockets, and the directories that were made here if they are empty."""
        for stopping in [server.stop(None) for server in self._servers]:
            stopping.wait()
        for path in self.sockets.values():
            with suppress(OSError):
                path.unlink(missing_ok=True)
        for directory in reversed(self._made):
            with suppress(OSError):  # somebody put something there
                directory.rmdir()
        self._made = []

    def _open(self, directory: Path, name: str | None) -> None:
        path = directory / "api.sock"
        if len(os.fsencode(path.absolute())) > MAX_PATH:
            raise ConfigurationError(f"socket `{path}`: more than {MAX_PATH} bytes; take a shorter directory")
        _private(directory, self._made)
        _clear(path)
        threads = ThreadPoolExecutor(STREAMS, thread_name_prefix="dev-identity")
        server = grpc.server(threads, maximum_concurrent_rpcs=STREAMS)  # one more is refused, and does not hang
        servicer = _Servicer(self._authority, name, self._dns.get(name or "", ()), self._changed, self._pb)
        self._rpc.add_SpiffeWorkloadAPIServicer_to_server(servicer, server)
        try:
            server.add_insecure_port(f"unix:{path.absolute()}")
        except RuntimeError:  # all that grpc says
            raise ConfigurationError(f"socket `{path}` cannot be bound") from None
        path.chmod(0o600)
        server.start()
        self._servers.append(server)
        self.sockets[name or ""] = path.absolute()


def _private(directory: Path, made: list[Path]) -> None:
    """Make a directory that only its owner may enter, or see that it is one; note in `made` what had to be made."""
    for one in reversed((directory, *directory.parents)):
        if not one.exists():
            with suppress(FileExistsError):
                one.mkdir(mode=0o700)
                made.append(one)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigurationError(f"`{directory}` lies in the way and is no directory")
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConfigurationError(f"`{directory}` must be yours alone (mode 0700): who enters it has its identities")


def _clear(path: Path) -> None:
    """Remove a socket that a process which is gone left behind."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigurationError(f"`{path}` lies in the way and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PROBE)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise ConfigurationError(f"socket `{path}` is in use")
