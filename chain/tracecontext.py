"""The trace that a call belongs to, as other programs name it (W3C Trace Context, `traceparent`).

The law of this file: a trace decides nothing. It is taken as it is or not at all, and never made up here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_FORM = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")
"""Version 00 (W3C Trace Context s3.2): no id is all zeros."""


class Trace(NamedTuple):
    """Where in a trace a call stands.

    Attributes:
        id: of the trace, 32 hexadecimal digits.
        span: of who calls, 16 hexadecimal digits.
    """

    id: str
    span: str


def parse(traceparent: str) -> Trace | None:
    """Return what a `traceparent` of version 00 names; None of anything else."""
    found = _FORM.fullmatch(traceparent)
    return None if found is None else Trace(found[1], found[2])
