"""Identities from the SPIFFE Workload API: one's own SVID, and the bundles of the domains that one knows.

The law of this file: the agent is asked on threads of their own and `current` never waits. What a lost agent last said
stands until it expires; what it takes back (`PERMISSION_DENIED`) is gone at once (Workload API s5.2.1); a message that
cannot be read changes nothing. Everything is verified here again: the library that ships the stubs is more lenient.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import grpc
from cryptography import x509

from chain.errors import ConfigurationError, UnreachableError
from chain.identity.bundle import authorities, jwt_keys
from chain.identity.material import Bundles, Material, PublicJwk, Report, Svid, TrustBundle, quiet
from chain.identity.own import from_der, split_der
from chain.identity.stubs import HEADER, stubs
from chain.principal import is_trust_domain

DEADLINE = 10.0
"""Seconds for the first answer: an agent that has just started learns its entries in about five."""

PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds before the first and each further attempt to reach a lost agent; the last one stays."""

_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True)
class _Heard:
    """What both streams said last: one's own SVID, authorities and keys by trust domain."""

    svid: Svid | None = None
    authorities: Mapping[str, tuple[x509.Certificate, ...]] = field(default_factory=dict)
    keys: Mapping[str, Mapping[str, PublicJwk]] = field(default_factory=dict)


