"""ServerInfoService: what a client needs in order to sign what this server accepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from chain.authority import Authority
from chain.caller import ALLOWED, Caller
from chain.configuration import Configuration
from chain.service.batch import MAX_ITEMS
from chain.service.gate import Call
from chain.service.settings import ServeSettings
from chain.state import MAX_SKEW
from chain.token import MAX_CHAIN, MAX_TOKEN
from chain.v1 import info_pb2 as pb
from chain.wire.info import Bounds, ServerInfo, info_to
from chain.wire.reason import HIGHEST


def _version() -> str:
    try:
        return version("chain-authz")
    except PackageNotFoundError:  # run from a source tree
        return "0+source"


VERSION = _version()
"""Of the software, as its distribution states it."""


class Info:
    """The method of ServerInfoService."""

    def __init__(self, authority: Authority, settings: ServeSettings, clock: Callable[[], float]) -> None:
        """Tell of an authority as it is configured; `clock` gives seconds since the epoch."""
        self._authority = authority
        self._settings = settings
        self._clock = clock

    def methods(self) -> Mapping[str, Any]:
        """Return the handler of each method."""
        return {"GetServerInfo": self._get}

    async def _get(self, _message: pb.GetServerInfoRequest, call: Call) -> pb.GetServerInfoResponse:
        return info_to(describe(self._authority, self._settings, call.caller, self._clock()))


def describe(authority: Authority, settings: ServeSettings, caller: Caller, now: float) -> ServerInfo:
    """Return what an authority says of itself to a caller; who may read its policy is told how it is configured."""
    rules = authority.verifier.rules
    return ServerInfo(
        version=VERSION,
        issuer=authority.issuer,
        audience=caller.audience or "",
        authority=authority.audience,
        trust_anchors=tuple(anchor.key.thumbprint for anchor in authority.verifier.anchors),
        bounds=Bounds(
            token_bytes=MAX_TOKEN,
            chain_bytes=MAX_CHAIN,
            depth=rules.max_depth + 1,
            message_bytes=settings.max_message_bytes,
            batch_items=MAX_ITEMS,
            lifetime_seconds=settings.max_lifetime,
            skew_seconds=MAX_SKEW,
        ),
        profile=rules.profile.value,
        labels=rules.labels,
        revision=authority.revision,
        all_synced=settings.all_synced,
        reason_version=HIGHEST,
        time_ms=int(now * 1000),
        configuration=None if caller.roles.isdisjoint(ALLOWED["GetPolicy"]) else _configuration(authority, settings),
    )


def _configuration(authority: Authority, settings: ServeSettings) -> Configuration:
    told, pace = settings.identity, settings.pace
    return Configuration(
        policy=authority.policies.digest,
        gates=authority.policies.gates,
        shadow=tuple(sorted(settings.shadow)),
        profile=settings.profile,
        kept=settings.ledger != "memory",
        all_synced=settings.all_synced,
        tls=settings.tls_cert is not None,
        mutual_tls=bool(settings.mtls_listen),
        sockets=any(caller.socket for caller in settings.callers),
        tokens=told is not None and bool(told.jwt_audience),
        people=told is not None and bool(told.oidc),
        custody=settings.custody is not None,
        keys=authority.keys.states,
        calls=pace.calls,
        denials=pace.denials,
        delegations=pace.delegations,
        outstanding=pace.outstanding,
        lifetime=min(settings.lifetimes.critical, settings.max_lifetime),
        must_name=tuple(sorted(settings.roots_must_name)),
        tools=authority.policies.tools,
        status_list=settings.status_list is not None,
        transmitters=len(settings.signals),
        vouching=sum(bool(caller.vouches) for caller in settings.callers),
        checkpoints=authority.audit.key is not None,
        witnessed=settings.checkpoints.copy_to is not None or bool(settings.checkpoints.witnesses),
    )
