"""The graph's questions in a process of their own: records and questions come in, answers go out.

The law of this file: it knows no authority, no key and no file, and cannot harm whoever started it: its memory is
bounded, and so is an answer; it yields to everybody else, and it ends when nobody writes to it any more.

A frame is its length in four bytes, most significant first, and so many bytes. The first of them says what the rest
is: `r` a record as an export has it, `q` a question (`Question`). Each question is answered by one frame: an `Answer`,
or a `Fault`.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import BinaryIO

import msgspec

from chain.errors import ChainError, InvalidRequestError
from chain.given import Entry
from chain.graph.answers import Answers
from chain.inquiry import Answer, Asked, ExportGraph, Page
from chain.ledger import Record
from chain.reason import Reason

RECORD, QUESTION = b"r", b"q"

LENGTH = 4
"""Bytes of a frame's length."""

LOOK = 100
"""Records between two looks at the memory."""

STATM = Path("/proc/self/statm")
"""Where Linux tells what a process takes; the second number is pages in memory (proc(5))."""

FULL = (
    "the record is more than the memory for the graph's questions holds (`graph_memory`); `chain graph` reads it itself"
)


class Question(msgspec.Struct, frozen=True):
    """What is asked.

    Attributes:
        asked: the question.
        page: which part.
        now: seconds; the present.
        room: bytes that the answer may have: what more rows have comes with the next page.
    """

    asked: Asked
    page: Page
    now: float
    room: int


class Fault(msgspec.Struct, frozen=True):
    """Why there is no answer.

    Attributes:
        reason: its code.
        detail: in words; of an unexpected error, where it arose.
    """

    reason: str
    detail: str


class Reply(msgspec.Struct, frozen=True):
    """What a question is answered with: exactly one of them."""

    answer: Answer | None = None
    fault: Fault | None = None


def frame(data: bytes) -> bytes:
    """Return bytes as a frame."""
    return len(data).to_bytes(LENGTH, "big") + data


def unframed(stream: BinaryIO) -> bytes | None:
    """Return the next frame's bytes; None at the end of the stream, also in the midst of a frame."""
    head = stream.read(LENGTH)
    if len(head) < LENGTH:
        return None
    size = int.from_bytes(head, "big")
    data = stream.read(size)
    return data if len(data) == size else None


def serve(source: BinaryIO, sink: BinaryIO, memory: int) -> None:
    """Answer until the source ends.

    Args:
        source, sink: frames.
        memory: bytes that this process may have taken, looked at before each question and now and then between.

    Raises:
        MemoryError: they do not suffice; that was answered.
    """
    full = frame(msgspec.json.encode(Reply(fault=Fault(Reason.RESOURCE_EXHAUSTED, FULL))))  # while there is memory
    try:
        _serve(source, sink, memory)
    except MemoryError:
        sink.write(full)
        sink.flush()
        raise


def _serve(source: BinaryIO, sink: BinaryIO, memory: int) -> None:
    answers, question = Answers(), msgspec.json.Decoder(Question).decode
    record = msgspec.json.Decoder(Record).decode
    while (data := unframed(source)) is not None:
        if data[:1] == RECORD:
            told = record(data[1:])
            answers.take(Entry(told.revision, told.kind, told.time, told.body))
            if len(answers) % LOOK == 0:
                _require(memory)
        else:
            _require(memory)
            sink.write(frame(msgspec.json.encode(_reply(answers, question(data[1:])))))
            sink.flush()


def _require(memory: int) -> None:
    if _taken() > memory:
        raise MemoryError


def _taken() -> int:
    """Return the bytes in memory. On Linux, the peak of getrusage(2) begins with that of whoever started this."""
    if STATM.exists():
        return int(STATM.read_bytes().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _reply(answers: Answers, question: Question) -> Reply:
    try:
        return Reply(_fitting(answers.ask(question.asked, question.page, now=question.now), question))
    except ChainError as error:
        return Reply(fault=Fault(error.reason, error.detail))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - it is told to whoever asked, and the next question is answered
        return Reply(fault=Fault(Reason.INTERNAL, traceback.format_exc()))


def _fitting(answer: Answer, question: Question) -> Answer:
    """Return an answer that takes no more than its room from whoever reads it, or one row."""
    size, asked = 0, question.asked
    for count, row in enumerate(answer.rows):
        size += len(msgspec.json.encode(row))
        if size > question.room and isinstance(asked, ExportGraph):
            raise InvalidRequestError(
                f"the drawing has {size} bytes and a message {question.room}; draw less with `limit`"
            )
        if size > question.room and count:
            return answer.first(count, asked)
    return answer


def main() -> None:
    """Serve the standard streams, in so many bytes of memory as the first argument says.

    The system holds it to twice as much: what one question takes besides is not foreseen, and a process that asks for
    more memory than there is may end without a word.
    """
    memory = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (2 * memory, 2 * memory))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C goes to the whole group, and the server ends in order
    os.nice(10)
    gc.disable()  # `Answers` lets go by itself, and looking through a whole ledger again and again takes seconds
    serve(sys.stdin.buffer, sys.stdout.buffer, memory)


if __name__ == "__main__":
    main()
