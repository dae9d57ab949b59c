"""The graph of delegations, held by a process of its own.

The law of this file: what a question costs, in memory and in time, is not taken from those who ask whether a call is
allowed. The process is started by the first question, is given the records that came since the last one, and is ended
when nobody asks any more, when it takes too long, and with the server.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock, Timer
from time import monotonic, perf_counter, sleep
from typing import BinaryIO, NoReturn, cast

import msgspec

import chain
from chain.errors import (
    ChainError,
    InvalidRequestError,
    NotFoundError,
    ResourceExhaustedError,
    UnreachableError,
)
from chain.graph import worker
from chain.graph.worker import FULL, QUESTION, RECORD, Fault, Question, Reply, frame, unframed
from chain.inquiry import Answer, Asked, Page
from chain.reason import Reason
from chain.watching import Watching

PATIENCE = 55.0
"""Seconds that an answer may take, with the records that have to be read for it."""

READING = 30.0
"""Seconds that records are handed over for one question; the next one goes on with those that follow."""

PART = 250
"""Records that are read at once; between two parts this thread sleeps for as long as it worked."""

IDLE = 300.0
"""Seconds after which a process that nobody asks is ended, and its memory given back."""

INHERITED = ("PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "LC_ALL")
"""What the process sees of the server's environment: where Python is, and nothing of keys or of where they are."""

_ERRORS: dict[str, type[ChainError]] = {
    kind.reason.value: kind for kind in (InvalidRequestError, NotFoundError, ResourceExhaustedError)
}
"""Code of a fault -> what it is here; anything else is an error of ours."""

_decode = msgspec.json.Decoder(Reply).decode


class Projector:
    """Answers in a process of its own. `ask` and `rest` are called by one thread, `close` by any."""

    def __init__(self, watching: Watching, memory: int, room: int) -> None:
        """Answer from what a ledger holds.

        Args:
            watching: reads it.
            memory: bytes that the process takes at most.
            room: bytes that an answer has at most, since this process takes it in.
        """
        self._watching = watching
        self._memory = memory
        self._room = room
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._fed = 0
        self._last = 0.0
        self._closed = False

    def ask(self, asked: Asked, page: Page, now: float) -> Answer:
        """Return one page of an answer.

        Args:
            asked: the question.
            page: which part.
            now: seconds; the present.

        Raises:
            InvalidRequestError: the question or the page is not well formed.
            NotFoundError: nobody is called so.
            ResourceExhaustedError: it takes more memory, time or processes than there are.
            StoreError: the ledger could not be read.
            UnreachableError: the record is still being read, or the server stops.
        """
        process, began = self._started(), monotonic()
        late = Timer(PATIENCE, process.kill)
        late.start()
        try:
            reply = self._exchange(process, Question(asked, page, now, self._room))
        finally:
            late.cancel()
            self._last = monotonic()
        if reply is not None and reply.answer is not None:
            return reply.answer
        if reply is None or reply.fault is None:
            self.end()
            raise self._lost(PATIENCE if self._last - began >= PATIENCE else None)
        return self._refused(reply.fault)

    def rest(self) -> None:
        """End the process if nobody asked for a while."""
        if self._process is not None and monotonic() - self._last > IDLE:
            self.end()

    def close(self) -> None:
        """Let no process go on, so that whoever waits for an answer hears that there is none; `end` is still called."""
        with self._lock:
            self._closed = True
            process = self._process  # `end` may take it away meanwhile
        if process is not None:
            process.kill()

    def end(self) -> None:
        """End the process, and let everything go that it was given."""
        process, self._process, self._fed = self._process, None, 0
        if process is not None:
            process.kill()
            with suppress(OSError):  # what was not written yet has no reader
                process.communicate()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.end()
        with self._lock:
            if self._closed:
                raise UnreachableError("the server stops")
            if self._process is None:
                try:
                    self._process = _start(self._memory)
                except OSError as error:
                    raise ResourceExhaustedError(f"no process can be started to answer: {error.strerror}") from None
            return self._process

    def _exchange(self, process: subprocess.Popen[bytes], question: Question) -> Reply | None:
        """Hand in what came since, and the question; return what is answered, or None where the process ended."""
        source, sink = cast("BinaryIO", process.stdin), cast("BinaryIO", process.stdout)
        for frames in self._told(question):
            try:
                source.writelines(frames)
                source.flush()
            except OSError:  # it ended, and may have said why; that the ledger cannot be read is another matter
                break
        data = unframed(sink)
        return None if data is None else _decode(data)

    def _told(self, question: Question) -> Iterator[list[bytes]]:
        """Yield what came since, in parts, and the question.

        Raises:
            UnreachableError: there is much to be told; what was told stays so, and whoever asks again is further on.
        """
        goal, until = self._watching.synced, monotonic() + READING
        while self._fed < goal:
            began = perf_counter()
            if monotonic() > until:
                raise UnreachableError("the record is being read, which takes longer; ask again")
            lines, revision = self._watching.lines(self._fed, PART)
            yield [frame(RECORD + msgspec.json.encode(line)) for line in lines]
            self._fed = revision
            sleep(perf_counter() - began)
        yield [frame(QUESTION + msgspec.json.encode(question))]

    def _refused(self, fault: Fault) -> NoReturn:
        if fault.reason == Reason.RESOURCE_EXHAUSTED:
            self.end()
        kind = _ERRORS.get(fault.reason)
        if kind is None:
            raise RuntimeError(fault.detail)  # ours, with where it arose: told to operators, and to nobody else
        raise kind(fault.detail)

    def _lost(self, patience: float | None) -> ChainError:
        """Return why no answer came: its time was over, or somebody ended the process, as a system short of memory."""
        if self._closed:
            return UnreachableError("the server stops")
        if patience is not None:
            return ResourceExhaustedError(f"the answer took more than {patience:.0f} s; `chain graph` has more time")
        return ResourceExhaustedError(f"the process that answers ended in the midst of it; it may be that {FULL}")


def _start(memory: int) -> subprocess.Popen[bytes]:
    """Start a process that imports this very package, from wherever it is, and nothing from where it stands."""
    places = (str(Path(chain.__file__).parent.parent), os.environ.get("PYTHONPATH", ""))
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    command = [sys.executable, "-P", "-m", worker.__name__, str(memory)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment)  # noqa: S603 - ours
