"""One line of JSON for each call: who, what, how it ended, which decisions. Never a secret, token, proof or argument.

The law of this file: a line holds the fields named here and no others. What it says of a caller's request is chosen
by name; nothing is formatted from messages. Who was not let in is told of in the sentence that he was refused with: it
names what a credential proved, and never the credential.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from traceback import extract_tb
from typing import TextIO

import msgspec

LEVELS = ("debug", "info", "warning", "error")
"""Lowest first."""

MAX_DECISIONS = 100
"""Ids of decisions in one line; the count is exact all the same."""

_encode = msgspec.json.Encoder().encode


class CallLine(msgspec.Struct, omit_defaults=True):
    """A call that ended.

    Attributes:
        time: seconds since the epoch.
        request: the request id, by which client and operator name the call.
        caller: name of the authenticated caller; empty where there is none.
        method: name of the RPC.
        code: gRPC status.
        micros: how long it took, microseconds.
        decisions: ids of the decisions made, the first `MAX_DECISIONS`.
        decided: how many there are.
        level: of the line.
        refused: why the caller is not known.
    """

    time: float
    request: str
    caller: str
    method: str
    code: str
    micros: int
    decisions: Sequence[str] = ()
    decided: int = 0
    level: str = "info"
    refused: str = ""


class EventLine(msgspec.Struct, omit_defaults=True):
    """Something that happened to the server itself.

    Attributes:
        time: seconds since the epoch.
        event: what, in a word or two.
        detail: facts by name.
        level: of the line.
    """

    time: float
    event: str
    detail: dict[str, str | int | list[str]] = {}
    level: str = "info"


class CallLog:
    """Writes lines to a text stream, each at once."""

    def __init__(self, stream: TextIO, clock: Callable[[], float], level: str = "info") -> None:
        """Write lines of `level` and above; `clock` gives seconds since the epoch."""
        self._stream = stream
        self._clock = clock
        self._lowest = LEVELS.index(level)
        self.calls = self._lowest <= LEVELS.index("info")

    def call(self, line: CallLine) -> None:
        """Write the line of a call."""
        self._write(line)

    def event(self, event: str, level: str = "info", **detail: str | int | list[str]) -> None:
        """Write the line of an event."""
        if LEVELS.index(level) >= self._lowest:
            self._write(EventLine(self._clock(), event, detail, level))

    def failure(self, method: str, request: str, error: BaseException) -> None:
        """Write where an unexpected error arose; not its text, which may repeat what was sent."""
        places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in extract_tb(error.__traceback__)]
        self.event("failed", "error", method=method, request=request, error=type(error).__name__, at=places)

    def _write(self, line: CallLine | EventLine) -> None:
        with suppress(
            OSError, ValueError
        ):  # a full disk or a closed pipe must not fail a call: the ledger has the record
            self._stream.write(_encode(line).decode() + "\n")
            self._stream.flush()
