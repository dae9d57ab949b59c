"""The end of the ledger, read once for everybody who watches.

The law of this file: one reader, whatever the number of watchers, and none while nobody watches. It reads off the loop
and keeps a bounded piece of the end; whoever is further behind reads the store itself, page by page. Nobody waits for
anybody else.

The reader looks every few milliseconds whether the head moved (one attribute), instead of being told by the store: a
listener would be called in the ledger's single writer, whose time is everybody's, and the two stores and the one
that is to come would each have to keep the promise.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from chain.errors import StoreError
from chain.watch import Line
from chain.watching import Watching

TICK = 0.005
"""Seconds between two looks at the head: what a revocation may take to be told, beside its own commit."""

KEPT = 1_024
"""Records at the end that are kept in memory; a commit's worth and a slow turn of the loop's."""


TAKEN = 256
"""Records that one stream takes at a time: all that it holds, however slowly its client reads."""


class Follower:
    """Somebody who waits for records of some kinds; `Tail.follow` makes one.

    Attributes:
        kinds: which.
        revision: up to it there is nothing for this follower that it was not given; whoever waits for what seldom
            happens need not look at all that happens.
    """

    def __init__(self, kinds: frozenset[str]) -> None:
        """Wait for these kinds."""
        self.kinds = kinds
        self.revision = 0
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Say that there is something."""
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Return once something came since the last time, or the time is up."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()


class Tail:
    """The end of a ledger, as long as somebody follows it.

    Attributes:
        revision: all up to it was read.
    """

    def __init__(self, watching: Watching) -> None:
        """Read from an authority's ledger."""
        self._watching = watching
        self._followers: set[Follower] = set()
        self._lines: deque[Line] = deque(maxlen=KEPT)
        self._reader: asyncio.Task[None] | None = None
        self._failure: StoreError | None = None
        self._start = 0
        self.revision = 0

    def __len__(self) -> int:
        return len(self._followers)

    def follow(self, kinds: frozenset[str]) -> Follower:
        """Begin to follow; `leave` ends it."""
        follower = Follower(kinds)
        self._followers.add(follower)
        if self._reader is None:
            self._lines.clear()
            self._failure = None
            self.revision = self._start = self._watching.synced
            self._reader = asyncio.create_task(self._read())
        return follower

    def leave(self, follower: Follower) -> None:
        """Follow no longer; nobody left stops the reading."""
        self._followers.discard(follower)
        if not self._followers and self._reader is not None:
            self._reader.cancel()
            self._reader = None

    def require(self) -> None:
        """Return where the ledger can be read.

        Raises:
            StoreError: it cannot; a follower would wait for ever.
        """
        if self._failure is not None:
            raise self._failure

    async def after(self, revision: int, follower: Follower) -> tuple[list[Line], int]:
        """Return some records after a revision, and the revision up to which they are all that the follower waits for.

        Raises:
            StoreError: the ledger cannot be read.
        """
        self.require()
        revision = max(revision, follower.revision)
        if revision < self._start:
            lines, revision = await asyncio.to_thread(self._watching.lines, revision, TAKEN)
        elif revision < self.revision:
            skipped = revision - self._start  # revisions have no gaps
            lines = list(islice(self._lines, skipped, skipped + TAKEN))
            revision = lines[-1].revision
        else:
            lines = []
        follower.revision = revision
        return lines, revision

    async def _read(self) -> None:
        pool = ThreadPoolExecutor(1, "watch")  # its own: others' long reads never stand before what is told
        run = asyncio.get_running_loop().run_in_executor
        try:
            while True:
                if self._watching.synced > self.revision:
                    self._keep(*await run(pool, self._watching.lines, self.revision))
                else:
                    await asyncio.sleep(TICK)
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may go on waiting
            if not isinstance(error, StoreError):
                error = StoreError(f"the end of the ledger cannot be read: {type(error).__name__}")
            self._failure = error
            for follower in self._followers:
                follower.wake()
        finally:
            pool.shutdown(wait=False)

    def _keep(self, lines: list[Line], revision: int) -> None:
        before, self.revision = self.revision, revision
        self._lines.extend(lines)
        self._start = revision - len(self._lines)
        kinds = {line.kind for line in lines}
        for follower in self._followers:
            if not follower.kinds.isdisjoint(kinds):
                follower.wake()
            elif follower.revision == before:
                follower.revision = revision