class WorkloadSource:
    """What the Workload API says, followed. Usable from many threads."""

    def __init__(
        self,
        address: str,
        clock: Callable[[], float],
        *,
        spiffe_id: str | None = None,
        deadline: float = DEADLINE,
        report: Report = quiet,
    ) -> None:
        """Ask for the first time, and wait for the answer.

        Args:
            address: `unix:PATH`.
            clock: seconds since the epoch.
            spiffe_id: which SVID to take where there are several; absent: the first, the default (s5.2.1).
            deadline: seconds to wait.
            report: takes what operators should know.

        Raises:
            ConfigurationError: the address is no unix socket's, or the extra `spiffe` is not installed.
            UnreachableError: nobody answered in time, or with no identity for this workload.
        """
        if not address.startswith("unix:") or address == "unix:":
            raise ConfigurationError(f"`{address}` is no address of a Workload API; it reads `unix:PATH`")
        self._pb, rpc = stubs()
        self._address, self._clock, self._wanted, self._report = address, clock, spiffe_id, report
        self._lock = threading.Lock()
        self._material = Material(None, {}, 0)
        self._heard = _Heard()
        self._why = "nobody answered"
        self._told: dict[str, str] = {}
        self._closed = threading.Event()
        self._asked = {"FetchX509SVID": threading.Event(), "FetchJWTBundles": threading.Event()}
        self._calls: dict[str, Any] = {}
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._api: Any = rpc.SpiffeWorkloadAPIStub(self._channel)
        follow = (
            ("FetchX509SVID", self._pb.X509SVIDRequest(), self._take_svids),
            ("FetchJWTBundles", self._pb.JWTBundlesRequest(), self._take_keys),
        )
        self._threads = [
            threading.Thread(target=partial(self._follow, *each), name=f"workload-api-{each[0]}", daemon=True)
            for each in follow
        ]
        for thread in self._threads:
            thread.start()
        end = time.monotonic() + deadline
        if not all(asked.wait(max(0.0, end - time.monotonic())) for asked in self._asked.values()):
            why = self._why
            self.close()
            raise UnreachableError(f"Workload API at `{address}`: {why}")

    def current(self) -> Material:
        """Return what is valid now."""
        with self._lock:
            svid = self._material.svid
            if svid is not None and svid.expires <= self._clock():
                self._material = replace(self._material, svid=None, version=self._material.version + 1)
            return self._material

    def fetch_jwt_svid(self, audience: str, deadline: float = DEADLINE) -> str:
        """Return a JWT-SVID of one's own for that audience; blocks.

        Raises:
            UnreachableError: the agent did not give one in time.
        """
        svid = self.current().svid
        wanted = svid.id if svid is not None else self._wanted or ""
        request = self._pb.JWTSVIDRequest(audience=[audience], spiffe_id=wanted)
        try:
            response = self._api.FetchJWTSVID(request, metadata=(HEADER,), timeout=deadline)
        except grpc.RpcError as error:
            raise UnreachableError(f"Workload API at `{self._address}`: {_said(error.code())}") from None
        if not response.svids:
            raise UnreachableError(f"Workload API at `{self._address}`: it gave no JWT-SVID")
        token: str = response.svids[0].svid
        return token

    def close(self) -> None:
        """Follow no further updates."""
        self._closed.set()
        with self._lock:
            calls = list(self._calls.values())
        for call in calls:
            call.cancel()
        for thread in self._threads:
            thread.join()
        self._channel.close()

    def _follow(self, method: str, request: object, take: Callable[[Any], None]) -> None:
        """Read one stream after the other, until closed."""
        attempt = 0
        while not self._closed.is_set():
            call = getattr(self._api, method)(request, metadata=(HEADER,))
            with self._lock:
                self._calls[method] = call
            if self._closed.is_set():
                call.cancel()
            code = grpc.StatusCode.UNAVAILABLE  # the stream ended without a word
            try:
                for response in call:
                    attempt = 0
                    if self._read(method, response, take):
                        self._asked[method].set()
            except grpc.RpcError as error:
                code = error.code()
            if self._closed.is_set():
                return
            self._lost(method, code)
            self._closed.wait(PAUSES[min(attempt, len(PAUSES) - 1)])
            attempt += 1

    def _read(self, method: str, response: Any, take: Callable[[Any], None]) -> bool:  # noqa: ANN401 - generated
        try:
            take(response)
        except ValueError as error:
            self._why = f"what it sent is refused: {error}"
            self._tell(method, self._why)
            return False
        if method in self._told:
            self._tell(method, "all is well again")
            del self._told[method]
        return True

    def _tell(self, method: str, said: str) -> None:
        """Report what is new: an agent that stays away is asked every few seconds, and told of once."""
        if self._told.get(method) != said:
            self._told[method] = said
            self._report(f"{method} of `{self._address}`: {said}")

    def _lost(self, method: str, code: grpc.StatusCode) -> None:
        if self._asked[method].is_set():
            self._tell(method, _said(code))
        if method == "FetchJWTBundles" and code in _NO_KEYS:
            self._put(keys={})
            self._asked[method].set()
        elif code is grpc.StatusCode.PERMISSION_DENIED:
            self._why = _said(code)
            self._put(svid=None, authorities={})
        elif code is not grpc.StatusCode.CANCELLED and not self._asked[method].is_set():
            self._why = _said(code)

    def _take_svids(self, response: Any) -> None:  # noqa: ANN401 - generated
        if not response.svids:
            raise ValueError("no SVID")
        chosen = [one for one in response.svids if self._wanted in (None, one.spiffe_id)]
        if not chosen:
            raise ValueError(f"no SVID of `{self._wanted}`")
        svid = from_der(chosen[0].x509_svid, chosen[0].x509_svid_key, chosen[0].spiffe_id)
        own, federated = _domain(svid.id), {_domain(one): data for one, data in response.federated_bundles.items()}
        found = {name: authorities(name, split_der(data)) if data else () for name, data in federated.items()}
        found[own] = authorities(own, split_der(chosen[0].bundle))
        if svid.expires <= self._clock():
            raise ValueError("the SVID is expired")
        self._put(svid=svid, authorities=found)

    def _take_keys(self, response: Any) -> None:  # noqa: ANN401 - generated
        self._put(keys={_domain(name): jwt_keys(data) for name, data in response.bundles.items()})

    def _put(self, **changes: Any) -> None:  # noqa: ANN401 - members of `_Heard`
        with self._lock:
            self._heard = replace(self._heard, **changes)
            held, bundles = self._material, _joined(self._heard)
            if self._heard.svid != held.svid or bundles != held.bundles:
                self._material = Material(self._heard.svid, bundles, held.version + 1)


_NO_KEYS = (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.PERMISSION_DENIED)
"""An agent that gives X.509-SVIDs alone: the JWT half of the Workload API may be left out (s4.4)."""

_SAID = {
    grpc.StatusCode.UNAVAILABLE: "nobody answers there",
    grpc.StatusCode.DEADLINE_EXCEEDED: "nobody answers there in time",
    grpc.StatusCode.PERMISSION_DENIED: "it has no identity for this workload (PERMISSION_DENIED)",
    grpc.StatusCode.INVALID_ARGUMENT: "it refuses the request (INVALID_ARGUMENT)",
}


def _said(code: grpc.StatusCode) -> str:
    return _SAID.get(code, f"it failed ({code.name})")


def _joined(heard: _Heard) -> Bundles:
    return {
        name: TrustBundle(name, heard.authorities.get(name, ()), heard.keys.get(name, {}))
        for name in heard.authorities.keys() | heard.keys.keys()
    }


def _domain(name: str) -> str:
    """Return the trust domain of an id, or of the id of a trust domain."""
    scheme, _, rest = name.partition("://")
    domain = rest.partition("/")[0]
    if scheme != "spiffe" or not is_trust_domain(domain):
        raise ValueError("a bundle is of no trust domain")
    return domain
