"""^C while news is awaited: wherever it comes, whoever reads can close afterwards."""

from __future__ import annotations

import dis
import gc
import os
import signal
import sys
import time
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Thread, get_ident
from types import FrameType
from typing import Any

import pytest

from chain.cli import interrupt
from chain.client.following import of_ledger
from chain.client.watch import Watch
from chain.v1 import watch_pb2

CHECKED = {dis.opmap[name] for name in ("CALL", "CALL_FUNCTION_EX", "JUMP_BACKWARD", "RESUME")}
"""After these instructions the interpreter looks for signals."""


class Interrupt:
    """Raises `KeyboardInterrupt` at one of the places where a signal would, counted from the first."""

    def __init__(self, at: int) -> None:
        self.at, self.seen, self.raised = at, 0, ""
        self._last: dict[FrameType, int] = {}

    def __call__(self, frame: FrameType, event: str, _arg: object) -> Any:
        if "weakref" in frame.f_code.co_filename:  # called when something is collected: what is raised there is lost
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            before, self._last[frame] = self._last.get(frame), frame.f_lasti
            if before is None or frame.f_code.co_code[before] in CHECKED:
                self.seen += 1
                if self.seen == self.at:
                    self.raised = frame.f_code.co_qualname
                    sys.settrace(None)
                    raise KeyboardInterrupt
        return self


class Call:
    """A stream of two heartbeats, and then silence."""

    def __init__(self) -> None:
        self._told: SimpleQueue[watch_pb2.WatchResponse | None] = SimpleQueue()
        for revision in (1, 2):
            self._told.put(watch_pb2.WatchResponse(revision=revision, heartbeat=watch_pb2.Heartbeat()))

    def __iter__(self) -> Iterator[watch_pb2.WatchResponse]:
        return iter(self._told.get, None)

    def cancel(self) -> None:
        self._told.put(None)


class Lines:
    """The way to a service that is always there."""

    version = 0

    def open(self, *_asked: object) -> Call:
        return Call()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is collected meanwhile: what other tests left would be interrupted while it is cleared away."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_wherever_a_reader_is_interrupted_it_can_close() -> None:
    places: set[str] = set()
    for at in range(1, 2000):
        news: Watch[Any] = Watch(Lines(), of_ledger(0, (), 0.1, until_now=False, timeout=1), lambda: 0)  # type: ignore[arg-type]
        news._open()  # that a thread starts is Python's own, and no place to be interrupted in
        tracer, before = Interrupt(at), sys.gettrace()
        try:
            sys.settrace(tracer)
            while news.revision < 2:
                assert news._next() is None
        except KeyboardInterrupt:
            places.add(tracer.raised)
        finally:
            sys.settrace(before)
        closing = Thread(target=news.close, daemon=True)
        closing.start()
        closing.join(10)
        assert not closing.is_alive(), tracer.raised
        if not tracer.raised:
            break
    assert not tracer.raised
    assert {"Watch._next", "Watch._open", "_Connection.next", "Following.take"} <= places


def _interrupt_and_wait() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process that was started in the background may ignore SIGINT, and hands that on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_the_first_interrupt_closes_from_another_thread_and_the_second_raises() -> None:
    closed: SimpleQueue[int] = SimpleQueue()
    with interrupt.closing(lambda: closed.put(get_ident())) as interrupted:
        assert not interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        assert closed.get(timeout=10) != get_ident()
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            _interrupt_and_wait()
    assert closed.empty()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with interrupt.closing(lambda: closed.put(0)) as interrupted:
        pass
    assert (interrupted(), closed.empty()) == (False, True)
