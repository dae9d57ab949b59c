"""ServerInfoService: what a client needs in order to sign what this server accepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from chain.authority import Authority
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
        authority, settings = self._authority, self._settings
        rules = authority.verifier.rules
        return info_to(
            ServerInfo(
                version=VERSION,
                issuer=authority.issuer,
                audience=call.caller.audience or "",
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
                time_ms=int(self._clock() * 1000),
            )
        )
