"""What is watched and what is told, to the wire and back.

The law of this file: a chain is watched or the ledger is, never both in one stream. A standing that is not understood
does not stand.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from chain.desk import Presented
from chain.errors import InvalidRequestError
from chain.reason import Reason
from chain.v1 import watch_pb2 as pb
from chain.watch import STANDS, Stand, Told, fallen
from chain.wire.asking import chain_from, chain_to
from chain.wire.reason import NUMBERS, reason_of

HEARTBEAT = 5.0
"""Seconds between heartbeats where nobody asks for another pace."""

MIN_HEARTBEAT = 0.1
MAX_HEARTBEAT = 60.0
"""Seconds: more often is no news, more seldom tells nobody that a stream is dead."""


class Watched(NamedTuple):
    """What a stream tells.

    Attributes:
        after: the last revision that was seen; None for what comes from now on.
        kinds: of records; empty for all.
        chain: only how this chain stands; None for the ledger.
        until_now: end once all up to now was told.
        heartbeat: seconds between two.
    """

    after: int | None = None
    kinds: tuple[str, ...] = ()
    chain: Presented | None = None
    until_now: bool = False
    heartbeat: float = HEARTBEAT


class Beat(NamedTuple):
    """Nothing happened up to a revision."""

    revision: int


News: TypeAlias = Told | Beat | Stand
"""One thing that is told."""


def watch_to(watched: Watched) -> pb.WatchRequest:
    """Return the message that asks for a stream."""
    return pb.WatchRequest(
        after=watched.after,
        kinds=watched.kinds,
        chain=None if watched.chain is None else chain_to(watched.chain),
        until_now=watched.until_now,
        heartbeat_ms=round(watched.heartbeat * 1000),
    )


def watch_from(message: pb.WatchRequest) -> Watched:
    """Return what a message asks to be told.

    Raises:
        InvalidRequestError: a heartbeat out of bounds, or a chain together with a cursor or kinds.
    """
    heartbeat = message.heartbeat_ms / 1000 or HEARTBEAT
    if not MIN_HEARTBEAT <= heartbeat <= MAX_HEARTBEAT:
        bounds = f"{MIN_HEARTBEAT * 1000:.0f} to {MAX_HEARTBEAT * 1000:.0f}"
        raise InvalidRequestError(f"a heartbeat comes every {bounds} ms")
    chain = chain_from(message.chain) if message.HasField("chain") else None
    after = message.after if message.HasField("after") else None
    if chain is not None and (message.kinds or after is not None):
        raise InvalidRequestError("how a chain stands has neither kinds nor a revision to go on from")
    return Watched(after, tuple(message.kinds), chain, message.until_now, heartbeat)


def told_to(told: Told) -> pb.WatchResponse:
    """Return the message of a record."""
    record = pb.LedgerRecord(kind=told.kind, time_ms=told.time, body_json=told.body)
    return pb.WatchResponse(revision=told.revision, record=record)


def beat_to(revision: int, now: float) -> pb.WatchResponse:
    """Return a heartbeat; `now` in seconds since the epoch."""
    return pb.WatchResponse(revision=revision, heartbeat=pb.Heartbeat(time_ms=int(now * 1000)))


def stand_to(stand: Stand, revision: int) -> pb.WatchResponse:
    """Return the message of how a chain stands."""
    standing = pb.ChainStanding(stands=stand.stands, reason=NUMBERS[stand.reason], hop=stand.hop, detail=stand.detail)
    return pb.WatchResponse(revision=revision, standing=standing)


def news_from(message: pb.WatchResponse) -> News:
    """Return what a message tells.

    Raises:
        ValueError: nothing that is known: to skip it would be to lose it.
    """
    which = message.WhichOneof("told")
    if which == "record":
        record = message.record
        return Told(message.revision, record.kind, record.time_ms, record.body_json)
    if which == "heartbeat":
        return Beat(message.revision)
    if which == "standing":
        return _stand(message.standing)
    raise ValueError("a watch told nothing that is known")


def _stand(message: pb.ChainStanding) -> Stand:
    reason = reason_of(message.reason)
    if message.stands:
        return STANDS if reason is Reason.ALLOWED else fallen(Reason.INTERNAL, "the standing contradicts itself")
    hop = message.hop if message.HasField("hop") else None
    return fallen(Reason.INTERNAL if reason is Reason.ALLOWED else reason, message.detail, hop)
