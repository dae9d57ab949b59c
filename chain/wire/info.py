"""What a server says of itself, to the wire and back."""

from __future__ import annotations

from dataclasses import dataclass

from chain.configuration import Configuration
from chain.v1 import info_pb2


@dataclass(frozen=True, slots=True)
class Bounds:
    """What requests are held to; bytes, counts and seconds."""

    token_bytes: int
    chain_bytes: int
    depth: int
    message_bytes: int
    batch_items: int
    lifetime_seconds: int
    skew_seconds: int


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a client needs to sign tokens and proofs that the server accepts.

    Attributes:
        version: of the software.
        issuer: `iss` of the roots that it issues.
        audience: what a proof for `Check` names, made for the asking caller; empty where it has none.
        authority: what a proof for `Delegate` or `Revoke` names.
        trust_anchors: thumbprints of the keys that sign roots.
        bounds: see `Bounds`.
        profile: `sound` or `aat-01`.
        labels: data labels, lowest first.
        revision: the ledger's last.
        all_synced: whether every record survives power loss before its answer leaves, reads' included.
        reason_version: highest number of the vocabulary.
        time_ms: the server's clock, milliseconds since the epoch.
        configuration: which controls are on; None for who is no auditor or operator.
    """

    version: str
    issuer: str
    audience: str
    authority: str
    trust_anchors: tuple[str, ...]
    bounds: Bounds
    profile: str
    labels: tuple[str, ...]
    revision: int
    all_synced: bool
    reason_version: int
    time_ms: int
    configuration: Configuration | None = None


def info_to(info: ServerInfo) -> info_pb2.GetServerInfoResponse:
    """Return the message of a server's info."""
    bounds = info.bounds
    return info_pb2.GetServerInfoResponse(
        version=info.version,
        issuer=info.issuer,
        audience=info.audience,
        authority=info.authority,
        trust_anchors=info.trust_anchors,
        bounds=info_pb2.Bounds(
            token_bytes=bounds.token_bytes,
            chain_bytes=bounds.chain_bytes,
            depth=bounds.depth,
            message_bytes=bounds.message_bytes,
            batch_items=bounds.batch_items,
            lifetime_seconds=bounds.lifetime_seconds,
            skew_seconds=bounds.skew_seconds,
        ),
        profile=info.profile,
        labels=info.labels,
        revision=info.revision,
        durability=info_pb2.DURABILITY_ALL_SYNCED if info.all_synced else info_pb2.DURABILITY_READS_WRITTEN,
        reason_version=info.reason_version,
        time_ms=info.time_ms,
        configuration=None if info.configuration is None else _configuration_to(info.configuration),
    )


def info_from(message: info_pb2.GetServerInfoResponse) -> ServerInfo:
    """Return what a message says of its server; a durability that is not known is the weaker one."""
    bounds = message.bounds
    told = message.configuration if message.HasField("configuration") else None
    synced = message.durability == info_pb2.DURABILITY_ALL_SYNCED
    return ServerInfo(
        version=message.version,
        issuer=message.issuer,
        audience=message.audience,
        authority=message.authority,
        trust_anchors=tuple(message.trust_anchors),
        bounds=Bounds(
            token_bytes=bounds.token_bytes,
            chain_bytes=bounds.chain_bytes,
            depth=bounds.depth,
            message_bytes=bounds.message_bytes,
            batch_items=bounds.batch_items,
            lifetime_seconds=bounds.lifetime_seconds,
            skew_seconds=bounds.skew_seconds,
        ),
        profile=message.profile,
        labels=tuple(message.labels),
        revision=message.revision,
        all_synced=synced,
        reason_version=message.reason_version,
        time_ms=message.time_ms,
        configuration=None if told is None else _configuration_from(told, message.profile, all_synced=synced),
    )


def _configuration_to(one: Configuration) -> info_pb2.Configuration:
    return info_pb2.Configuration(
        policy_digest=one.policy,
        gates=one.gates,
        shadow=one.shadow,
        ledger_kept=one.kept,
        tls=one.tls,
        mutual_tls=one.mutual_tls,
        sockets=one.sockets,
        workload_tokens=one.tokens,
        people=one.people,
        custody=one.custody,
        keys=one.keys,
        pace_calls=one.calls,
        pace_denials=one.denials,
        pace_delegations=one.delegations,
        pace_outstanding=one.outstanding,
        critical_lifetime_seconds=one.lifetime,
        roots_must_name=one.must_name,
        tools=one.tools,
        status_list=one.status_list,
        transmitters=one.transmitters,
        vouching=one.vouching,
        checkpoints=one.checkpoints,
        witnessed=one.witnessed,
    )


def _configuration_from(message: info_pb2.Configuration, profile: str, *, all_synced: bool) -> Configuration:
    """Return a configuration; its profile and durability stand in the answer beside it."""
    return Configuration(
        policy=message.policy_digest,
        gates=message.gates,
        shadow=tuple(message.shadow),
        profile=profile,
        kept=message.ledger_kept,
        all_synced=all_synced,
        tls=message.tls,
        mutual_tls=message.mutual_tls,
        sockets=message.sockets,
        tokens=message.workload_tokens,
        people=message.people,
        custody=message.custody,
        keys=dict(message.keys),
        calls=message.pace_calls,
        denials=message.pace_denials,
        delegations=message.pace_delegations,
        outstanding=message.pace_outstanding,
        lifetime=message.critical_lifetime_seconds,
        must_name=tuple(message.roots_must_name),
        tools=message.tools,
        status_list=message.status_list,
        transmitters=message.transmitters,
        vouching=message.vouching,
        checkpoints=message.checkpoints,
        witnessed=message.witnessed,
    )
