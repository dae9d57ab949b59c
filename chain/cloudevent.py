"""A record as a CloudEvent (CNCF CloudEvents 1.0.2, JSON format).

The law of this file: `source` and `id` name a record once and for all, so that who receives it twice knows it.
"""

from __future__ import annotations

from typing import Any

from chain import outward
from chain.given import Entry

PREFIX = "chain.v1."
"""Before a record's kind; a member that changes its meaning changes this."""

TYPE, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
"""Media types of one event, and of a JSON array of them."""


def event(entry: Entry, source: str) -> dict[str, Any]:
    """Return the event of a record.

    Args:
        entry: the record.
        source: URI reference of the ledger.
    """
    made: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(entry.revision),
        "source": source,
        "type": f"{PREFIX}{entry.kind}",
        "time": outward.stamp(entry),
        "datacontenttype": "application/json",
        "sequence": f"{entry.revision:020d}",  # of the extension `sequence`, whose order is that of text
        "data": outward.body(entry),
    }
    if "trace" in entry.body:
        made["traceparent"] = entry.body["trace"]  # of the extension `distributed tracing`
    about = outward.subject(entry)
    return made | ({"subject": about} if about else {})
