"""^C for a command that follows a server: the first one ends it in good order, the second at once.

The law of this file: Python raises `KeyboardInterrupt` between any two steps of the main thread, also inside
`threading` and gRPC, where it leaves a lock held for ever, turns into another error, or is printed and forgotten. So
the first ^C raises nothing. It is told to a thread of its own, which closes what the command waits on.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

LIMIT = 5.0
"""Seconds that closing may take, once the command itself has ended."""


@contextmanager
def closing(close: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Call `close` from another thread at the first ^C; gives what tells whether there was one.

    Args:
        close: ends what the main thread waits on; may be called while it waits, and again afterwards.
    """
    interrupted = Event()
    ours, signals = socket.socketpair()
    signals.settimeout(0)

    def wait() -> None:
        if signal.SIGINT in iter(lambda: int.from_bytes(ours.recv(1)), 0):  # 0: nothing more comes
            interrupted.set()
            close()

    def second_raises(*_signal: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    waiting = Thread(target=wait, name="chain-interrupt", daemon=True)
    waiting.start()
    before = signal.signal(signal.SIGINT, second_raises)
    woken = signal.set_wakeup_fd(signals.fileno(), warn_on_full_buffer=False)
    try:
        yield interrupted.is_set
    finally:
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGINT, before)
        signals.close()
        waiting.join(LIMIT)
        ours.close()
