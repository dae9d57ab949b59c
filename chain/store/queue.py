"""Batches that wait for the writer: in order of arrival, urgent ones before all others."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future

from chain.ledger import Batch

GROUP_LIMIT = 256  # batches in one transaction: bounds how long an urgent one waits for the group before it

Job = tuple[Batch, Future[int]]


class JobQueue:
    """A queue for many producers and one consumer, which takes whole groups."""

    def __init__(self) -> None:
        """Start empty and open."""
        self.closed = False
        self._ready = threading.Condition()
        self._urgent: deque[Job] = deque()
        self._ordinary: deque[Job] = deque()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._ordinary)

    def put(self, job: Job) -> bool:
        """Add a batch, before all ordinary ones if its `urgent` is true; False when closed."""
        with self._ready:
            if self.closed:
                return False
            (self._urgent if getattr(job[0], "urgent", False) else self._ordinary).append(job)
            self._ready.notify()
            return True

    def wait(self) -> bool:
        """Wait for a batch; False when closed and nothing is left."""
        with self._ready:
            while not self:
                if self.closed:
                    return False
                self._ready.wait()
            return True

    def take(self) -> list[Job]:
        """Take the next group, without waiting. For the consumer alone."""
        jobs: list[Job] = []
        for queue in (self._urgent, self._ordinary):
            while queue and len(jobs) < GROUP_LIMIT:
                jobs.append(queue.popleft())
        return jobs

    def close(self) -> None:
        """Take no more; what is there stays to be taken."""
        with self._ready:
            self.closed = True
            self._ready.notify()
