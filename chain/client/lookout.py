"""Somebody who keeps an eye on a chain while a session is active, and says at any moment how it stands.

The law of this file: who knows nothing says so, and that is no "it stands". A chain that fell stays fallen for its
lookout, also where a suspension is lifted later: the work that was stopped is begun anew, not gone on with.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Protocol, Self

from chain.errors import ChainError, StoreError, UnreachableError
from chain.reason import Reason
from chain.watch import Stand, fallen

if TYPE_CHECKING:
    from chain.client.watch import AsyncWatch, Watch  # loads gRPC, which the door inside a process does without

PULSE = 1.0
"""Seconds between the heartbeats that a session asks for."""

MISSED = 2
"""Heartbeats after which silence means that nobody can tell."""

LOST = fallen(Reason.WATCH_LOST, "nobody can tell whether the chain still stands")


def elapsed() -> float:
    """Return seconds of a clock that runs on while the machine sleeps, where it has one: what was heard gets old."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Looking(Protocol):
    """What every lookout says."""

    def stand(self) -> Stand:
        """Return how the chain stands, as far as anybody can tell."""
        ...


class Lookout(Looking, Protocol):
    """For threads."""

    def close(self) -> None:
        """Look no longer, and leave nothing behind."""
        ...


class AsyncLookout(Looking, Protocol):
    """For asyncio."""

    async def close(self) -> None:
        """Look no longer, and leave nothing behind."""
        ...


class _Asking:
    """Looks when it is asked: into the same process."""

    def __init__(self, ask: Callable[[], Stand]) -> None:
        """Ask `ask`; what it raises says that the chain does not stand."""
        self._ask = ask
        self._fell: Stand | None = None

    def stand(self) -> Stand:
        """Ask, until it has fallen."""
        if self._fell is None:
            stand = self._asked()
            if stand.stands:
                return stand
            self._fell = stand
        return self._fell

    def _asked(self) -> Stand:
        try:
            return self._ask()
        except ChainError as error:
            return told_by(error)


class Asking(_Asking):
    """For threads; there is nothing to close."""

    def close(self) -> None:
        """Do nothing."""


class AsyncAsking(_Asking):
    """For asyncio."""

    async def close(self) -> None:
        """Do nothing."""


class _Heard:
    """What was heard last, and when."""

    def __init__(self, pulse: float) -> None:
        self._bound = MISSED * pulse
        self._last: Stand | None = None

    def knows(self, heard: float) -> Stand:
        """Return what is known, given when the server last said anything (`elapsed` seconds)."""
        last = self._last
        if last is None or (last.stands and elapsed() - heard > self._bound):
            return LOST
        return last

    def take(self, stand: Stand) -> None:
        self._last = stand


class Watching(_Heard):
    """Follows a server in a thread of its own."""

    def __init__(self, watch: Watch[Stand], pulse: float) -> None:
        """Begin, and wait for the first word as long as for any other.

        Args:
            watch: closed with this.
            pulse: seconds between its heartbeats.
        """
        super().__init__(pulse)
        self._watch = watch
        self._first = Event()
        self._thread = Thread(target=self._follow, name="chain-lookout", daemon=True)
        self._thread.start()
        self._first.wait(self._bound)

    def stand(self) -> Stand:
        """Return what was heard last; `LOST` where that was too long ago."""
        return self.knows(self._watch.heard)

    def close(self) -> None:
        """End the stream and the thread."""
        self._watch.close()
        self._thread.join()

    def _follow(self) -> None:
        try:
            for stand in self._watch:
                self.take(stand)
                self._first.set()
        except Exception as error:  # noqa: BLE001 - whatever it was: a lookout that ended knows nothing
            self.take(told_by(error))
        self._first.set()


class AsyncWatching(_Heard):
    """Follows a server in a task of its own."""

    def __init__(self, watch: AsyncWatch[Stand], pulse: float) -> None:
        """Begin. See `Watching`; `posted` waits."""
        super().__init__(pulse)
        self._watch = watch
        self._first = asyncio.Event()
        self._task = asyncio.create_task(self._follow())

    @classmethod
    async def posted(cls, watch: AsyncWatch[Stand], pulse: float) -> Self:
        """Return one that has heard the first word, or waited for it as long as for any other."""
        made = cls(watch, pulse)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(made._first.wait(), made._bound)
        except BaseException:
            await made.close()
            raise
        return made

    def stand(self) -> Stand:
        """Return what was heard last; `LOST` where that was too long ago."""
        return self.knows(self._watch.heard)

    async def close(self) -> None:
        """End the stream and the task."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._watch.close()

    async def _follow(self) -> None:
        try:
            async for stand in self._watch:
                self.take(stand)
                self._first.set()
        except Exception as error:  # noqa: BLE001 - whatever it was: a lookout that ended knows nothing
            self.take(told_by(error))
        self._first.set()


def told_by(error: Exception) -> Stand:
    """Return how a chain stands where the asking failed: not."""
    if not isinstance(error, ChainError):
        return fallen(Reason.WATCH_LOST, f"the watch failed with {type(error).__name__}")
    lost = isinstance(error, UnreachableError | StoreError)
    return fallen(Reason.WATCH_LOST if lost else error.reason, error.detail, getattr(error, "hop", None))


@dataclass(slots=True)
class Post:
    """The lookout of one session, while any of its entries is open.

    Attributes:
        lock, turn: held while it is opened or closed; by threads, by tasks.
        lookout, alookout: who looks out, if anybody does.
    """

    lock: Lock = field(default_factory=Lock)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    lookout: Lookout | None = None
    alookout: AsyncLookout | None = None

    @property
    def looking(self) -> Looking | None:
        """Whoever looks out."""
        return self.lookout or self.alookout
