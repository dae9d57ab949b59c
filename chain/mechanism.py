"""What stands behind a control: what is done, what switches it off, which refusals show it, which tests prove it.

The law of this file: a type. A mechanism that nothing switches off has no `on`; `tests` are node ids of the suite in
this repository, and a test holds them to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from chain.configuration import Configuration
from chain.reason import Reason


class Mechanism(NamedTuple):
    """One thing that is done.

    Attributes:
        name: in reports.
        text: what it does, one sentence.
        tests: node ids.
        reasons: of the refusals that are its work.
        kinds: of the records that are.
        on: whether a configuration has it; None where nothing switches it off.
        setting: what switches it on; for people.
    """

    name: str
    text: str
    tests: tuple[str, ...]
    reasons: tuple[Reason, ...] = ()
    kinds: tuple[str, ...] = ()
    on: Callable[[Configuration], bool] | None = None
    setting: str = ""
