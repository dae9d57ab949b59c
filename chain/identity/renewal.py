"""A thread that asks every few seconds whether the issuer needs another key of its KMS.

The law of this file: a KMS that hangs holds up this thread and nobody else. It asks the clock of the wall each time and
counts no hours itself: a machine that slept wakes with a key that has ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from chain.errors import ChainError

EVERY = 10.0
"""Seconds between two questions; a window has hours."""


class Renewal:
    """Renews until it is closed."""

    def __init__(self, renew: Callable[[], bool], report: Callable[[str, bool], None], every: float = EVERY) -> None:
        """Begin.

        Args:
            renew: `chain.keys.Keys.renew`.
            report: takes a line for the log, and whether it tells of a failure; each once, until it is another or over.
            every: seconds between two questions.
        """
        self._renew = renew
        self._report = report
        self._every = every
        self._said = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chain-renewal", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop asking; what waits for the KMS just now is left alone."""
        self._ended.set()
        self._thread.join(timeout=1)

    def _run(self) -> None:
        while not self._ended.wait(self._every):
            try:
                if self._renew():
                    self._report("another key was certified and signs from here on", False)  # noqa: FBT003 - no failure
                self._said = ""
            except ChainError as error:
                self._tell(f"no key is certified: {error.detail}")
            except Exception as error:  # noqa: BLE001 - the thread has to live on, whatever a driver throws
                self._tell(f"no key is certified: {type(error).__name__}")

    def _tell(self, said: str) -> None:
        if said != self._said:
            self._said = said
            self._report(said, True)  # noqa: FBT003 - a failure
